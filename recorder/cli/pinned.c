/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/cli/pinned.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "recorder/capture/block.h"
#include "recorder/core/util.h"
#include "recorder/ledger/balance.h"

static void append_count(bson_t *to, const char *name, struct rec_count a, struct rec_count b)
{
	bson_t count;

	bson_append_document_begin(to, name, -1, &count);
	BSON_APPEND_INT64(&count, "packets", (int64_t)(a.packets + b.packets));
	BSON_APPEND_INT64(&count, "bytes", (int64_t)(a.bytes + b.bytes));
	bson_append_document_end(to, &count);
}

static void append_totals(bson_t *to, const struct capture *c, const struct rec_seconds *seconds)
{
	struct rec_count t[REC_TERMS] = {{0}}, none = {0};
	bson_t totals, lost;

	for (unsigned side = 0; side < REC_SIDES; side++) {
		struct balance balance = {
			.seconds = seconds + (size_t)side * capture_cpus(c), .cpus = capture_cpus(c), .side = side};
		struct rec_count term[REC_TERMS];

		if (!(capture_sides(c) & CAPTURE_SIDE(side)))
			continue;
		balance_now(&balance, term);
		for (unsigned i = 0; i < REC_TERMS; i++) {
			t[i].packets += term[i].packets;
			t[i].bytes += term[i].bytes;
		}
	}
	bson_append_document_begin(to, "totals", -1, &totals);
	append_count(&totals, "seen", t[REC_SEEN], none);
	append_count(&totals, "published", t[REC_PUBLISHED], none);
	append_count(&totals, "filtered", t[REC_FILTERED_OWN], t[REC_FILTERED_EXPR]);
	append_count(&totals, "blocked", t[REC_BLOCKED], none);
	append_count(&totals, "blocked_stored", t[REC_BLOCKED_STORED], none);
	append_count(&totals, "summarised", t[REC_SUMMARISED_FLOW], t[REC_SUMMARISED_PREFIX]);
	bson_append_document_begin(&totals, "lost", -1, &lost);
	append_count(&lost, "ring_full", t[REC_LOST_RING_FULL], none);
	append_count(&lost, "contended", t[REC_LOST_CONTENDED], none);
	append_count(&lost, "no_ring", t[REC_LOST_NO_RING], none);
	append_count(&lost, "unreadable", t[REC_LOST_UNREADABLE], none);
	bson_append_document_end(&totals, &lost);
	bson_append_document_end(to, &totals);
}

/* Bytes between the consumer indexes and the heads of all rings. */
static void append_rings(bson_t *to, const struct capture *c)
{
	unsigned cpus = capture_cpus(c), rings = 0;
	size_t desk_size = (1 + (size_t)REC_SIDES * cpus) * sizeof(union rec_desk);
	const union rec_desk *desk = mmap(NULL, desk_size, PROT_READ, MAP_SHARED, capture_map_fd(c, CAPTURE_DESK), 0);
	uint64_t used = 0;
	bson_t ring;

	if (desk == MAP_FAILED)
		return;
	for (unsigned i = 0; i < REC_SIDES * cpus; i++) {
		int fd = capture_ring_fd(c, (enum rec_side)(i / cpus), i % cpus);
		const struct rec_ring *head;
		uint64_t tail;

		if (fd < 0)
			continue;
		head = mmap(NULL, REC_RING_PAGE, PROT_READ, MAP_SHARED, fd, 0);
		if (head == MAP_FAILED)
			continue;
		tail = __atomic_load_n(&desk[REC_DESK_TAIL(i / cpus, cpus, i % cpus)].ring.tail, __ATOMIC_ACQUIRE);
		used += __atomic_load_n(&head->head, __ATOMIC_ACQUIRE) - tail;
		munmap((void *)head, REC_RING_PAGE);
		rings++;
	}
	munmap((void *)desk, desk_size);
	bson_append_document_begin(to, "ring", -1, &ring);
	BSON_APPEND_INT64(&ring, "bytes", (int64_t)rings * capture_ring_size(c));
	BSON_APPEND_INT64(&ring, "used", (int64_t)used);
	bson_append_document_end(to, &ring);
}

