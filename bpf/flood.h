/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flood.h - what happens to a packet when a ring fills faster than it is drained: stored, or counted?
 *
 * A ring that is more than half full is watched: the packets of each source and of each destination are counted, for
 * about a quarter of a second. From five eighths on packets of *heavy* keys are counted in a table instead of being stored, and the
 * fuller the ring, the less makes a key heavy (rec_flood_limit). So the ring's fill finds the share of each key at
 * which it stays as it is: what the drainer can store is stored, and whoever sends little is never the one who is counted.
 *
 *   known     conversations stored in the last minute. One that is in it since before, and is not heavy itself,
 *             is stored even when one of its ends is: so those that a flood's victim already had go on in detail. From seven
 *             eighths on that goes for seniors only: seen twice since any ring was last half full, and not heavy since. What a flood
 *             made known while it came in, or by coming again and again, and what paused for as long as it takes to be light, is none.
 *             Where it ends: when a flood's own seniors are more than a quarter of the packets that a ring has room for
 *   heavy     packets of a source, of a destination, decaying. A new key takes the place of the lightest, which
 *             weighs down by one for each that knocks (Misra and Gries, "Finding repeated elements", 1982): many
 *             addresses that come once cannot drive out one that comes always
 *   tables    what is counted. By 5-tuple; where its set is full, by one end whole, the other's network, and protocol;
 *             where that is full, by protocol. The last one has room for all there are, so nothing is ever lost here, and
 *             nothing is evicted: every sum is exact.
 *
 * Who knows the hash's seed could make keys meet; nobody but the kernel does. A tag has 32 bits beside those of the set.
 *
 * There are two of each table. An epoch counts in the one, user space reads the other (source/summary.h). An epoch
 * begins with the first packet of a second (rec_seconds.epoch), so its sums are those of whole seconds of the balance. A set of an
 * older epoch is empty: nobody has to clear anything.
 *
 * One source for the kernel and for native code (tests, reading). One writer: the program of this CPU and side.
 */
#ifndef XDP_RECORDER_FLOOD_H
#define XDP_RECORDER_FLOOD_H

#include "abi.h"
#include "parse.h"

/* ---- known conversations ------------------------ --------------------------------------------------------------- */

/* An entry of `known` or `heavy`, in one word: tag 32 bits, window 16, count 16; in `known` two bits of it are EARLIER and SENIOR. */
#define REC_WINDOW_SHIFT 27u /* ns of a window: 0.134 s; numbered modulo 65,536, two and a half hours */
#define REC_WINDOW_NO(now) ((__u16)((now) >> REC_WINDOW_SHIFT))
#define REC_COUNT_MOST 0x3fffu
#define REC_HEAVY_MOST 0x7fffu
#define REC_EARLIER 0x8000u /* it was seen in an earlier window already */
#define REC_SENIOR 0x4000u  /* and no ring of the capture was watched between the two; it has not been loud since */
#define REC_LOUD 2u         /* a count that a senior may have in any case */
#define REC_MINUTE 448u     /* windows */
#define REC_AHEAD 8u        /* windows that another CPU's clock may be ahead of ours */

REC_INLINE __u64 rec_entry(__u32 tag, __u32 window, __u32 count)
{
	return (__u64)tag << 32 | (window & 0xffff) << 16 | (count & 0xffff);
}

#define REC_ENTRY_TAG(e) ((__u32)((e) >> 32))
#define REC_ENTRY_AGE(e, window) ((__u16)((window) - (__u16)((e) >> 16)))

/* Packets of the entry's key: those of each window before count half as much. */
REC_INLINE __u32 rec_entry_count(__u64 e, __u32 window)
{
	__u32 age = REC_ENTRY_AGE(e, window);

	return age < 16 ? ((__u32)e & 0xffff) >> age : 0;
}

REC_INLINE __u32 rec_count_more(__u32 n, __u32 weight, __u32 most)
{
	n += weight;
	return n < most ? n : most;
}

/* Windows since the conversation was last seen: none, too, if a CPU whose clock is ahead has seen it. */
REC_INLINE __u32 rec_known_age(__u64 e, __u32 window)
{
	__u32 age = REC_ENTRY_AGE(e, window);

	return age > 0xffff - REC_AHEAD ? 0 : age;
}

