/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flow_fast.h - the packets that nearly all are, from header bytes straight to row and key: Ethernet with one VLAN tag
 * or none, IPv4 without options or IPv6 without extension headers, not a fragment, then TCP without options, with time
 * stamps or with those of a SYN, or UDP, or an ICMP echo; nothing behind it, no padding, every length and checksum of
 * layer 3 as it should be. Whatever is not so in every point is left to packet_decode: rows are the same either way
 * (flow_test, tests/fuzz/decode.c).
 */
#ifndef XDP_RECORDER_ENCODE_FLOW_FAST_H
#define XDP_RECORDER_ENCODE_FLOW_FAST_H

#include <string.h>

#include "recorder/encode/flow.h"
#include "recorder/packet/fields.h"
#include "recorder/packet/wire.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "members are put together in integers");
_Static_assert(offsetof(struct rec_head, gso_size) == offsetof(struct rec_head, gso_segs) + 2, "looked at as one");

/* A record that is such a packet: where its layers are. */
struct flow_fast {
	const uint8_t *frame, *ip, *l4;
	uint32_t shape; /* what the key has of the layers: protocol, family, tags; never 0 */
};
#define FLOW_SHAPE(proto, family, tags) ((uint32_t)(proto) | (uint32_t)(family) << 8 | (uint32_t)(tags) << 16)

static inline uint32_t fast32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, 4);
	return v;
}
static inline uint64_t fast64(const uint8_t *at)
{
	uint64_t v;

	memcpy(&v, at, 8);
	return v;
}

/* What a row is made of, eight bytes each; of the first only marks and len. */
struct flow_words {
	uint64_t seq, clocks, flags, has, opts, mss;
};

/*
 * Sums of words as they lie in memory: what of them is left when folded is what it is in network order, byte-swapped.
 * Halves are added with their carry by adding the number that has them the other way round: the upper half is the sum.
 */
static inline uint64_t fast_add(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) + sum;
}
static inline uint16_t fast_fold(uint64_t sum)
{
	uint32_t half = (uint32_t)((sum + (sum >> 32 | sum << 32)) >> 32);

	return (uint16_t)((half + (half >> 16 | half << 16)) >> 16);
}

static inline bool fast_ipv4_sum_is_right(const uint8_t *ip)
{
	uint64_t a = fast64(ip), b = fast64(ip + 8);

	/* 0xffff in the field adds nothing, as 0 does; 0 is the one that is written. */
	return (fast_fold(fast_add(fast_add(a, b), fast32(ip + 16))) == 0xffff) & ((uint16_t)(b >> 16) != 0xffff);
}

/* Layer 4 of `length` bytes has the bare sum of its pseudo header: packet_pseudo_sum. */
static inline bool fast_is_unsummed(const uint8_t *addresses, unsigned bytes, unsigned proto, uint32_t length,
				    uint16_t csum)
{
	uint64_t sum = fast_add(__builtin_bswap32(proto + length), fast64(addresses));

	if (bytes > 8)
		sum = fast_add(fast_add(sum, fast64(addresses + 8)),
			       fast_add(fast64(addresses + 16), fast64(addresses + 24)));
	return fast_fold(sum) == __builtin_bswap16(csum);
}

/* The options of `n` bytes, of the forms that are known; `clocks` as written. False: another form. */
static inline bool fast_options(const uint8_t *o, unsigned n, struct flow_words *w)
{
	const uint64_t clocks = ROW_BIT(LTSVAL) | ROW_BIT(RTSVAL) | ROW_BIT(OPTS);
	const uint64_t syn = ROW_BIT(MSS) | ROW_BIT(SACK) | ROW_BIT(WS) | ROW_BIT(OPTS);

	if (__builtin_expect(n == 12, 1)) {
		uint64_t v = __builtin_bswap64(fast64(o + 4));

		if (__builtin_expect(fast32(o) == 0x0a080101, 1)) { /* NOP NOP, time stamps */
			w->clocks = v << 32 | v >> 32;
			w->opts |= 0116;
			w->has |= clocks;
			return true;
		}
		/* MSS, NOP, window scale, NOP NOP, SACK permitted */
		if ((fast32(o) & 0xffff) != 0x0402 || (fast32(o + 4) & 0xffffff) != 0x030301 ||
		    fast32(o + 8) != 0x02040101)
			return false;
		w->mss |= __builtin_bswap16((uint16_t)(fast32(o) >> 16)) | (uint64_t)o[7] << 48;
		w->opts |= 0213114;
		w->has |= syn;
		return true;
	}
	if (n == 20) { /* MSS, SACK permitted, time stamps, NOP, window scale */
		uint64_t v = __builtin_bswap64(fast64(o + 8));

		if ((fast32(o) & 0xffff) != 0x0402 || fast32(o + 4) != 0x0a080204 ||
		    (fast32(o + 16) & 0xffffff) != 0x030301)
			return false;
		w->mss |= __builtin_bswap16((uint16_t)(fast32(o) >> 16)) | (uint64_t)o[19] << 48;
		w->clocks = v << 32 | v >> 32;
		w->opts |= 024613;
		w->has |= clocks | syn;
		return true;
	}
	return n == 0;
}

