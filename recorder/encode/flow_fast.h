/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flow_fast.h - the packets that nearly all are, from header bytes straight to row and key: Ethernet with one VLAN tag
 * or none, IPv4 without options or IPv6 without extension headers, not a fragment, then TCP without options, with time
 * stamps or with those of a SYN, or UDP, or an ICMP echo; nothing behind it, no padding, every length and checksum of
 * layer 3 as it should be. Whatever is not so in every point is left to packet_decode: rows are the same either way
 * (flow_test, tests/fuzz/decode.c).
 *
 * Such a packet has one of some twenty shapes (flow_shapes.c). The shape says what must be where and where the fields
 * are, so that all are read by the same instructions, and none of them asks what the packet is. Packets come in trains:
 * where all bytes that tell the shape and the key are those of the packet before, of the same side, both are known by
 * one comparison.
 */
#ifndef XDP_RECORDER_ENCODE_FLOW_FAST_H
#define XDP_RECORDER_ENCODE_FLOW_FAST_H

#ifdef __AVX2__
#include <immintrin.h>
#else
#include <emmintrin.h>
#endif
#include <string.h>

#include "recorder/encode/bytes.h"
#include "recorder/encode/flow.h"
#include "recorder/packet/fields.h"
#include "recorder/packet/wire.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "members are put together in integers");
_Static_assert(offsetof(struct rec_head, gso_size) == offsetof(struct rec_head, gso_segs) + 2, "looked at as one");

#define FLOW_CAP_LEAST (WIRE_ETH_LEN + WIRE_IPV4_LEN + WIRE_UDP_LEN)
#define FLOW_CAP_MOST (WIRE_ETH_LEN + WIRE_TAG_LEN + WIRE_IPV6_LEN + WIRE_TCP_LEN + 20)

/*
 * What flow_shape says, once more for vectors: the row's bytes [16, 64) from three pieces of 16 bytes of the frame, the
 * begin of layer 3 and two of layer 4; then the bits that count, and those that are always so. TOS, which is half a
 * byte off in IPv6, and the window scale are put to their places afterwards.
 */
enum { FLOW_PIECES = 3 };
struct flow_shuffle {
	uint8_t from[FLOW_PIECES][48]; /* bytes of the piece; 0x80: none */
	uint8_t mask[48], is[48];
	uint8_t piece_at[FLOW_PIECES];
};

/* A row's or a key's 64 bytes: each from a byte of the frame, of which bits count, and bits that are always so. */
struct flow_line {
	_Alignas(64) uint8_t from[64], mask[64], is[64];
};

/* The whole shape for vectors of 64 bytes (flow_wide.h); the frame's are two of them. */
struct flow_wide {
	struct flow_line row, key;		 /* the row's first 16 bytes are 0 */
	_Alignas(64) uint8_t is[128], mask[128]; /* what must be where in the frame */
	_Alignas(64) uint8_t same[128];
	uint64_t read[2]; /* a bit for each byte of the frame */
};

/*
 * A shape. Offsets are within the frame (`_at`), or within layer 3 (`_in`), anywhere in it where there is nothing: the
 * mask is 0 then. Integers named `is` and `mask` are as they lie in memory, but for those of `first`, which is layer
 * 3's first 8 bytes in network order.
 */
struct flow_shape {
	uint64_t has, opts; /* of the row; the form of the options */
	uint64_t first_is, first_mask;
	uint64_t seq_mask, clocks_mask, id_mask;
	uint64_t option_is, option_mask; /* 8 bytes of the options, or an echo's type */
	uint64_t address_mask[2];	 /* of the lower and the upper 8 bytes */
	uint32_t tail_is, tail_mask;	 /* 4 bytes further behind */
	uint32_t flow_mask, pair_mask, ports_mask;
	uint16_t cap; /* 0: there is no such shape */
	uint16_t etype, ulen_mask, urg_mask, short_mask, vlan_mask;
	uint8_t data_offset_is, data_offset_mask;
	/*
	 * pair: flags and window, or an echo's id and number; short: the MSS, or ICMP's type and code, by short_turn
	 * bits turned; window: the window's scale.
	 */
	uint8_t seq_at, clocks_at, pair_at, csum_at, short_at, window_at, option_at, tail_at, data_offset_at, ulen_at;
	uint8_t l3, l4;
	uint8_t src_in[2], dst_in[2], ttl_in; /* of addresses the lower and the upper 8 bytes */
	uint8_t length_shift, length_less, tos_shift, flow_shift, short_turn, window_mask;
	uint8_t proto, family, tags;
	uint8_t summed;			/* layer 4's checksum is one over a pseudo header */
	uint8_t has_sum;		/* layer 3 has a checksum */
	const struct flow_shape *other; /* of the same sizes, with other options */
	struct flow_shuffle shuffle;
	struct flow_wide wide;
	uint8_t same[FLOW_CAP_MOST + 14]; /* bits that the packets of a key and this shape have in common */
};
#define FLOW_SHAPES_L4 12u				    /* by bytes of layer 4 / 4, UDP one more */
extern struct flow_shape flow_shapes[2][2][FLOW_SHAPES_L4]; /* tags, IPv6; written once, before main */

