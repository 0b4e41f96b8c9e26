/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rebuild.c - struct packet -> header bytes: decode.c read backwards, layer by layer. A layer is there when the field
 * is that decode sets with it; then all its fields must be.
 */
#include "recorder/packet/packet.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "recorder/core/util.h"
#include "recorder/packet/wire.h"

static bool has_all(const struct packet *p, const uint8_t *needed, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!packet_has(p, needed[i]))
			return false;
	return true;
}
#define HAS_ALL(p, ...) has_all(p, (const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))

/* Writes the options to out (at most 40 bytes, the 41st is scratch); their length (a multiple of 4), or -EINVAL. */
static int rebuild_options(const struct packet *p, uint8_t out[41])
{
	unsigned n = 0, code = (unsigned)p->outer.opts;
	int shift = 27;

	if (!packet_has(p, PKT_OPTS))
		return 0;
	if (!code || code >> 30)
		return -EINVAL;
	while (!(code >> shift & 7))
		shift -= 3;
	for (; shift >= 0; shift -= 3) {
		static const uint8_t lengths[8] = {0, 1, 4, 3, 2, 2, 10, 4};
		unsigned digit = code >> shift & 7;
		unsigned length = lengths[digit] + (digit == 5 ? 8u * p->outer.sacks : 0);
		uint8_t *o = out + n;

		if (digit == 7) {
			length = 4 - n % 4;
			if (shift)
				return -EINVAL;
		}
		if (!digit || n + length > 40)
			return -EINVAL;
		o[1] = (uint8_t)length; /* overwritten where there is none */
		switch (digit) {
		case 1:
			o[0] = WIRE_TCPOPT_NOP;
			break;
		case 2:
			o[0] = WIRE_TCPOPT_MSS;
			put_be16(o + 2, p->outer.mss);
			break;
		case 3:
			o[0] = WIRE_TCPOPT_WS;
			o[2] = p->outer.ws;
			break;
		case 4:
			o[0] = WIRE_TCPOPT_SACKPERM;
			break;
		case 5:
			o[0] = WIRE_TCPOPT_SACK;
			for (unsigned s = 0; s < p->outer.sacks; s++) {
				put_be32(o + 2 + 8 * s, p->outer.sack_left[s]);
				put_be32(o + 6 + 8 * s, p->outer.sack_right[s]);
			}
			break;
		case 6:
			o[0] = WIRE_TCPOPT_TS;
			put_be32(o + 2, p->outer.tsval);
			put_be32(o + 6, p->outer.tsecr);
			break;
		case 7:
			memset(o, WIRE_TCPOPT_END, length);
			break;
		}
		n += length;
	}
	return n % 4 ? -EINVAL : (int)n;
}

static int rebuild_tcp(const struct packet *p, uint8_t *b)
{
	uint8_t options[41];
	int n;

	if (!HAS_ALL(p, PKT_LPORT, PKT_RPORT, PKT_SEQ, PKT_ACK, PKT_WIN, PKT_CSUM, PKT_URG) || p->outer.flags > 0xfff ||
	    p->outer.sacks > PACKET_SACKS)
		return -EINVAL;
	n = rebuild_options(p, options);
	if (n < 0)
		return n;
	put_be16(b, p->outer.key.sport);
	put_be16(b + 2, p->outer.key.dport);
	put_be32(b + 4, p->outer.seq);
	put_be32(b + 8, p->outer.ack);
	put_be16(b + 12, (uint16_t)(((unsigned)n / 4 + 5) << 12 | p->outer.flags));
	put_be16(b + 14, p->outer.win);
	put_be16(b + 16, p->outer.csum);
	put_be16(b + 18, p->outer.urg);
	memcpy(b + WIRE_TCP_LEN, options, (size_t)n);
	return WIRE_TCP_LEN + n;
}

/* `implied` is the length of layer 4 that layer 3 announces. */
static int rebuild_l4(const struct packet *p, uint8_t *b, uint32_t implied)
{
	switch (p->outer.key.proto) {
	case WIRE_TCP:
		if (packet_has(p, PKT_FLAGS))
			return rebuild_tcp(p, b);
		break;
	case WIRE_UDP:
		if (!packet_has(p, PKT_LPORT))
			break;
		if (!HAS_ALL(p, PKT_RPORT, PKT_CSUM))
			return -EINVAL;
		put_be16(b, p->outer.key.sport);
		put_be16(b + 2, p->outer.key.dport);
		put_be16(b + 4, packet_has(p, PKT_ULEN) ? p->outer.ulen : (uint16_t)implied);
		put_be16(b + 6, p->outer.csum);
		return WIRE_UDP_LEN;
	case WIRE_ICMP:
	case WIRE_ICMPV6:
		if (!packet_has(p, PKT_ICMP_TYPE))
			return 0;
		if (!HAS_ALL(p, PKT_ICMP_CODE, PKT_CSUM, PKT_ICMP_ID, PKT_ICMP_SEQ))
			return -EINVAL;
		b[0] = p->outer.icmp_type;
		b[1] = p->outer.icmp_code;
		put_be16(b + 2, p->outer.csum);
		put_be16(b + 4, p->outer.icmp_id);
		put_be16(b + 6, p->outer.icmp_seq);
		return WIRE_ICMP_LEN;
	}
	return packet_has(p, PKT_LPORT) ? -EINVAL : 0;
}

