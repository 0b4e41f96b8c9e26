// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * recorder.bpf.c - from the packet to a record in a ring, and to the counters of the balance.
 *
 * One body, `record`, inlined into four entry points: XDP, XDP bound to a driver that gives the VLAN tag which the
 * card took, tc (tcx or clsact, both sides), and the frames of capture files. One object is loaded for each hook, with constant settings; the
 * verifier removes what the settings do not need. The maps are a capture's, shared by reuse.
 *
 * The way of a packet:
 *
 *   own second  -> taken; who finds it taken counts itself in `contended` and leaves
 *   clock       -> a new second opens a new slot
 *   SEEN
 *   blocked?    -> dropped, and counted by its entry, in any case; the rest of its way is that of the others, but that what is not
 *                  stored counts as BLOCKED, whatever the reason: from five eighths on, when it is rejected, when only counts are kept
 *   room?       -> 288 bytes in the ring; if not, it is looked at in the ring's control page, or not at all
 *   copy        -> up to 128 bytes straight from the packet; up to 256 when the filter may look at more, or the parser ran out
 *   filter?     -> FILTERED_EXPR, whether or not there is room; what is rejected is not parsed, except on a tap
 *   parse, own? -> FILTERED_OWN: an own packet that the filter rejects counts as rejected (on a tap: as own, so that it passes)
 *   like those? -> SUMMARISED_FLOW or _PREFIX without being parsed, when the ring fills and others like it were counted
 *   filling?    -> SUMMARISED_FLOW or _PREFIX, if its conversation, source or destination is heavy (flood.h)
 *   counting?   -> SUMMARISED_PREFIX, all of them, by protocol; a usual packet is not even copied
 *   no room     -> LOST_RING_FULL, when floods are not counted
 *   publish     -> XCHG of the ring's head, PUBLISHED, the bell if somebody waits
 *
 * Every way out behind SEEN adds to exactly one other term (abi.h).
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "compat.h"
#include "parse.h"
#include "flood.h"
#include "block.h"

const volatile struct rec_settings settings = { .cpus = 1, .ring_size = REC_RING_MIN };

#include "maps.h"
#include "packet.h"
#include "second.h"

/* e6795330f88b "xdp: Add VLAN tag hint", 6.8. Weak: where it is not, rec_xdp_vlan is not loaded. */
extern int bpf_xdp_metadata_rx_vlan_tag(const struct xdp_md *ctx, __be16 *proto, __u16 *tci) __ksym __weak;

#define SCRATCH 1024u /* in the ring's control page */
#define SCRATCH_ID 2048u
_Static_assert(SCRATCH + sizeof(struct rec_slot) <= SCRATCH_ID, "scratch lies in the control page");

/* ---- the recorder's own connections ------------------------------------------------------------------------------ */

/* The keeper leaves no hole. */
static __always_inline int is_own_port(const struct rec_policy *p, __u16 sport, __u16 dport)
{
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < REC_OWN_PORTS; i++) {
		__u16 port = relaxed(p->own_port[i]);

		if (!port)
			return 0;
		if (port == sport || port == dport)
			return 1;
	}
	return 0;
}

static __always_inline int is_own(const struct rec_slot *slot, __u32 cap)
{
	struct rec_own_key key = {};
	struct rec_policy *p;
	const __u8 *l3, *l4;
	__u32 zero = 0;

	p = bpf_map_lookup_elem(&policy, &zero);
	if (!p || !relaxed(p->own_flows) || slot->head.proto != REC_IP_TCP || !slot->head.off[REC_L4] ||
	    slot->head.off[REC_L4] + 4u > cap)
		return 0;
	l3 = rec_at(slot, slot->head.off[REC_L3]);
	l4 = rec_at(slot, slot->head.off[REC_L4]);
	key.sport = rec_ld16(l4);
	key.dport = rec_ld16(l4 + 2);
	if (!is_own_port(p, key.sport, key.dport))
		return 0;
	if (l3[0] >> 4 == 4) {
		key.src[10] = key.src[11] = key.dst[10] = key.dst[11] = 0xff;
		*(__u32 *)(key.src + 12) = rec_ld32(l3 + 12);
		*(__u32 *)(key.dst + 12) = rec_ld32(l3 + 16);
	} else {
		*(__u64 *)key.src = rec_ld64(l3 + 8);
		*(__u64 *)(key.src + 8) = rec_ld64(l3 + 16);
		*(__u64 *)key.dst = rec_ld64(l3 + 24);
		*(__u64 *)(key.dst + 8) = rec_ld64(l3 + 32);
	}
	key.proto = REC_IP_TCP;
	return bpf_map_lookup_elem(&own, &key) != 0;
}