static inline uint16_t fast16(const uint8_t *at)
{
	uint16_t v;

	memcpy(&v, at, 2);
	return v;
}
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
/* Two numbers in network order, the first in the lower half. */
static inline uint32_t fast_pair16(const uint8_t *at)
{
	uint32_t v = __builtin_bswap32(fast32(at));

	return v << 16 | v >> 16;
}
static inline uint64_t fast_pair32(const uint8_t *at)
{
	uint64_t v = __builtin_bswap64(fast64(at));

	return v << 32 | v >> 32;
}

/*
 * Sums of 16-bit words, in any order of their bytes, modulo 65535: so is a number of 64 bits, as 2^16 is 1 then. What
 * carries out is added, being 2^64. Whether it is a multiple tells the product with the inverse: only multiples give
 * less than so much.
 */
static inline uint64_t fast_add(uint64_t a, uint64_t b)
{
	uint64_t sum = a + b;

	return sum + (sum < a);
}
static inline bool fast_is_multiple(uint64_t sum)
{
	const uint64_t ones = 0x0001000100010001;

	return sum * -ones <= ones;
}

/* 0xffff in the field adds nothing, as 0 does; 0 is the one that is written. */
static inline bool fast_ipv4_sum_is_right(const uint8_t *ip)
{
	uint64_t a = fast64(ip), b = fast64(ip + 8);

	return (unsigned)fast_is_multiple(fast_add(fast_add(a, b), fast32(ip + 16))) & ((uint16_t)(b >> 16) != 0xffff);
}

/* Of the addresses, below 2^33. */
static inline uint64_t fast_addresses_sum(const struct flow_shape *t, const uint8_t *b)
{
	const uint8_t *ip = b + t->l3;
	uint64_t sum = fast_add(fast64(ip + t->src_in[0]) & t->address_mask[0],
				fast64(ip + t->dst_in[0]) & t->address_mask[0]);

	sum = fast_add(fast_add(sum, fast64(ip + t->src_in[1]) & t->address_mask[1]),
		       fast64(ip + t->dst_in[1]) & t->address_mask[1]);
	return (sum & UINT32_MAX) + (sum >> 32);
}

/* Layer 4 of `length` bytes has the bare sum of its pseudo header (packet_pseudo_sum), which never is 0; as it is
 * written. */
static inline bool fast_is_unsummed(const struct flow_shape *t, uint64_t addresses, uint32_t length, uint16_t written)
{
	uint64_t sum = addresses + __builtin_bswap32(t->proto + length) + (uint16_t)~written;

	return (unsigned)fast_is_multiple(sum) & (written != 0) & t->summed;
}

#ifndef __AVX512VBMI__
/* Bytes [0, cap) of both, where the mask has bits; at least 32, or 16. */
static inline bool fast_alike(const uint8_t *a, const uint8_t *b, const uint8_t *mask, unsigned cap)
{
#ifdef __AVX2__
	typedef __m256i_u bytes;
#else
	typedef __m128i_u bytes;
#endif
	const unsigned last = cap - (unsigned)sizeof(bytes);
	bytes differ = (*(const bytes *)(a + last) ^ *(const bytes *)(b + last)) & *(const bytes *)(mask + last);

	for (unsigned i = 0; i < last; i += (unsigned)sizeof(bytes))
		differ |= (*(const bytes *)(a + i) ^ *(const bytes *)(b + i)) & *(const bytes *)(mask + i);
#ifdef __AVX2__
	return _mm256_testz_si256(differ, differ);
#else
	return !(differ[0] | differ[1]);
#endif
}
#endif

/* A packet whose shape and key are known: what comes behind it is compared with it. */
struct flow_last {
	const struct flow_shape *shape;
	const uint8_t *bytes;
	uint64_t addresses; /* fast_addresses_sum */
	uint32_t cap;	    /* FLOW_NO_CAP: there is none */
};
#define FLOW_NO_CAP UINT32_MAX /* as no record can have: an empty frame's has 0 */

#ifdef __AVX512VBMI__
#include "recorder/encode/flow_wide.h"
#else
static inline bool fast_alike_last(const struct flow_last *last, const uint8_t *b)
{
	return fast_alike(b, last->bytes, last->shape->same, last->cap);
}
#endif

