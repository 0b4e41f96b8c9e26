/* SPDX-License-Identifier: GPL-2.0-or-later */
/* file_internal.h - the file sink's parts: file.c (whose turn, durability), file_put.c (bytes out), file_scan.c (reading back), file_encode.c (batch -> bytes). */
#ifndef XDP_RECORDER_SINK_FILE_INTERNAL_H
#define XDP_RECORDER_SINK_FILE_INTERNAL_H

#include <pthread.h>

#include "recorder/core/util.h"
#include "recorder/sink/file.h"

#define FILE_NO_INTERFACE UINT32_MAX
#define FILE_ALL_OF_IT UINT32_MAX

/* How far a capture is in the file. */
struct file_capture {
	uint8_t id[CAPTURE_ID_LEN];
	uint32_t interface;    /* in the section that goes on; FILE_NO_INTERFACE: not in it */
	uint64_t interface_at; /* offset of its description */
	uint64_t number;       /* newest batch that is there, 0: none */
	uint32_t position;     /* newest of its packets that is there; FILE_ALL_OF_IT: it is whole */
};

struct sink_job {
	struct sink_job *next; /* all that are encoded and not freed, and the numbers of those that were freed unwritten */
	uint8_t capture[CAPTURE_ID_LEN];
	char iface[64];
	uint64_t number;
	uint32_t count;	   /* packets */
	uint8_t *bytes;	   /* of all packets */
	size_t *at;	   /* count + 1: where each begins in `bytes` */
	uint8_t *head;	   /* section and interface in front of them; NULL: none */
	size_t head_len;
	uint32_t first;	   /* the packets before were there already */
	bool written;	   /* all of it is in the file, up to offset `end` */
	bool freed;	   /* unwritten: the number alone, until the batch is encoded again */
	uint64_t end;
	size_t done;	   /* of head and bytes: what a pipe has */
};

struct file_sink {
	struct sink base;
	int fd;
	char *name, *filter;
	enum file_format format;
	const struct ends_table *ends; /* atomic */
	bool regular;
	bool named; /* it had a name when it was opened */
	bool cancelled, gone; /* atomic */

	/* Held while something is written (up to PIPE_NS), but not while it is synchronised. */
	pthread_mutex_t lock;
	pthread_mutex_t list; /* of `jobs` alone, never for long: the loop frees jobs; taken inside of `lock` */
	/* Written under the lock; the loop reads them without it, for the status. */
	_Atomic uint64_t end; /* offset behind the last whole batch; into a pipe: bytes written */
	_Atomic uint64_t packets;
	_Atomic bool full;
	uint64_t durable; /* up to here fdatasync has been */
	uint64_t cuts;	  /* how often `end` went back */
	bool torn;	  /* behind `end` there may be something that is to be cut off */
	bool section;	  /* there is one that goes on */
	uint64_t section_at;
	uint32_t interfaces; /* in it */
	struct file_capture *captures;
	unsigned ncaptures;
	struct sink_job *jobs;
	struct sink_job *current; /* of which a pipe has a part */
};

static inline struct file_sink *file_sink_of(struct sink *sink)
{
	return container_of(sink, struct file_sink, base);
}

static inline bool file_flag(const bool *f)
{
	return __atomic_load_n(f, __ATOMIC_ACQUIRE);
}

/* ---- file_put.c: with the lock held ---- */

/* All of the job, or nothing of it; into a pipe as far as it goes. 0 or -errno: -EAGAIN and -EPIPE are the reader's. */
int file_put_job(struct file_sink *f, struct sink_job *job, struct sink_report *report);
/* Back to what is known to be on the disk. What lay behind is to be written again. */
void file_go_back(struct file_sink *f);
/*
 * What others did to a regular file meanwhile. Emptied (copied and truncated, as log rotation does): it begins
 * anew. Cut anywhere else, or without a name any more: nothing that is written to it will be found again. 0 or -errno.
 */
int file_look(struct file_sink *f);

/* The capture's entry, made where there is none; NULL: no memory. */
struct file_capture *file_capture_of(struct file_sink *f, const uint8_t id[CAPTURE_ID_LEN]);

/*
 * file_scan.c: reads the whole file, sets captures, section, interfaces and `end`, which is where a torn tail begins. 0 or -errno with
 * a problem: not ours, damaged.
 */
int file_scan(struct file_sink *f, uint64_t size, struct file_problem *problem);

/* file_encode.c: the packets' bytes and where each begins. 0 or -errno. */
int file_encode(struct sink_job *job, enum file_format format, const struct batch *batch, const struct ends_table *ends);

#define FILE_APPLICATION "xdp-recorder "
#define FILE_DESCRIPTION "capture "

#endif
