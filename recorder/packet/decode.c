/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * decode.c - header bytes -> struct packet.
 *
 * One cursor goes through the bytes. A layer is either *taken*: all its bytes are given back by the fields it
 * sets (rebuild.c does that, layer by layer), or taken inexactly (`exact` becomes false: a byte of it is in no field),
 * or left: the cursor stays in front of it, though some of its fields may have been read. In the end the packet needs
 * its raw bytes if something was inexact or if bytes are left over. That is the whole proof of the law in packet.h:
 * there is nothing to decide about combinations of layers.
 *
 * For that, whether rebuild finds a layer must be as clear as here: a layer that is left has bytes left over
 * (so raw is set), or its fields are absent.
 */
#include "recorder/packet/packet.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "recorder/core/util.h"
#include "recorder/packet/fields.h"
#include "recorder/packet/wire.h"

struct cursor {
	const uint8_t *at;
	unsigned left;
	bool exact;
};

static inline void take(struct cursor *c, unsigned n)
{
	c->at += n;
	c->left -= n;
}

uint16_t packet_pseudo_sum(const struct packet_key *key, uint32_t length)
{
	uint64_t sum = key->proto + (uint64_t)length;

	/* IPv4 addresses have zeros behind them, which add nothing. */
	for (unsigned i = 0; i < 16; i += 4)
		sum += (uint64_t)get_be32(key->src + i) + get_be32(key->dst + i);
	return wire_fold(sum);
}

/*
 * TCP options into fields. `opts` is their order as octal digits, the first option being the highest digit: 1 NOP, 2
 * MSS, 3 window scale, 4 SACK permitted, 5 SACK, 6 time stamps, 7 end of list and zeros up to the next multiple of 4.
 * Ten digits fit. False where that does not give the bytes back; what was read stays.
 */
static bool decode_options(struct packet *p, const uint8_t *o, unsigned n)
{
	bool exact = true;
	unsigned digits = 0, seen = 0;
	uint32_t code = 0;

	if (n == 12 && get_be32(o) == 0x0101080a) { /* nearly every TCP packet */
		p->outer.tsval = get_be32(o + 4);
		p->outer.tsecr = get_be32(o + 8);
		p->outer.opts = 0116;
		packet_set(p, PKT_LTSVAL);
		packet_set(p, PKT_RTSVAL);
		packet_set(p, PKT_OPTS);
		return true;
	}
	for (unsigned i = 0, length; i < n; i += length) {
		unsigned digit = 0;

		length = 1;
		if (o[i] == WIRE_TCPOPT_END) {
			digit = 7;
			length = n - i;
			for (unsigned j = i; j < n; j++)
				exact &= o[j] == 0;
			exact &= length <= 4;
		} else if (o[i] == WIRE_TCPOPT_NOP) {
			digit = 1;
		} else {
			length = i + 1 < n ? o[i + 1] : 0;
			if (length < 2 || length > n - i) {
				exact = false;
				break;
			}
			if (o[i] == WIRE_TCPOPT_MSS && length == 4)
				digit = 2;
			else if (o[i] == WIRE_TCPOPT_WS && length == 3)
				digit = 3;
			else if (o[i] == WIRE_TCPOPT_SACKPERM && length == 2)
				digit = 4;
			else if (o[i] == WIRE_TCPOPT_SACK && length >= 10 && length <= 34 && length % 8 == 2)
				digit = 5;
			else if (o[i] == WIRE_TCPOPT_TS && length == 10)
				digit = 6;
			/* A second one of a kind has no field. */
			if (seen >> digit & 1)
				digit = 0;
			seen |= 1u << digit;
		}
		switch (digit) {
		case 0:
			exact = false;
			break;
		case 2:
			p->outer.mss = get_be16(o + i + 2);
			packet_set(p, PKT_MSS);
			break;
		case 3:
			p->outer.ws = o[i + 2];
			packet_set(p, PKT_WS);
			break;
		case 4:
			packet_set(p, PKT_SACK);
			break;
		case 5:
			p->outer.sacks = (uint8_t)((length - 2) / 8);
			for (unsigned s = 0; s < p->outer.sacks; s++) {
				p->outer.sack_left[s] = get_be32(o + i + 2 + 8 * s);
				p->outer.sack_right[s] = get_be32(o + i + 6 + 8 * s);
				packet_set(p, PKT_SL1 + 2 * s);
				packet_set(p, PKT_SR1 + 2 * s);
			}
			break;
		case 6:
			p->outer.tsval = get_be32(o + i + 2);
			p->outer.tsecr = get_be32(o + i + 6);
			packet_set(p, PKT_LTSVAL);
			packet_set(p, PKT_RTSVAL);
			break;
		}
		if (digits++ < 10)
			code = code << 3 | digit;
		else
			exact = false;
	}
	if (exact && n) {
		p->outer.opts = (int32_t)code;
		packet_set(p, PKT_OPTS);
	}
	return exact;
}
_Static_assert(PKT_SR4 == PKT_SL1 + 7, "the SACK edges stand in a row");

