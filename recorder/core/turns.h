/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * turns.h - what takes much memory is done by few at once; the others wait. Who has a turn waits for nobody else's.
 */
#ifndef XDP_RECORDER_CORE_TURNS_H
#define XDP_RECORDER_CORE_TURNS_H

#include <semaphore.h>

struct turns {
	sem_t free;
};

/* `most` at once. */
void turns_begin(struct turns *turns, unsigned most);
void turns_end(struct turns *turns);

/* Waits until one is free. */
void turns_take(struct turns *turns);
void turns_give(struct turns *turns);

#endif
