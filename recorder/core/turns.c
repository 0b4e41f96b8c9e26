/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/core/turns.h"

#include <errno.h>

void turns_begin(struct turns *turns, unsigned most)
{
	sem_init(&turns->free, 0, most);
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
