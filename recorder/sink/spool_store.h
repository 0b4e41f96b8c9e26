/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * spool_store.h - the spool's directory: records go in at one end, durable when spool_store_append returns, and come
 * out at the other in the same order. Any thread; one reader at a time.
 *
 * Files are segments (spool_file.h) of about 64 MB. One fdatasync serves everybody who waits for it: who comes while
 * one runs waits for the next. A segment goes when all of it is committed. One with damage in it is read as far as it
 * can be, then kept aside as <name>.corrupt; nobody removes that but a person.
 *
 * Nothing is ever half kept: what cannot be written and synced whole is cut off again and the caller told so.
 */
#ifndef XDP_RECORDER_SINK_SPOOL_STORE_H
#define XDP_RECORDER_SINK_SPOOL_STORE_H

#include "recorder/sink/spool_file.h"

struct spool_store;

struct spool_store_options {
	int dir;	      /* descriptor of the directory; taken over */
	const char *name;     /* for messages */
	uint64_t bytes;	      /* of all segments, at most */
	uint64_t keep_free;   /* bytes that stay free in the file system */
	size_t segment_bytes; /* 0: 64 MiB */
};

/* 0 or -errno with a log line. Torn ends are cut, what is no segment is kept aside. */
int spool_store_open(struct spool_store **store, const struct spool_store_options *options);
void spool_store_close(struct spool_store *store);

/*
 * `bytes` begin with room for a head; the payload is behind it. `head` says what it is; its lengths and checksums are
 * filled in. 0: durable. -ENOSPC (the size or the free space is used up), or what the file system says: then nothing of
 * it is kept.
 */
int spool_store_append(struct spool_store *store, const struct spool_head *head, uint8_t *bytes, size_t payload);

/* The oldest record that was not handed out. Its payload is malloced, unpacked by the caller. */
struct spool_record {
	struct spool_head head;
	uint8_t *payload;
	bool inherited; /* a former process wrote it, and may have sent it */
};
/* 1; 0: there is none; -EIO: damage was found and passed by, ask again; -ENOMEM. */
int spool_store_next(struct spool_store *store, struct spool_record *record);
/* What was handed out and is not committed is handed out once more. */
void spool_store_rewind(struct spool_store *store);
/* Everything that was handed out is acknowledged. */
void spool_store_commit(struct spool_store *store);

/* Is this batch in it, whole? Reads the disk: at start only. */
bool spool_store_holds(struct spool_store *store, const uint8_t capture[CAPTURE_ID_LEN], uint64_t number,
		       const uint8_t digest[DIGEST_LEN]);

struct spool_store_counts {
	uint64_t bytes, segments;	      /* on disk now */
	uint64_t batches, packets, documents; /* not committed yet */
	uint64_t appended, appended_bytes;    /* records, since it was opened; bytes as they stand on disk */
	uint64_t syncs;
	uint64_t refused;	       /* appends that found no room */
	uint64_t torn, damaged, aside; /* ends that were cut; places; files kept aside */
	int error;		       /* of the newest append: 0 or errno */
	uint64_t room;		       /* bytes that may still come, by size and by free space */
};
void spool_store_counts(struct spool_store *store, struct spool_store_counts *counts);

#endif