/* ---- the block list ------------------------------------------------------------------------------------------------- */

#define BLOCK_ASK (-1) /* not at once: the parser says where the addresses are */

/* 1: the packet is to be dropped, and has been counted; 0: it is not; BLOCK_ASK. Straight from the packet. */
static __always_inline int block_at_once(const struct packet *pk, enum kind kind, __u32 wire)
{
	struct rec_block_ends ends;
	const __u8 *p, *end;
	__u32 etype;

	if (kind == KIND_IMPORT || !unlikely(block_any()))
		return 0;
	packet_ends(pk, kind, &p, &end);
	if (p + 34 > end)
		return BLOCK_ASK;
	etype = *(const __u16 *)(p + 12);
	if (etype == REC_BE16(REC_ETH_IPV4) && p[14] >> 4 == 4)
		block_ends4(&ends, p + 14);
	else if (etype == REC_BE16(REC_ETH_IPV6) && p[14] >> 4 == 6 && p + 54 <= end)
		block_ends6(&ends, p + 14);
	else
		return etype == REC_BE16(REC_ETH_ARP) ? 0 : BLOCK_ASK;
	return rec_block(&ends, wire);
}

/* ---- the capture filter ------------------------------------------------------------------------------------------ */

/*
 * 1: keep. Only a place: recorder/capture/filter_splice.c puts the filter here while the object is loaded. Weak, so that
 * clang neither inlines it nor concludes anything from what it returns. It looks at the first `avail` bytes of the slot;
 * the head is not written yet.
 */
__weak __noinline int rec_filter(struct rec_slot *slot, __u32 avail, __u32 wire)
{
	return slot && avail <= wire;
}

/* ---- counting only -------------------------------------------------------------------------------------------------- */

#define NOT_AT_ONCE (~0u)

/* IP version << 8 | protocol of a usual packet, 0 of ARP, straight from the packet; NOT_AT_ONCE: ask the parser. */
static __always_inline __u32 protocol_of(const struct packet *pk, enum kind kind)
{
	const __u8 *p, *end;
	__u32 etype;

	packet_ends(pk, kind, &p, &end);
	if (p + 34 > end)
		return NOT_AT_ONCE;
	etype = *(const __u16 *)(p + 12);
	if (etype == REC_BE16(REC_ETH_IPV4) && p[14] == 0x45 && (p[16] || p[17] >= 20) && p[23] != REC_IP_AH)
		return 4 << 8 | p[23];
	if (etype == REC_BE16(REC_ETH_IPV6) && p[14] >> 4 == 6 && p + 54 <= end && !rec_is_extension(p[20]))
		return 6 << 8 | p[20];
	return etype == REC_BE16(REC_ETH_ARP) ? 0 : NOT_AT_ONCE;
}

/* What protocol_of says, of the parsed slot. */
static __always_inline __u32 protocol_parsed(const struct rec_slot *slot)
{
	const __u32 l3 = slot->head.off[REC_L3], version = rec_at(slot, l3)[0] >> 4;

	return (l3 && (version == 4 || version == 6) ? version << 8 : 0) | slot->head.proto;
}

