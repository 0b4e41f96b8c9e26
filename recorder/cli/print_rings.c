/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/cli/print_rings.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "recorder/core/clock.h"
#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/process/drainer.h"
#include "recorder/source/batch.h"
#include "recorder/source/ring.h"

#define IDLE_MS 100		       /* backstop of the bell */
#define SETTLE_EVERY 64		       /* packets */
#define LAST_NS (2 * NS_PER_SEC)       /* after a signal: what was captured before it is printed for so long */
#define ADDRESSES_NS (5 * NS_PER_SEC) /* own addresses are looked up again */

/* One capture. */
struct origin {
	char iface[IF_NAMESIZE];
	union rec_desk *desk;
	size_t desk_bytes;
	struct ring_buffer *bell;
	int bell_fd;
};

struct rings {
	struct origin *origins;
	unsigned norigins;
	struct ring *list;
	struct origin **origin_of; /* of each ring */
	unsigned n;
	struct clock_pair pair;
	uint64_t addresses_due; /* boot time */
};

static int discard(void *context, void *data, size_t len)
{
	(void)context, (void)data, (void)len;
	return 0;
}

static int map_origin(struct rings *r, struct origin *o, const struct capture *c)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned cpus = capture_cpus(c);

	snprintf(o->iface, sizeof(o->iface), "%s", capture_iface(c));
	o->desk_bytes = ((1 + REC_SIDES * (size_t)cpus) * sizeof(union rec_desk) + page - 1) & ~(page - 1);
	o->desk = mmap(NULL, o->desk_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, capture_map_fd(c, CAPTURE_DESK), 0);
	if (o->desk == MAP_FAILED) {
		o->desk = NULL;
		return -errno;
	}
	o->bell_fd = fcntl(capture_map_fd(c, CAPTURE_BELL), F_DUPFD_CLOEXEC, 0);
	o->bell = o->bell_fd < 0 ? NULL : ring_buffer__new(o->bell_fd, discard, NULL, NULL);
	if (!o->bell)
		return -errno;
	for (unsigned side = 0; side < REC_SIDES; side++)
		for (unsigned cpu = 0; cpu < cpus; cpu++) {
			int fd = capture_ring_fd(c, side, cpu), err;

			if (fd < 0)
				continue;
			err = ring_map(&r->list[r->n], fd, capture_ring_size(c), &o->desk[REC_DESK_TAIL(side, cpus, cpu)],
				       (uint16_t)side, (uint16_t)cpu);
			if (err)
				return err;
			r->origin_of[r->n++] = o;
		}
	return 0;
}

int rings_open(struct rings **out, struct capture *const *captures, unsigned n)
{
	struct rings *r = calloc(1, sizeof(*r));
	struct clock_sample sample = clock_sample();
	size_t places = 0;
	int err = 0;

	if (!r)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++)
		places += REC_SIDES * (size_t)capture_cpus(captures[i]);
	r->pair = (struct clock_pair){sample.boot, sample.wall};
	r->origins = calloc(n, sizeof(*r->origins));
	r->list = calloc(places, sizeof(*r->list));
	r->origin_of = calloc(places, sizeof(struct origin *));
	if (!r->origins || !r->list || !r->origin_of)
		err = -ENOMEM;
	for (unsigned i = 0; !err && i < n; i++) {
		r->norigins++;
		err = map_origin(r, &r->origins[i], captures[i]);
	}
	if (err)
		rings_close(r);
	else
		*out = r;
	return err;
}

void rings_close(struct rings *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < r->n; i++)
		ring_unmap(&r->list[i]);
	for (unsigned i = 0; i < r->norigins; i++) {
		struct origin *o = &r->origins[i];

		ring_buffer__free(o->bell);
		if (o->bell && o->bell_fd >= 0)
			close(o->bell_fd);
		if (o->desk)
			munmap(o->desk, o->desk_bytes);
	}
	free(r->origins);
	free(r->list);
	free(r->origin_of);
	free(r);
}

/* The ring whose next record is the oldest, NULL when there is none. A record that cannot be one ends its ring. */
static struct ring *oldest(struct rings *r, struct origin **origin)
{
	struct ring *found = NULL;
	uint64_t time = UINT64_MAX;

