/* SPDX-License-Identifier: GPL-2.0-or-later */
/* block_change.h - the block list's file and the maps of all captures, changed as one: on all of them, or not at all. */
#ifndef XDP_RECORDER_CLI_BLOCK_CHANGE_H
#define XDP_RECORDER_CLI_BLOCK_CHANGE_H

#include "recorder/capture/block.h"
#include "recorder/capture/block_store.h"

/* The captures of this host, of all instances, with a process or without one. */
struct block_captures {
	struct block_maps *maps;
	char **pin_dirs; /* NULL behind the last */
	size_t count;
};

int block_captures_open(struct block_captures *captures, struct block_problem *problem);
void block_captures_close(struct block_captures *captures);
/* Adds to count[i] what the i-th entry of the list has dropped, over all captures. 0 or -errno. */
int block_captures_count(const struct block_captures *captures, const struct block_list *list, struct rec_count *count);

/* Dropped packets whose entry had no counter: the kernel had no memory for it. */
struct rec_count block_captures_uncounted(const struct block_captures *captures);

/*
 * From `before` to `after`, on disk and in all captures. `gone` (one for each of `fewer`, may be NULL) gets the last counters of what
 * went. On failure everything is as it was, with text.
 */
int block_change(const struct block_store *store, struct block_captures *captures, const struct block_list *before,
		 const struct block_list *after, const struct block_list *fewer, struct rec_count *gone,
		 struct block_problem *problem);

#endif
