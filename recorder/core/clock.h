/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * clock.h - the only place that reads a clock.
 *
 * Records carry CLOCK_BOOTTIME. Wall time is boot time plus the offset of the *pair in force*; between steps of the
 * wall clock the offset is constant (both clocks are steered alike), so a pair changes only on a step. The wall
 * clock can be injected for tests: a file holding a signed 64-bit number of ns that is added to CLOCK_REALTIME and read again
 * at every sample (clock_inject). Nothing else in the program may call clock_gettime for wall time.
 */
#ifndef XDP_RECORDER_CORE_CLOCK_H
#define XDP_RECORDER_CORE_CLOCK_H

#include <stdint.h>

#define NS_PER_SEC 1000000000ull

/* Wall time (UTC, ns since 1970) of a record is time + (wall - boot). */
struct clock_pair {
	uint64_t boot; /* in force from this boot time on, ns */
	int64_t wall;  /* wall time at that moment, ns */
};

/* One reading of both clocks. `error` is the half width of the reading: the two were read within 2 * error ns. */
struct clock_sample {
	uint64_t boot;
	int64_t wall;
	uint32_t error;
};

uint64_t clock_boot_ns(void);
int64_t clock_wall_ns(void);

/* Reads both clocks, the best of five tries. */
struct clock_sample clock_sample(void);

static inline int64_t clock_pair_offset(const struct clock_pair *p)
{
	return p->wall - (int64_t)p->boot;
}

/* True when `s` cannot belong to pair `p`: the offsets differ by more than 1 us beyond the sampling error. */
int clock_stepped(const struct clock_pair *p, const struct clock_sample *s);

/* The injected offset is read from `path` from now on; NULL ends it. 0 or -errno. */
int clock_inject(const char *path);

/* A wall time as whole ms, rounded down, and the ns behind them (0..999999): what a BSON date and an int32 hold. */
static inline int64_t clock_ms(int64_t wall)
{
	return wall / 1000000 - (wall % 1000000 < 0);
}

static inline int32_t clock_ms_rest(int64_t wall)
{
	int32_t ns = (int32_t)(wall % 1000000);

	return ns < 0 ? ns + 1000000 : ns;
}

/* UTC day of a wall time as the number YYYYMMDD; works for times before 1970. */
uint32_t clock_day(int64_t wall_ns);
/* First ns of that day. */
int64_t clock_day_start(uint32_t yyyymmdd);
/* The day after. */
uint32_t clock_next_day(uint32_t yyyymmdd);

#endif