	for (unsigned i = 0; i < r->n; i++) {
		struct ring *ring = &r->list[i];
		uint64_t end = ring_end(ring);

		if (ring->next == end)
			continue;
		if (!ring_record_len(ring, ring->next, end)) {
			if (!ring->damaged)
				log_error("%s: the ring of CPU %u is damaged: what it held is skipped", r->origin_of[i]->iface,
					  ring->cpu);
			ring->damaged = 1;
			ring->next = end;
			continue;
		}
		if (!found || ring_record(ring, ring->next)->time < time) {
			found = ring;
			time = ring_record(ring, ring->next)->time;
			*origin = r->origin_of[i];
		}
	}
	return found;
}

static void settle(struct rings *r)
{
	for (unsigned i = 0; i < r->n; i++)
		ring_settle(&r->list[i], r->list[i].next);
}

/* A step of the wall clock, and own addresses that changed: looked at when there is nothing to print, or now and then. */
static void refresh(struct rings *r, struct printer *printer)
{
	struct clock_sample sample = clock_sample();

	if (clock_stepped(&r->pair, &sample))
		r->pair = (struct clock_pair){sample.boot, sample.wall};
	if (printer->json && sample.boot >= r->addresses_due) {
		struct ends_table *ends = addresses_read(printer->settings);

		if (ends) {
			ends_table_free(printer->ends);
			printer->ends = ends;
		}
		r->addresses_due = sample.boot + ADDRESSES_NS;
	}
}

static int print_one(struct rings *r, struct ring *ring, const struct origin *origin, struct printer *printer)
{
	const struct rec_head *head = ring_record(ring, ring->next);
	struct printer_packet packet = {
		.head = head,
		.bytes = record_bytes(head),
		.wall = (int64_t)head->time + clock_pair_offset(&r->pair),
		.iface = origin->iface,
		.side_known = true,
	};
	int err = printer_put(printer, &packet);

	ring->next += REC_RECORD_LEN((uint32_t)head->cap_len);
	return err;
}

/* All that is there; 0 when nothing is left. */
static int print_pending(struct rings *r, struct printer *printer, uint64_t *printed)
{
	struct origin *origin;
	struct ring *ring;
	unsigned n = 0;
	int err = 0;

	while (!err && !printer_stopped() && (ring = oldest(r, &origin))) {
		err = print_one(r, ring, origin, printer);
		__atomic_store_n(printed, printer->printed, __ATOMIC_RELAXED);
		if (++n % SETTLE_EVERY == 0) {
			settle(r);
			refresh(r, printer);
		}
	}
	settle(r);
	return err;
}

/* After a signal: what was published before it, as far as that goes in LAST_NS. */
static int print_last(struct rings *r, struct printer *printer, uint64_t *printed)
{
	uint64_t end = clock_boot_ns() + LAST_NS;
	struct origin *origin;
	struct ring *ring;
	int err = 0;

	for (unsigned i = 0; i < r->n; i++)
		r->list[i].limit = ring_head(&r->list[i]);
	while (!err && clock_boot_ns() < end && (ring = oldest(r, &origin)))
		err = print_one(r, ring, origin, printer);
	__atomic_store_n(printed, printer->printed, __ATOMIC_RELAXED);
	settle(r);
	return err;
}

/* Asks for all bells; true when nothing was published in between (that rang for nobody). */
static bool arm(struct rings *r)
{
	struct origin *origin;

	for (unsigned i = 0; i < r->norigins; i++)
		__atomic_store_n(&r->origins[i].desk[REC_DESK_CONTROL].control.armed, 1, __ATOMIC_SEQ_CST);
	return !oldest(r, &origin);
}

static void wait_for_bells(struct rings *r)
{
	struct pollfd fds[RINGS_CAPTURES];
	unsigned n = r->norigins;

	for (unsigned i = 0; i < n; i++)
		fds[i] = (struct pollfd){.fd = ring_buffer__epoll_fd(r->origins[i].bell), .events = POLLIN};
	poll(fds, n, IDLE_MS);
	for (unsigned i = 0; i < r->norigins; i++)
		ring_buffer__consume(r->origins[i].bell);
}

int rings_print(struct rings *r, struct printer *printer, uint64_t *printed)
{
	int err = 0;

	printer->style.iface = printer->tree || r->norigins > 1;
	refresh(r, printer);
	while (!err && !printer_stopped()) {
		err = print_pending(r, printer, printed);
		if (err || printer_stopped())
			break;
		err = printer_flush(printer);
		refresh(r, printer);
		if (!err && arm(r))
			wait_for_bells(r);
	}
	if (!err)
		err = print_last(r, printer, printed);
	if (err >= 0) {
		int last = printer_flush(printer);

		err = last ? last : err;
	}
	return err;
}
