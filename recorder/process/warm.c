/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/process/warm.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "recorder/capture/warm.h"
#include "recorder/core/clock.h"
#include "recorder/core/log.h"

struct warm {
	pthread_t thread;
	bool stop;
	struct capture_warm *list[KEEPER_CAPTURES];
	unsigned n;
};

static void *work(void *arg)
{
	struct warm *w = arg;
	uint64_t begin = clock_boot_ns();
	int more = 1;

	if (setpriority(PRIO_PROCESS, (id_t)gettid(), 19))
		log_debug("the thread that reads the rings has the priority of others: %s", strerror(errno));
	for (unsigned i = 0; i < w->n; i++)
		do {
			if (__atomic_load_n(&w->stop, __ATOMIC_RELAXED))
				return NULL;
			more = capture_warm_step(w->list[i]);
			if (more < 0)
				log_warn("the rings' pages cannot be read: %s; the first packets in each take longer", strerror(-more));
		} while (more > 0);
	log_debug("the rings' pages were read in %llu ms", (unsigned long long)(clock_boot_ns() - begin) / 1000000);
	return NULL;
}

static void release(struct warm *w)
{
	for (unsigned i = 0; i < w->n; i++)
		capture_warm_close(w->list[i]);
	free(w);
}

struct warm *warm_begin(const struct captures *captures)
{
	struct capture_error error = {""};
	struct warm *w = calloc(1, sizeof(*w));
	int err = w ? 0 : -ENOMEM;

	for (unsigned i = 0; !err && i < captures->n; i++) {
		err = capture_warm_open(&w->list[w->n], captures->list[i], &error);
		w->n += !err;
	}
	if (!err)
		err = -pthread_create(&w->thread, NULL, work, w);
	if (!err)
		return w;
	log_warn("%s; the first packets in each ring take longer", *error.text ? error.text : strerror(-err));
	if (w)
		release(w);
	return NULL;
}

void warm_end(struct warm *w)
{
	if (!w)
		return;
	__atomic_store_n(&w->stop, true, __ATOMIC_RELAXED);
	pthread_join(w->thread, NULL);
	release(w);
}
