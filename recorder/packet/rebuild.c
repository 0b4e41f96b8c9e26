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
	unsigned n = 0, code = (unsigned)p->opts;
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
		unsigned length = lengths[digit] + (digit == 5 ? 8u * p->sacks : 0);
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
			put_be16(o + 2, p->mss);
			break;
		case 3:
			o[0] = WIRE_TCPOPT_WS;
			o[2] = p->ws;
			break;
		case 4:
			o[0] = WIRE_TCPOPT_SACKPERM;
			break;
		case 5:
			o[0] = WIRE_TCPOPT_SACK;
			for (unsigned s = 0; s < p->sacks; s++) {
				put_be32(o + 2 + 8 * s, p->sack_left[s]);
				put_be32(o + 6 + 8 * s, p->sack_right[s]);
			}
			break;
		case 6:
			o[0] = WIRE_TCPOPT_TS;
			put_be32(o + 2, p->tsval);
			put_be32(o + 6, p->tsecr);
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

	if (!HAS_ALL(p, PKT_LPORT, PKT_RPORT, PKT_SEQ, PKT_ACK, PKT_WIN, PKT_CSUM, PKT_URG) || p->flags > 0xfff ||
	    p->sacks > PACKET_SACKS)
		return -EINVAL;
	n = rebuild_options(p, options);
	if (n < 0)
		return n;
	put_be16(b, p->key.sport);
	put_be16(b + 2, p->key.dport);
	put_be32(b + 4, p->seq);
	put_be32(b + 8, p->ack);
	put_be16(b + 12, (uint16_t)(((unsigned)n / 4 + 5) << 12 | p->flags));
	put_be16(b + 14, p->win);
	put_be16(b + 16, p->csum);
	put_be16(b + 18, p->urg);
	memcpy(b + WIRE_TCP_LEN, options, (size_t)n);
	return WIRE_TCP_LEN + n;
}

/* `implied` is the length of layer 4 that layer 3 announces. */
static int rebuild_l4(const struct packet *p, uint8_t *b, uint32_t implied)
{
	switch (p->key.proto) {
	case WIRE_TCP:
		if (packet_has(p, PKT_FLAGS))
			return rebuild_tcp(p, b);
		break;
	case WIRE_UDP:
		if (!packet_has(p, PKT_LPORT))
			break;
		if (!HAS_ALL(p, PKT_RPORT, PKT_CSUM))
			return -EINVAL;
		put_be16(b, p->key.sport);
		put_be16(b + 2, p->key.dport);
		put_be16(b + 4, packet_has(p, PKT_ULEN) ? p->ulen : (uint16_t)implied);
		put_be16(b + 6, p->csum);
		return WIRE_UDP_LEN;
	case WIRE_ICMP:
	case WIRE_ICMPV6:
		if (!packet_has(p, PKT_ICMP_TYPE))
			return 0;
		if (!HAS_ALL(p, PKT_ICMP_CODE, PKT_CSUM, PKT_ICMP_ID, PKT_ICMP_SEQ))
			return -EINVAL;
		b[0] = p->icmp_type;
		b[1] = p->icmp_code;
		put_be16(b + 2, p->csum);
		put_be16(b + 4, p->icmp_id);
		put_be16(b + 6, p->icmp_seq);
		return WIRE_ICMP_LEN;
	}
	return packet_has(p, PKT_LPORT) ? -EINVAL : 0;
}

static int rebuild_ipv4(const struct packet *p, uint8_t *b, unsigned off)
{
	uint16_t total = (uint16_t)(p->len - off - (uint32_t)p->pad);
	int n;

	if (p->key.family != 4 || !HAS_ALL(p, PKT_REMOTE, PKT_TOS, PKT_IPID, PKT_FRAG, PKT_TTL, PKT_PROTO))
		return -EINVAL;
	b[0] = 4 << 4 | 5;
	b[1] = p->tos;
	put_be16(b + 2, total);
	put_be16(b + 4, p->ipid);
	put_be16(b + 6, p->frag);
	b[8] = p->ttl;
	b[9] = p->key.proto;
	memset(b + 10, 0, 2);
	memcpy(b + 12, p->key.src, 4);
	memcpy(b + 16, p->key.dst, 4);
	put_be16(b + 10, packet_has(p, PKT_IPCSUM) ? p->ipcsum : wire_ipv4_sum(b, WIRE_IPV4_LEN));
	if (p->frag & WIRE_FRAG_OFFSET)
		return WIRE_IPV4_LEN;
	n = rebuild_l4(p, b + WIRE_IPV4_LEN, total ? total - WIRE_IPV4_LEN : 0);
	return n < 0 ? n : WIRE_IPV4_LEN + n;
}

static int rebuild_ipv6(const struct packet *p, uint8_t *b, unsigned off)
{
	uint16_t payload = (uint16_t)(p->len - off - WIRE_IPV6_LEN - (uint32_t)p->pad);
	int n;

	if (p->key.family != 6 || !HAS_ALL(p, PKT_REMOTE, PKT_TOS, PKT_FLOW, PKT_TTL, PKT_PROTO) || p->flow > 0xfffff)
		return -EINVAL;
	put_be32(b, 6u << 28 | (uint32_t)p->tos << 20 | p->flow);
	put_be16(b + 4, payload);
	b[6] = p->key.proto;
	b[7] = p->ttl;
	memcpy(b + 8, p->key.src, 16);
	memcpy(b + 24, p->key.dst, 16);
	n = rebuild_l4(p, b + WIRE_IPV6_LEN, payload);
	return n < 0 ? n : WIRE_IPV6_LEN + n;
}

static int rebuild_arp(const struct packet *p, uint8_t *b)
{
	if (p->key.family != 4 || !HAS_ALL(p, PKT_REMOTE, PKT_ARP_OP))
		return -EINVAL;
	memcpy(b, "\0\1\10\0\6\4", 6);
	put_be16(b + 6, p->arp_op);
	memcpy(b + 8, packet_has(p, PKT_ASHA) ? p->sha : p->key.smac, 6);
	memcpy(b + 14, p->key.src, 4);
	if (packet_has(p, PKT_ATHA))
		memcpy(b + 18, p->tha, 6);
	else if (p->arp_op == WIRE_ARP_REQUEST)
		memset(b + 18, 0, 6);
	else
		memcpy(b + 18, p->key.dmac, 6);
	memcpy(b + 24, p->key.dst, 4);
	return WIRE_ARP_LEN;
}

int packet_rebuild(const struct packet *p, uint8_t out[REC_CAP_MAX])
{
	unsigned off = WIRE_ETH_LEN, tags = p->key.tags & 3;
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
	memcpy(out, p->key.dmac, 6);
	memcpy(out + 6, p->key.smac, 6);
	for (unsigned i = 0; i < tags; i++, type += 4, off += 4) {
		put_be16(type, p->key.tags & PACKET_TAG_AD(i) ? PACKET_TPID_AD : PACKET_TPID);
		put_be16(type + 2, i ? p->key.vlan2 : p->key.vlan);
	}
	put_be16(type, p->key.etype);
	if (!packet_has(p, PKT_LOCAL))
		return packet_has(p, PKT_PROTO) || packet_has(p, PKT_ARP_OP) ? -EINVAL : (int)off;
	switch (p->key.etype) {
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