/* Counts the packet in the ring's table of protocols. */
static __always_inline enum rec_term tally(struct rec_ring *ring, __u32 protocol, __u32 wire, __u64 now, __u32 epoch)
{
	const __u32 size = settings.ring_size;
	__u32 at = REC_PROTOCOL_INDEX(protocol >> 8, protocol);
	struct rec_flood_key key = { .proto = (__u8)protocol, .shape = (__u8)(protocol >> 8 | REC_SHAPE_PROTOCOL) };
	struct rec_flood *e;
	__u8 *table = (__u8 *)ring + REC_TABLE_AT(size, 0) + REC_SETS_LEN(REC_FLOW_SETS(size)) +
		      REC_SETS_LEN(REC_PREFIX_SETS(size));

	if (epoch & 1)
		table += REC_TABLE_LEN(size);
	asm volatile("" : "+r"(at)); /* as in rec_flood_count */
	e = (struct rec_flood *)table + (at & (REC_PROTOCOLS - 1));
	if (unlikely(e->epoch != epoch || !e->packets)) {
		rec_flood_new(e, &key, epoch);
		e->first = now;
		e->len_min = wire;
		e->why = 1u << REC_WHY_ALL;
	}
	e->packets++;
	e->bytes += wire;
	e->last = now;
	e->len_min = wire < e->len_min ? wire : e->len_min;
	e->len_max = wire > e->len_max ? wire : e->len_max;
	return REC_SUMMARISED_PREFIX;
}

/* ---- a ring that fills ---------------------------------------------------------------------------------------------- */

static __always_inline __u8 *ring_of(__u32 cpu)
{
	void *map = bpf_map_lookup_elem(&rings, &cpu);
	__u32 zero = 0;

	return map ? bpf_map_lookup_elem(map, &zero) : 0;
}

/*
 * The ring is more than five eighths full, and others like this packet may have been counted: as rec_flood_like says. Looks at the packet where
 * it is: nothing is copied. where: CPU << 16 | bytes of a tag in metadata << 8 | fill.
 */
static __always_inline int like_at(const struct packet *pk, enum kind kind, __u64 now, __u32 where, __u32 epoch)
{
	const __u32 size = settings.ring_size, wire = pk->bytes + (where >> 8 & 255);
	struct rec_flood_id *id; /* the stack has no room for it */
	const __u8 *p, *end;
	struct rec_policy *policies;
	__u8 *ring, *table, *set;
	__u32 zero = 0;

	ring = ring_of(where >> 16);
	if (!ring)
		return 0;
	id = (void *)(ring + SCRATCH_ID);
	packet_ends(pk, kind, &p, &end);
	if (!rec_glance(id, p, end, pk->bytes, settings.hash_seed))
		return 0;
	policies = bpf_map_lookup_elem(&policy, &zero);
	set = bpf_map_lookup_elem(&known, &zero);
	if (!policies || !set)
		return 0;
	if (id->key.proto == REC_IP_TCP && relaxed(policies->own_flows) && is_own_port(policies, id->key.sport, id->key.dport))
		return 0;
	set += 32 * (id->flow & (REC_KNOWN_SETS(size) - 1));
	table = ring + REC_FLOOD_AT(size) + 2 * REC_HEAVY_LEN(size);
	if (epoch & 1)
		table += REC_TABLE_LEN(size);
	return rec_flood_like(table, size, id, wire, now, epoch, where & 255, (__u64 *)set);
}

/* Global, so that the verifier walks them once: inlined they were walked anew for each state that a capture filter leaves. */
__noinline int rec_like_xdp(struct xdp_md *ctx, __u64 now, __u32 bytes, __u32 where, __u32 epoch)
{
	struct packet pk = { .xdp = ctx, .bytes = bytes };

	return like_at(&pk, KIND_XDP, now, where, epoch);
}

__noinline int rec_like_tc(struct __sk_buff *skb, __u64 now, __u32 bytes, __u32 where, __u32 epoch)
{
	struct packet pk = { .skb = skb, .bytes = bytes };

	return like_at(&pk, KIND_TC, now, where, epoch);
}

