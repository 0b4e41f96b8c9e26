/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * turns.h - what takes much memory is done by few at once; the others wait. Who has a turn waits for nobody else's. The memory is
 * left to the next one.
 */
#ifndef XDP_RECORDER_CORE_TURNS_H
#define XDP_RECORDER_CORE_TURNS_H

#include <pthread.h>

#define TURNS 2u /* at once */

struct turns {
	pthread_mutex_t lock; /* held for a few instructions */
	pthread_cond_t given;
	unsigned free, nleft;
	void *left[TURNS];
};

void turns_begin(struct turns *turns);
/* Nobody has a turn, and nothing is left (turns_left). */
void turns_end(struct turns *turns);

/* Waits until one is free; what somebody left behind, or NULL. */
void *turns_take(struct turns *turns);
/* Leaves `thing`, NULL: nothing, to the next one. */
void turns_give(struct turns *turns, void *thing);
/* Before turns_end, when nobody has a turn: takes one out of what was left, NULL: there is none. */
void *turns_left(struct turns *turns);

#endif
