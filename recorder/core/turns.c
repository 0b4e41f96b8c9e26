/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/core/turns.h"

#include <stddef.h>

void turns_begin(struct turns *turns)
{
	*turns = (struct turns){.free = TURNS};
	pthread_mutex_init(&turns->lock, NULL);
	pthread_cond_init(&turns->given, NULL);
}

void turns_end(struct turns *turns)
{
	pthread_cond_destroy(&turns->given);
	pthread_mutex_destroy(&turns->lock);
}

void *turns_left(struct turns *turns)
{
	return turns->nleft ? turns->left[--turns->nleft] : NULL;
}

void *turns_take(struct turns *turns)
{
	void *thing;

	pthread_mutex_lock(&turns->lock);
	while (!turns->free)
		pthread_cond_wait(&turns->given, &turns->lock);
	turns->free--;
	thing = turns_left(turns);
	pthread_mutex_unlock(&turns->lock);
	return thing;
}

/* Under one lock with what is taken, so there are never more things than turns. */
void turns_give(struct turns *turns, void *thing)
{
	pthread_mutex_lock(&turns->lock);
	if (thing)
		turns->left[turns->nleft++] = thing;
	turns->free++;
	pthread_cond_signal(&turns->given);
	pthread_mutex_unlock(&turns->lock);
}