static inline void decode_ports(struct packet *p, const uint8_t *b)
{
	p->outer.key.sport = get_be16(b);
	p->outer.key.dport = get_be16(b + 2);
	packet_set(p, PKT_LPORT);
	packet_set(p, PKT_RPORT);
}

static void decode_tcp(struct packet *p, struct cursor *c)
{
	const uint8_t *b = c->at;
	unsigned left = c->left, header;

	if (left >= 4)
		decode_ports(p, b);
	if (left < WIRE_TCP_LEN) { /* cut short: as far as it goes */
		if (left >= 8) {
			p->outer.seq = get_be32(b + 4);
			packet_set(p, PKT_SEQ);
		}
		if (left >= 12) {
			p->outer.ack = get_be32(b + 8);
			packet_set(p, PKT_ACK);
		}
		if (left >= 14) {
			p->outer.flags = get_be16(b + 12) & 0xfff;
			packet_set(p, PKT_FLAGS);
		}
		if (left >= 16) {
			p->outer.win = get_be16(b + 14);
			packet_set(p, PKT_WIN);
		}
		if (left >= 18) {
			p->outer.csum = get_be16(b + 16);
			packet_set(p, PKT_CSUM);
		}
		return;
	}
	p->outer.seq = get_be32(b + 4);
	p->outer.ack = get_be32(b + 8);
	p->outer.flags = get_be16(b + 12) & 0xfff;
	p->outer.win = get_be16(b + 14);
	p->outer.csum = get_be16(b + 16);
	p->outer.urg = get_be16(b + 18);
	packet_set(p, PKT_SEQ);
	packet_set(p, PKT_ACK);
	packet_set(p, PKT_FLAGS);
	packet_set(p, PKT_WIN);
	packet_set(p, PKT_CSUM);
	packet_set(p, PKT_URG);
	header = (b[12] >> 4) * 4u;
	if (header < WIRE_TCP_LEN || header > left) {
		c->exact = false;
		take(c, WIRE_TCP_LEN);
		return;
	}
	if (header > WIRE_TCP_LEN && !decode_options(p, b + WIRE_TCP_LEN, header - WIRE_TCP_LEN))
		c->exact = false;
	take(c, header);
}

static void decode_udp(struct packet *p, struct cursor *c, uint32_t implied)
{
	if (c->left >= 4)
		decode_ports(p, c->at);
	if (c->left >= 6 && get_be16(c->at + 4) != (uint16_t)implied) {
		p->outer.ulen = get_be16(c->at + 4);
		packet_set(p, PKT_ULEN);
	}
	if (c->left < WIRE_UDP_LEN)
		return;
	p->outer.csum = get_be16(c->at + 6);
	packet_set(p, PKT_CSUM);
	take(c, WIRE_UDP_LEN);
}

static void decode_icmp(struct packet *p, struct cursor *c)
{
	const uint8_t *b = c->at;

	if (c->left >= 1) {
		p->outer.icmp_type = b[0];
		packet_set(p, PKT_ICMP_TYPE);
	}
	if (c->left >= 2) {
		p->outer.icmp_code = b[1];
		packet_set(p, PKT_ICMP_CODE);
	}
	if (c->left >= 4) {
		p->outer.csum = get_be16(b + 2);
		packet_set(p, PKT_CSUM);
	}
	if (c->left < WIRE_ICMP_LEN || !wire_icmp_has_id(p->outer.key.proto, b[0]))
		return;
	p->outer.icmp_id = get_be16(b + 4);
	p->outer.icmp_seq = get_be16(b + 6);
	packet_set(p, PKT_ICMP_ID);
	packet_set(p, PKT_ICMP_SEQ);
	take(c, WIRE_ICMP_LEN);
}