/*
 * Looks for a conversation in its set of four. Found: *count is its packets, with EARLIER and SENIOR where it is so; returns
 * NULL. Not found: *count is 0; where it may be entered, or NULL: all four are others' that go on. most: the count beyond
 * which it is no senior any more; calm: windows since a ring of the capture was watched.
 *
 * All CPUs share the table and nothing locks it: a word is stored at once, and what is lost when two store is a count or an
 * entry, which comes again. A packet is counted, for `each` packets, only when that is not 0 (its ring is watched), so the answer to
 * one that went out is no second one; else the first of a window is noted: few stores, so CPUs do not take each other's lines away.
 */
REC_INLINE __u64 *rec_known(__u64 *set, __u32 tag, __u32 window, __u32 each, __u32 most, __u32 calm, __u32 *count)
{
	__u32 oldest = 0, age;
	__u64 *place = 0;

	REC_UNROLL
	for (__u32 i = 0; i < 4; i++) {
		__u64 e = set[i];

		if (REC_ENTRY_TAG(e) == tag && (__u16)e) {
			__u32 n = (__u32)e & REC_COUNT_MOST, rank = (__u32)e & (REC_EARLIER | REC_SENIOR);

			age = rec_known_age(e, window);
			if (!age)
				window = (__u32)(e >> 16); /* of a clock that is ahead */
			n = age < 15 ? n >> age : 0;
			if (age > REC_MINUTE)
				rank = 0;
			else if (age)
				rank |= each || age >= calm ? REC_EARLIER : REC_EARLIER | REC_SENIOR;
			n = rec_count_more(n, each, REC_COUNT_MOST);
			if (each && n > most)
				rank &= REC_EARLIER;
			if (!(n | rank))
				n = 1; /* an entry of 0 is none */
			if (age || each)
				set[i] = rec_entry(tag, window, n | rank);
			*count = n | rank;
			return 0;
		}
	}
	*count = 0;
	REC_UNROLL
	for (__u32 i = 0; i < 4; i++) {
		__u64 e = set[i];

		age = rec_known_age(e, window);
		if (!(__u16)e)
			age = 0xffff;
		else if (e & REC_EARLIER && age <= REC_MINUTE)
			continue;
		if (age >= oldest) {
			oldest = age;
			place = set + i;
		}
	}
	return place;
}

/* ---- heavy keys ------------------------------------------------------------------------------------------------- */

/* Counts `weight` packets of the key in its set of four; its packets, or 0: it has found no place. */
REC_INLINE __u32 rec_heavy(__u64 *set, __u32 tag, __u32 window, __u32 weight)
{
	__u32 least = ~0u, at = 0, n;

	REC_UNROLL
	for (__u32 i = 0; i < 4; i++) {
		__u64 e = set[i];

		n = rec_entry_count(e, window);
		if (REC_ENTRY_TAG(e) == tag) {
			n = rec_count_more(n, weight, REC_HEAVY_MOST);
			set[i] = rec_entry(tag, window, n);
			return n;
		}
		if (n < least) {
			least = n;
			at = i;
		}
	}
	if (least >= weight) { /* knocks */
		set[at & 3] = rec_entry(REC_ENTRY_TAG(set[at & 3]), window, least - weight);
		return 0;
	}
	set[at & 3] = rec_entry(tag, window, weight - least);
	return weight - least;
}

/* ---- when is a key heavy? --------------------------------------------------------------------------------------- */

/*
 * How full the ring is: sixteenths up to 15, the last sixteenth in eight steps of its own, REC_FILL_FULL. What decides nothing but
 * how often a flow comes has to find its rate in that last one.
 */
#define REC_FILL_WATCH 8u
#define REC_FILL_COUNT 10u
#define REC_FILL_SENIOR 14u /* from here on known conversations go the way of others, but for seniors */
#define REC_FILL_NEW 15u    /* from here on no new conversation is stored */
#define REC_FILL_LAST 22u   /* here seniors go the way of others, too */
#define REC_FILL_FULL 23u

REC_INLINE __u32 rec_flood_fill(__u64 used, __u32 ring_size)
{
	const __u32 last = ring_size / 16 * REC_FILL_NEW;

	if (used >= ring_size)
		return REC_FILL_FULL;
	return used < last ? (__u32)used / (ring_size / 16) : REC_FILL_NEW + ((__u32)used - last) / (ring_size / 128);
}

