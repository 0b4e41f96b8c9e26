/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * summary.h - what the kernel counted instead of storing (bpf/flood.h): the entries of an epoch, of all rings of a side,
 * as one list in a fixed order.
 *
 * The epoch must be over: rec_desk.control.epoch names a later one, from a second that has passed on all CPUs (recorder/DESIGN.md
 * section 13). Then nobody writes the table any more, and whoever reads it, however often, gets the same list.
 */
#ifndef XDP_RECORDER_SOURCE_SUMMARY_H
#define XDP_RECORDER_SOURCE_SUMMARY_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"

struct summaries {
	struct rec_flood *row; /* sorted by the key's bytes once they are merged; no key twice */
	size_t count, room;
};

/* Appends the entries that the ring's table of that epoch holds. `ring`: the mapped value of a ring of ring_size bytes. 0 or -ENOMEM. */
int summaries_add(struct summaries *s, const struct rec_ring *ring, uint32_t ring_size, uint32_t epoch);
/* Sorts, and adds up what several rings counted under one key. */
void summaries_merge(struct summaries *s);
void summaries_free(struct summaries *s);

#endif