static inline bool flow_fast_same(const struct flow_last *last, const struct rec_head *h, const uint8_t *b)
{
	if (h->cap_len != last->cap || fast32((const uint8_t *)&h->gso_segs))
		return false;
	return fast_alike_last(last, b);
}

#ifndef __AVX512VBMI__
static inline bool fast_has_shape(const struct flow_shape *t, const uint8_t *b)
{
	uint64_t wrong = (__builtin_bswap64(fast64(b + t->l3)) ^ t->first_is) & t->first_mask;

	wrong |= (fast64(b + t->option_at) ^ t->option_is) & t->option_mask;
	wrong |= (fast32(b + t->tail_at) ^ t->tail_is) & t->tail_mask;
	wrong |= (b[t->data_offset_at] ^ t->data_offset_is) & t->data_offset_mask;
	wrong |= (unsigned)(fast16(b + t->l3 - 2) ^ t->etype);
	return !wrong;
}
#endif

/* NULL: none. Layer 3's protocol is looked at here, as IPv4's is not among its first bytes. */
static inline const struct flow_shape *flow_fast_shape(const struct rec_head *h, const uint8_t *b)
{
	const unsigned cap = h->cap_len;
	unsigned tags, six, l3, index;
	const struct flow_shape *t;
	uint8_t proto;

	if (cap - FLOW_CAP_LEAST > FLOW_CAP_MOST - FLOW_CAP_LEAST || fast32((const uint8_t *)&h->gso_segs))
		return NULL;
	tags = fast16(b + 12) == __builtin_bswap16(PACKET_TPID);
	l3 = WIRE_ETH_LEN + WIRE_TAG_LEN * tags;
	six = fast16(b + l3 - 2) == __builtin_bswap16(WIRE_ETYPE_IPV6);
	proto = b[l3 + 9 - 3 * six];
	index = (cap - l3 - WIRE_IPV4_LEN - (WIRE_IPV6_LEN - WIRE_IPV4_LEN) * six) / 4 + (proto == WIRE_UDP);
	if (index >= FLOW_SHAPES_L4)
		return NULL;
	for (t = &flow_shapes[tags][six][index]; t && t->cap == cap && t->proto == proto; t = t->other)
		if (fast_has_shape(t, b))
			return t;
	return NULL;
}

#if defined __AVX512VBMI__
/* flow_wide.h */
#elif defined __AVX2__
#define FLOW_PIECE(v, t, i, at) _mm_shuffle_epi8(v, _mm_loadu_si128((const __m128i *)((t)->shuffle.from[i] + (at))))

/* The 16 bytes `at` of those that a shape's vectors say. */
static inline __m128i fast_piece(const struct flow_shape *t, const __m128i pieces[FLOW_PIECES], unsigned at)
{
	__m128i v = _mm_or_si128(_mm_or_si128(FLOW_PIECE(pieces[0], t, 0, at), FLOW_PIECE(pieces[1], t, 1, at)),
				 FLOW_PIECE(pieces[2], t, 2, at));

	return _mm_or_si128(_mm_and_si128(v, _mm_loadu_si128((const __m128i *)(t->shuffle.mask + at))),
			    _mm_loadu_si128((const __m128i *)(t->shuffle.is + at)));
}

static inline void fast_members(struct row *row, const struct flow_shape *t, const uint8_t *b, uint64_t first,
				uint64_t wall, uint64_t marks_len)
{
	__m128i pieces[FLOW_PIECES];

	row->wall = (int64_t)wall;
	put64((uint8_t *)&row->key_marks, marks_len);
#pragma GCC unroll 3
	for (unsigned i = 0; i < FLOW_PIECES; i++)
		pieces[i] = _mm_loadu_si128((const __m128i *)(b + t->shuffle.piece_at[i]));
#pragma GCC unroll 3
	for (unsigned i = 0; i < 3; i++)
		_mm_store_si128((__m128i *)((uint8_t *)row + 16 + 16 * i), fast_piece(t, pieces, 16 * i));
	row->slow.tos = (uint8_t)(first >> t->tos_shift);
	row->slow.ws = b[t->window_at] & t->window_mask;
}
#else
static inline void fast_members(struct row *row, const struct flow_shape *t, const uint8_t *b, uint64_t first,
				uint64_t wall, uint64_t marks_len)
{
	const uint32_t csum_urg = __builtin_bswap32(fast32(b + t->csum_at));
	uint16_t number = fast16(b + t->short_at); /* MSS; type and code, which are two bytes */

	number = (uint16_t)(number << t->short_turn | number >> (-t->short_turn & 15)) & t->short_mask;
	row->wall = (int64_t)wall;
	put64((uint8_t *)&row->key_marks, marks_len);
	put64((uint8_t *)&row->seq, fast_pair32(b + t->seq_at) & t->seq_mask);
	put64((uint8_t *)&row->ltsval, fast_pair32(b + t->clocks_at) & t->clocks_mask);
	put64((uint8_t *)&row->flags, (fast_pair16(b + t->pair_at) & t->pair_mask) | (first & t->id_mask) << 16 |
					      (uint64_t)(csum_urg >> 16) << 48);
	row->slow.has = t->has;
	put64((uint8_t *)&row->slow.opts, t->opts | (first >> t->flow_shift & t->flow_mask) << 32);
	put64((uint8_t *)&row->slow.mss,
	      number | (uint64_t)(csum_urg & t->urg_mask) << 16 | (uint64_t)b[t->l3 + t->ttl_in] << 32 |
		      (first >> t->tos_shift & 0xff) << 40 | (uint64_t)(b[t->window_at] & t->window_mask) << 48);
}
#endif