/* Packets in a window that an address may have and is not heavy: 8,192 (60,000 a second), then a quarter of it each time, down to 8. */
REC_INLINE __u32 rec_flood_limit(__u32 fill)
{
	return fill < REC_FILL_COUNT ? ~0u : 8192u >> 2 * ((fill < REC_FILL_NEW ? fill : REC_FILL_NEW) - REC_FILL_COUNT);
}

/*
 * The same of a conversation: 32 at thirteen sixteenths, then 8, 4, 2, 1, so that thousands that are known are heavy while there is
 * room for what they send before they are.
 */
REC_INLINE __u32 rec_flow_limit(__u32 fill)
{
	if (fill < 13)
		return rec_flood_limit(fill);
	if (fill <= REC_FILL_NEW)
		return fill == 13 ? 32 : fill == 14 ? 8 : 4;
	return fill <= REC_FILL_NEW + 2 ? 2 : 1;
}

/* rec_known's `most`. */
REC_INLINE __u32 rec_loud(__u32 fill)
{
	__u32 limit = rec_flow_limit(fill);

	return limit > REC_LOUD ? limit : REC_LOUD;
}

/*
 * Why the packet is to be counted; 0: store it. `flow`: of its conversation, as rec_known said; source and dest: of its
 * addresses, as rec_heavy said.
 */
REC_INLINE __u32 rec_flood_why(__u32 fill, __u32 flow, __u32 source, __u32 dest)
{
	__u32 limit = rec_flood_limit(fill);

	if (fill >= REC_FILL_FULL)
		return REC_WHY_FULL;
	if ((flow & REC_COUNT_MOST) > rec_flow_limit(fill))
		return REC_WHY_FLOW;
	if (flow & (fill < REC_FILL_SENIOR ? REC_EARLIER : REC_SENIOR) && fill < REC_FILL_LAST)
		return 0;
	if (dest > limit)
		return REC_WHY_DEST;
	if (source > limit)
		return REC_WHY_SOURCE;
	return fill >= REC_FILL_NEW && !(flow & REC_EARLIER) ? REC_WHY_NEW : 0;
}

/* ---- the key ----------------------------------------------------------------------------------------------------- */

/* What a packet is counted by, and the hashes of its ends. */
struct rec_flood_id {
	struct rec_flood_key key;
	__u64 source, dest, all;
	__u32 flow; /* the hash of its conversation: rec_head.hash */
	__u16 marks;
	__u8 flags; /* of TCP */
	__u8 reserved;
	struct rec_flood_key cut; /* rec_flood_stranger's */
};

REC_INLINE void rec_flood_hashes(struct rec_flood_id *id, __u64 seed)
{
	id->all = rec_mix(id->source + (id->dest ^ id->dest >> 29) * 0x9e3779b97f4a7c15ull + ((const __u64 *)&id->key)[4], seed);
}

