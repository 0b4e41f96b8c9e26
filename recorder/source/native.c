// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * native.c - the record of a frame, by bpf/parse.h in user space.
 *
 * The program in the kernel parses 128 bytes, and 256 where that was too short. All 256 at once give the same record:
 * tests/fuzz/parse and tests/bpf/native_test hold that.
 */
#include "recorder/source/native.h"

#include <string.h>

#include "bpf/parse.h"

_Static_assert(sizeof(struct rec_slot) <= sizeof(struct native_slot), "the parser's slot fits");
_Static_assert(_Alignof(struct rec_slot) <= _Alignof(struct native_slot), "and is aligned");

struct rec_head *native_record(struct native_slot *slot, const unsigned char *bytes, __u32 have, __u32 wire, __u64 time,
			       __u32 hash_seed)
{
	struct rec_slot *s = (struct rec_slot *)slot->bytes;

	if (wire < have)
		wire = have;
	if (have > REC_CAP_MAX)
		have = REC_CAP_MAX;
	memset(&s->head, 0, sizeof(s->head));
	memcpy(s->bytes, bytes, have);
	/* the program's copies end behind a block of 8, a reader's may too: let that be the same each time */
	memset(s->bytes + have, 0, sizeof(s->bytes) - have);
	rec_trim(s, rec_parse(s, have, wire, hash_seed), have);
	s->head.time = time;
	s->head.side = REC_RX;
	return &s->head;
}