/*
 * Fills *row, but for what only the key tells: its number; which clock is whose (the sender's stands in ltsval);
 * whether SIDE is there. False: something that each packet has for itself is not as it should be, *row is of no use.
 */
static inline __attribute__((always_inline)) bool
flow_fast_row(struct row *row, const struct flow_last *f, const struct rec_head *h, const uint8_t *b, int64_t offset)
{
	const struct flow_shape *t = f->shape;
	const uint8_t *ip = b + t->l3;
	const uint64_t first = __builtin_bswap64(fast64(ip));
	const uint32_t length = (uint32_t)(first >> t->length_shift & 0xffff) - t->length_less;
	const uint32_t other_length = (h->wire_len ^ (t->l4 + length)) |
				      ((fast16(b + t->ulen_at) ^ __builtin_bswap16((uint16_t)length)) & t->ulen_mask);
	uint64_t marks = h->marks & REC_MARKS_ALL & ~REC_MARK_CSUM_NONE;
	uint32_t wrong_sum = !fast_ipv4_sum_is_right(ip);

	__asm__("" : "+r"(wrong_sum)); /* compilers see a branch in it, which each change of the family takes wrongly */
	/* Layer 4 has bytes; no padding, and UDP says the same length; the header's sum. */
	if (__builtin_expect((other_length | (length - 1) >> 31 | (wrong_sum & t->has_sum)) != 0, 0))
		return false;
	marks |= ((h->side != 0) & (unsigned)fast_is_unsummed(t, f->addresses, length, fast16(b + t->csum_at))) *
		 (uint64_t)REC_MARK_CSUM_NONE;
	fast_members(row, t, b, first, h->time + (uint64_t)offset,
		     marks << FLOW_KEY_BITS | (uint64_t)h->wire_len << 32); /* the key is added */
	if (__builtin_expect(marks != 0, 0))
		row->slow.has |= ROW_MARKS;
	return true;
}
_Static_assert(offsetof(struct row, key_marks) == 8 && offsetof(struct row, len) == 12 &&
		       offsetof(struct row, seq) == 16,
	       "what is written at once");

#ifndef __AVX512VBMI__
static inline void flow_fast_key(struct packet_key *key, const struct flow_shape *t, const uint8_t *b, unsigned side)
{
	typedef uint64_t pair __attribute__((vector_size(16), aligned(16), may_alias));
	pair *to = (void *)key;
	const uint8_t *ip = b + t->l3;
	const uint64_t six = UINT64_MAX >> 16, to_mac = fast64(b) & six, from_mac = fast64(b + 6) & six;
	const uint64_t ports = (uint64_t)(fast_pair16(b + t->l4) & t->ports_mask) << 32;
	const uint64_t vlan = __builtin_bswap16(fast16(b + WIRE_ETH_LEN)) & t->vlan_mask;

	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *in = i ? t->dst_in : t->src_in;

		to[i] = (pair){fast64(ip + in[0]) & t->address_mask[0], fast64(ip + in[1]) & t->address_mask[1]};
	}
	to[2] = (pair){from_mac | to_mac << 48, to_mac >> 16 | ports};
	to[3] = (pair){__builtin_bswap16(t->etype) | vlan << 16 | (uint64_t)t->proto << 48 | (uint64_t)t->family << 56,
		       (side ? REC_TX : REC_RX) | t->tags << 8};
}
_Static_assert(offsetof(struct packet_key, smac) == 32 && offsetof(struct packet_key, dmac) == 38 &&
		       offsetof(struct packet_key, sport) == 44 && offsetof(struct packet_key, dport) == 46 &&
		       offsetof(struct packet_key, etype) == 48 && offsetof(struct packet_key, vlan) == 50 &&
		       offsetof(struct packet_key, proto) == 54 && offsetof(struct packet_key, family) == 55 &&
		       offsetof(struct packet_key, side) == 56 && offsetof(struct packet_key, tags) == 57,
	       "a key as it is put together");
#endif

#endif
