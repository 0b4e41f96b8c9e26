/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * decode.c - header bytes -> struct packet: the way from layer to layer, and the layers that nearly every packet has
 * (Ethernet, IPv4, IPv6, TCP, UDP). The law that it keeps stands in layers.h; the other layers are in decode_*.c.
 *
 * The functions marked CORE are for any stack w. They are compiled twice: into packet_decode, where w is the constant
 * OUTER and the compiler sees all, and into decode_stack for the two others.
 */
#include "recorder/packet/layers.h"

#include <assert.h>

#include "recorder/packet/fields.h"

#define CORE static inline __attribute__((always_inline))

uint16_t packet_pseudo_sum(const struct packet_key *key, uint32_t length)
{
	uint64_t sum = key->proto + (uint64_t)length;

	/* IPv4 addresses have zeros behind them, which add nothing. */
	for (unsigned i = 0; i < 16; i += 4)
		sum += (uint64_t)get_be32(key->src + i) + get_be32(key->dst + i);
	return wire_fold(sum);
}

CORE void decode_tcp(struct packet *p, unsigned w, struct cursor *c)
{
	struct packet_stack *s = stack_of(p, w);
	const uint8_t *b = c->at;
	unsigned header;

	if (c->left < WIRE_TCP_LEN) {
		decode_tcp_cut(p, w, c);
		return;
	}
	s->key.sport = get_be16(b);
	s->key.dport = get_be16(b + 2);
	s->seq = get_be32(b + 4);
	s->ack = get_be32(b + 8);
	s->flags = get_be16(b + 12) & 0xfff;
	s->win = get_be16(b + 14);
	s->csum = get_be16(b + 16);
	s->urg = get_be16(b + 18);
	p->has[w] |= 1ull << PKT_LPORT | 1ull << PKT_RPORT | 1ull << PKT_SEQ | 1ull << PKT_ACK | 1ull << PKT_FLAGS |
		     1ull << PKT_WIN | 1ull << PKT_CSUM | 1ull << PKT_URG;
	header = (b[12] >> 4) * 4u;
	if (header < WIRE_TCP_LEN || header > c->left) {
		if (header > c->left) {
			decode_options(p, w, b + WIRE_TCP_LEN, c->left - WIRE_TCP_LEN);
			p->has[w] &= ~(1ull << PKT_OPTS);
			s->opts = 0;
		}
		c->exact = false;
		take(c, WIRE_TCP_LEN);
		return;
	}
	if (header == WIRE_TCP_LEN + 12 && get_be32(b + WIRE_TCP_LEN) == 0x0101080a) { /* nearly every TCP packet */
		s->tsval = get_be32(b + WIRE_TCP_LEN + 4);
		s->tsecr = get_be32(b + WIRE_TCP_LEN + 8);
		s->opts = 0116;
		p->has[w] |= 1ull << PKT_LTSVAL | 1ull << PKT_RTSVAL | 1ull << PKT_OPTS;
	} else if (header > WIRE_TCP_LEN && !decode_options(p, w, b + WIRE_TCP_LEN, header - WIRE_TCP_LEN)) {
		s->topts = (struct packet_bytes){b + WIRE_TCP_LEN, (uint16_t)(header - WIRE_TCP_LEN)};
		set(p, w, PKT_TOPTS);
	}
	take(c, header);
}

/* `implied` is the length that layer 3 announces for layer 4, 0 when it announces none. */
CORE void decode_udp(struct packet *p, unsigned w, struct cursor *c, uint32_t implied)
{
	struct packet_stack *s = stack_of(p, w);

	if (c->left >= 4) {
		s->key.sport = get_be16(c->at);
		s->key.dport = get_be16(c->at + 2);
		p->has[w] |= 1ull << PKT_LPORT | 1ull << PKT_RPORT;
	}
	if (c->left >= 6 && get_be16(c->at + 4) != (uint16_t)implied) {
		s->ulen = get_be16(c->at + 4);
		set(p, w, PKT_ULEN);
	}
	if (c->left < WIRE_UDP_LEN)
		return;
	s->csum = get_be16(c->at + 6);
	set(p, w, PKT_CSUM);
	take(c, WIRE_UDP_LEN);
}

