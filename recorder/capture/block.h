/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block.h - the block list in the maps of a capture, where its programs look it up (bpf/block.h).
 *
 * Works on pins, with or without a process, in any network namespace: `xdp-recorder block`; and on an open capture before it is
 * attached: the keeper. Who writes holds the list's lock (block_store.h). Errors: 0 or -errno with text.
 */
#ifndef XDP_RECORDER_CAPTURE_BLOCK_H
#define XDP_RECORDER_CAPTURE_BLOCK_H

#include "recorder/capture/block_list.h"
#include "recorder/capture/capture.h"

struct block_maps {
	int entries, counts; /* descriptors, ours */
	struct rec_blocks *table;
};

/* -ENOENT: no (whole) capture is pinned there. */
int block_maps_open(struct block_maps *maps, const char *pin_dir, struct capture_error *err);
int block_maps_of(struct block_maps *maps, const struct capture *c, struct capture_error *err);
void block_maps_close(struct block_maps *maps);

/*
 * Two halves of a change, so that one over several captures is all or nothing: what can fail (memory) comes first. add: every
 * entry of the list is there, with its `by`; counters of those that were there go on. trim: nothing else is; `gone` (may be NULL)
 * gets each that went and had dropped something, with its last counters: no packet is counted by it any more.
 */
int block_maps_add(struct block_maps *maps, const struct block_list *list, struct capture_error *err);
typedef void block_count(void *arg, const struct block_entry *entry, const struct rec_count *count);
int block_maps_trim(struct block_maps *maps, const struct block_list *list, block_count *gone, void *arg,
		    struct capture_error *err);

/* Their number, as a program's user is to be shown it; 0 too when it cannot be read. */
unsigned block_maps_entries(const struct capture *c);
/* What was dropped by an entry; zeros when it is not there. */
int block_maps_count(const struct block_maps *maps, const struct block_entry *entry, struct rec_count *count);
/* Of all entries that have dropped something, in no order; without their `by`. */
int block_maps_counts(const struct block_maps *maps, block_count *each, void *arg);
/* What the maps hold, in order. 0 or -ENOMEM. */
int block_maps_read(const struct block_maps *maps, struct block_list *out);

#endif
