/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ring.h - one per-CPU ring of one hook, mapped read-only, and its consumer index on the desk.
 *
 * Three positions, bytes since the ring was made: tail (settled, told to the kernel) <= next (cut into batches) <= head
 * (published by the kernel). Loop thread only; the records themselves may be read by workers until tail passes them.
 */
#ifndef XDP_RECORDER_SOURCE_RING_H
#define XDP_RECORDER_SOURCE_RING_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"

struct ring {
	const struct rec_ring *map;
	uint64_t *tail; /* on the desk; written by ring_settle only */
	uint64_t mask;  /* data bytes - 1 */
	size_t mapped;  /* bytes */
	uint64_t next;
	uint64_t limit; /* nothing at or behind it is cut; UINT64_MAX: no limit */
	uint16_t side, cpu;
	int damaged; /* a record that cannot be one was met: what lay behind it was skipped */
};

/*
 * Maps the ring map `fd` whose data is `size` bytes (a power of two). `desk` is the mapped desk element. 0 or -errno;
 * *ring is unchanged on failure.
 */
int ring_map(struct ring *ring, int fd, uint64_t size, union rec_desk *desk, uint16_t side, uint16_t cpu);
void ring_unmap(struct ring *ring);

static inline uint64_t ring_head(const struct ring *ring)
{
	return __atomic_load_n(&ring->map->head, __ATOMIC_ACQUIRE);
}

/* Up to where records may be cut now. */
static inline uint64_t ring_end(const struct ring *ring)
{
	uint64_t head = ring_head(ring);

	return head < ring->limit ? head : ring->limit;
}

static inline uint64_t ring_tail(const struct ring *ring)
{
	return *ring->tail;
}

static inline const struct rec_head *ring_record(const struct ring *ring, uint64_t position)
{
	return (const struct rec_head *)(ring->map->data + (position & ring->mask));
}

/* Bytes that the record at `position` takes; 0 when it cannot be a record that ends at or before `head`. */
static inline uint32_t ring_record_len(const struct ring *ring, uint64_t position, uint64_t head)
{
	uint16_t cap = ring_record(ring, position)->cap_len;
	uint32_t len = REC_RECORD_LEN((uint32_t)cap);

	return cap > REC_CAP_MAX || len > head - position ? 0 : len;
}

/* Tells the kernel that everything before `position` may be overwritten. Never moves back. */
void ring_settle(struct ring *ring, uint64_t position);

#endif