/* Layer 4 is not TCP or UDP. */
static __attribute__((noinline)) void decode_other_l4(struct packet *p, unsigned w, struct cursor *c)
{
	switch (stack_of(p, w)->key.proto) {
	case WIRE_ICMP:
	case WIRE_ICMPV6:
		decode_icmp(p, w, c);
		break;
	case WIRE_SCTP:
		decode_sctp(p, w, c);
		break;
	case WIRE_DCCP:
		decode_dccp(p, w, c);
		break;
	case WIRE_ESP:
		decode_esp(p, c);
		break;
	case WIRE_GRE:
		if (w == OUTER) /* one tunnel is followed */
			decode_gre(p, c);
		break;
	case WIRE_IPIP:
	case WIRE_6IN4:
		if (w == OUTER && c->left)
			decode_stack(p, INNER, c, p->outer.key.proto == WIRE_IPIP ? WIRE_ETYPE_IPV4 : WIRE_ETYPE_IPV6);
		break;
	}
}

/* `length` is what layer 3 announces for layer 4; 0 for the jumbo form of a super-packet: then what the frame holds. */
CORE void decode_l4(struct packet *p, unsigned w, struct cursor *c, uint32_t length)
{
	struct packet_stack *s = stack_of(p, w);
	uint32_t whole = length ? length : p->len - (uint32_t)(c->at - c->start);

	if (w == QUOTE) {
		decode_quoted(p, c);
		return;
	}
	switch (s->key.proto) {
	case WIRE_TCP:
		decode_tcp(p, w, c);
		break;
	case WIRE_UDP:
		decode_udp(p, w, c, length);
		break;
	default:
		decode_other_l4(p, w, c);
		return;
	}
	if (w != OUTER)
		return;
	if (s->key.side == REC_TX && packet_has(p, PKT_CSUM) && s->csum == packet_pseudo_sum(&s->key, whole))
		p->marks |= REC_MARK_CSUM_NONE;
	if (c->left && s->key.proto == WIRE_UDP)
		decode_udp_tunnel(p, c);
}

/* Layer 3 announces its end at `end`, or none (announced is 0). */
CORE void set_pad(struct packet *p, unsigned w, struct cursor *c, uint32_t end, unsigned announced)
{
	struct packet_stack *s = stack_of(p, w);

	if (w == QUOTE) { /* what it announces was true of another frame */
		other_of(p)->quote_len = (uint16_t)announced;
		packet_set(p, PKT_QLEN);
		return;
	}
	s->pad = (int32_t)(c->end - end);
	if (s->pad)
		set(p, w, PKT_PAD);
	if (announced)
		c->end = end;
}

/* The extension headers from type `next` on; their bytes. *later: a fragment that is not the first. */
static __attribute__((noinline)) unsigned decode_chain(struct packet *p, unsigned w, struct cursor *c, unsigned next,
						       bool *later)
{
	struct packet_stack *s = stack_of(p, w);
	struct wire_chain chain = wire_chain(c->at, c->left, next);

	s->key.proto = chain.next;
	*later = chain.later;
	if (chain.auth && !packet_has(p, PKT_AH_SPI)) {
		struct packet_other *o = other_of(p);

		o->ah_spi = get_be32(chain.auth + 4);
		o->ah_seq = get_be32(chain.auth + 8);
		packet_set(p, PKT_AH_SPI);
		packet_set(p, PKT_AH_SEQ);
	}
	if (!chain.length)
		return 0;
	s->nxt = (uint8_t)next;
	set(p, w, PKT_NXT);
	if (chain.fragment && s->key.family == 6) { /* IPv4 has its own */
		s->frag = get_be16(chain.fragment + 2);
		s->fragid = get_be32(chain.fragment + 4);
		set(p, w, PKT_FRAG);
		set(p, w, PKT_FRAGID);
	}
	if (chain.headers > 1 || chain.fragment != c->at || c->at[1]) {
		s->ext = (struct packet_bytes){c->at, (uint16_t)chain.length};
		set(p, w, PKT_EXT);
	}
	take(c, chain.length);
	return chain.length;
}

