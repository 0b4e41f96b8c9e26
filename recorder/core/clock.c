/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_DAY (86400ll * (int64_t)NS_PER_SEC)

static atomic_int inject_fd = -1;

static int64_t read_clock(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * (int64_t)NS_PER_SEC + t.tv_nsec;
}

/* The injected offset; a file that is short or gone counts as no offset. */
static int64_t injected(void)
{
	int fd = atomic_load(&inject_fd);
	int64_t offset;

	if (fd < 0 || pread(fd, &offset, sizeof(offset), 0) != (ssize_t)sizeof(offset))
		return 0;
	return offset;
}

uint64_t clock_boot_ns(void)
{
	return (uint64_t)read_clock(CLOCK_BOOTTIME);
}

int64_t clock_wall_ns(void)
{
	return read_clock(CLOCK_REALTIME) + injected();
}

struct clock_sample clock_sample(void)
{
	struct clock_sample best = {.error = UINT32_MAX};
	int64_t offset = injected();

	for (int i = 0; i < 5; i++) {
		int64_t before = read_clock(CLOCK_BOOTTIME);
		int64_t wall = read_clock(CLOCK_REALTIME);
		int64_t after = read_clock(CLOCK_BOOTTIME);
		uint32_t error = (uint32_t)((after - before + 1) / 2);

		if (error >= best.error)
			continue;
		best.boot = (uint64_t)(before + (after - before) / 2);
		best.wall = wall + offset;
		best.error = error;
	}
	return best;
}

int clock_stepped(const struct clock_pair *p, const struct clock_sample *s)
{
	int64_t drift = s->wall - (int64_t)s->boot - clock_pair_offset(p);

	return (drift < 0 ? -drift : drift) > 1000 + (int64_t)s->error;
}

int clock_inject(const char *path)
{
	int fd = -1, old;

	if (path) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
	}
	old = atomic_exchange(&inject_fd, fd);
	if (old >= 0)
		close(old);
	return 0;
}

/*
 * Days since 1970 <-> civil date, for every year: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
 */
static int64_t days_from_civil(int64_t y, unsigned m, unsigned d)
{
	int64_t era;
	unsigned yoe, doy, doe;

	y -= m <= 2;
	era = (y >= 0 ? y : y - 399) / 400;
	yoe = (unsigned)(y - era * 400);
	doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
	doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
	return era * 146097 + (int64_t)doe - 719468;
}

static uint32_t civil_from_days(int64_t z)
{
	int64_t era, y;
	unsigned doe, yoe, doy, mp, d, m;

	z += 719468;
	era = (z >= 0 ? z : z - 146096) / 146097;
	doe = (unsigned)(z - era * 146097);
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	y = (int64_t)yoe + era * 400;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	mp = (5 * doy + 2) / 153;
	d = doy - (153 * mp + 2) / 5 + 1;
	m = mp < 10 ? mp + 3 : mp - 9;
	y += m <= 2;
	return (uint32_t)(y * 10000 + m * 100 + d);
}

uint32_t clock_day(int64_t wall_ns)
{
	int64_t days = wall_ns / NS_PER_DAY;

	if (wall_ns % NS_PER_DAY < 0)
		days--;
	return civil_from_days(days);
}

int64_t clock_day_start(uint32_t day)
{
	return days_from_civil(day / 10000, day / 100 % 100, day % 100) * NS_PER_DAY;
}

uint32_t clock_next_day(uint32_t day)
{
	return clock_day(clock_day_start(day) + NS_PER_DAY);
}
