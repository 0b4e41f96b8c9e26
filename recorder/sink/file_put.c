// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What goes into the file, and how: whole batches behind its end, a section and an interface in front of a capture's first packet,
 * its counters behind the last; cut off again what a failed write left. All of it with the sink's lock held.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/core/write.h"
#include "recorder/encode/pcapng.h"
#include "recorder/sink/file_internal.h"

#define PIPE_NS (4 * NS_PER_SEC)   /* how long one call waits for a pipe's reader */
#define PIPE_POLL_MS 100

/* ---- bytes out -------------------------------------------------------------------------------------------------- */

/* Cuts off what a failed write left behind the last whole batch. */
static int mend(struct file_sink *f)
{
	if (!f->torn)
		return 0;
	if (ftruncate(f->fd, (off_t)f->end))
		return -errno;
	f->torn = false;
	return 0;
}

/*
 * At most `wait` ns, in pieces that a pipe which poll calls writable takes without blocking (PIPE_BUF): the descriptor may be
 * another program's too, so it is not made non-blocking. Gives what was written in *done. -EAGAIN: the reader does not read.
 */
static int write_stream(struct file_sink *f, const uint8_t *bytes, size_t len, uint64_t wait, size_t *done)
{
	uint64_t until = clock_boot_ns() + wait;

	while (*done < len) {
		struct pollfd out = { .fd = f->fd, .events = POLLOUT };
		size_t piece = len - *done < PIPE_BUF ? len - *done : PIPE_BUF;
		ssize_t n;

		if (file_flag(&f->cancelled))
			return -ECANCELED;
		if (clock_boot_ns() >= until)
			return -EAGAIN;
		if (poll(&out, 1, PIPE_POLL_MS) <= 0)
			continue;
		n = write(f->fd, bytes + *done, piece);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n < 0)
			return -errno;
		*done += (size_t)n;
		f->end += (uint64_t)n;
	}
	return 0;
}

/* ---- section and interface -------------------------------------------------------------------------------------- */

static size_t put_section(uint8_t *at)
{
	struct utsname uts = { 0 };
	char os[200];

	uname(&uts);
	snprintf(os, sizeof(os), "%s %s", uts.sysname, uts.release);
	return pcapng_section(at, uts.machine, os, FILE_APPLICATION RECORDER_VERSION);
}

static size_t put_interface(const struct file_sink *f, uint8_t *at, const uint8_t id[CAPTURE_ID_LEN], const char *iface)
{
	char description[sizeof(FILE_DESCRIPTION) + 2 * CAPTURE_ID_LEN] = FILE_DESCRIPTION;
	const struct pcapng_interface interface = {
		.name = iface,
		.description = description,
		.filter = f->filter,
		.snaplen = REC_CAP_MAX,
	};

	put_hex(description + sizeof(FILE_DESCRIPTION) - 1, id, CAPTURE_ID_LEN);
	return pcapng_interface(at, &interface);
}

/* What stands in front of a capture's first packet here: a section where none goes on, and its interface. */
static int make_head(const struct file_sink *f, const uint8_t id[CAPTURE_ID_LEN], const char *iface, uint8_t **head, size_t *len)
{
	*head = malloc(PCAPNG_SECTION_MAX + PCAPNG_INTERFACE_MAX);
	if (!*head)
		return -ENOMEM;
	*len = f->section ? 0 : put_section(*head);
	*len += put_interface(f, *head + *len, id, iface);
	return 0;
}

/* It is in the file from `at` on. */
static void head_is_there(struct file_sink *f, struct file_capture *capture, uint64_t at)
{
	if (!f->section) {
		f->section = true;
		f->section_at = at;
		f->interfaces = 0;
	}
	capture->interface = f->interfaces++;
	capture->interface_at = at;
}

/* ---- a batch ---------------------------------------------------------------------------------------------------- */

/* Where the job begins, and what goes in front of it. 0 or -errno. */
static int compose(struct file_sink *f, struct sink_job *job, const struct file_capture *capture)
{
	uint32_t interface = capture->interface;
	int err = 0;

	job->first = 0;
	if (capture->number > job->number || (capture->number == job->number && capture->position >= job->count))
		job->first = job->count;
	else if (capture->number == job->number)
		job->first = capture->position + 1;
	job->done = 0;
	free(job->head);
	job->head = NULL;
	job->head_len = 0;
	if (f->format == FILE_JSON || job->first == job->count)
		return 0;
	if (interface == FILE_NO_INTERFACE) {
		err = make_head(f, job->capture, job->iface, &job->head, &job->head_len);
		interface = f->section ? f->interfaces : 0;
	}
	for (uint32_t i = job->first; !err && i < job->count; i++)
		pcapng_set_interface(job->bytes + job->at[i], interface);
	return err;
}

/* Behind the end of a regular file, which the caller moves: all or nothing. `head` may be NULL with no bytes. */
static int put_file(struct file_sink *f, const uint8_t *head, size_t head_len, const uint8_t *bytes, size_t len)
{
	int err = mend(f);

	if (err)
		return err;
	f->torn = true;
	err = write_at(f->fd, head, head_len, f->end);
	if (!err)
		err = write_at(f->fd, bytes, len, f->end + head_len);
	if (err) {
		mend(f); /* if that fails too it is tried again before the next write */
		return err;
	}
	f->torn = false;
	return 0;
}