CORE void decode_ipv4(struct packet *p, unsigned w, struct cursor *c)
{
	struct packet_stack *s = stack_of(p, w);
	const uint8_t *b = c->at;
	unsigned header, total, chain = 0;
	bool later = false;
	uint16_t right;

	if (c->left < WIRE_IPV4_LEN || b[0] >> 4 != 4)
		return;
	header = (b[0] & 15) * 4u;
	if (header < WIRE_IPV4_LEN)
		return;
	total = get_be16(b + 2);
	s->tos = b[1];
	s->ipid = get_be16(b + 4);
	s->frag = get_be16(b + 6);
	s->ttl = b[8];
	s->key.proto = b[9];
	s->key.family = 4;
	memcpy(s->key.src, b + 12, 4);
	memcpy(s->key.dst, b + 16, 4);
	set_pad(p, w, c, (uint32_t)(b - c->start) + total, total);
	p->has[w] |= 1ull << PKT_TOS | 1ull << PKT_IPID | 1ull << PKT_FRAG | 1ull << PKT_TTL | 1ull << PKT_PROTO |
		     1ull << PKT_LOCAL | 1ull << PKT_REMOTE;
	if (header > c->left) {
		c->exact = false;
		take(c, WIRE_IPV4_LEN);
		return;
	}
	if (header > WIRE_IPV4_LEN) {
		s->ipopts = (struct packet_bytes){b + WIRE_IPV4_LEN, (uint16_t)(header - WIRE_IPV4_LEN)};
		set(p, w, PKT_IPOPTS);
	}
	right = wire_ipv4_sum(b, header);
	if (get_be16(b + 10) != right) {
		s->ipcsum = get_be16(b + 10);
		set(p, w, PKT_IPCSUM);
	}
	take(c, header);
	/*
	 * A total length within the header: the parser ends there, and nothing behind it is this packet's. Not so in a quote:
	 * old stacks took the header off the length before they quoted it.
	 */
	if (s->frag & WIRE_FRAG_OFFSET || (total && total < header && w != QUOTE))
		return;
	if (s->key.proto == WIRE_AH)
		chain = decode_chain(p, w, c, WIRE_AH, &later);
	if (!later)
		decode_l4(p, w, c, total ? total - header - chain : 0);
}

CORE void decode_ipv6(struct packet *p, unsigned w, struct cursor *c)
{
	struct packet_stack *s = stack_of(p, w);
	const uint8_t *b = c->at;
	unsigned payload, chain = 0;
	bool later = false;

	if (c->left < WIRE_IPV6_LEN || b[0] >> 4 != 6)
		return;
	payload = get_be16(b + 4);
	s->tos = (uint8_t)(get_be16(b) >> 4);
	s->flow = get_be32(b) & 0xfffff;
	s->key.proto = b[6];
	s->ttl = b[7];
	s->key.family = 6;
	memcpy(s->key.src, b + 8, 16);
	memcpy(s->key.dst, b + 24, 16);
	set_pad(p, w, c, (uint32_t)(b - c->start) + WIRE_IPV6_LEN + payload, payload);
	p->has[w] |= 1ull << PKT_TOS | 1ull << PKT_FLOW | 1ull << PKT_TTL | 1ull << PKT_PROTO | 1ull << PKT_LOCAL |
		     1ull << PKT_REMOTE;
	take(c, WIRE_IPV6_LEN);
	if (s->key.proto != WIRE_TCP && s->key.proto != WIRE_UDP && wire_is_extension(s->key.proto))
		chain = decode_chain(p, w, c, s->key.proto, &later);
	if (!later)
		decode_l4(p, w, c, payload ? payload - chain : 0);
}

/* From the EtherType on. */
CORE void decode_network(struct packet *p, unsigned w, struct cursor *c, unsigned etype)
{
	if (etype != WIRE_ETYPE_IPV4 && etype != WIRE_ETYPE_IPV6)
		etype = decode_between(p, c, etype);
	switch (etype) {
	case WIRE_ETYPE_IPV4:
		decode_ipv4(p, w, c);
		break;
	case WIRE_ETYPE_IPV6:
		decode_ipv6(p, w, c);
		break;
	case WIRE_ETYPE_ARP:
	case WIRE_ETYPE_RARP:
		decode_arp(p, w, c);
		break;
	}
}

