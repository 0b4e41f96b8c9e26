/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * file.h - the sink into a file or pipe: pcapng, or JSON lines.
 *
 * Batches go in number order for each capture (one that comes early is told SINK_AGAIN). A batch is settled when its bytes
 * are in the file and fdatasync has returned; into a pipe, when they are written. Exactly once over a restart: each packet
 * carries its identity (pcapng: epb_packetid = number << 24 | position, interface description "capture <hex>"; JSON: _id).
 * file_sink_new reads a regular file's end back: a torn last block or line is cut off, and a batch that had been begun
 * goes on behind its last whole packet. A file that is not ours is refused; one of ours of another capture gets a new
 * section behind the old ones. A pipe has no memory: there a batch in flight at a crash can come twice, and the README says so.
 */
#ifndef XDP_RECORDER_SINK_FILE_H
#define XDP_RECORDER_SINK_FILE_H

#include "recorder/packet/ends.h"
#include "recorder/sink/sink.h"

enum file_format { FILE_PCAPNG, FILE_JSON };

struct file_sink_options {
	int fd;		  /* taken over; O_RDWR for a regular file */
	const char *name; /* for messages, "-" is stdout; copied */
	enum file_format format;
	const char *filter;	       /* text, NULL: none; copied */
	const struct ends_table *ends; /* JSON's ends; see file_sink_set_ends */
};

struct file_problem {
	char text[300];
};

/*
 * NULL with a problem: not ours, damaged in the middle, not readable, locked by another recorder (flock), no memory. A regular file
 * that is not open for reading counts as a pipe. Reads the whole file once.
 */
struct sink *file_sink_new(const struct file_sink_options *options, struct file_problem *problem);
/* As mongo_sink_set_ends. */
void file_sink_set_ends(struct sink *sink, const struct ends_table *ends);

/*
 * The pipe's reader is gone (EPIPE): nobody will ever have what comes. From then on batches are settled without being written, so
 * that the recording can end in order; the caller ends it.
 */
bool file_sink_reader_gone(const struct sink *sink);

struct file_sink_counts {
	uint64_t bytes;	  /* of the file, or written to the pipe */
	uint64_t packets; /* written by this process */
	bool full;	  /* the last write failed */
};
void file_sink_counts(struct sink *sink, struct file_sink_counts *counts);

/* A capture's counters at its end: an interface statistics block. JSON has none: nothing then. 0 or -errno. */
struct file_statistics {
	const struct batch_source *source;
	int64_t wall;
	uint64_t received, dropped, filtered, stored; /* packets since the capture began */
};
int file_sink_statistics(struct sink *sink, const struct file_statistics *statistics);

#endif