/* From the parsed slot, of whose bytes `cap` are the packet's. */
REC_INLINE void rec_flood_key(struct rec_flood_id *id, const struct rec_slot *s, __u32 cap, __u32 seed32)
{
	__u64 seed = seed32 * 0xd6e8feb86659fd93ull;
	const __u32 l3 = s->head.off[REC_L3], l4 = s->head.off[REC_L4];
	const __u8 *p = rec_at(s, l3);
	struct rec_flood_key *k = &id->key;
	__u64 *word = (__u64 *)k;

	REC_UNROLL
	for (__u32 i = 0; i < sizeof(*k) / 8; i++)
		word[i] = 0;
	if (l3 && p[0] >> 4 == 4 && l3 + 20 <= cap) {
		*(__u32 *)k->src = rec_ld32(p + 12);
		*(__u32 *)k->dst = rec_ld32(p + 16);
		k->shape = 4;
	} else if (l3 && p[0] >> 4 == 6 && l3 + 40 <= cap) {
		word[0] = rec_ld64(p + 8);
		word[1] = rec_ld64(p + 16);
		word[2] = rec_ld64(p + 24);
		word[3] = rec_ld64(p + 32);
		k->shape = 6;
	} else { /* by its MAC addresses and type */
		p = s->bytes;
		*(__u32 *)k->dst = rec_ld32(p);
		*(__u16 *)(k->dst + 4) = rec_ld16(p + 4);
		*(__u32 *)k->src = rec_ld32(p + 6);
		*(__u16 *)(k->src + 4) = rec_ld16(p + 10);
		k->sport = rec_ld16(p + 12);
	}
	k->proto = s->head.proto;
	if (k->shape && l4 && l4 + 4 <= cap && !(s->head.marks & REC_MARK_FRAGMENT)) {
		p = rec_at(s, l4);
		k->sport = rec_ld16(p); /* of ICMP: type and code */
		if (k->proto != REC_IP_ICMP && k->proto != REC_IP_ICMP6)
			k->dport = rec_ld16(p + 2);
	}
	id->source = rec_mix(word[0], seed);
	id->dest = rec_mix(word[2], seed);
	if (k->shape == 6) {
		id->source = rec_mix(id->source + word[1], seed);
		id->dest = rec_mix(id->dest + word[3], seed);
	}
	rec_flood_hashes(id, seed);
	id->flow = s->head.hash;
	id->marks = s->head.marks;
	id->flags = k->proto == REC_IP_TCP && l4 && l4 + 14 <= cap ? *(rec_at(s, l4) + 13) : 0;
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

/* The packet into an entry that is its own. why 0: as those like it. */
REC_INLINE void rec_flood_add(struct rec_flood *e, const struct rec_flood_id *id, __u32 wire, __u64 now, __u32 why)
{
	if (!e->packets) {
		e->first = now;
		e->len_min = wire;
		e->flags_all = id->flags;
	}
	e->packets++;
	e->bytes += wire;
	e->last = now;
	e->len_min = wire < e->len_min ? wire : e->len_min;
	e->len_max = wire > e->len_max ? wire : e->len_max;
	e->flags_any |= id->flags;
	e->flags_all &= id->flags;
	e->why |= why ? (__u8)(1u << why) : 0;
	e->marks |= id->marks;
}

REC_INLINE void rec_flood_new(struct rec_flood *e, const struct rec_flood_key *key, __u32 epoch)
{
	__u64 *word = (__u64 *)e;

	REC_UNROLL
	for (__u32 i = 0; i < sizeof(*e) / 8; i++)
		word[i] = 0;
	e->key = *key;
	e->epoch = epoch;
}

/* Those like the packet need not be looked at in full for a while; the longer, the more often it was said in this window. */
REC_INLINE void rec_flood_decide(struct rec_flood *e, __u64 now, __u32 fill)
{
	const __u16 window = REC_WINDOW_NO(now);

	if (e->window != window)
		e->step = 0;
	else if (e->step < 4)
		e->step++;
	e->window = window;
	e->fill = (__u8)fill;
	e->since = 0;
}

REC_INLINE int rec_flood_same(const struct rec_flood_key *a, const struct rec_flood_key *b)
{
	const __u64 *x = (const __u64 *)a, *y = (const __u64 *)b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4]));
}

/*
 * The key's entry in the set (eight entries behind each other), made if `make` says so and there is room; NULL: there is
 * none, or another key with the same tag has it.
 */
REC_INLINE struct rec_flood *rec_flood_find(struct rec_flood_set *set, struct rec_flood *entry,
					    const struct rec_flood_key *key, __u32 tag, __u32 epoch, int make)
{
	__u32 used = set->epoch == epoch ? set->used : 0, at = used;

	REC_UNROLL
	for (__u32 i = 0; i < REC_FLOOD_WAYS; i++)
		if (i < used && set->tag[i] == tag) {
			at = i;
			break;
		}
	if (at >= REC_FLOOD_WAYS)
		return 0;
	REC_FORGET(at);
	at &= REC_FLOOD_WAYS - 1;
	entry += at;
	if (at < used)
		return rec_flood_same(&entry->key, key) ? entry : 0;
	if (!make)
		return 0;
	set->epoch = epoch;
	set->used = at + 1;
	set->tag[at] = tag;
	rec_flood_new(entry, key, epoch);
	return entry;
}

