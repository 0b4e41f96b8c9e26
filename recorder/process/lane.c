/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/process/drainer.h"

static void *map_array(int fd, size_t bytes, int protection, size_t *mapped)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *map;

	*mapped = (bytes + page - 1) & ~(page - 1);
	map = mmap(NULL, *mapped, protection, MAP_SHARED, fd, 0);
	return map == MAP_FAILED ? NULL : map;
}

static int map_rings(struct lane *lane)
{
	unsigned places = REC_SIDES * lane->info.cpus;

	lane->rings = calloc(places, sizeof(*lane->rings));
	lane->horizon_head = calloc(places, sizeof(*lane->horizon_head));
	if (!lane->rings || !lane->horizon_head)
		return -ENOMEM;
	for (unsigned i = 0; i < places; i++) {
		unsigned side = i / lane->info.cpus, cpu = i % lane->info.cpus;
		union rec_desk *desk = &lane->desk[REC_DESK_TAIL(side, lane->info.cpus, cpu)];
		int err;

		if (lane->ring_fd[i] < 0)
			continue;
		err = ring_map(&lane->rings[lane->nrings], lane->ring_fd[i], lane->info.ring_size, desk,
			       (uint16_t)side, (uint16_t)cpu);
		if (err)
			return err;
		lane->nrings++;
		close(TAKE_FD(lane->ring_fd[i]));
	}
	return lane->nrings ? 0 : -ENODEV;
}

struct clock_pair lane_pair_at(const struct lane *lane, uint64_t boot)
{
	const struct clock_pair *pairs;
	unsigned n = journal_pairs(lane->journal, &pairs), i = 0;

	while (i + 1 < n && pairs[i + 1].boot <= boot)
		i++;
	return pairs[i];
}

/*
 * A step happened while no process was there: the kernel noted (boot, TAI) whenever it opened a second. The first
 * second whose offset is the new one dates the step. Without one (no packet since, or the step was injected): now.
 */
static uint64_t date_step(const struct lane *lane, const struct clock_pair *old, const struct clock_sample *sample)
{
	struct timespec tai;
	int64_t tai_minus_wall, found = INT64_MAX;

	clock_gettime(CLOCK_TAI, &tai);
	tai_minus_wall = (int64_t)tai.tv_sec * (int64_t)NS_PER_SEC + tai.tv_nsec - clock_wall_ns();
	tai_minus_wall = (tai_minus_wall + 500000000) / (int64_t)NS_PER_SEC * (int64_t)NS_PER_SEC;
	for (unsigned i = 0; i < REC_SIDES * lane->info.cpus; i++)
		for (unsigned s = 0; s < REC_SECONDS; s++) {
			const struct rec_second *slot = &lane->seconds[i].slot[s];
			int64_t offset = (int64_t)slot->tai_ns - tai_minus_wall - (int64_t)slot->boot_ns;
			int64_t off_new = offset - (sample->wall - (int64_t)sample->boot);

			if (slot->sec && slot->boot_ns > old->boot && off_new > -1000000 && off_new < 1000000 &&
			    (int64_t)slot->boot_ns < found)
				found = (int64_t)slot->boot_ns;
		}
	return found == INT64_MAX ? sample->boot : (uint64_t)found;
}

void lane_check_clock(struct lane *lane, const struct clock_sample *sample, bool takeover)
{
	const struct clock_pair *pairs;
	unsigned n = journal_pairs(lane->journal, &pairs);
	struct clock_pair pair = {sample->boot, sample->wall};
	struct clock_pair old;
	uint64_t keep_from = sample->boot;

	if (!n) {
		/* The rings may be older than this process by a moment: the first pair holds from the beginning. */
		pair.wall -= (int64_t)pair.boot;
		pair.boot = 0;
		journal_add_pair(lane->journal, &pair, 0);
		return;
	}
	old = pairs[n - 1];
	if (!clock_stepped(&old, sample))
		return;
	if (takeover)
		pair.boot = date_step(lane, &old, sample);
	pair.wall = (int64_t)pair.boot + sample->wall - (int64_t)sample->boot;
	for (unsigned i = 0; i < lane->nrings; i++) {
		struct ring *ring = &lane->rings[i];

		if (ring_tail(ring) != ring_head(ring) && ring_record(ring, ring_tail(ring))->time < keep_from)
			keep_from = ring_record(ring, ring_tail(ring))->time;
	}
	for (unsigned side = 0; side < REC_SIDES; side++)
		if (lane->sides[side].present && lane->sides[side].balance.settled.sec * NS_PER_SEC < keep_from)
			keep_from = lane->sides[side].balance.settled.sec * NS_PER_SEC;
	journal_add_pair(lane->journal, &pair, keep_from);
	log_warn("%s: the wall clock stepped by %+.6f s", lane->info.iface,
		 (double)(clock_pair_offset(&pair) - clock_pair_offset(&old)) / 1e9);
	if (!takeover) /* else it is told with those before it */
		book_clock_step(lane->drainer, lane, &old, &pair);
}

