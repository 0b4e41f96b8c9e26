/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * import.h - capture files into the database, as a live capture would have been written (DESIGN.md section 10).
 *
 * Exactly once: a capture's id is made from the file's bytes, and batches are cut by what is in the file alone, so an import
 * that was interrupted, or is done once more, forms the same batches and adds what is missing.
 */
#ifndef XDP_RECORDER_IMPORT_H
#define XDP_RECORDER_IMPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "recorder/settings/settings.h"

enum import_end {
	IMPORT_COMPLETE,
	IMPORT_FAILED,	/* said in the log; nothing, or not all of it, is stored */
	IMPORT_STOPPED, /* by a signal: importing it again goes on */
	IMPORT_TORN,	/* the file is cut off: all packets before that are stored */
};

/* One file's result. */
struct import_result {
	enum import_end end;
	const char *path; /* as it was named */
	bool formed;	  /* the counts below are there */
	bool again;	  /* it had been imported before, at least in part */
	uint64_t packets, bytes; /* in the file, wire lengths */
	uint64_t stored;	 /* of them: in the database now */
	uint64_t added;		 /* of them: put there by this call */
	uint64_t filtered;
	uint64_t lost;
	uint64_t native;	/* parsed in user space */
	int64_t first, last;	/* wall times, ns */
	const char *database;	/* its name */
	uint32_t first_year, last_year; /* 0: no packet was stored */
};

/* How far it is; called often. */
struct import_progress {
	const char *path;
	bool reading;		 /* first pass: nothing is stored yet */
	uint64_t done, size;	 /* bytes of the file; size 0: not known */
	uint64_t packets, total; /* stored or filtered, in the file */
};

struct import_view {
	void *arg;
	void (*progress)(void *arg, const struct import_progress *progress);
	void (*clear)(void *arg); /* a line is about to be logged */
	void (*result)(void *arg, const struct import_result *result);
};

/* Imports settings->arguments one after the other. True when all of them are complete. */
bool import_run(const struct settings *settings, const struct import_view *view);

#endif
