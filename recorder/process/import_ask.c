/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Questions to the database and small writes: several at once on workers, again until there is an answer. */
#include <errno.h>
#include <stdio.h>

#include "recorder/core/log.h"
#include "recorder/process/import_internal.h"

#define TRY_AGAIN_MS 500u

struct import_request *import_request_new(struct import_file *file,
					  enum db_result (*ask)(struct import_request *request, struct db_problem *problem))
{
	struct import_request *request = calloc(1, sizeof(*request));

	if (!request) {
		snprintf(file->problem, sizeof(file->problem), "%s: out of memory", file->path);
		return NULL;
	}
	request->file = file;
	request->ask = ask;
	request->result = DB_LATER;
	return request;
}

static void request_free(struct import_request *request)
{
	for (size_t i = 0; i < request->count; i++)
		bson_destroy(request->documents[i]);
	free(request);
}

static void request_work(uv_work_t *work)
{
	struct import_request *request = work->data;

	memset(&request->problem, 0, sizeof(request->problem));
	request->result = request->ask(request, &request->problem);
}

static void request_done(uv_work_t *work, int status)
{
	struct import_request *request = work->data;

	(void)status;
	--*request->waiting;
}

/* Those that have no answer yet are asked, all at once. */
static void ask_all(struct import *im, struct import_request **requests, unsigned n)
{
	unsigned waiting = 0;

	for (unsigned i = 0; i < n; i++) {
		if (requests[i]->result == DB_OK)
			continue;
		waiting++;
		requests[i]->waiting = &waiting;
		requests[i]->work.data = requests[i];
		uv_queue_work(&im->loop, &requests[i]->work, request_work, request_done);
	}
	while (waiting)
		uv_run(&im->loop, UV_RUN_ONCE);
}

/* The first that is not answered well, NULL: none. */
static const struct import_request *worst(struct import_request *const *requests, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (requests[i]->result != DB_OK)
			return requests[i];
	return NULL;
}

int import_insist(struct import_file *file, struct import_request **requests, unsigned n)
{
	static struct log_limit limit;
	const struct import_request *bad;
	unsigned tries = 0;
	int err = -EAGAIN;

	while (err == -EAGAIN && !import_ends(file)) {
		ask_all(file->import, requests, n);
		bad = worst(requests, n);
		if (!bad) {
			err = 0;
		} else if (bad->result == DB_CANCELLED) {
			err = -ECANCELED;
		} else if (bad->result == DB_FATAL || bad->result == DB_DENIED || bad->result == DB_REFUSED) {
			snprintf(file->problem, sizeof(file->problem), "%s: %.250s", file->path, bad->problem.text);
			err = -EIO;
		} else {
			/* Making a year's collections may take longer than one call has. */
			if (++tries > 1) {
				file->import->view->clear(file->import->view->arg);
				log_limited(&limit, 10, LOG_WARNING, "%s; trying again", bad->problem.text);
			}
			import_pause(file->import, TRY_AGAIN_MS);
		}
	}
	for (unsigned i = 0; i < n; i++)
		request_free(requests[i]);
	return err == -EAGAIN ? -ECANCELED : err;
}
