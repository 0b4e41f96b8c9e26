/* SPDX-License-Identifier: GPL-2.0-or-later */
/* spool_store_internal.h - spool_store.c: append, read; spool_scan.c: what a former process left. */
#ifndef XDP_RECORDER_SINK_SPOOL_STORE_INTERNAL_H
#define XDP_RECORDER_SINK_SPOOL_STORE_INTERNAL_H

#include <pthread.h>

#include "recorder/sink/spool_store.h"

/* All offsets are bytes from the file's beginning: done <= read <= synced <= written. */
struct segment {
	struct segment *next;
	uint64_t sequence;
	int fd;
	uint64_t written; /* the file's length */
	uint64_t synced;  /* of it on the disk */
	uint64_t read;	  /* handed out */
	uint64_t done;	  /* committed */
	unsigned users;	  /* who wait for the disk */
	int failed;	  /* errno of an fdatasync */
	bool syncing;
	bool full;	/* nothing more is written into it */
	bool inherited; /* a former process wrote it */
	bool damaged;
};

struct spool_store {
	int dir;
	const char *name;
	uint64_t most, keep_free;
	size_t segment_bytes;

	pthread_mutex_t lock; /* held over a write into the page cache, never over a sync but that of a new file */
	pthread_cond_t synced;
	struct segment *first, *last, *writing; /* oldest first; writing: NULL or the last */
	uint64_t next_sequence;
	struct spool_store_counts counts;
};

struct segment *segment_add(struct spool_store *s, uint64_t sequence, int fd);
void segment_free(struct spool_store *s, struct segment *segment);
/* As spool_look, but that the payload is not read. */
enum spool_found segment_look(const struct segment *segment, uint64_t at, uint64_t end, struct spool_head *head,
			      uint64_t *next);
/* The next sound head from `from` on, or `end`. */
uint64_t segment_resync(const struct segment *segment, uint64_t from, uint64_t end);
void count_in_locked(struct spool_store *s, const struct spool_head *head, int sign);

/* Lists the directory: segments, oldest first. */
int spool_store_scan(struct spool_store *s);

#endif