/* Returns whether a hook is attached: whether it goes on. */
static bool append_capture(bson_t *to, const struct capture *c)
{
	static const char *const names[REC_SIDES] = {"rx", "tx"};
	size_t size = (size_t)REC_SIDES * capture_cpus(c) * sizeof(struct rec_seconds);
	const struct rec_seconds *seconds =
		mmap(NULL, size, PROT_READ, MAP_SHARED, capture_map_fd(c, CAPTURE_SECONDS), 0);
	char id[33], mode[64];
	bool attached = false;
	bson_t hooks;

	BSON_APPEND_UTF8(to, "iface", capture_iface(c));
	if (*capture_filter(c))
		BSON_APPEND_UTF8(to, "filter", capture_filter(c));
	*put_hex(id, capture_id(c), 16) = '\0';
	BSON_APPEND_UTF8(to, "id", id);
	bson_append_document_begin(to, "hooks", -1, &hooks);
	for (unsigned side = 0; side < REC_SIDES; side++) {
		if (!(capture_sides(c) & CAPTURE_SIDE(side)))
			continue;
		bool on = capture_attached(c, (enum rec_side)side) == 1;

		attached |= on;
		snprintf(mode, sizeof(mode), "%s%s", capture_mode(c, (enum rec_side)side), on ? "" : " (not attached)");
		BSON_APPEND_UTF8(&hooks, names[side], mode);
	}
	bson_append_document_end(to, &hooks);
	if (seconds != MAP_FAILED) {
		append_totals(to, c, seconds);
		munmap((void *)seconds, size);
	}
	append_rings(to, c);
	return attached;
}

bson_t *pinned_look(const struct instance *instance, char *problem, size_t size)
{
	DIR *dir = opendir(instance->pin_dir);
	struct capture_error error = {""};
	bool attached = false;
	unsigned count = 0, entries = 0;
	struct dirent *entry;
	bson_t *answer, captures;

	if (!dir) {
		snprintf(problem, size, "cannot look into %s: %s", instance->pin_dir, strerror(errno));
		return NULL;
	}
	answer = bson_new();
	BSON_APPEND_UTF8(answer, "instance", instance->name);
	BSON_APPEND_INT32(answer, "keeper", 0);
	bson_append_array_begin(answer, "captures", -1, &captures);
	while ((entry = readdir(dir))) {
		struct capture *c = NULL;
		char path[PATH_MAX], key[16];
		bson_t one;

		if (entry->d_name[0] == '.' ||
		    snprintf(path, sizeof(path), "%s/%s", instance->pin_dir, entry->d_name) >= (int)sizeof(path) ||
		    capture_open(&c, path, &error))
			continue;
		snprintf(key, sizeof(key), "%u", count++);
		bson_append_document_begin(&captures, key, -1, &one);
		attached |= append_capture(&one, c);
		bson_append_document_end(&captures, &one);
		entries = block_maps_entries(c) > entries ? block_maps_entries(c) : entries;
		capture_close(c);
	}
	bson_append_array_end(answer, &captures);
	BSON_APPEND_INT64(answer, "block_entries", entries);
	BSON_APPEND_UTF8(answer, "state",
			 attached ? "capturing without a process: `record` resumes it, `stop` ends it"
				  : "ended, but its rings may hold packets: `stop` stores them");
	closedir(dir);
	if (!count) {
		bson_destroy(answer);
		snprintf(problem, size, "instance %s has no process, and its pins cannot be read: %s", instance->name,
			 error.text[0] ? error.text : "there is no capture");
		errno = EIO;
		return NULL;
	}
	return answer;
}
