/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/core/turns.h"

#include <errno.h>
#include <sched.h>

void turns_begin(struct turns *turns, unsigned most)
{
	cpu_set_t cpus;
	int n = sched_getaffinity(0, sizeof(cpus), &cpus) ? 2 : CPU_COUNT(&cpus); /* fails beyond 1,024 CPUs */

	n = n < 2 ? 2 : n;
	sem_init(&turns->free, 0, (unsigned)n < most ? (unsigned)n : most);
}

void turns_end(struct turns *turns)
{
	sem_destroy(&turns->free);
}

void turns_take(struct turns *turns)
{
	while (sem_wait(&turns->free) && errno == EINTR)
		;
}

void turns_give(struct turns *turns)
{
	sem_post(&turns->free);
}
