/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * internal.h - the import's parts.
 *
 *   import.c  the order of things: files opened, privileges dropped, database opened, one file after the other
 *   file.c    a file: opened, read once for its identity and its faults
 *   form.c    packets -> records -> batches, by what is in the file alone
 *   flight.c  batches on their way: prepared and written on workers, in number order of their chain
 *   rows.c    what became of each second
 *   ask.c     questions to the database, until they are answered
 *   book.c    what the database knows of this import already; events, sensor, balance
 *   storage.c documents or finished buckets
 *   rights.c  who this process is; one import of a file at a time
 *
 * One thread, the loop's, has everything; workers get a flight or a call and return it.
 */
#ifndef XDP_RECORDER_IMPORT_INTERNAL_H
#define XDP_RECORDER_IMPORT_INTERNAL_H

#include <openssl/evp.h>
#include <uv.h>

#include "recorder/capture/run.h"
#include "recorder/import/import.h"
#include "recorder/sink/mongo.h"
#include "recorder/source/savefile.h"

/* Part of the captures' ids: a change of how batches are cut makes other captures. */
#define IMPORT_VERSION 2u
#define IMPORT_BATCH 65536u /* packets, at most: buckets in flow order gain from many */
#define IMPORT_FLIGHTS 8u   /* batches on their way: see flight.c for what follows from it */
#define IMPORT_FLIGHT_PACKETS (2 * IMPORT_BATCH) /* and no further one while so many packets are in them */
#define IMPORT_OPEN_MOST 1024u /* batches being filled: one for each interface and hour, see form.c */
#define IMPORT_OPEN_BYTES (32u << 20) /* and so many bytes of records in all of them */
#define HASH_LEN 32

struct import_rows;
struct import_open;

struct import {
	const struct settings *settings;
	const struct import_view *view;
	const char *database;
	uv_loop_t loop;
	uv_signal_t interrupt, terminate;
	uv_timer_t deadline; /* after a signal: what is on its way is given up */
	unsigned signals;
	bool forming; /* what is on its way after a signal is worth waiting for */
	bool cancelled;
	uv_timer_t pause;
	uint8_t years[10000 / 8]; /* whose collections are there */
	struct db *db;
	struct days *days;
	struct migrations migrations;
	struct ends_table *ends;
	struct sink *sink;
	struct probe_storage storage; /* what the server takes, and --storage says */
	struct mongo_sink_counts counts; /* up to the end of the file before */
	struct filter *filter;
	struct capture_run *run; /* NULL: parsed natively */
	int locks;		 /* directory of the locks, -1: none, then the files themselves are locked */
};

/* One interface of the file. */
struct import_capture {
	char iface[64];
	struct batch_source source;
	uint64_t packets;   /* in the file */
	uint64_t next;	    /* number of the next batch, 0 before the first */
	uint64_t known;	    /* highest number that the ledger had before */
	uint8_t chain[DIGEST_LEN];
	struct import_flight *first, *last; /* in number order */
};

struct import_file {
	struct import *import;
	const char *path;
	char sensor[256];
	char format[32];
	int fd;		/* seekable; -1 when it could not be opened */
	int lock;
	uint64_t size;	/* bytes of the file as it is */
	uint8_t hash[HASH_LEN]; /* of the uncompressed bytes */
	uint64_t bytes;		/* uncompressed */
	uint8_t id[CAPTURE_ID_LEN];
	struct import_capture *captures;
	unsigned ncaptures;
	bool torn;
	char tear[300];
	uint64_t total; /* packets in it, by the first pass */

	bool begun;    /* a former import of it was, at least */
	bool complete; /* a former one was completed */
	struct probe_storage storage; /* as it is written */

	struct import_open *open; /* batches that are being filled, by when they were begun */
	unsigned nopen;
	size_t open_bytes; /* of records in them */
	unsigned flights;
	uint64_t flying; /* packets in them */
	char problem[300]; /* it cannot go on */
	struct import_rows *rows;
	uint64_t native, attempted;
	struct import_result result;
	uint64_t said_ns; /* progress */
};

/* A batch between closed and settled. */
enum import_state { IMPORT_PREPARING, IMPORT_PREPARED, IMPORT_WRITING, IMPORT_WAITING, IMPORT_SETTLED };

struct import_flight {
	uv_work_t work;
	uv_timer_t again;
	struct import_file *file;
	struct import_capture *capture;
	struct import_flight *next;
	struct batch *batch;
	uint8_t *arena; /* its records */
	struct sink_job *job;
	enum import_state state;
	bool asked; /* the ledger was asked for it */
	bool there; /* and had it */
	int error;
	enum sink_outcome outcome;
	struct sink_report report;
	uint32_t found; /* documents that a former import had put there */
	bool read;      /* that is known */
};

