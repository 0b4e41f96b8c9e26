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

/* It works a fifth of the time, so that a machine on which pages are dear has time for others. */
#define TURN_NS 1000000u
#define REST 4u

struct warm {
	pthread_t thread;
	bool stop;
	struct capture_warm *list[KEEPER_CAPTURES]; /* the thread's, until it is joined; NULL: done with */
	unsigned n;
};

/* Whether all pages of the capture were read; not where it failed, or was stopped. */
static bool read_all(const struct warm *w, struct capture_warm *capture)
{
	uint64_t began = clock_boot_ns(), worked;
	int more = 1;

	while (more == 1 && !__atomic_load_n(&w->stop, __ATOMIC_RELAXED)) {
		more = capture_warm_step(capture);
		worked = clock_boot_ns() - began;
		if (worked < TURN_NS)
			continue;
		usleep((useconds_t)(worked / 1000 * REST));
		began = clock_boot_ns();
	}
	if (more < 0)
		log_warn("the rings' pages cannot be read: %s; the first packets in each take longer", strerror(-more));
	return more == 0;
}

static void *work(void *arg)
{
	struct warm *w = arg;
	uint64_t begin = clock_boot_ns(), pages = 0;
	bool all = true;

	if (setpriority(PRIO_PROCESS, (id_t)gettid(), 19))
		log_debug("the thread that reads the rings has the priority of others: %s", strerror(errno));
	for (unsigned i = 0; all && i < w->n; i++) {
		all = read_all(w, w->list[i]);
		pages += capture_warm_pages(w->list[i]);
		capture_warm_close(w->list[i]); /* ten descriptors that the keeper may need */
		w->list[i] = NULL;
	}
	if (all)
		log_debug("the rings' %llu pages were read in %llu ms", (unsigned long long)pages,
			  (unsigned long long)(clock_boot_ns() - begin) / 1000000);
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

void warm_stop(struct warm *w)
{
	if (w)
		__atomic_store_n(&w->stop, true, __ATOMIC_RELAXED);
}

void warm_end(struct warm *w)
{
	if (!w)
		return;
	warm_stop(w);
	pthread_join(w->thread, NULL);
	release(w);
}