static __always_inline int like_those(const struct packet *pk, enum kind kind, __u64 now, __u32 cpu, __u32 fill, __u32 epoch)
{
	const __u32 where = cpu << 16 | pk->shift << 8 | fill;

	return kind == KIND_TC ? rec_like_tc(pk->skb, now, pk->bytes, where, epoch) :
				 rec_like_xdp(pk->xdp, now, pk->bytes, where, epoch);
}

/* The arguments that rec_pressure has no place for, in `how`. */
#define HOW(fill, flow, like) ((__u64)(like) << 32 | (fill) << 16 | (flow))

/*
 * The ring is more than half full: the packet in the slot is counted (the term is returned), or 0: it is stored. cpu_cap: CPU << 16 |
 * header bytes; how: fill << 16 | what rec_known said | what like_those said << 32. Global, so that the verifier walks it once.
 */
__noinline int rec_pressure(struct rec_slot *slot, __u64 now, __u32 cpu_cap, __u64 how, __u32 epoch)
{
	const __u32 size = settings.ring_size, heavy = REC_HEAVY_SETS(size), fill = how >> 16 & 31, like = how >> 32;
	const __u32 who = REC_LIKE_WHO(like), packets = REC_LIKE_PACKETS(like);
	__u32 cpu = cpu_cap >> 16, cap = cpu_cap & 0x1ff, why, source, dest, at;
	struct rec_flood_id *id; /* the stack of 512 bytes has no room for it */
	__u8 *map, *table;

	if (!slot)
		return 0;
	map = ring_of(cpu);
	if (!map)
		return 0;
	id = (void *)(map + SCRATCH_ID);
	map += REC_FLOOD_AT(size);
	rec_flood_key(id, slot, cap, settings.hash_seed);
	at = 32 * ((__u32)id->source & (heavy - 1));
	source = rec_heavy((__u64 *)(map + at), (__u32)(id->source >> 32), REC_WINDOW_NO(now),
			   who == REC_LIKE_FLOW || who == REC_LIKE_SOURCE ? packets : 1);
	at = 32 * ((__u32)id->dest & (heavy - 1));
	dest = rec_heavy((__u64 *)(map + 32 * heavy + at), (__u32)(id->dest >> 32), REC_WINDOW_NO(now),
			 who == REC_LIKE_FLOW || who == REC_LIKE_DEST ? packets : 1);
	why = rec_flood_why(fill, how & 0xffff, source, dest);
	if (!why)
		return 0;
	table = map + 64 * heavy;
	if (epoch & 1)
		table += REC_TABLE_LEN(size);
	return rec_flood_count(table, size, id, slot->head.wire_len, now, epoch, fill, why);
}

/* ---- one packet -------------------------------------------------------------------------------------------------- */

