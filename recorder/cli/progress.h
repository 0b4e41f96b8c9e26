/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * progress.h - a line on a terminal that says how far something is: a bar, a share, packets, packets/s, the time that is left.
 * It is drawn over and over, and taken away before anything else is written. Without a terminal it does nothing.
 */
#ifndef XDP_RECORDER_CLI_PROGRESS_H
#define XDP_RECORDER_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
	bool on;    /* stderr is a terminal */
	bool drawn; /* there is a line on it */
	const char *name;
	uint64_t began_ns, began_packets;
};

/* `quiet`: never draw. */
void progress_init(struct progress *progress, bool quiet);

/* `name` marks a new thing, with a rate of its own, when it is another string than before; `what` is a word for what is
 * being done. `done` of `total` is the share; packets are told as they are. */
void progress_draw(struct progress *progress, const char *name, const char *what, uint64_t done, uint64_t total,
		   uint64_t packets);

/* Takes the line away. */
void progress_clear(struct progress *progress);

/* The line without what moves it on the terminal, at most `width` columns. Pure. Returns out. */
char *progress_line(char *out, size_t size, unsigned width, const char *name, const char *what, uint64_t done,
		    uint64_t total, uint64_t packets, double seconds, uint64_t packets_in_them);

#endif