/* Layer 4, `left` bytes of it captured, of `length` on the wire. */
static inline bool fast_l4(const uint8_t *b, unsigned proto, unsigned left, uint32_t length, struct flow_words *w)
{
	uint64_t v;

	if (proto == WIRE_TCP) {
		if (left < WIRE_TCP_LEN || (b[12] >> 4) * 4u != left)
			return false;
		v = __builtin_bswap64(fast64(b + 4));
		w->seq = v << 32 | v >> 32;
		v = __builtin_bswap64(fast64(b + 12));
		w->flags |= (v >> 48 & 0xfff) | (v >> 16 & 0xffff0000) | (v >> 16) << 48;
		w->mss |= (v & 0xffff) << 16;
		w->has |= ROW_BIT(LPORT) | ROW_BIT(RPORT) | ROW_BIT(SEQ) | ROW_BIT(ACK) | ROW_BIT(FLAGS) |
			  ROW_BIT(WIN) | ROW_BIT(CSUM) | ROW_BIT(URG);
		return fast_options(b + WIRE_TCP_LEN, left - WIRE_TCP_LEN, w);
	}
	if (left != WIRE_UDP_LEN)
		return false;
	v = __builtin_bswap64(fast64(b));
	if (proto == WIRE_UDP) {
		w->flags |= (v & 0xffff) << 48;
		w->has |= ROW_BIT(LPORT) | ROW_BIT(RPORT) | ROW_BIT(CSUM);
		return (v >> 16 & 0xffff) == (uint16_t)length;
	}
	if ((proto != WIRE_ICMP && proto != WIRE_ICMPV6) || !wire_icmp_has_id(proto, b[0]))
		return false;
	w->flags |= (v >> 16 & 0xffff) | (v & 0xffff) << 16 | (v >> 32 & 0xffff) << 48;
	w->mss |= b[0] | (uint64_t)b[1] << 8;
	w->has |= ROW_BIT(ICMP_TYPE) | ROW_BIT(ICMP_CODE) | ROW_BIT(ICMP_ID) | ROW_BIT(ICMP_SEQ) | ROW_BIT(CSUM);
	return true;
}

/*
 * Fills *row, but for what only the key tells: its number; which clock is whose (the sender's stands in ltsval);
 * whether SIDE is there. False: not such a packet, *row and *f are of no use.
 */
static inline __attribute__((always_inline)) bool
flow_fast_row(struct row *row, struct flow_fast *f, const struct rec_head *h, const uint8_t *b, int64_t offset)
{
	struct flow_words w = {.has = ROW_BIT(TS) | ROW_BIT(NS) | ROW_BIT(DIR) | ROW_BIT(LEN) | ROW_BIT(ETYPE) |
				      ROW_BIT(LMAC) | ROW_BIT(RMAC) | ROW_BIT(TOS) | ROW_BIT(TTL) | ROW_BIT(PROTO) |
				      ROW_BIT(LOCAL) | ROW_BIT(REMOTE)};
	unsigned cap = h->cap_len, at = WIRE_ETH_LEN, tags = 0, marks, proto, addresses;
	const unsigned least = WIRE_ETH_LEN + WIRE_IPV4_LEN + WIRE_UDP_LEN;
	uint32_t length, etype;

	if (cap - least > REC_CAP_MAX - least || fast32((const uint8_t *)&h->gso_segs)) /* gso_size, too */
		return false;
	etype = get_be16(b + 12);
	if (etype == PACKET_TPID) {
		tags = 1;
		at += WIRE_TAG_LEN;
		etype = get_be16(b + 16);
		w.has |= ROW_BIT(VLAN);
	}
	f->frame = b;
	f->ip = b + at;
	if (etype == WIRE_ETYPE_IPV4) {
		uint64_t v = __builtin_bswap64(fast64(b + at));

		length = (v >> 32 & 0xffff) - WIRE_IPV4_LEN;
		proto = f->ip[9];
		/* Version and length of the header; not a later fragment; layer 4 has bytes; no padding */
		if (v >> 56 != 0x45 || v & WIRE_FRAG_OFFSET || (int32_t)length <= 0 ||
		    h->wire_len != at + WIRE_IPV4_LEN + length)
			return false;
		w.mss = (uint64_t)f->ip[8] << 32 | (v >> 48 & 0xff) << 40;
		w.flags = (v >> 16 & 0xffff) << 32;
		w.opts = (v & 0xffff) << 32;
		w.has |= ROW_BIT(IPID) | ROW_BIT(FRAG);
		addresses = 8;
		at += WIRE_IPV4_LEN;
		f->shape = FLOW_SHAPE(proto, 4, tags);
		if (cap < at + WIRE_UDP_LEN || !fast_ipv4_sum_is_right(f->ip))
			return false;
	} else if (etype == WIRE_ETYPE_IPV6 && cap >= at + WIRE_IPV6_LEN + WIRE_UDP_LEN) {
		uint64_t v = __builtin_bswap64(fast64(b + at));

		length = v >> 16 & 0xffff;
		proto = v >> 8 & 0xff;
		if (v >> 60 != 6 || !length || h->wire_len != at + WIRE_IPV6_LEN + length)
			return false;
		w.mss = (v & 0xff) << 32 | (v >> 52 & 0xff) << 40;
		w.opts = (v >> 32 & 0xfffff) << 32;
		w.has |= ROW_BIT(FLOW);
		addresses = 32;
		at += WIRE_IPV6_LEN;
		f->shape = FLOW_SHAPE(proto, 6, tags);
	} else {
		return false;
	}
	f->l4 = b + at;
	if (!fast_l4(f->l4, proto, cap - at, length, &w))
		return false;
	marks = h->marks & REC_MARKS_ALL & ~REC_MARK_CSUM_NONE;
	if (h->side && (w.has & ROW_BIT(LPORT)) &&
	    fast_is_unsummed(f->l4 - addresses, addresses, proto, length, (uint16_t)(w.flags >> 48)))
		marks |= REC_MARK_CSUM_NONE;
	if (__builtin_expect(marks != 0, 0))
		w.has |= ROW_MARKS;
	row->wall = (int64_t)h->time + offset;
	row->key_marks = marks << FLOW_KEY_BITS; /* the key is added to it */
	row->len = h->wire_len;
	memcpy(&row->seq, &w.seq, 8);
	memcpy(&row->ltsval, &w.clocks, 8);
	memcpy(&row->flags, &w.flags, 8);
	row->slow.has = w.has;
	memcpy(&row->slow.opts, &w.opts, 8);
	memcpy(&row->slow.mss, &w.mss, 8);
	return true;
}