/* The key of its network and the other end whole: of a heavy source the destination's network, else the source's. */
REC_INLINE void rec_flood_prefix(struct rec_flood_key *key, __u32 why)
{
	__u64 *word = (__u64 *)key, *net = why == REC_WHY_SOURCE ? word + 2 : word;

	/*
	 * The first 8 bits of IPv4, 12 of IPv6 (what IANA gives to a registry: random addresses fall into 512 of them), the maker of
	 * MAC addresses: in memory order, on a little-endian machine.
	 */
	net[0] &= key->shape == 4 ? 0xffull : key->shape == 6 ? 0xf0ffull : 0xffffffull;
	net[1] = 0;
	/* No ports; the shape. As one word: who reads it as one behind stores of its parts waits for them. */
	word[4] = (word[4] & ~0xffffffffull) | (__u64)(why == REC_WHY_SOURCE ? REC_SHAPE_SOURCE : REC_SHAPE_DEST) << 40;
}

/* Of a key that rec_flood_prefix has cut: of the whole end's hash, which knows the seed, the network and the protocol. */
REC_INLINE __u64 rec_flood_hash(const struct rec_flood_id *id, const struct rec_flood_key *cut, __u32 why)
{
	const __u64 *word = (const __u64 *)cut;
	const int source = why == REC_WHY_SOURCE;
	__u64 net = (source ? word[2] : word[0]) + (word[4] << 32);

	return rec_mix((source ? id->source : id->dest) ^ net * 0x9e3779b97f4a7c15ull, 0xbf58476d1ce4e5b9ull);
}

/* By protocol alone. */
REC_INLINE void rec_flood_protocol(struct rec_flood_key *key)
{
	__u64 *word = (__u64 *)key;

	word[0] = word[1] = word[2] = word[3] = 0;
	key->shape = (key->shape & 15) | REC_SHAPE_PROTOCOL;
}

/* Where a key's entry may be: a set of a table. */
#define REC_SET(table, sets, set) ((struct rec_flood_set *)(table) + (set))
#define REC_ENTRIES(table, sets, set) \
	((struct rec_flood *)((table) + (sets) * sizeof(struct rec_flood_set)) + (set) * REC_FLOOD_WAYS)

REC_INLINE struct rec_flood *rec_flood_in(__u8 *table, __u32 sets, __u32 hash, __u32 tag, const struct rec_flood_key *key,
					  __u32 epoch, int make)
{
	__u32 set = hash & (sets - 1);

	return rec_flood_find(REC_SET(table, sets, set), REC_ENTRIES(table, sets, set), key, tag, epoch, make);
}

/* No flow has room in the set any more. */
REC_INLINE int rec_flood_crowded(__u8 *table, __u32 sets, __u32 hash, __u32 epoch)
{
	const struct rec_flood_set *set = REC_SET(table, sets, hash & (sets - 1));

	return set->epoch == epoch && set->used >= REC_FLOOD_WAYS;
}

/* Each key has two sets of flows: few are full before all are. */
#define REC_SECOND_SET(id) ((__u32)((id)->all >> 16))

/*
 * Counts the packet in the epoch's table, which is at `table` and of a ring of that size, at the first level that has
 * room. Returns the term of the balance.
 */
REC_INLINE enum rec_term rec_flood_count(__u8 *table, __u32 ring_size, struct rec_flood_id *id, __u32 wire, __u64 now,
					 __u32 epoch, __u32 fill, __u32 why)
{
	const __u32 flows = REC_FLOW_SETS(ring_size), prefixes = REC_PREFIX_SETS(ring_size);
	const __u32 tag = (__u32)(id->all >> 32);
	struct rec_flood *e;
	__u32 at;

	e = rec_flood_in(table, flows, (__u32)id->all, tag, &id->key, epoch, 1);
	if (!e)
		e = rec_flood_in(table, flows, REC_SECOND_SET(id), tag, &id->key, epoch, 1);
	if (e) {
		rec_flood_add(e, id, wire, now, why);
		rec_flood_decide(e, now, fill);
		return REC_SUMMARISED_FLOW;
	}
	rec_flood_prefix(&id->key, why);
	id->all = rec_flood_hash(id, &id->key, why);
	table += REC_SETS_LEN(flows);
	e = rec_flood_in(table, prefixes, (__u32)id->all, (__u32)(id->all >> 32), &id->key, epoch, 1);
	if (!e) {
		rec_flood_protocol(&id->key);
		table += REC_SETS_LEN(prefixes);
		at = REC_PROTOCOL_INDEX(id->key.shape, id->key.proto);
		asm volatile("" : "+r"(at)); /* Linux 6.1 knows nothing of the sum, so the mask has to stand behind it */
		e = (struct rec_flood *)table + (at & (REC_PROTOCOLS - 1));
		if (e->epoch != epoch || !e->packets)
			rec_flood_new(e, &id->key, epoch);
	} else if (why != REC_WHY_FLOW) {
		rec_flood_decide(e, now, fill); /* what goes for this stranger goes for the next one of these networks */
	}
	rec_flood_add(e, id, wire, now, why);
	return REC_SUMMARISED_PREFIX;
}

