/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/source/ring.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

int ring_map(struct ring *ring, int fd, uint64_t size, union rec_desk *desk, uint16_t side, uint16_t cpu)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = (REC_RING_VALUE(size) + page - 1) & ~(page - 1);
	void *map;

	if (size < REC_RING_MIN || size > REC_RING_MAX || (size & (size - 1)))
		return -EINVAL;
	map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	*ring = (struct ring){
		.map = map,
		.tail = (uint64_t *)&desk->ring.tail,
		.mask = size - 1,
		.mapped = bytes,
		.next = desk->ring.tail,
		.limit = UINT64_MAX,
		.side = side,
		.cpu = cpu,
	};
	return 0;
}

void ring_unmap(struct ring *ring)
{
	if (ring->map)
		munmap((void *)ring->map, ring->mapped);
	ring->map = NULL;
}

void ring_settle(struct ring *ring, uint64_t position)
{
	/* Behind this store the kernel may overwrite: every read of the records must be done. */
	if (position > *ring->tail)
		__atomic_store_n(ring->tail, position, __ATOMIC_RELEASE);
}
