/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * builder.h - what the sources of rebuild share. Each function writes its layer behind what is there, when the field is
 * set that decode sets with it; then all its fields must be. Fields are marked as they are used: one that is left over
 * in the end belongs to no layer of this packet, and the packet is refused. All give 0 or -EINVAL.
 */
#ifndef XDP_RECORDER_PACKET_BUILDER_H
#define XDP_RECORDER_PACKET_BUILDER_H

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "recorder/packet/packet.h"
#include "recorder/packet/wire.h"

enum builder_stack { OUTER = 0, INNER = 1, QUOTE = 2, OTHER = 3 };

struct builder {
	const struct packet *p;
	uint8_t *out; /* [REC_CAP_MAX], of which n are written */
	unsigned n;
	uint32_t end; /* as in decode's cursor */
	uint64_t used[PACKET_WORDS];
};

/* The next `length` bytes; NULL: more than a record holds. */
static inline uint8_t *give(struct builder *b, unsigned length)
{
	uint8_t *at = b->out + b->n;

	if (length > REC_CAP_MAX - b->n)
		return NULL;
	b->n += length;
	return at;
}

static inline bool give_bytes(struct builder *b, const struct packet_bytes *bytes)
{
	uint8_t *at = give(b, bytes->len);

	if (!at)
		return false;
	if (bytes->len)
		memcpy(at, bytes->at, bytes->len);
	return true;
}

#define BIT(field) (1ull << ((field) & 63))

/* True when all fields of the mask are there; they are used. */
static inline bool uses(struct builder *b, unsigned word, uint64_t mask)
{
	if ((b->p->has[word] & mask) != mask)
		return false;
	b->used[word] |= mask;
	return true;
}

/* True when one of them is there and not yet used. */
static inline bool waits(const struct builder *b, unsigned word, uint64_t mask)
{
	return b->p->has[word] & ~b->used[word] & mask;
}

static inline const struct packet_stack *stack_of(const struct packet *p, unsigned w)
{
	return w == OUTER ? &p->outer : w == INNER ? &p->inner : &p->quote;
}

/* rebuild.c: as decode_stack */
int rebuild_stack(struct builder *b, unsigned w, unsigned etype);

/*
 * rebuild_l2.c: as decode_between: gives the EtherType of what follows, 0: nothing, or -EINVAL. *pppoe is the header
 * whose length is still to be written, by rebuild_pppoe_length, when what follows is there.
 */
int rebuild_between(struct builder *b, unsigned w, unsigned etype, uint8_t **pppoe);
int rebuild_pppoe_length(struct builder *b, uint8_t *pppoe);
int rebuild_arp(struct builder *b, unsigned w);

/* rebuild_l4.c: `implied` is the length of layer 4 that layer 3 announces, 0: none. */
int rebuild_l4(struct builder *b, unsigned w, uint32_t implied);

/* rebuild_tunnel.c */
int rebuild_udp_tunnel(struct builder *b);
int rebuild_gre(struct builder *b);

#endif