static inline bool is_tag(unsigned etype)
{
	return etype == PACKET_TPID || etype == PACKET_TPID_AD || etype == PACKET_TPID_OLD;
}

CORE void decode_ethernet(struct packet *p, unsigned w, struct cursor *c)
{
	struct packet_key *k = &stack_of(p, w)->key;

	if (c->left < WIRE_ETH_LEN)
		return;
	memcpy(k->dmac, c->at, 6);
	memcpy(k->smac, c->at + 6, 6);
	k->etype = get_be16(c->at + 12);
	p->has[w] |= 1ull << PKT_LMAC | 1ull << PKT_RMAC | 1ull << PKT_ETYPE;
	take(c, WIRE_ETH_LEN);
	for (unsigned i = 0; i < WIRE_TAGS && c->left >= WIRE_TAG_LEN && is_tag(k->etype); i++) {
		if (i >= 2) { /* fields hold two: the innermost EtherType is read all the same */
			c->exact = false;
		} else {
			k->tags++;
			if (k->etype != PACKET_TPID) {
				k->tags |= (uint8_t)(k->etype == PACKET_TPID_AD ? PACKET_TAG_AD(i) : PACKET_TAG_OLD(i));
				set(p, w, i ? PKT_TPID2 : PKT_TPID);
			}
			*(i ? &k->vlan2 : &k->vlan) = get_be16(c->at);
			set(p, w, i ? PKT_VLAN2 : PKT_VLAN);
		}
		k->etype = get_be16(c->at + 2);
		take(c, WIRE_TAG_LEN);
	}
	decode_network(p, w, c, k->etype);
}

__attribute__((noinline)) void decode_stack(struct packet *p, unsigned w, struct cursor *c, unsigned etype)
{
	memset(stack_of(p, w), 0, sizeof(struct packet_stack));
	if (etype == WIRE_ETYPE_TEB)
		decode_ethernet(p, w, c);
	else
		decode_network(p, w, c, etype);
}

/*
 * All but inner, quote and other. As stores of 16 bytes: of a memset of this length compilers make a `rep stos`, which takes
 * longer than all the rest of a small packet.
 */
static inline __attribute__((always_inline)) void clear(struct packet *p)
{
	typedef uint64_t piece __attribute__((vector_size(16), aligned(8), may_alias));
	piece *at = (piece *)p;

	_Static_assert(offsetof(struct packet, inner) % sizeof(piece) == 0, "in whole pieces");
#pragma GCC unroll 32
	for (unsigned i = 0; i < offsetof(struct packet, inner) / sizeof(piece); i++)
		at[i] = (piece){0};
}

void packet_decode(struct packet *p, const struct rec_head *head, const uint8_t *bytes)
{
	unsigned length = head->cap_len < REC_CAP_MAX ? head->cap_len : REC_CAP_MAX;
	struct cursor c = {.start = bytes, .at = bytes, .left = length, .end = head->wire_len, .exact = length > 0};

	clear(p);
	p->time = head->time;
	p->len = head->wire_len;
	p->marks = head->marks & REC_MARKS_ALL & ~REC_MARK_CSUM_NONE;
	p->segs = head->gso_segs;
	p->gso = head->gso_size;
	p->outer.key.side = head->side ? REC_TX : REC_RX;
	p->has[0] = 1ull << PKT_TS | 1ull << PKT_NS | 1ull << PKT_DIR | 1ull << PKT_LEN;
	if (p->segs)
		packet_set(p, PKT_SEGS);
	if (p->gso)
		packet_set(p, PKT_GSO);

	decode_ethernet(p, OUTER, &c);

	if (p->marks)
		packet_set(p, PKT_MARKS);
	if (!c.exact || c.left) {
		p->raw = bytes;
		p->raw_len = (uint16_t)length;
		packet_set(p, PKT_RAW);
	}
#ifndef NDEBUG
	uint8_t again[REC_CAP_MAX];
	assert(packet_rebuild(p, again) == (int)length && !memcmp(again, bytes, length));
#endif
}