/* Makes the record, or says why not: the term of the balance that the packet belongs to. */
static __always_inline enum rec_term take(const struct packet *pk, enum kind kind, __u32 cpu, struct rec_seconds *s,
					  __u64 now, int stale, int *blocked)
{
	const int floods_on = settings.floods == REC_FLOODS_COUNTED && kind != KIND_IMPORT;
	const int count_all = settings.floods == REC_FLOODS_ALL && kind != KIND_IMPORT;
	const __u32 size = settings.ring_size, wire = packet_wire(pk, kind), here = pk->bytes + pk->shift;
	__u32 zero = 0, off, avail, want, cap, flow = 0, fill = 0;
	__u64 *entry = 0;
	struct rec_slot *slot;
	struct rec_ring *ring;
	int n, full = 0, rejected = 0, like = 0;
	__u64 head;
	void *map;

	map = bpf_map_lookup_elem(&rings, &cpu);
	if (!map)
		return REC_LOST_NO_RING;
	ring = bpf_map_lookup_elem(map, &zero);
	if (!ring)
		return REC_LOST_NO_RING;

	/* Unsigned: a consumer index beyond the head, by mistake or malice, only means "full". */
	head = ring->head;
	off = REC_RING_PAGE + ((__u32)head & (size - 8));
	if (unlikely(head - ring->tail_seen > (floods_on || *blocked ? size / 16 * REC_FILL_WATCH : size - REC_RECORD_MAX))) {
		if (!stale) { /* like the clock: at most 64 packets old */
			__u32 index = REC_DESK_TAIL(settings.side, settings.cpus, cpu);
			union rec_desk *d = bpf_map_lookup_elem(&desk, &index);

			if (!d)
				return REC_LOST_NO_RING;
			ring->tail_seen = relaxed(d->ring.tail);
		}
		full = head - ring->tail_seen > size - REC_RECORD_MAX;
		fill = full ? REC_FILL_FULL : rec_flood_fill(head - ring->tail_seen, size);
		if (full) {
			struct rec_policy *p = bpf_map_lookup_elem(&policy, &zero);

			if (!p || (!floods_on && !settings.filtered && !relaxed(p->own_flows) && *blocked != BLOCK_ASK))
				return REC_LOST_RING_FULL;
			off = SCRATCH; /* lost, rejected, blocked, or our own? it must be looked at to know */
		}
	}
	if (unlikely(*blocked > 0 && (count_all || fill >= REC_FILL_COUNT))) {
		if (!stale)
			keep_clock(s, now);
		return REC_BLOCKED;
	}
	if (count_all) {
		struct rec_policy *p = bpf_map_lookup_elem(&policy, &zero);
		__u32 protocol = protocol_of(pk, kind);

		if (!p)
			return REC_LOST_NO_RING;
		if (!stale)
			keep_clock(s, now);
		if (!settings.filtered && !*blocked && protocol != NOT_AT_ONCE && !(relaxed(p->own_flows) && (protocol & 255) == REC_IP_TCP))
			return tally(ring, protocol, wire, now, (__u32)s->epoch);
		off = SCRATCH;
	}
	slot = (void *)ring + off;
	if (floods_on && !settings.filtered && fill >= REC_FILL_COUNT && !*blocked) {
		like = like_those(pk, kind, now, cpu, fill, (__u32)s->epoch);
		if (like > 0)
			goto liked;
	}

	avail = copy_direct(slot->bytes + pk->shift, pk, kind);
	if (avail && pk->shift) {
		put_tag(slot->bytes, pk->tag);
		avail += 4;
	}
	if (settings.filtered) {
		if (unlikely(!avail || (settings.filter_reach > avail && avail < pk->bytes + pk->shift))) {
			n = load_more(slot, pk, kind);
			if (n < 0)
				return REC_LOST_UNREADABLE;
			avail = n;
		}
		rejected = !rec_filter(slot, avail, wire);
		/* A tap consumes what it sees, but not our own: then that must be known of what is rejected, too. */
		if (rejected && !settings.tap && *blocked != BLOCK_ASK)
			return REC_FILTERED_EXPR;
	}
	if (floods_on && settings.filtered && fill >= REC_FILL_COUNT && !rejected && !*blocked) {
		like = like_those(pk, kind, now, cpu, fill, (__u32)s->epoch);
		if (like > 0) {
		liked:
			if (!stale)
				keep_clock(s, now);
			return like == REC_SUMMARISED_FLOW ? REC_SUMMARISED_FLOW : REC_SUMMARISED_PREFIX;
		}
	}
	if (unlikely(!avail))
		goto load;
	want = rec_parse(slot, avail, wire, settings.hash_seed);
	if (unlikely(rec_short(want, avail, here))) {
	load:
		n = load_more(slot, pk, kind);
		if (n < 0)
			return REC_LOST_UNREADABLE;
		avail = n;
		want = rec_parse(slot, avail, wire, settings.hash_seed);
	}
	cap = rec_trim(slot, want, avail);

	if (unlikely(*blocked == BLOCK_ASK))
		*blocked = block_parsed(slot, cap, wire);
	if (unlikely(*blocked && (count_all || fill >= REC_FILL_COUNT)))
		return REC_BLOCKED;
	if (is_own(slot, cap))
		return REC_FILTERED_OWN;
	if (rejected)
		return REC_FILTERED_EXPR;
	if (count_all)
		return tally(ring, protocol_parsed(slot), wire, now, (__u32)s->epoch);
	if (floods_on && !*blocked) {
		const int fills = fill >= REC_FILL_WATCH;
		__u32 tag = slot->head.hash, window = (__u32)(now >> REC_WINDOW_SHIFT), calm;
		struct rec_policy *p = bpf_map_lookup_elem(&policy, &zero);
		__u8 *table = bpf_map_lookup_elem(&known, &zero);

		if (!table || !p)
			return REC_LOST_NO_RING;
		calm = window - relaxed(p->watched);
		if (unlikely(fills && calm))
			relaxed(p->watched) = window;
		table += 32 * (tag & (REC_KNOWN_SETS(size) - 1));
		entry = rec_known((__u64 *)table, tag, window, REC_LIKE_WHO(-like) == REC_LIKE_FLOW ? REC_LIKE_PACKETS(-like) : fills,
				  rec_loud(fill), calm, &flow);
		if (unlikely(fills)) {
			n = rec_pressure(slot, now, cpu << 16 | cap, HOW(fill, flow, (__u32)-like), (__u32)s->epoch);
			if (n)
				return n == REC_SUMMARISED_FLOW ? REC_SUMMARISED_FLOW : REC_SUMMARISED_PREFIX;
		}
	}
	if (full)
		return REC_LOST_RING_FULL;
	if (floods_on && entry)
		*entry = rec_entry(slot->head.hash, REC_WINDOW_NO(now), 1);

	if (unlikely(stale)) {
		now = bpf_ktime_get_boot_ns();
		s->clock_uses = 0;
		if (now >= s->until)
			roll(s, now);
	}
	slot->head.time = kind == KIND_IMPORT ? pk->time : now;
	if (pk->shift)
		slot->head.marks |= REC_MARK_VLAN_HW;
	if (unlikely(*blocked))
		slot->head.marks |= REC_MARK_BLOCKED;
	if (kind == KIND_TC) {
		__u32 gso = pk->skb->gso_size;

		slot->head.gso_segs = 0;
		slot->head.gso_size = gso;
		if (gso) {
			slot->head.gso_segs = pk->skb->gso_segs;
			slot->head.marks |= REC_MARK_GSO;
		}
	} else {
		slot->head.gso_segs = 0;
		slot->head.gso_size = 0;
	}
	slot->head.side = settings.side;
	slot->head.reserved[0] = 0;
	slot->head.reserved[1] = 0;
	xchg(&ring->head, head + REC_RECORD_LEN(cap));
	return REC_PUBLISHED;
}