/* Into a pipe, from where it stopped. */
static int put_stream(struct file_sink *f, struct sink_job *job)
{
	size_t from = job->at[job->first], len = job->at[job->count] - from, done = job->done;
	int err = 0;

	f->current = job;
	if (done < job->head_len)
		err = write_stream(f, job->head, job->head_len, PIPE_NS, &done);
	if (!err) {
		size_t rest = done - job->head_len;

		err = write_stream(f, job->bytes + from, len, PIPE_NS, &rest);
		done = rest + job->head_len;
	}
	job->done = done;
	if (!err || !done)
		f->current = NULL;
	return err;
}

int file_put_job(struct file_sink *f, struct sink_job *job, struct sink_report *report)
{
	struct file_capture *capture = file_capture_of(f, job->capture);
	uint64_t at = f->end;
	int err = capture ? 0 : -ENOMEM;

	if (!err && f->current != job)
		err = compose(f, job, capture);
	if (!err)
		err = f->regular ? put_file(f, job->head, job->head_len, job->bytes + job->at[job->first],
					    job->at[job->count] - job->at[job->first])
				 : put_stream(f, job);
	if (err)
		return err;
	if (job->head_len)
		head_is_there(f, capture, at);
	if (f->regular)
		f->end += job->head_len + job->at[job->count] - job->at[job->first];
	if (capture->number <= job->number) {
		capture->number = job->number;
		capture->position = FILE_ALL_OF_IT;
	}
	job->written = true;
	job->end = f->end;
	report->inserted = job->count - job->first;
	report->found = job->first;
	f->packets += report->inserted;
	f->full = false;
	return 0;
}

/* ---- durability ------------------------------------------------------------------------------------------------- */

void file_go_back(struct file_sink *f)
{
	f->end = f->durable;
	f->torn = true;
	f->cuts++;
	if (f->section && f->section_at >= f->end)
		f->section = false;
	f->interfaces = 0;
	for (unsigned i = 0; i < f->ncaptures; i++) {
		if (!f->section || f->captures[i].interface_at >= f->end)
			f->captures[i].interface = FILE_NO_INTERFACE;
		f->interfaces += f->captures[i].interface != FILE_NO_INTERFACE;
	}
	pthread_mutex_lock(&f->list);
	for (struct sink_job *job = f->jobs; job; job = job->next) {
		struct file_capture *capture = file_capture_of(f, job->capture);

		if (!job->written || job->end <= f->end)
			continue;
		job->written = false;
		if (!capture || job->number > capture->number)
			continue; /* it stands before this one already */
		capture->number = job->first ? job->number : job->number - 1;
		capture->position = job->first ? job->first - 1 : FILE_ALL_OF_IT;
	}
	pthread_mutex_unlock(&f->list);
}

int file_look(struct file_sink *f)
{
	struct stat st;

	if (fstat(f->fd, &st))
		return -errno;
	if (f->named && !st.st_nlink)
		return -ENOENT;
	if ((uint64_t)st.st_size >= f->end)
		return 0;
	if (st.st_size)
		return -ESTALE;
	log_warn("--write %s: somebody emptied it; it begins anew", f->name);
	f->durable = 0;
	file_go_back(f);
	return 0;
}

/* ---- the end of a capture --------------------------------------------------------------------------------------- */

int file_sink_statistics(struct sink *sink, const struct file_statistics *s)
{
	struct file_sink *f = file_sink_of(sink);
	struct file_capture *capture = file_capture_of(f, s->source->capture);
	CLEANUP_FREE uint8_t *bytes = NULL;
	size_t len = 0, done = 0;
	bool head;
	int err;

	if (f->format != FILE_PCAPNG || file_flag(&f->gone) || f->current)
		return 0;
	if (!capture)
		return -ENOMEM;
	head = capture->interface == FILE_NO_INTERFACE; /* of a capture without a packet: the file says so much at least */
	if (head)
		err = make_head(f, s->source->capture, s->source->iface, &bytes, &len);
	else
		err = (bytes = malloc(PCAPNG_STATISTICS_MAX)) ? 0 : -ENOMEM;
	if (err)
		return err;
	len += pcapng_statistics(bytes + len, &(struct pcapng_statistics){
		.interface = head ? f->section ? f->interfaces : 0 : capture->interface,
		.wall = s->wall,
		.received = s->received,
		.dropped = s->dropped,
		.accepted = s->received - s->filtered,
		.delivered = s->stored,
	});
	if (!f->regular)
		return write_stream(f, bytes, len, NS_PER_SEC, &done);
	err = file_look(f);
	if (!err)
		err = put_file(f, NULL, 0, bytes, len);
	if (err)
		return err;
	if (head)
		head_is_there(f, capture, f->end);
	f->end += len;
	return fdatasync(f->fd) ? -errno : 0;
}