/* ---- at a glance ------------------------------------------------------------------------------------------------- */

/*
 * The usual frame, without the parser and without a copy: Ethernet, IP without options, TCP, UDP, an echo or a later fragment, whole
 * and sound. Fills `id` as rec_flood_key does behind rec_parse and returns 1; 0 for any other frame. `p` to `end`: what can be
 * looked at, of `here` bytes that are the packet.
 */
REC_INLINE int rec_glance(struct rec_flood_id *id, const __u8 *p, const __u8 *end, __u32 here, __u32 seed32)
{
	__u64 *word = (__u64 *)&id->key, flow, seed = seed32 * 0xd6e8feb86659fd93ull;
	__u32 etype, proto, len, need, icmp, ports;
	const __u8 *q;

	if (p + 54 > end)
		return 0;
	etype = rec_ld16(p + 12);
	if (etype == REC_BE16(REC_ETH_IPV4)) {
		len = REC_BE16(rec_ld16(p + 16));
		if (p[14] != 0x45 || len < 20 || len + 14 > here)
			return 0;
		len -= 20;
		proto = p[23];
		word[0] = rec_ld32(p + 26);
		word[1] = 0;
		word[2] = rec_ld32(p + 30);
		word[3] = 0;
		word[4] = (__u64)(proto | 4 << 8) << 32;
		id->source = rec_mix(word[0], seed);
		id->dest = rec_mix(word[2], seed);
		icmp = REC_IP_ICMP;
		if (rec_ld16(p + 20) & REC_BE16(0x1fff)) {
			id->marks = REC_MARK_FRAGMENT;
			id->flags = 0;
			flow = id->source + id->dest;
			goto sound;
		}
		q = p + 34;
	} else if (etype == REC_BE16(REC_ETH_IPV6)) {
		if (p + 74 > end)
			return 0;
		len = REC_BE16(rec_ld16(p + 18));
		if (p[14] >> 4 != 6 || len + 54 > here)
			return 0;
		proto = p[20];
		word[0] = rec_ld64(p + 22);
		word[1] = rec_ld64(p + 30);
		word[2] = rec_ld64(p + 38);
		word[3] = rec_ld64(p + 46);
		word[4] = (__u64)(proto | 6 << 8) << 32;
		id->source = rec_mix(rec_mix(word[0], seed) + word[1], seed);
		id->dest = rec_mix(rec_mix(word[2], seed) + word[3], seed);
		icmp = REC_IP_ICMP6;
		q = p + 54;
	} else {
		return 0;
	}
	id->marks = 0;
	id->flags = 0;
	flow = id->source + id->dest;
	ports = rec_ld32(q);
	if (proto == REC_IP_TCP) {
		need = (q[12] >> 4) * 4u;
		if (need < 20)
			return 0;
		id->flags = q[13];
		flow += rec_ports(ports & 0xffff, ports >> 16);
	} else if (proto == REC_IP_UDP) {
		need = 8;
		if (ports >> 16 == REC_BE16(REC_PORT_VXLAN) || ports >> 16 == REC_BE16(REC_PORT_GENEVE) ||
		    REC_BE16(rec_ld16(q + 4)) < 8)
			return 0;
		flow += rec_ports(ports & 0xffff, ports >> 16);
	} else if (proto == icmp) {
		need = 8;
		if (icmp == REC_IP_ICMP ? q[0] & ~8u : (q[0] & ~1u) != 128)
			return 0; /* not an echo or its answer */
		ports &= 0xffff;
	} else {
		return 0;
	}
	if (need > len)
		return 0;
	word[4] |= ports;
sound:
	if (!flow)
		return 0;
	id->flow = rec_flow_hash(flow, proto);
	rec_flood_hashes(id, seed);
	return 1;
}