/* rights.c */
/* Only CAP_BPF is kept (`bpf`), or nothing; the user becomes -Z's when root. 0 or -errno, said. */
int import_drop_rights(const struct settings *settings, bool bpf);
/* Before rights are dropped. -1 when this user may not; that is no error. */
int import_lock_dir(const struct settings *settings);
/* The descriptor that holds it; -EBUSY or another -errno with a line in `problem`. */
int import_lock(const struct import *import, const struct import_file *file, char *problem, size_t size);
void import_unlock(const struct import *import, struct import_file *file);

/* file.c */
/* Opens it; what cannot be read twice is copied to a temporary file (by import_file_read). 0 or -errno, said. */
int import_file_open(struct import_file *file, struct import *import, const char *path);
/* The first pass: hash, ids, link types, counts. 0 or -errno, said; -ECANCELED when a signal came. */
int import_file_read(struct import_file *file);
/* From its first byte, with a descriptor of its own. 0 or -errno, said. */
int import_file_rewind(const struct import_file *file, struct savefile **savefile);
void import_file_close(struct import_file *file);
void import_say(struct import_file *file, bool reading, uint64_t done, uint64_t packets, bool now);

/* form.c */
/* The second pass, up to the last batch on its way. 0; -errno, said; -ECANCELED. */
int import_form(struct import_file *file);

/* flight.c */
/* Takes the batch and its arena over. */
void import_launch(struct import_file *file, struct import_capture *capture, struct batch *batch, uint8_t *arena);
/* Turns the loop until there is room for another (`all`: until none is on its way), or it cannot go on. */
void import_wait(struct import_file *file, bool all);
/* Waits until no worker has one, and forgets what is not settled. */
void import_drop_flights(struct import_file *file);
/* The same for a time, or until a signal comes. */
void import_pause(struct import *import, unsigned ms);
/* Runs `call` on a worker and turns the loop meanwhile. */
void import_on_worker(struct import *import, void (*call)(void *arg), void *arg);
/* A signal came, or it cannot go on. */
bool import_ends(const struct import_file *file);

/* storage.c */
/* What the server takes; worker. DB_OK with import->storage, or as probe_storage. */
enum db_result import_storage_probe(struct import *import, struct db_problem *problem);
/* "buckets" or "documents" */
const char *import_storage_name(const struct import_file *file);
/* A former import was begun with that name; worker. DB_FATAL: it cannot go on so; else as probe_storage. */
enum db_result import_storage_as_begun(struct import_file *file, const char *begun, struct db_problem *problem);
/* Sets how a batch is to be written whose records are of that hour since 1970; its year has its collections. */
void import_storage_of(const struct import_file *file, struct batch *batch, int64_t hour);
/* Says what was refused since the file before. */
void import_storage_tell(struct import_file *file);

/* rows.c */
struct import_rows *import_rows_new(void);
void import_rows_free(struct import_rows *rows);
/* 0 or -ENOMEM. */
int import_rows_add(struct import_rows *rows, unsigned capture, unsigned side, uint64_t sec, enum rec_term term,
		    uint32_t bytes);
struct import_row {
	uint64_t sec;
	uint32_t capture;
	uint32_t side;
	struct rec_count stored, filtered, lost;
};
/* Ascending by year, capture, side, second; ends the adding. Returns the end. */
const struct import_row *import_rows_sorted(struct import_rows *rows, const struct import_row **sorted);

/* ask.c */
#define IMPORT_REQUEST 1000u /* documents, at most */
/* One question or write, done by a worker. */
struct import_request {
	struct import_file *file;
	enum db_result (*ask)(struct import_request *request, struct db_problem *problem);
	uv_work_t work;
	unsigned *waiting; /* requests on workers */
	enum db_result result;
	struct db_problem problem;
	/* of the asks */
	uint32_t year;
	const char *family;
	bson_t *documents[IMPORT_REQUEST];
	size_t count;
};
/* NULL with file->problem: out of memory. */
struct import_request *import_request_new(struct import_file *file,
					  enum db_result (*ask)(struct import_request *request, struct db_problem *problem));
/* Asks until all are answered. Frees them. 0; -ECANCELED; -EIO with file->problem. */
int import_insist(struct import_file *file, struct import_request **requests, unsigned n);

/* book.c. Each: 0; -errno with file->problem set; -ECANCELED. The first says it. */
int import_database_open(struct import *import);
void import_database_close(struct import *import);
int import_look_up(struct import_file *file); /* begun, complete, known */
int import_begin(struct import_file *file);   /* collections of a year are made when its first batch comes */
int import_year(struct import_file *file, uint32_t year);
int import_finish(struct import_file *file);

#endif
