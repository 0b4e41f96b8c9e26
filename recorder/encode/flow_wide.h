/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flow_wide.h - flow_fast.h's steps with AVX-512: a frame that has a shape is two vectors of 64 bytes, a row is one,
 * and so is a key. What is behind the frame is neither read nor seen: its bytes are masked. Included by flow_fast.h.
 */
#ifndef XDP_RECORDER_ENCODE_FLOW_WIDE_H
#define XDP_RECORDER_ENCODE_FLOW_WIDE_H

_Static_assert(FLOW_CAP_MOST <= 128, "a frame is two vectors");

struct fast_frame {
	__m512i low, high;
};

static inline struct fast_frame fast_frame(const struct flow_shape *t, const uint8_t *b)
{
	return (struct fast_frame){_mm512_maskz_loadu_epi8(t->wide.read[0], b),
				   _mm512_maskz_loadu_epi8(t->wide.read[1], b + 64)};
}

/* No bit of the mask differs. */
static inline bool fast_alike_frames(struct fast_frame f, struct fast_frame is, const uint8_t mask[128])
{
	/* (a ^ b) & mask */
	__m512i differ = _mm512_ternarylogic_epi64(f.low, is.low, _mm512_load_si512(mask), 0x28);

	differ =
		_mm512_or_si512(differ, _mm512_ternarylogic_epi64(f.high, is.high, _mm512_load_si512(mask + 64), 0x28));
	return !_mm512_test_epi64_mask(differ, differ);
}

static inline bool fast_alike_last(const struct flow_last *last, const uint8_t *b)
{
	return fast_alike_frames(fast_frame(last->shape, b), fast_frame(last->shape, last->bytes),
				 last->shape->wide.same);
}

static inline bool fast_has_shape(const struct flow_shape *t, const uint8_t *b)
{
	struct fast_frame is = {_mm512_load_si512(t->wide.is), _mm512_load_si512(t->wide.is + 64)};

	return fast_alike_frames(fast_frame(t, b), is, t->wide.mask);
}

/* The 64 bytes that `line` makes of the frame. */
static inline __m512i fast_line(const struct flow_line *line, struct fast_frame f)
{
	__m512i v = _mm512_permutex2var_epi8(f.low, _mm512_load_si512(line->from), f.high);

	/* (a & mask) | is */
	return _mm512_ternarylogic_epi64(v, _mm512_load_si512(line->mask), _mm512_load_si512(line->is), 0xea);
}

static inline void fast_members(struct row *row, const struct flow_shape *t, const uint8_t *b, uint64_t first,
				uint64_t wall, uint64_t marks_len)
{
	__m512i head = _mm512_zextsi128_si512(_mm_set_epi64x((int64_t)marks_len, (int64_t)wall));

	_mm512_store_si512(row, _mm512_or_si512(fast_line(&t->wide.row, fast_frame(t, b)), head));
	row->slow.tos = (uint8_t)(first >> t->tos_shift);
}

static inline void flow_fast_key(struct packet_key *key, const struct flow_shape *t, const uint8_t *b, unsigned side)
{
	const uint64_t at = (uint64_t)(side != 0) << offsetof(struct packet_key, side);

	_mm512_store_si512(key, _mm512_mask_set1_epi8(fast_line(&t->wide.key, fast_frame(t, b)), at, (char)REC_TX));
}
_Static_assert(sizeof(struct packet_key) == 64 && sizeof(struct row) == 64 && REC_RX == 0, "lines");

#endif