/* `length` is what layer 3 announces for layer 4; 0 for the jumbo form of a super-packet: then what the frame holds. */
static inline void decode_l4(struct packet *p, struct cursor *c, uint32_t length, uint32_t l4_off)
{
	uint32_t whole = length ? length : p->len - l4_off;

	switch (p->outer.key.proto) {
	case WIRE_TCP:
		decode_tcp(p, c);
		break;
	case WIRE_UDP:
		decode_udp(p, c, length);
		break;
	case WIRE_ICMP:
	case WIRE_ICMPV6:
		decode_icmp(p, c);
		return;
	default:
		return;
	}
	if (p->outer.key.side == REC_TX && packet_has(p, PKT_CSUM) && p->outer.csum == packet_pseudo_sum(&p->outer.key, whole))
		p->marks |= REC_MARK_CSUM_NONE;
}

static inline void set_pad(struct packet *p, uint32_t announced_end)
{
	p->outer.pad = (int32_t)(p->len - announced_end);
	if (p->outer.pad)
		packet_set(p, PKT_PAD);
}

static void decode_ipv4(struct packet *p, struct cursor *c, unsigned off)
{
	const uint8_t *b = c->at;
	unsigned header, total;
	uint16_t right;

	if (c->left < WIRE_IPV4_LEN || b[0] >> 4 != 4)
		return;
	header = (b[0] & 15) * 4u;
	if (header < WIRE_IPV4_LEN)
		return;
	total = get_be16(b + 2);
	p->outer.tos = b[1];
	p->outer.ipid = get_be16(b + 4);
	p->outer.frag = get_be16(b + 6);
	p->outer.ttl = b[8];
	p->outer.key.proto = b[9];
	p->outer.key.family = 4;
	memcpy(p->outer.key.src, b + 12, 4);
	memcpy(p->outer.key.dst, b + 16, 4);
	set_pad(p, off + total);
	packet_set(p, PKT_TOS);
	packet_set(p, PKT_IPID);
	packet_set(p, PKT_FRAG);
	packet_set(p, PKT_TTL);
	packet_set(p, PKT_PROTO);
	packet_set(p, PKT_LOCAL);
	packet_set(p, PKT_REMOTE);
	if (header > WIRE_IPV4_LEN)
		c->exact = false;
	if (header > c->left) {
		take(c, WIRE_IPV4_LEN);
		return;
	}
	right = wire_ipv4_sum(b, header);
	if (get_be16(b + 10) != right) {
		p->outer.ipcsum = get_be16(b + 10);
		packet_set(p, PKT_IPCSUM);
	}
	take(c, header);
	if (!(p->outer.frag & WIRE_FRAG_OFFSET))
		decode_l4(p, c, total ? total - header : 0, off + header);
}

/* Extension headers that have a next header and a length; each is inexact. 0 when there is no further one in the bytes.
 */
static unsigned extension_length(const struct cursor *c, unsigned next)
{
	if (c->left < 8)
		return 0;
	switch (next) {
	case WIRE_HOPOPTS:
	case WIRE_ROUTING:
	case WIRE_DSTOPTS:
	case WIRE_MOBILITY:
	case WIRE_HIP:
	case WIRE_SHIM6:
		return (c->at[1] + 1u) * 8;
	case WIRE_FRAGMENT:
		return 8;
	case WIRE_AH:
		return (c->at[1] + 2u) * 4;
	}
	return 0;
}

static void decode_ipv6(struct packet *p, struct cursor *c, unsigned off)
{
	const uint8_t *b = c->at;
	unsigned payload, next, length, extensions = 0;
	bool first = true;

	if (c->left < WIRE_IPV6_LEN || b[0] >> 4 != 6)
		return;
	payload = get_be16(b + 4);
	next = b[6];
	p->outer.tos = (uint8_t)(get_be16(b) >> 4);
	p->outer.flow = get_be32(b) & 0xfffff;
	p->outer.ttl = b[7];
	p->outer.key.family = 6;
	memcpy(p->outer.key.src, b + 8, 16);
	memcpy(p->outer.key.dst, b + 24, 16);
	set_pad(p, off + WIRE_IPV6_LEN + payload);
	packet_set(p, PKT_TOS);
	packet_set(p, PKT_FLOW);
	packet_set(p, PKT_TTL);
	packet_set(p, PKT_PROTO);
	packet_set(p, PKT_LOCAL);
	packet_set(p, PKT_REMOTE);
	take(c, WIRE_IPV6_LEN);
	/* Bounded: each is at least 8 bytes of at most REC_CAP_MAX. */
	while (first && (length = extension_length(c, next)) != 0 && length <= c->left) {
		if (next == WIRE_FRAGMENT)
			first = !(get_be16(c->at + 2) & WIRE_FRAG6_OFFSET);
		next = c->at[0];
		extensions += length;
		c->exact = false;
		take(c, length);
	}
	p->outer.key.proto = (uint8_t)next;
	if (first)
		decode_l4(p, c, payload ? payload - extensions : 0, off + WIRE_IPV6_LEN + extensions);
}