/* A process that saw a step may have died before it had told of it: the steps that the journal knows are told once more. */
static void tell_steps(struct lane *lane)
{
	const struct clock_pair *pairs;
	unsigned n = journal_pairs(lane->journal, &pairs);

	for (unsigned i = 1; i < n; i++)
		book_clock_step(lane->drainer, lane, &pairs[i - 1], &pairs[i]);
}

uint64_t lane_first_second(const struct lane *lane)
{
	return lane->info.created / NS_PER_SEC;
}

/* The same for the beginning: told until it is known to be in the database. */
static void tell_start(struct lane *lane)
{
	if (!lane->info.resumed || journal_start_told(lane->journal))
		return;
	if (!journal_attached(lane->journal)) /* it died before it knew, or is of a former build */
		journal_set_attached(lane->journal, lane->info.created);
	messages_tell_start(lane->drainer, lane);
}

/* One of several interfaces may have been attached when another could not be. */
bool lane_has_begun(struct lane *lane)
{
	bool seen = false;

	if (journal_attached(lane->journal))
		return true;
	for (unsigned i = 0; i < REC_SIDES * lane->info.cpus; i++)
		seen |= lane->seconds[i].slot[lane->seconds[i].newest & (REC_SECONDS - 1)].sec != 0;
	if (seen) {
		journal_set_attached(lane->journal, lane->info.created);
		messages_tell_start(lane->drainer, lane);
	}
	return seen;
}

static int open_balance(struct lane *lane)
{
	for (unsigned side = 0; side < REC_SIDES; side++) {
		int err;

		if (!lane->info.mode[side][0])
			continue;
		err = balance_open(&lane->sides[side].balance, lane->journal, lane->seconds, lane->info.cpus, side,
				   lane_first_second(lane));
		if (err)
			return err;
		lane->sides[side].present = true;
		lane->sides[side].lane = lane;
	}
	return 0;
}

int lane_open(struct lane *lane)
{
	unsigned cpus = lane->info.cpus;
	struct clock_sample sample = clock_sample();
	int err;

	lane->source = (struct batch_source){
		.sensor = lane->drainer->settings->sensor,
		.iface = lane->info.iface,
		.cpus = cpus,
	};
	memcpy(lane->source.capture, lane->info.id, CAPTURE_ID_LEN);
	lane->desk = map_array(lane->map_fd[CAPTURE_DESK], (1 + REC_SIDES * (size_t)cpus) * sizeof(union rec_desk),
			       PROT_READ | PROT_WRITE, &lane->desk_bytes);
	lane->seconds = map_array(lane->map_fd[CAPTURE_SECONDS], REC_SIDES * (size_t)cpus * sizeof(struct rec_seconds),
				  PROT_READ, &lane->seconds_bytes);
	if (!lane->desk || !lane->seconds)
		return -errno;
	err = journal_open(&lane->journal, lane->map_fd[CAPTURE_JOURNAL], cpus, lane->info.id);
	if (!err)
		err = map_rings(lane);
	if (!err)
		err = open_balance(lane);
	if (err)
		return err;
	lane_check_clock(lane, &sample, true);
	tell_start(lane);
	tell_steps(lane);
	return pipeline_take_over(lane) ? 0 : -ENOMEM;
}

void lane_close(struct lane *lane)
{
	for (unsigned side = 0; side < REC_SIDES; side++)
		if (lane->sides[side].present)
			balance_close(&lane->sides[side].balance);
	for (unsigned i = 0; i < lane->nrings; i++)
		ring_unmap(&lane->rings[i]);
	free(lane->rings);
	free(lane->horizon_head);
	journal_close(lane->journal);
	if (lane->desk)
		munmap(lane->desk, lane->desk_bytes);
	if (lane->seconds)
		munmap(lane->seconds, lane->seconds_bytes);
	for (unsigned i = 0; lane->ring_fd && i < REC_SIDES * lane->info.cpus; i++)
		if (lane->ring_fd[i] >= 0)
			close(lane->ring_fd[i]);
	free(lane->ring_fd);
	for (unsigned i = 0; i < CAPTURE_MAPS; i++)
		if (lane->map_fd[i] >= 0)
			close(lane->map_fd[i]);
}