/* Both have the same key, if they have the same side. False where that is not seen at once: another TOS, an echo. */
static inline bool flow_fast_same(const struct flow_fast *a, const struct flow_fast *b)
{
	uint64_t differ = a->shape ^ b->shape;
	const bool six = b->shape & FLOW_SHAPE(0, 2, 0); /* 6, not 4 */
	const unsigned from = six ? 8 : 12;

	if (differ)
		return false;
	/* MAC addresses, EtherType, and the tag or the begin of layer 3; the last addresses, and the ports */
	differ = (fast64(a->frame) ^ fast64(b->frame)) | (fast64(a->frame + 8) ^ fast64(b->frame + 8)) |
		 (fast64(a->ip + from) ^ fast64(b->ip + from)) | (fast32(a->l4) ^ fast32(b->l4));
	if (six)
		differ |= (fast64(a->ip + 16) ^ fast64(b->ip + 16)) | (fast64(a->ip + 24) ^ fast64(b->ip + 24)) |
			  (fast64(a->ip + 32) ^ fast64(b->ip + 32));
	return !differ;
}

static inline void flow_fast_key(struct packet_key *key, const struct flow_fast *f, unsigned side)
{
	typedef uint64_t pair __attribute__((vector_size(16), aligned(16), may_alias));
	pair *to = (void *)key;
	const uint64_t six = UINT64_MAX >> 16, to_mac = fast64(f->frame) & six, from_mac = fast64(f->frame + 6) & six;
	const unsigned proto = f->shape & 0xff, family = f->shape >> 8 & 0xff, tags = f->shape >> 16;
	uint64_t ports = 0, etype = family == 4 ? WIRE_ETYPE_IPV4 : WIRE_ETYPE_IPV6, vlan = 0;

	if (family == 4) {
		to[0] = (pair){fast32(f->ip + 12), 0};
		to[1] = (pair){fast32(f->ip + 16), 0};
	} else {
		to[0] = (pair){fast64(f->ip + 8), fast64(f->ip + 16)};
		to[1] = (pair){fast64(f->ip + 24), fast64(f->ip + 32)};
	}
	if (proto == WIRE_TCP || proto == WIRE_UDP)
		ports = (uint64_t)get_be16(f->l4) << 32 | (uint64_t)get_be16(f->l4 + 2) << 48;
	if (tags)
		vlan = get_be16(f->frame + WIRE_ETH_LEN);
	to[2] = (pair){from_mac | to_mac << 48, to_mac >> 16 | ports};
	to[3] = (pair){etype | vlan << 16 | (uint64_t)proto << 48 | (uint64_t)family << 56,
		       (side ? REC_TX : REC_RX) | tags << 8};
}
_Static_assert(offsetof(struct packet_key, smac) == 32 && offsetof(struct packet_key, dmac) == 38 &&
		       offsetof(struct packet_key, sport) == 44 && offsetof(struct packet_key, dport) == 46 &&
		       offsetof(struct packet_key, etype) == 48 && offsetof(struct packet_key, vlan) == 50 &&
		       offsetof(struct packet_key, proto) == 54 && offsetof(struct packet_key, family) == 55 &&
		       offsetof(struct packet_key, side) == 56 && offsetof(struct packet_key, tags) == 57,
	       "a key as it is put together");

#endif
