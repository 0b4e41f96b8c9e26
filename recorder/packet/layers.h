/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * layers.h - what the sources of decode share. Each function takes its layer from the cursor; what it knows of the
 * whole is only the cursor's law.
 *
 * One cursor goes through the bytes. A layer is either *taken*: all its bytes are given back by the fields it sets
 * (rebuild does that, layer by layer), or taken inexactly (`exact` becomes false: a byte of it is in no field), or
 * left: the cursor stays in front of it, though some of its fields may have been read. In the end the packet needs its
 * raw bytes if something was inexact or if bytes are left over. That is the whole proof of the law in packet.h: there
 * is nothing to decide about combinations of layers.
 *
 * For that, whether rebuild finds a layer must be as clear as here: a layer that is left has bytes left over (so raw is
 * set), or its fields are absent.
 */
#ifndef XDP_RECORDER_PACKET_LAYERS_H
#define XDP_RECORDER_PACKET_LAYERS_H

#include <stdbool.h>
#include <string.h>

#include "recorder/packet/packet.h"
#include "recorder/packet/wire.h"

enum layers_stack { OUTER = 0, INNER = 1, QUOTE = 2 };

struct cursor {
	const uint8_t *start, *at;
	unsigned left;
	uint32_t end; /* of the packet, from start, as what holds the next layer 3 announces it */
	bool exact;
};

static inline void take(struct cursor *c, unsigned n)
{
	c->at += n;
	c->left -= n;
}

/* Field f of stack w. */
static inline void set(struct packet *p, unsigned w, unsigned f)
{
	p->has[w] |= 1ull << f;
}

static inline struct packet_stack *stack_of(struct packet *p, unsigned w)
{
	return w == OUTER ? &p->outer : w == INNER ? &p->inner : &p->quote;
}

/* For writing: clear until the first field of it is set. */
static inline struct packet_other *other_of(struct packet *p)
{
	if (!p->has[PACKET_WORDS - 1])
		memset(&p->other, 0, sizeof(p->other));
	return &p->other;
}

/* decode.c: a stack inside another, from the EtherType of what begins at the cursor; WIRE_ETYPE_TEB: Ethernet. */
void decode_stack(struct packet *p, unsigned w, struct cursor *c, unsigned etype);

/* decode_l2.c: LLC, SNAP, PPPoE, MPLS before layer 3. Gives the EtherType of what follows, 0: nothing. */
unsigned decode_between(struct packet *p, struct cursor *c, unsigned etype);
void decode_arp(struct packet *p, unsigned w, struct cursor *c);

/* decode_l4.c */
void decode_tcp_cut(struct packet *p, unsigned w, struct cursor *c);
/* The n bytes of options at the cursor's TCP header; true where `opts` gives them back. */
bool decode_options(struct packet *p, unsigned w, const uint8_t *options, unsigned n);
void decode_icmp(struct packet *p, unsigned w, struct cursor *c);
void decode_sctp(struct packet *p, unsigned w, struct cursor *c);
void decode_dccp(struct packet *p, unsigned w, struct cursor *c);
void decode_esp(struct packet *p, struct cursor *c);
/* Layer 4 of a quote: its first 8 bytes. */
void decode_quoted(struct packet *p, struct cursor *c);

/* decode_tunnel.c: what leads to the inner stack. */
void decode_udp_tunnel(struct packet *p, struct cursor *c);
void decode_gre(struct packet *p, struct cursor *c);

#endif
