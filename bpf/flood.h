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
 *             is stored even when one of its ends is: so those that a flood's victim already had go on in detail
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

/* An entry of `known` or `heavy`, in one word: tag 32 bits, window 16, count 15, and in `known` EARLIER. */
#define REC_WINDOW_SHIFT 27u /* ns of a window: 0.134 s; numbered modulo 65,536, two and a half hours */
#define REC_WINDOW_NO(now) ((__u16)((now) >> REC_WINDOW_SHIFT))
#define REC_COUNT_MOST 0x7fffu
#define REC_EARLIER 0x8000u /* it was seen in an earlier window already */
#define REC_MINUTE 448u     /* windows */

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

	return age < 15 ? ((__u32)e & REC_COUNT_MOST) >> age : 0;
}

REC_INLINE __u32 rec_count_more(__u32 n, __u32 weight)
{
	n += weight;
	return n < REC_COUNT_MOST ? n : REC_COUNT_MOST;
}

/*
 * Looks for a conversation in its set of four. Found: *count is what rec_entry_count says, with EARLIER where it is so; returns
 * NULL. Not found: *count is 0; where it may be entered, or NULL: all four are others' that go on.
 *
 * All CPUs share the table and nothing locks it: a word is stored at once, and what is lost when two store is a count or an
 * entry, which comes again. Each packet is counted, for `each` packets, only when that is not 0, else the first of a
 * window: few stores, so CPUs do not take each other's lines away.
 */