static __always_inline void ring_bell(__u64 now)
{
	__u32 control = REC_DESK_CONTROL;
	union rec_desk *d = bpf_map_lookup_elem(&desk, &control);

	if (d && unlikely(relaxed(d->control.armed)) && xchg(&d->control.armed, 0))
		bpf_ringbuf_output(&bell, &now, sizeof(now), BPF_RB_FORCE_WAKEUP);
}

static __always_inline int record(const struct packet *pk, enum kind kind)
{
	const int pass = kind == KIND_TC ? REC_TCX_NEXT : (int)XDP_PASS;
	const int consume = kind == KIND_TC ? TC_ACT_SHOT : (int)XDP_DROP;
	const int verdict = settings.tap ? consume : pass;
	/* Files come from one thread, wherever it runs: all of them into one ring. */
	const __u32 cpu = kind == KIND_IMPORT ? 0 : bpf_get_smp_processor_id();
	__u32 index = settings.side * settings.cpus + cpu;
	const __u64 wire = packet_wire(pk, kind);
	struct rec_seconds *s;
	struct rec_count *count;
	enum rec_term term;
	int stale, blocked;
	__u64 now, taken;

	s = bpf_map_lookup_elem(&seconds, &index);
	if (!s)
		return pass;
	blocked = block_at_once(pk, kind, wire);
	/*
	 * Who only interrupts us has given the flag back before we go on, wherever that was: a load and a store do. XCHG costs as
	 * much as all else that is done for a counted packet before it is looked at.
	 */
	taken = settings.in_turns ? xchg(&s->busy, 1) : relaxed(s->busy);
	if (unlikely(taken)) {
		__sync_fetch_and_add(&s->contended.packets, 1);
		__sync_fetch_and_add(&s->contended.bytes, wire);
		return blocked > 0 ? consume : verdict;
	}
	relaxed(s->busy) = 1;
	barrier();
	now = now_or_just_before(s, &stale);
	if (unlikely(now >= s->until))
		roll(s, now);

	term = take(pk, kind, cpu, s, now, stale, &blocked); /* it may open another second */
	if (unlikely(blocked > 0 && term != REC_PUBLISHED))
		term = REC_BLOCKED;
	count = s->slot[s->newest & (REC_SECONDS - 1)].total;
	count[REC_SEEN].packets++;
	count[REC_SEEN].bytes += wire;
	if (term == REC_PUBLISHED) {
		count[REC_PUBLISHED].packets++;
		count[REC_PUBLISHED].bytes += wire;
		if (unlikely(blocked > 0)) {
			count[REC_BLOCKED_STORED].packets++;
			count[REC_BLOCKED_STORED].bytes += wire;
		}
		if (kind != KIND_IMPORT)
			ring_bell(now);
	} else {
		count[term & 15].packets++;
		count[term & 15].bytes += wire;
	}
	barrier();
	relaxed(s->busy) = 0; /* the same CPU takes it next: no ordering between CPUs is needed */
	return blocked > 0 ? consume : term == REC_FILTERED_OWN ? pass : verdict;
}

