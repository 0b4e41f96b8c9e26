/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * parse.c - libFuzzer target: any frame through the parser of bpf/parse.h, compiled natively.
 *
 * Input: a frame, then eight bytes of options, all zero in the corpus (tests/fuzz/corpus.c).
 * What must hold, besides nothing being read or written where it must not:
 *   what is kept lies within the frame and REC_CAP_MAX, the layers within what is kept and in their order, marks are
 * marks that a parser gives; the answer is a function of the frame alone: neither of what was in the slot, nor of the
 * bytes behind the frame, nor of how many bytes were loaded at first, and native_record gives it; both directions have
 * the same hash and shape; what is there of a frame that was captured in part gives the same layers.
 */
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/parse.h"
#include "recorder/source/native.h"
#include "tests/fuzz/fuzz.h"

#define MARKS (REC_MARK_TRUNCATED | REC_MARK_MALFORMED | REC_MARK_LONG | REC_MARK_UNKNOWN | REC_MARK_FRAGMENT)

struct options {
	uint32_t seed;
	uint16_t beyond; /* bytes of the packet that the capture does not have */
	uint16_t cut;    /* where another capture cut it */
};

/* As the program does it: `first` bytes, and up to REC_CAP_MAX when it ran out. */
static uint32_t parse(struct rec_slot *s, const uint8_t *frame, uint32_t have, uint32_t wire, uint32_t first, uint32_t seed,
		      int garbage)
{
	uint32_t avail = have < first ? have : first, want;

	memset(s, garbage, sizeof(*s));
	memcpy(s->bytes, frame, avail);
	want = rec_parse(s, avail, wire, seed);
	if (rec_short(want, avail, wire)) {
		avail = have < REC_CAP_MAX ? have : REC_CAP_MAX;
		memcpy(s->bytes, frame, avail);
		want = rec_parse(s, avail, wire, seed);
	}
	return rec_trim(s, want, avail);
}

static void same(const struct rec_slot *a, const struct rec_slot *b)
{
	MUST(a->head.cap_len == b->head.cap_len);
	MUST(a->head.marks == b->head.marks);
	MUST(a->head.proto == b->head.proto);
	MUST(a->head.hash == b->head.hash);
	MUST(!memcmp(a->head.off, b->head.off, REC_OFFS));
}

static void swap(uint8_t *a, uint8_t *b, unsigned n)
{
	for (; n--; a++, b++) {
		uint8_t t = *a;

		*a = *b;
		*b = t;
	}
}

/* The same frame on its way back, where ports are all that both directions differ in: same hash, same headers. */
static void there_and_back(const struct rec_slot *s, const uint8_t *frame, uint32_t have, uint32_t wire, uint32_t seed)
{
	const struct rec_head *h = &s->head;
	uint32_t l3 = h->off[REC_L3], l4 = h->off[REC_L4], n;
	uint8_t back[REC_CAP_MAX];
	struct rec_slot r;

	/* a UDP port steers what comes next; layer 2 tunnels have no MAC addresses to swap that matter */
	if ((h->proto != REC_IP_TCP && h->proto != REC_IP_SCTP && h->proto != REC_IP_DCCP) || !l3 || !l4 || h->marks ||
	    have > sizeof(back))
		return;
	memcpy(back, frame, have);
	n = back[l3] >> 4 == 4 ? 4 : 16;
	swap(back, back + 6, 6);
	swap(back + l3 + (n == 4 ? 12 : 8), back + l3 + (n == 4 ? 16 : 24), n);
	swap(back + l4, back + l4 + 2, 2);
	parse(&r, back, have, wire, REC_CAP_FAST, seed, 0);
	same(s, &r);
}

/*
 * The frame as a capture that cut it at `less` bytes has it: every layer that is found is found at the same place, and
 * nothing is missing that the whole frame's headers had in those bytes.
 */
static void in_part(const struct rec_slot *s, const uint8_t *frame, uint32_t less, uint32_t wire, uint32_t seed)
{
	struct native_slot slot;
	const struct rec_head *h = native_record(&slot, frame, less, wire, 1, seed);
	uint32_t whole = s->head.cap_len;

	MUST(h->cap_len <= less);
	MUST(h->cap_len >= (less < whole ? less : whole));
	/*
	 * It may keep more: only all bytes of a tunnel's head (8) tell it from something else on that port, only all of a
	 * header that it is none.
	 */
	MUST(h->cap_len <= whole + 8 || s->head.marks & (REC_MARK_UNKNOWN | REC_MARK_MALFORMED));
	MUST(h->wire_len == wire);
	for (int i = 0; i < REC_OFFS; i++)
		MUST(!h->off[i] || h->off[i] == s->head.off[i] || h->off[i] >= whole);
	MUST(!memcmp(h + 1, frame, h->cap_len));
	if (h->cap_len < whole)
		MUST(h->marks & REC_MARK_TRUNCATED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct native_slot slot;
	struct options o;
	struct rec_slot s, t;
	uint32_t have, wire, cap;
	const struct rec_head *h = &s.head;
	unsigned last = 0;

	if (size < sizeof(o) || size > 65536)
		return -1;
	have = (uint32_t)(size - sizeof(o));
	memcpy(&o, data + have, sizeof(o));
	wire = have + o.beyond;

	cap = parse(&s, data, have, wire, REC_CAP_FAST, o.seed, 0);
	MUST(cap == h->cap_len);
	MUST(cap <= have && cap <= REC_CAP_MAX);
	MUST(!(h->marks & ~MARKS));
	MUST(!(h->marks & REC_MARK_LONG) || cap == REC_CAP_MAX);
	MUST(!(h->marks & REC_MARK_UNKNOWN) || !(h->marks & REC_MARK_MALFORMED) || h->off[REC_L4]);
	for (int i = 0; i < REC_OFFS; i++) {
		if (!h->off[i])
			continue;
		MUST(h->off[i] < cap);
		MUST(h->off[i] > last);
		last = h->off[i];
	}
	if (!(h->marks & (REC_MARK_TRUNCATED | REC_MARK_UNKNOWN | REC_MARK_MALFORMED)))
		MUST(cap >= 14 && h->off[REC_L3]);
	MUST(!memcmp(s.bytes, data, cap));

	parse(&t, data, have, wire, REC_CAP_FAST, o.seed, 0xff);
	same(&s, &t);
	parse(&t, data, have, wire, REC_CAP_MAX, o.seed, 0x5a);
	same(&s, &t);
	/* a linear part as short as a driver may give it */
	parse(&t, data, have, wire, 14, o.seed, 0xa5);
	same(&s, &t);
	same(&s, (struct rec_slot *)native_record(&slot, data, have, wire, 0, o.seed));
	there_and_back(&s, data, have, wire, o.seed);
	in_part(&s, data, have ? o.cut % have : 0, wire, o.seed);
	return 0;
}
