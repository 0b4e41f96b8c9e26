/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block.h - is a packet's source or destination on the block list?
 *
 * Entries of all lengths are in one hash, so an address has to be looked up once for each length that could have an entry, longest
 * first. Which could, is known beforehand: of IPv4 by a word of bits for each /16 (a list of 100,000 entries has one or two lengths
 * there), of IPv6 by the lengths in use. A packet that is on no list costs about what its two or three look-ups in vain do; without
 * an entry a load and a branch.
 *
 * The list is written by user space (recorder/capture/block.c) while packets come. Order there: entry, bits; when one goes also the
 * counter, last. Entries are counted for each CPU, and atomically, since a program can be interrupted by another one on its CPU. A counter
 * is made with its entry's first packet: most of a long list never has one.
 *
 * Included by recorder.bpf.c alone.
 */
#ifndef XDP_RECORDER_BLOCK_H
#define XDP_RECORDER_BLOCK_H

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rec_blocks);
} blocks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct rec_block_key);
	__type(value, __u32);
} block_entries SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct rec_block_key);
	__type(value, struct rec_count);
} block_counts SEC(".maps");

/* Addresses of a packet, IPv4 as ::ffff:a.b.c.d. */
struct rec_block_ends {
	__u64 source[2];
	__u64 dest[2];
};

/* Global, so that it is walked once and not in each look-up: counts the packet by an entry. */
__noinline int rec_block_count(const struct rec_block_key *of, __u32 wire)
{
	struct rec_count none = {};
	struct rec_block_key key;
	struct rec_count *count;
	__u32 zero = 0;

	if (!of)
		return 0;
	key = *of; /* Linux 6.1 takes no argument of a global function for a key */
	count = bpf_map_lookup_elem(&block_counts, &key);
	if (!count) {
		bpf_map_update_elem(&block_counts, &key, &none, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&block_counts, &key);
	}
	if (!count) {
		struct rec_blocks *b = bpf_map_lookup_elem(&blocks, &zero);

		if (!b)
			return 0;
		barrier_var(b); /* else clang adds the offset before it asks, which Linux 6.1 refuses */
		count = &b->uncounted;
	}
	__sync_fetch_and_add(&count->packets, 1);
	__sync_fetch_and_add(&count->bytes, wire);
	return 0;
}

/* Is there an entry of this key, for this side? Then the packet is counted. */
static __always_inline int block_entry(struct rec_block_key *key, __u32 by, __u32 wire)
{
	__u32 *value = bpf_map_lookup_elem(&block_entries, key);

	if (!value || !(*(volatile __u32 *)value & by))
		return 0;
	rec_block_count(key, wire);
	return 1;
}

static __always_inline int block_ip4(const struct rec_blocks *b, __u32 address, __u32 by, __u32 wire)
{
	__u32 host = REC_BE32(address), left = b->length4[host >> 16];
	struct rec_block_key key = { .addr = { [10] = 0xff, [11] = 0xff } };

	for (__u32 i = 0; i < 32 && left; i++) {
		__u32 low = left & -left;

		left ^= low;
		*(__u32 *)(key.addr + 12) = REC_BE32(host & -low);
		key.prefix = low;
		if (block_entry(&key, by, wire))
			return 1;
	}
	if (!*(volatile const __u32 *)&b->all4)
		return 0;
	*(__u32 *)(key.addr + 12) = 0;
	key.prefix = 0;
	return block_entry(&key, by, wire);
}

static __always_inline int block_ip6(const struct rec_blocks *b, const __u64 *address, __u32 by, __u32 wire)
{
	const struct rec_block_length *length = b->length6[*(volatile const __u32 *)&b->which6 & 1];
	struct rec_block_key key;

	for (__u32 i = 0; i < REC_BLOCK_LENGTHS && length[i].prefix != REC_BLOCK_END; i++) {
		*(__u64 *)key.addr = address[0] & length[i].mask[0];
		*(__u64 *)(key.addr + 8) = address[1] & length[i].mask[1];
		key.prefix = length[i].prefix;
		if (block_entry(&key, by, wire))
			return 1;
	}
	return 0;
}

static __always_inline int block_address(const struct rec_blocks *b, const __u64 *address, __u32 by, __u32 wire)
{
	if (!(*(volatile const __u32 *)&b->by & by))
		return 0;
	if (!address[0] && (__u32)address[1] == REC_BE32(0xffff))
		return block_ip4(b, (__u32)(address[1] >> 32), by, wire);
	return block_ip6(b, address, by, wire);
}

/*
 * 1: by its source, or else by its destination, the packet is on the list, and has been counted by the longest entry that
 * says so. Global, so that the verifier walks it once.
 */
__noinline int rec_block(struct rec_block_ends *ends, __u32 wire)
{
	__u32 zero = 0;
	struct rec_blocks *b = bpf_map_lookup_elem(&blocks, &zero);

	if (!ends || !b)
		return 0;
	return block_address(b, ends->source, REC_BLOCK_SOURCE, wire) || block_address(b, ends->dest, REC_BLOCK_DESTINATION, wire);
}

static __always_inline int block_any(void)
{
	__u32 zero = 0;
	struct rec_blocks *b = bpf_map_lookup_elem(&blocks, &zero);

	return b && *(volatile __u32 *)&b->by;
}

/* An IP header is at p, 20 bytes of it there for IPv4, 40 for IPv6. */
static __always_inline void block_ends4(struct rec_block_ends *ends, const __u8 *p)
{
	ends->source[0] = ends->dest[0] = 0;
	ends->source[1] = (__u64)rec_ld32(p + 12) << 32 | REC_BE32(0xffff);
	ends->dest[1] = (__u64)rec_ld32(p + 16) << 32 | REC_BE32(0xffff);
}

static __always_inline void block_ends6(struct rec_block_ends *ends, const __u8 *p)
{
	ends->source[0] = rec_ld64(p + 8);
	ends->source[1] = rec_ld64(p + 16);
	ends->dest[0] = rec_ld64(p + 24);
	ends->dest[1] = rec_ld64(p + 32);
}

/* Of the parsed slot. The outermost IP header counts, whatever it carries. */
static __always_inline int block_parsed(const struct rec_slot *slot, __u32 cap, __u32 wire)
{
	const __u32 l3 = slot->head.off[REC_L3];
	const __u8 *p = rec_at(slot, l3);
	struct rec_block_ends ends;

	if (l3 && p[0] >> 4 == 4 && l3 + 20 <= cap)
		block_ends4(&ends, p);
	else if (l3 && p[0] >> 4 == 6 && l3 + 40 <= cap)
		block_ends6(&ends, p);
	else
		return 0;
	return rec_block(&ends, wire);
}

#endif
