/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * turns.h - who computes, with much memory, takes turns: as many at once as there are CPUs, since more would not be sooner done
 * and each has memory of its own. Threads may wait; who has a turn never waits for another one.
 */
#ifndef XDP_RECORDER_CORE_TURNS_H
#define XDP_RECORDER_CORE_TURNS_H

#include <semaphore.h>

struct turns {
	sem_t free;
};

/* As many turns as CPUs that this thread may run on, but two at least (one may wait for the disk) and `most` at most. */
void turns_begin(struct turns *turns, unsigned most);
void turns_end(struct turns *turns);

/* Waits until one is free. */
void turns_take(struct turns *turns);
void turns_give(struct turns *turns);

#endif