REC_INLINE __u64 *rec_known(__u64 *set, __u32 tag, __u32 window, __u32 each, __u32 *count)
{
	__u32 oldest = 0, age;
	__u64 *place = 0;

	REC_UNROLL
	for (__u32 i = 0; i < 4; i++) {
		__u64 e = set[i];

		if (REC_ENTRY_TAG(e) == tag && (__u16)e) {
			__u32 n = rec_entry_count(e, window), earlier = (__u32)e & REC_EARLIER;

			age = REC_ENTRY_AGE(e, window);
			if (age > REC_MINUTE)
				n = earlier = 0;
			else if (age)
				earlier = REC_EARLIER;
			n = rec_count_more(n, each ? each : 1);
			if (age || each)
				set[i] = rec_entry(tag, window, n | earlier);
			*count = n | earlier;
			return 0;
		}
	}
	*count = 0;
	REC_UNROLL
	for (__u32 i = 0; i < 4; i++) {
		__u64 e = set[i];

		age = REC_ENTRY_AGE(e, window);
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
			n = rec_count_more(n, weight);
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

/* Sixteenths of the ring that are full. */
REC_INLINE __u32 rec_flood_fill(__u64 used, __u32 ring_size)
{
	return used >= ring_size ? 16 : (__u32)used / (ring_size / 16);
}

#define REC_FILL_WATCH 8u
#define REC_FILL_COUNT 10u
#define REC_FILL_NEW 15u /* from here on no new conversation is stored */

/* Packets in a window that a key may have and is not heavy: 8,192 (60,000 a second), then a quarter of it each time. */
REC_INLINE __u32 rec_flood_limit(__u32 fill)
{
	return fill < REC_FILL_COUNT ? ~0u : 8192u >> 2 * (fill - REC_FILL_COUNT);
}

/*
 * Why the packet is to be counted; 0: store it. `flow`: of its conversation, as rec_known said; source and dest: of its
 * addresses, as rec_heavy said.
 */
REC_INLINE __u32 rec_flood_why(__u32 fill, __u32 flow, __u32 source, __u32 dest)
{
	__u32 limit = rec_flood_limit(fill);

	if (fill >= 16)
		return REC_WHY_FULL;
	if ((flow & REC_COUNT_MOST) > limit)
		return REC_WHY_FLOW;
	if (flow & REC_EARLIER)
		return 0;
	if (dest > limit)
		return REC_WHY_DEST;
	if (source > limit)
		return REC_WHY_SOURCE;
	return fill >= REC_FILL_NEW ? REC_WHY_NEW : 0;
}

/* ---- the key ----------------------------------------------------------------------------------------------------- */

/* What a packet is counted by, and the hashes of its ends. */
struct rec_flood_id {
	struct rec_flood_key key;
	__u64 source, dest, all;
};

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
	id->source = rec_mix(rec_mix(word[0], seed) + word[1], seed);
	id->dest = rec_mix(rec_mix(word[2], seed) + word[3], seed);
	id->all = rec_mix(id->source + (id->dest ^ id->dest >> 29) * 0x9e3779b97f4a7c15ull + word[4], seed);
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

/* The packet into an entry that is its own. */
REC_INLINE void rec_flood_add(struct rec_flood *e, const struct rec_slot *s, __u32 cap, __u32 wire, __u64 now,
			      __u32 why)
{
	const __u32 l4 = s->head.off[REC_L4];
	__u8 flags = 0;

	if (s->head.proto == REC_IP_TCP && l4 && l4 + 14 <= cap)
		flags = *(rec_at(s, l4) + 13);
	if (!e->packets) {
		e->first = now;
		e->len_min = wire;
		e->flags_all = flags;
	}
	e->packets++;
	e->bytes += wire;
	e->last = now;
	e->len_min = wire < e->len_min ? wire : e->len_min;
	e->len_max = wire > e->len_max ? wire : e->len_max;
	e->flags_any |= flags;
	e->flags_all &= flags;
	e->why |= why ? (__u8)(1u << why) : 0; /* 0: as those like it */
	e->marks |= s->head.marks;
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

/* Those like the packet need not be looked at in full for a while. */
REC_INLINE void rec_flood_decide(struct rec_flood *e, __u64 now, __u32 fill)
{
	e->window = REC_WINDOW_NO(now);
	e->fill = (__u8)fill;
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
	key->sport = key->dport = 0;
	key->shape |= why == REC_WHY_SOURCE ? REC_SHAPE_SOURCE : REC_SHAPE_DEST;
}

/* Of a key that rec_flood_prefix has cut: of the whole end's hash, which knows the seed, the network and the protocol. */
REC_INLINE __u64 rec_flood_hash(const struct rec_flood_id *id, __u32 why)
{
	const __u64 *word = (const __u64 *)&id->key;
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
REC_INLINE enum rec_term rec_flood_count(__u8 *table, __u32 ring_size, struct rec_flood_id *id, const struct rec_slot *s,
					 __u32 cap, __u64 now, __u32 epoch, __u32 fill, __u32 why)
{
	const __u32 flows = REC_FLOW_SETS(ring_size), prefixes = REC_PREFIX_SETS(ring_size);
	const __u32 wire = s->head.wire_len, tag = (__u32)(id->all >> 32);
	struct rec_flood *e;
	__u32 at;

	e = rec_flood_in(table, flows, (__u32)id->all, tag, &id->key, epoch, 1);
	if (!e)
		e = rec_flood_in(table, flows, REC_SECOND_SET(id), tag, &id->key, epoch, 1);
	if (e) {
		rec_flood_add(e, s, cap, wire, now, why);
		rec_flood_decide(e, now, fill);
		return REC_SUMMARISED_FLOW;
	}
	rec_flood_prefix(&id->key, why);
	id->all = rec_flood_hash(id, why);
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
	} else if (why != REC_WHY_SOURCE && why != REC_WHY_FLOW) {
		rec_flood_decide(e, now, fill); /* what goes for this stranger goes for the next one from there */
	}
	rec_flood_add(e, s, cap, wire, now, why);
	return REC_SUMMARISED_PREFIX;
}

/* ---- at a glance ------------------------------------------------------------------------------------------------- */

/*
 * The usual frame, without the parser: Ethernet, IP without options, TCP, UDP, an echo or a later fragment, whole and sound.
 * Fills the head's off, proto, hash, wire_len and marks as rec_parse would and returns 1; 0 for any other frame.
 */
REC_INLINE int rec_glance(struct rec_slot *s, __u32 avail, __u32 wire, __u32 seed32)
{
	__u64 flow, seed = seed32 * 0xd6e8feb86659fd93ull;
	const __u8 *p = s->bytes + 14, *q;
	const __u32 etype = rec_ld16(s->bytes + 12);
	__u32 proto, len, l4, need, icmp;

	if (etype == REC_BE16(REC_ETH_IPV4)) {
		l4 = 34;
		len = REC_BE16(rec_ld16(p + 2));
		if (avail < 54 || p[0] != 0x45 || len < 20 || len + 14 > wire)
			return 0;
		len -= 20;
		proto = p[9];
		icmp = REC_IP_ICMP;
		flow = rec_mix(rec_ld32(p + 12), seed) + rec_mix(rec_ld32(p + 16), seed);
		if (rec_ld16(p + 6) & REC_BE16(0x1fff)) {
			l4 = 0;
			goto sound;
		}
		q = s->bytes + 34;
	} else if (etype == REC_BE16(REC_ETH_IPV6)) {
		l4 = 54;
		len = REC_BE16(rec_ld16(p + 4));
		if (avail < 74 || p[0] >> 4 != 6 || len + 54 > wire)
			return 0;
		proto = p[6];
		icmp = REC_IP_ICMP6;
		flow = rec_mix6(p + 8, seed) + rec_mix6(p + 24, seed);
		q = s->bytes + 54;
	} else {
		return 0;
	}
	if (proto == REC_IP_TCP) {
		need = (q[12] >> 4) * 4u;
		if (need < 20)
			return 0;
		flow += rec_ports(rec_ld16(q), rec_ld16(q + 2));
	} else if (proto == REC_IP_UDP) {
		need = 8;
		if (rec_ld16(q + 2) == REC_BE16(REC_PORT_VXLAN) || rec_ld16(q + 2) == REC_BE16(REC_PORT_GENEVE) ||
		    REC_BE16(rec_ld16(q + 4)) < 8)
			return 0;
		flow += rec_ports(rec_ld16(q), rec_ld16(q + 2));
	} else if (proto == icmp) {
		need = 8;
		if (icmp == REC_IP_ICMP ? q[0] & ~8u : (q[0] & ~1u) != 128)
			return 0; /* not an echo or its answer */
	} else {
		return 0;
	}
	if (need > len || l4 + need > avail)
		return 0;
sound:
	if (!flow)
		return 0;
	s->head.off[REC_L3] = 14;
	s->head.off[REC_L4] = (__u8)l4;
	s->head.off[REC_INNER_L3] = s->head.off[REC_INNER_L4] = 0;
	s->head.proto = (__u8)proto;
	s->head.marks = l4 ? 0 : REC_MARK_FRAGMENT;
	s->head.wire_len = wire;
	s->head.hash = rec_flow_hash(flow, proto);
	return 1;
}

/* One in so many is looked at in full nevertheless, and weighs for all of them. */
#define REC_SAMPLE 16u

/* What rec_flood_like returns when it is this one's turn: of a conversation, of strangers to a heavy destination. */
#define REC_LIKE_FLOW (-1)
#define REC_LIKE_DEST (-2)

REC_INLINE int rec_flood_holds(const struct rec_flood *e, __u32 window, __u32 fill)
{
	return e->fill && e->window == (window & 0xffff) && e->fill <= fill;
}

/*
 * Counts the packet as those like it have been in this window, at this fill or a lower one: as its conversation was, or, a
 * stranger (`set` of `known` does not have it), as others from its network to its destination. Returns the term of the balance, or
 * what is not positive: it is to be looked at in full.
 */
REC_INLINE int rec_flood_like(__u8 *table, __u32 ring_size, struct rec_flood_id *id, const struct rec_slot *s, __u32 cap,
			      __u64 now, __u32 epoch, __u32 fill, const __u64 *set)
{
	const __u32 flows = REC_FLOW_SETS(ring_size), prefixes = REC_PREFIX_SETS(ring_size);
	const __u32 tag = (__u32)(id->all >> 32), window = REC_WINDOW_NO(now);
	struct rec_flood *e;

	e = rec_flood_in(table, flows, (__u32)id->all, tag, &id->key, epoch, 0);
	if (!e)
		e = rec_flood_in(table, flows, REC_SECOND_SET(id), tag, &id->key, epoch, 0);
	if (e) {
		if (!rec_flood_holds(e, window, fill))
			return 0;
		if (e->packets % REC_SAMPLE == 0)
			return REC_LIKE_FLOW;
		rec_flood_add(e, s, cap, s->head.wire_len, now, 0);
		return REC_SUMMARISED_FLOW;
	}
	if (!rec_flood_crowded(table, flows, (__u32)id->all, epoch) ||
	    !rec_flood_crowded(table, flows, REC_SECOND_SET(id), epoch))
		return 0;
	REC_UNROLL
	for (__u32 i = 0; i < 4; i++)
		if (REC_ENTRY_TAG(set[i]) == s->head.hash)
			return 0;
	rec_flood_prefix(&id->key, REC_WHY_DEST);
	id->all = rec_flood_hash(id, REC_WHY_DEST);
	table += REC_SETS_LEN(flows);
	e = rec_flood_in(table, prefixes, (__u32)id->all, (__u32)(id->all >> 32), &id->key, epoch, 0);
	if (!e || !rec_flood_holds(e, window, fill))
		return 0;
	if (e->packets % REC_SAMPLE == 0)
		return REC_LIKE_DEST;
	rec_flood_add(e, s, cap, s->head.wire_len, now, 0);
	return REC_SUMMARISED_PREFIX;
}

#endif