static int rebuild_ipv4(const struct packet *p, uint8_t *b, unsigned off)
{
	uint16_t total = (uint16_t)(p->len - off - (uint32_t)p->outer.pad);
	int n;

	if (p->outer.key.family != 4 || !HAS_ALL(p, PKT_REMOTE, PKT_TOS, PKT_IPID, PKT_FRAG, PKT_TTL, PKT_PROTO))
		return -EINVAL;
	b[0] = 4 << 4 | 5;
	b[1] = p->outer.tos;
	put_be16(b + 2, total);
	put_be16(b + 4, p->outer.ipid);
	put_be16(b + 6, p->outer.frag);
	b[8] = p->outer.ttl;
	b[9] = p->outer.key.proto;
	memset(b + 10, 0, 2);
	memcpy(b + 12, p->outer.key.src, 4);
	memcpy(b + 16, p->outer.key.dst, 4);
	put_be16(b + 10, packet_has(p, PKT_IPCSUM) ? p->outer.ipcsum : wire_ipv4_sum(b, WIRE_IPV4_LEN));
	if (p->outer.frag & WIRE_FRAG_OFFSET)
		return WIRE_IPV4_LEN;
	n = rebuild_l4(p, b + WIRE_IPV4_LEN, total ? total - WIRE_IPV4_LEN : 0);
	return n < 0 ? n : WIRE_IPV4_LEN + n;
}

static int rebuild_ipv6(const struct packet *p, uint8_t *b, unsigned off)
{
	uint16_t payload = (uint16_t)(p->len - off - WIRE_IPV6_LEN - (uint32_t)p->outer.pad);
	int n;

	if (p->outer.key.family != 6 || !HAS_ALL(p, PKT_REMOTE, PKT_TOS, PKT_FLOW, PKT_TTL, PKT_PROTO) || p->outer.flow > 0xfffff)
		return -EINVAL;
	put_be32(b, 6u << 28 | (uint32_t)p->outer.tos << 20 | p->outer.flow);
	put_be16(b + 4, payload);
	b[6] = p->outer.key.proto;
	b[7] = p->outer.ttl;
	memcpy(b + 8, p->outer.key.src, 16);
	memcpy(b + 24, p->outer.key.dst, 16);
	n = rebuild_l4(p, b + WIRE_IPV6_LEN, payload);
	return n < 0 ? n : WIRE_IPV6_LEN + n;
}

static int rebuild_arp(const struct packet *p, uint8_t *b)
{
	if (p->outer.key.family != 4 || !HAS_ALL(p, PKT_REMOTE, PKT_ARP_OP))
		return -EINVAL;
	memcpy(b, "\0\1\10\0\6\4", 6);
	put_be16(b + 6, p->outer.arp_op);
	memcpy(b + 8, packet_has(p, PKT_ASHA) ? p->outer.sha : p->outer.key.smac, 6);
	memcpy(b + 14, p->outer.key.src, 4);
	if (packet_has(p, PKT_ATHA))
		memcpy(b + 18, p->outer.tha, 6);
	else if (p->outer.arp_op == WIRE_ARP_REQUEST)
		memset(b + 18, 0, 6);
	else
		memcpy(b + 18, p->outer.key.dmac, 6);
	memcpy(b + 24, p->outer.key.dst, 4);
	return WIRE_ARP_LEN;
}

int packet_rebuild(const struct packet *p, uint8_t out[REC_CAP_MAX])
{
	unsigned off = WIRE_ETH_LEN, tags = p->outer.key.tags & 3;
	uint8_t *type = out + 12;
	int n = 0;

	if (packet_has(p, PKT_RAW)) {
		if (p->raw_len > REC_CAP_MAX)
			return -EINVAL;
		if (p->raw_len)
			memcpy(out, p->raw, p->raw_len);
		return p->raw_len;
	}
	if (!HAS_ALL(p, PKT_LMAC, PKT_RMAC, PKT_ETYPE) || tags > 2)
		return -EINVAL;
	memcpy(out, p->outer.key.dmac, 6);
	memcpy(out + 6, p->outer.key.smac, 6);
	for (unsigned i = 0; i < tags; i++, type += 4, off += 4) {
		put_be16(type, p->outer.key.tags & PACKET_TAG_AD(i) ? PACKET_TPID_AD : PACKET_TPID);
		put_be16(type + 2, i ? p->outer.key.vlan2 : p->outer.key.vlan);
	}
	put_be16(type, p->outer.key.etype);
	if (!packet_has(p, PKT_LOCAL))
		return packet_has(p, PKT_PROTO) || packet_has(p, PKT_ARP_OP) ? -EINVAL : (int)off;
	switch (p->outer.key.etype) {
	case WIRE_ETYPE_IPV4:
		n = rebuild_ipv4(p, out + off, off);
		break;
	case WIRE_ETYPE_IPV6:
		n = rebuild_ipv6(p, out + off, off);
		break;
	case WIRE_ETYPE_ARP:
		n = rebuild_arp(p, out + off);
		break;
	default:
		return -EINVAL;
	}
	return n < 0 ? n : (int)off + n;
}
