/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * internal.h - what line and tree share. Nobody else includes it.
 *
 *   line.c line_upper.c              one line: layers 2 and 3; layer 4 and tunnels
 *   tree.c tree_stack.c tree_upper.c the tree: frame and what it is made of; layers 2 and 3; layer 4 and tunnels
 *   icmp.c options.c                 what both say of ICMP, and of options
 */
#ifndef XDP_RECORDER_PRINT_INTERNAL_H
#define XDP_RECORDER_PRINT_INTERNAL_H

#include "recorder/print/names.h"
#include "recorder/print/out.h"
#include "recorder/print/print.h"

enum { OUTER, INNER, QUOTE, STACKS };

enum {
	PROTO_ICMP = 1,
	PROTO_IGMP = 2,
	PROTO_IPV4 = 4,
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_DCCP = 33,
	PROTO_IPV6 = 41,
	PROTO_FRAGMENT = 44,
	PROTO_GRE = 47,
	PROTO_ESP = 50,
	PROTO_AH = 51,
	PROTO_ICMPV6 = 58,
	PROTO_SCTP = 132,

	ETYPE_MPLS = 0x8847,
	ETYPE_MPLS_MULTICAST = 0x8848,
	ETYPE_PPPOE = 0x8864,
	ETYPE_MIN = 0x600, /* below it is an 802.3 length */

	TCP_SYN = 2,
	TCP_ACK = 16,
	TCP_URG = 32,
	TCPOPT_NOP = 1,
};

struct print {
	struct out out;
	const struct print_packet *source;
	const struct packet *p;
	const struct print_style *style;
	uint64_t data;		      /* line: bytes behind the headers, 0 where that cannot be said */
	uint64_t shown[PACKET_WORDS]; /* tree: fields that have their line */
	unsigned depth;		      /* tree: of the layer being written */
};

static inline const struct packet_stack *print_stack(const struct packet *p, unsigned s)
{
	return s == OUTER ? &p->outer : s == INNER ? &p->inner : &p->quote;
}

/* `field` is one of stack.def in its outer form. */
static inline bool print_has(const struct packet *p, unsigned s, unsigned field)
{
	return packet_has(p, field + 64 * s);
}

/* A field of a fragment that is not the first: there is no layer 4. */
bool print_later_fragment(const struct packet *p, unsigned s);
uint16_t print_mpls_count(const struct packet *p);

/* ---- line.c ---- */
void line_stack(struct print *l, unsigned s);
/* "10.0.0.1.https", "[MAC address]": an end of a packet. */
void line_end(struct print *l, unsigned s, bool source);
void line_ends(struct print *l, unsigned s);
void line_proto(struct print *l, unsigned proto);
/* " label N" */
void line_number(struct print *l, const char *label, uint64_t value);
void line_hex(struct print *l, const char *label, uint64_t value, unsigned digits);

/* ---- line_upper.c ---- */
void line_upper(struct print *l, unsigned s);

/* ---- icmp.c ---- */
/* "echo request id 5 seq 1", "10.0.0.3 UDP port 33434 unreachable, for ..." */
void line_icmp(struct print *l, unsigned s);

/* ---- options.c ---- */
/* "S.", "none" */
void put_tcp_flags(struct out *o, unsigned flags);
/* "SYN, ACK" */
void put_tcp_flag_names(struct out *o, unsigned flags);
/* Kind by kind, in the packet's order; true: there is one at `*at`, which moves behind it. Starts at 0. */
struct tcp_option {
	uint8_t kind;
	bool known;	     /* its value is in the stack's fields */
	const uint8_t *data; /* of an option that is kept as it was: behind kind and length */
	uint8_t len;
};
bool next_tcp_option(const struct packet *p, unsigned s, unsigned *at, struct tcp_option *option);
/* Its value is that of the stack's fields: who shows it shows them. */
bool tcp_option_is_field(const struct packet_stack *st, const struct tcp_option *option);
/* "mss 1460"; `echo` stands between the two time stamps. */
void put_tcp_option(struct out *o, const struct packet_stack *st, const struct tcp_option *option, const char *echo);

/* ---- tree.c ---- */
/* True where the field is there: begins its line with the label, and ticks it off. tree_done ends it. */
bool tree_field(struct print *t, unsigned field, const char *label);
void tree_label(struct print *t, const char *label);
void tree_done(struct print *t);
/* Ticks a field off that another one's line shows. */
void tree_shown(struct print *t, unsigned field);
/* "inside:": what follows stands further to the right. */
void tree_heading(struct print *t, const char *heading);
/* A layer's own line, up to behind its name. */
void tree_layer(struct print *t, const char *name);
void tree_number(struct print *t, unsigned field, const char *label, uint64_t value, const char *behind);
void tree_hex(struct print *t, unsigned field, const char *label, uint64_t value, unsigned digits);
/* Number and name: "6  TCP" */
void tree_code(struct print *t, unsigned field, const char *label, uint64_t value, const char *name);
/* 0x.. and name */
void tree_hex_code(struct print *t, unsigned field, const char *label, uint64_t value, unsigned digits, const char *name);
void tree_bytes(struct print *t, unsigned field, const char *label, const struct packet_bytes *bytes);

/* ---- tree_stack.c ---- */
void tree_stack(struct print *t, unsigned s);
/* The MPLS label stack. */
void tree_labels(struct print *t);

/* ---- tree_upper.c ---- */
void tree_upper(struct print *t, unsigned s);

#endif