/* What rec_flood_like returns when it is this one's turn to be looked at in full: whom it stands for, and for how many. */
#define REC_LIKE(who, packets) (-(int)((who) | (packets) << 2))
#define REC_LIKE_WHO(like) ((like) & 3u)
#define REC_LIKE_PACKETS(like) ((like) >> 2)
#define REC_LIKE_FLOW 1u   /* its conversation */
#define REC_LIKE_DEST 2u   /* strangers to its destination */
#define REC_LIKE_SOURCE 3u /* strangers from its source */

/*
 * The packet goes the way that others like it have gone in this window, at this fill or a lower one: counted, 0 is returned. One in
 * 16, and of many one in 256, is looked at in full nevertheless, and weighs for all of them.
 */
REC_INLINE int rec_flood_follow(struct rec_flood *e, const struct rec_flood_id *id, __u32 wire, __u64 now, __u32 fill, __u32 who)
{
	__u32 since = e->since + 1u;

	if (!e->fill || e->window != REC_WINDOW_NO(now) || e->fill > fill || since >= 16u << (e->step & 7)) {
		e->since = 0;
		return REC_LIKE(who, since);
	}
	e->since = (__u16)since;
	rec_flood_add(e, id, wire, now, 0);
	return 0;
}

/* As others of these networks: of the whole end that `why` says. */
REC_INLINE int rec_flood_stranger(__u8 *table, __u32 ring_size, struct rec_flood_id *id, __u32 wire, __u64 now, __u32 epoch,
				  __u32 fill, __u32 why)
{
	const __u32 flows = REC_FLOW_SETS(ring_size), prefixes = REC_PREFIX_SETS(ring_size);
	struct rec_flood *e;
	__u64 hash;
	int like;

	id->cut = id->key;
	rec_flood_prefix(&id->cut, why);
	hash = rec_flood_hash(id, &id->cut, why);
	e = rec_flood_in(table + REC_SETS_LEN(flows), prefixes, (__u32)hash, (__u32)(hash >> 32), &id->cut, epoch, 0);
	if (!e || !e->fill)
		return 0;
	like = rec_flood_follow(e, id, wire, now, fill, why == REC_WHY_SOURCE ? REC_LIKE_SOURCE : REC_LIKE_DEST);
	return like ? like : REC_SUMMARISED_PREFIX;
}

/*
 * Counts the packet as those like it have been in this window, at this fill or a lower one: as its conversation was, or, a
 * stranger (`set` of `known` does not have it), as others from its network to its destination, or from its source. Returns the term of
 * the balance, or what is not positive: it is to be looked at in full.
 *
 * Most packets of a flood of random sources end at the second look: only where both sets of some conversation were full are
 * there entries of networks, and then it is no loss that one of few in the second set has some of its packets there too.
 */
REC_INLINE int rec_flood_like(__u8 *table, __u32 ring_size, struct rec_flood_id *id, __u32 wire, __u64 now, __u32 epoch,
			      __u32 fill, const __u64 *set)
{
	const __u32 flows = REC_FLOW_SETS(ring_size), tag = (__u32)(id->all >> 32);
	struct rec_flood *e;
	int like;

	e = rec_flood_in(table, flows, (__u32)id->all, tag, &id->key, epoch, 0);
	if (e)
		goto found;
	if (!rec_flood_crowded(table, flows, (__u32)id->all, epoch))
		return 0;
	REC_UNROLL
	for (__u32 i = 0; i < 4; i++)
		if (REC_ENTRY_TAG(set[i]) == id->flow)
			goto second;
	like = rec_flood_stranger(table, ring_size, id, wire, now, epoch, fill, REC_WHY_DEST);
	if (like)
		return like;
	like = rec_flood_stranger(table, ring_size, id, wire, now, epoch, fill, REC_WHY_SOURCE);
	if (like)
		return like;
second:
	e = rec_flood_in(table, flows, REC_SECOND_SET(id), tag, &id->key, epoch, 0);
	if (!e)
		return 0;
found:
	like = rec_flood_follow(e, id, wire, now, fill, REC_LIKE_FLOW);
	return like ? like : REC_SUMMARISED_FLOW;
}

#endif