static void decode_arp(struct packet *p, struct cursor *c)
{
	static const uint8_t ethernet_ipv4[6] = {0, 1, 8, 0, 6, 4}, zero[6];
	const uint8_t *b = c->at, *implied = p->outer.key.dmac;

	if (c->left >= 8) {
		p->outer.arp_op = get_be16(b + 6);
		packet_set(p, PKT_ARP_OP);
	}
	if (c->left < WIRE_ARP_LEN || memcmp(b, ethernet_ipv4, sizeof(ethernet_ipv4)))
		return;
	p->outer.key.family = 4;
	memcpy(p->outer.key.src, b + 14, 4);
	memcpy(p->outer.key.dst, b + 24, 4);
	packet_set(p, PKT_LOCAL);
	packet_set(p, PKT_REMOTE);
	if (memcmp(b + 8, p->outer.key.smac, 6)) {
		memcpy(p->outer.sha, b + 8, 6);
		packet_set(p, PKT_ASHA);
	}
	if (p->outer.arp_op == WIRE_ARP_REQUEST)
		implied = zero;
	if (memcmp(b + 18, implied, 6)) {
		memcpy(p->outer.tha, b + 18, 6);
		packet_set(p, PKT_ATHA);
	}
	take(c, WIRE_ARP_LEN);
}

static void decode_ethernet(struct packet *p, struct cursor *c)
{
	const uint8_t *start = c->at;
	struct packet_key *k = &p->outer.key;
	unsigned off;

	if (c->left < WIRE_ETH_LEN)
		return;
	memcpy(k->dmac, c->at, 6);
	memcpy(k->smac, c->at + 6, 6);
	k->etype = get_be16(c->at + 12);
	packet_set(p, PKT_LMAC);
	packet_set(p, PKT_RMAC);
	packet_set(p, PKT_ETYPE);
	take(c, WIRE_ETH_LEN);
	while ((k->tags & 3) < 2 && c->left >= 4 && (k->etype == PACKET_TPID || k->etype == PACKET_TPID_AD)) {
		unsigned i = k->tags++ & 3;

		if (k->etype == PACKET_TPID_AD) {
			k->tags |= PACKET_TAG_AD(i);
			packet_set(p, i ? PKT_TPID2 : PKT_TPID);
		}
		*(i ? &k->vlan2 : &k->vlan) = get_be16(c->at);
		packet_set(p, i ? PKT_VLAN2 : PKT_VLAN);
		k->etype = get_be16(c->at + 2);
		take(c, 4);
	}
	off = (unsigned)(c->at - start);
	switch (k->etype) {
	case WIRE_ETYPE_IPV4:
		decode_ipv4(p, c, off);
		break;
	case WIRE_ETYPE_IPV6:
		decode_ipv6(p, c, off);
		break;
	case WIRE_ETYPE_ARP:
		decode_arp(p, c);
		break;
	}
}

void packet_decode(struct packet *p, const struct rec_head *head, const uint8_t *bytes)
{
	unsigned length = head->cap_len < REC_CAP_MAX ? head->cap_len : REC_CAP_MAX;
	struct cursor c = {.at = bytes, .left = length, .exact = length > 0};

	memset(p, 0, offsetof(struct packet, inner));
	p->time = head->time;
	p->len = head->wire_len;
	p->marks = head->marks & REC_MARKS_ALL & ~REC_MARK_CSUM_NONE;
	p->segs = head->gso_segs;
	p->gso = head->gso_size;
	p->outer.key.side = head->side ? REC_TX : REC_RX;
	packet_set(p, PKT_TS);
	packet_set(p, PKT_NS);
	packet_set(p, PKT_DIR);
	packet_set(p, PKT_LEN);
	if (p->segs)
		packet_set(p, PKT_SEGS);
	if (p->gso)
		packet_set(p, PKT_GSO);

	decode_ethernet(p, &c);

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