/* ---- entry points ------------------------------------------------------------------------------------------------ */

SEC("xdp.frags")
int rec_xdp(struct xdp_md *ctx)
{
	struct packet pk = { .xdp = ctx };

	pk.bytes = bpf_xdp_get_buff_len(ctx);
	return record(&pk, KIND_XDP);
}

/* Loaded bound to one device (BPF_F_XDP_DEV_BOUND_ONLY) whose driver may know the tag that the card took off. */
SEC("xdp.frags")
int rec_xdp_vlan(struct xdp_md *ctx)
{
	struct packet pk = { .xdp = ctx };
	__be16 proto = 0;
	__u16 tci = 0;

	pk.bytes = bpf_xdp_get_buff_len(ctx);
	if (bpf_xdp_metadata_rx_vlan_tag && !bpf_xdp_metadata_rx_vlan_tag(ctx, &proto, &tci)) {
		pk.shift = 4;
		pk.tag = proto | (__u32)REC_BE16(tci) << 16;
	}
	return record(&pk, KIND_XDP);
}

/* tcx or clsact, in or out. The tag of an skb is in its metadata, on the way out too. */
SEC("tc")
int rec_tc(struct __sk_buff *skb)
{
	struct packet pk = { .skb = skb };

	pk.bytes = skb->len;
	if (skb->vlan_present) {
		pk.shift = 4;
		pk.tag = (skb->vlan_proto & 0xffff) | (__u32)REC_BE16(skb->vlan_tci) << 16;
	}
	return record(&pk, KIND_TC);
}

/*
 * Frames of capture files, by BPF_PROG_RUN (recorder/capture/run.c); not loaded unless it is asked for. What comes without
 * its metadata is in no balance: nobody but run.c can send it.
 */
SEC("?xdp.frags")
int rec_xdp_import(struct xdp_md *ctx)
{
	const struct rec_import_meta *meta = (void *)(long)relaxed(ctx->data_meta);
	const void *data = (void *)(long)relaxed(ctx->data);
	struct packet pk = { .xdp = ctx };

	barrier_var(meta);
	barrier_var(data);
	if ((const void *)(meta + 1) > data)
		return XDP_ABORTED;
	pk.time = meta->time;
	pk.bytes = bpf_xdp_get_buff_len(ctx);
	pk.wire = meta->wire_len < pk.bytes ? pk.bytes : meta->wire_len;
	return record(&pk, KIND_IMPORT);
}

char LICENSE[] SEC("license") = "GPL";
