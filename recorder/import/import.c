/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The import from its beginning to its end:
 *
 *   files opened, program loaded   with the rights of the caller
 *   rights dropped
 *   database opened and migrated
 *   each file: read once (hash, faults, counts); locked; what the database knows of it; read again, batches written;
 *   balance and event written
 */
#include "recorder/import/import.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/import/internal.h"

#define STOP_MS 10000u /* what is on its way when a signal comes has so long */

/* ---- signals ------------------------------------------------------------------------------------------------------ */

static void give_up(struct import *im)
{
	im->cancelled = true;
	if (im->db)
		db_cancel(im->db);
}

static void on_deadline(uv_timer_t *timer)
{
	give_up(timer->data);
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct import *im = handle->data;

	(void)number;
	if (++im->signals == 1 && im->forming)
		uv_timer_start(&im->deadline, on_deadline, STOP_MS, 0);
	else
		give_up(im);
}

static void handles_open(struct import *im)
{
	uv_loop_init(&im->loop);
	uv_signal_init(&im->loop, &im->interrupt);
	uv_signal_init(&im->loop, &im->terminate);
	uv_timer_init(&im->loop, &im->deadline);
	uv_timer_init(&im->loop, &im->pause);
	im->interrupt.data = im->terminate.data = im->deadline.data = im;
	uv_signal_start(&im->interrupt, on_signal, SIGINT);
	uv_signal_start(&im->terminate, on_signal, SIGTERM);
}

static void handles_close(struct import *im)
{
	uv_close((uv_handle_t *)&im->interrupt, NULL);
	uv_close((uv_handle_t *)&im->terminate, NULL);
	uv_close((uv_handle_t *)&im->deadline, NULL);
	uv_close((uv_handle_t *)&im->pause, NULL);
	uv_run(&im->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&im->loop))
		log_error("the loop was left with open handles");
}

/* ---- one file ------------------------------------------------------------------------------------------------------- */

/* 0; -ECANCELED; another -errno, said or in file->problem. */
static int import_one(struct import_file *file)
{
	struct import *im = file->import;
	int err = import_file_read(file);

	if (err)
		return err;
	file->lock = import_lock(im, file, file->problem, sizeof(file->problem));
	if (file->lock < 0)
		return file->lock;
	file->storage = im->storage;
	err = import_look_up(file);
	file->result.again = file->begun;
	if (!err)
		err = import_begin(file);
	if (!err) {
		im->forming = true;
		mongo_sink_set_storage(im->sink, &file->storage);
		err = import_form(file);
		import_drop_flights(file);
		import_storage_tell(file);
		im->forming = false;
	}
	file->result.formed = true;
	if (!err)
		err = import_finish(file);
	return err;
}

static bool import_and_tell(struct import_file *file)
{
	struct import_result *result = &file->result;
	const struct import_view *view = file->import->view;
	int err = import_one(file);

	import_unlock(file->import, file);
	view->clear(view->arg);
	if (file->problem[0])
		log_error("%s", file->problem);
	else if (!err && file->torn)
		log_warn("%s; everything before it is imported", file->tear);
	result->end = file->problem[0]				? IMPORT_FAILED
		      : err == -ECANCELED && file->import->signals ? IMPORT_STOPPED
		      : err					? IMPORT_FAILED
		      : file->torn				? IMPORT_TORN
								: IMPORT_COMPLETE;
	if (result->end == IMPORT_STOPPED && result->formed)
		log_warn("%s: interrupted: %llu of %llu packets are stored; importing it again continues", file->path,
			 (unsigned long long)result->stored, (unsigned long long)file->total);
	result->formed &= result->end == IMPORT_COMPLETE || result->end == IMPORT_TORN;
	view->result(view->arg, result);
	return result->end == IMPORT_COMPLETE;
}

/* ---- all ------------------------------------------------------------------------------------------------------------ */

/* Each file has a descriptor from the beginning: later there is no right to open it. */
static void allow_descriptors(size_t files)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > files + 100)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int load_program(struct import *im)
{
	struct capture_error error;
	int err = im->settings->native ? 0 : capture_run_open(&im->run, im->filter, 0, &error);

	if (err)
		log_error("%s; --native parses in user space", error.text);
	return err;
}

static bool import_all(struct import *im, struct import_file *files, size_t count)
{
	char threads[16];
	bool all = true;

	if (load_program(im))
		return false;
	im->locks = import_lock_dir(im->settings);
	if (import_drop_rights(im->settings, im->run != NULL))
		return false;
	snprintf(threads, sizeof(threads), "%u", IMPORT_FLIGHTS + 2);
	setenv("UV_THREADPOOL_SIZE", threads, 1);
	if (import_database_open(im))
		return false;
	for (size_t i = 0; i < count && !im->signals; i++) {
		if (files[i].fd >= 0)
			all &= import_and_tell(&files[i]);
		import_file_close(&files[i]);
	}
	return all && !im->signals;
}

bool import_run(const struct settings *settings, const struct import_view *view)
{
	struct import im = {.settings = settings, .view = view, .locks = -1};
	size_t count = settings->arguments.count;
	CLEANUP_FREE struct import_file *files = calloc(count, sizeof(*files));
	struct filter_error error;
	bool all = files, missing = false;

	if (settings->filter && filter_compile(&im.filter, settings->filter, &error)) {
		log_error("%s", error.text);
		return false;
	}
	im.database = settings->origin[SETTING_database].source == FROM_DEFAULT ? "recorder_import" : settings->database;
	allow_descriptors(count);
	for (size_t i = 0; files && i < count; i++) {
		int err = import_file_open(&files[i], &im, settings->arguments.items[i]);

		all &= !err;
		missing |= err == -ENOENT;
	}
	/* The words of a filter without -- would be files that are not there, and the others would come in whole. */
	if (missing)
		log_error("nothing is imported: all files must be there; the words of a filter stand behind --");
	handles_open(&im);
	all &= files && !missing && import_all(&im, files, count);
	handles_close(&im);
	for (size_t i = 0; files && i < count; i++)
		import_file_close(&files[i]);
	import_database_close(&im);
	capture_run_close(im.run);
	filter_free(im.filter);
	if (im.locks >= 0)
		close(im.locks);
	return all;
}
