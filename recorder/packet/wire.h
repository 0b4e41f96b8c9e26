/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wire.h - numbers, checksums and chains of the wire, for the sources of decode and rebuild only. */
#ifndef XDP_RECORDER_PACKET_WIRE_H
#define XDP_RECORDER_PACKET_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "recorder/core/util.h"

enum {
	WIRE_ETH_LEN = 14,
	WIRE_TAG_LEN = 4,
	WIRE_TAGS = 4,	       /* VLAN tags that are followed; fields hold 2 */
	WIRE_ETYPE_MIN = 1536, /* below: a length, IEEE 802.3 */
	WIRE_SNAP_LEN = 5,
	WIRE_PPPOE_LEN = 8,
	WIRE_LABEL_LEN = 4,
	WIRE_LABELS = 8, /* MPLS labels that are followed; fields hold PACKET_LABELS */
	WIRE_ARP_LEN = 28,
	WIRE_IPV4_LEN = 20,
	WIRE_IPV6_LEN = 40,
	WIRE_EXTENSIONS = 8, /* extension headers that are followed */
	WIRE_TCP_LEN = 20,
	WIRE_UDP_LEN = 8,
	WIRE_ICMP_LEN = 8,
	WIRE_ESP_LEN = 8,
	WIRE_SCTP_LEN = 12,
	WIRE_CHUNK_LEN = 4,
	WIRE_VNI_LEN = 8,    /* of VXLAN, of Geneve without options */
	WIRE_QUOTED_LEN = 8, /* of layer 4 in an ICMP error */

	WIRE_ETYPE_IPV4 = 0x0800,
	WIRE_ETYPE_ARP = 0x0806,
	WIRE_ETYPE_TEB = 0x6558, /* an Ethernet frame, in GRE and Geneve */
	WIRE_ETYPE_RARP = 0x8035,
	WIRE_ETYPE_IPV6 = 0x86dd,
	WIRE_ETYPE_MPLS = 0x8847,
	WIRE_ETYPE_MPLS_MC = 0x8848,
	WIRE_ETYPE_PPPOE = 0x8864,

	WIRE_PPP_IPV4 = 0x0021,
	WIRE_PPP_IPV6 = 0x0057,
	WIRE_PORT_VXLAN = 4789,
	WIRE_PORT_GENEVE = 6081,
	WIRE_VXLAN_I = 0x0800, /* the flag that says that there is a network identifier */

	WIRE_GRE_SUM = 0x8000,
	WIRE_GRE_ROUTING = 0x4000,
	WIRE_GRE_KEY = 0x2000,
	WIRE_GRE_SEQ = 0x1000,
	WIRE_GRE_ACK = 0x0080, /* version 1 */
	WIRE_GRE_VERSION = 7,

	WIRE_ARP_REQUEST = 1,
	WIRE_FRAG_OFFSET = 0x1fff,  /* IPv4 */
	WIRE_FRAG6_OFFSET = 0xfff8, /* fragment header of IPv6 */

	/* IANA protocol numbers */
	WIRE_HOPOPTS = 0,
	WIRE_ICMP = 1,
	WIRE_IPIP = 4,
	WIRE_TCP = 6,
	WIRE_UDP = 17,
	WIRE_DCCP = 33,
	WIRE_6IN4 = 41,
	WIRE_ROUTING = 43,
	WIRE_FRAGMENT = 44,
	WIRE_GRE = 47,
	WIRE_ESP = 50,
	WIRE_AH = 51,
	WIRE_ICMPV6 = 58,
	WIRE_DSTOPTS = 60,
	WIRE_SCTP = 132,
	WIRE_MOBILITY = 135,
	WIRE_HIP = 139,
	WIRE_SHIM6 = 140,

	WIRE_TCPOPT_END = 0,
	WIRE_TCPOPT_NOP = 1,
	WIRE_TCPOPT_MSS = 2,
	WIRE_TCPOPT_WS = 3,
	WIRE_TCPOPT_SACKPERM = 4,
	WIRE_TCPOPT_SACK = 5,
	WIRE_TCPOPT_TS = 8,

	WIRE_DCCP_REQUEST = 0,
	WIRE_DCCP_RESPONSE = 1,
	WIRE_DCCP_DATA = 2,
	WIRE_DCCP_RESET = 7,
	WIRE_DCCP_SYNCACK = 9,

	WIRE_CHUNK_DATA = 0,
	WIRE_CHUNK_INIT = 1,
	WIRE_CHUNK_INIT_ACK = 2,
	WIRE_CHUNK_SACK = 3,
	WIRE_CHUNK_SHUTDOWN = 7,
};

/* RFC 1071, not complemented. */
static inline uint16_t wire_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* The checksum that belongs into an IPv4 header of `length` bytes (a multiple of 4), whatever stands there. */
static inline uint16_t wire_ipv4_sum(const uint8_t *header, unsigned length)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < length; i += 4)
		sum += get_be32(header + i);
	return (uint16_t)~wire_fold(sum - get_be16(header + 10));
}

/*
 * Types whose bytes 4..7 are identifier and sequence number: ICMP echo, time stamp, information, address mask (RFC 792,
 * 950), ICMPv6 echo (RFC 4443).
 */
static inline bool wire_icmp_has_id(unsigned proto, unsigned type)
{
	if (proto == WIRE_ICMPV6)
		return type == 128 || type == 129;
	return type == 0 || type == 8 || (type >= 13 && type <= 18);
}

/* What stands behind the 8 bytes of an ICMP or ICMPv6 message. */
enum wire_icmp {
	WIRE_ICMP_NOTHING,
	WIRE_ICMP_QUOTE,    /* an error: an IP header and 8 bytes */
	WIRE_ICMP_TIMES,    /* 12 bytes, RFC 792 */
	WIRE_ICMP_MASK,	    /* 4 bytes, RFC 950 */
	WIRE_ICMP_TARGET,   /* 16 bytes: NDP (RFC 4861), MLD (RFC 2710) */
	WIRE_ICMP_ROUTER,   /* 8 bytes */
	WIRE_ICMP_REDIRECT, /* 32 bytes: target and destination */
};

static inline enum wire_icmp wire_icmp(unsigned proto, unsigned type)
{
	if (proto == WIRE_ICMPV6)
		return type >= 1 && type <= 4	    ? WIRE_ICMP_QUOTE
		       : type == 135 || type == 136 ? WIRE_ICMP_TARGET
		       : type >= 130 && type <= 132 ? WIRE_ICMP_TARGET
		       : type == 134		    ? WIRE_ICMP_ROUTER
		       : type == 137		    ? WIRE_ICMP_REDIRECT
						    : WIRE_ICMP_NOTHING;
	return type == 3 || type == 4 || type == 5 || type == 11 || type == 12 ? WIRE_ICMP_QUOTE
	       : type == 13 || type == 14				       ? WIRE_ICMP_TIMES
	       : type == 17 || type == 18				       ? WIRE_ICMP_MASK
									       : WIRE_ICMP_NOTHING;
}

static inline bool wire_is_extension(unsigned proto)
{
	return proto == WIRE_HOPOPTS || proto == WIRE_ROUTING || proto == WIRE_FRAGMENT || proto == WIRE_AH ||
	       proto == WIRE_DSTOPTS || proto == WIRE_MOBILITY || proto == WIRE_HIP || proto == WIRE_SHIM6;
}

/* Extension headers of IPv6 (RFC 8200), and AH (RFC 4302) behind IPv4 too. */
struct wire_chain {
	unsigned length, headers;
	uint8_t next;			/* what follows the last one */
	bool later;			/* a fragment, not the first: nothing follows */
	const uint8_t *fragment, *auth; /* the first of each, NULL: none; `auth` may be cut behind its 12 bytes */
};

/* Follows the chain that begins with a header of type `next`, as far as whole headers are there. */
static inline struct wire_chain wire_chain(const uint8_t *b, unsigned left, unsigned next)
{
	struct wire_chain chain = {.next = (uint8_t)next};

	while (chain.headers < WIRE_EXTENSIONS && !chain.later && wire_is_extension(chain.next)) {
		const uint8_t *at = b + chain.length;
		unsigned rest = left - chain.length, length = 8;

		if (rest < 8)
			break;
		if (chain.next == WIRE_AH)
			length = (at[1] + 2u) * 4;
		else if (chain.next != WIRE_FRAGMENT)
			length = (at[1] + 1u) * 8;
		if (chain.next == WIRE_AH && !chain.auth && length >= 12 && rest >= 12)
			chain.auth = at;
		if (length > rest)
			break;
		if (chain.next == WIRE_FRAGMENT) {
			chain.fragment = chain.fragment ? chain.fragment : at;
			chain.later = get_be16(at + 2) & WIRE_FRAG6_OFFSET;
		}
		chain.next = at[0];
		chain.length += length;
		chain.headers++;
	}
	return chain;
}

/* The PPPoE length that layer 3 implies, from the `left` bytes behind PPP's protocol; -1: it implies none. */
static inline int wire_pppoe_length(unsigned ppp, const uint8_t *b, unsigned left)
{
	if (ppp == WIRE_PPP_IPV4 && left >= WIRE_IPV4_LEN)
		return (uint16_t)(2 + get_be16(b + 2));
	if (ppp == WIRE_PPP_IPV6 && left >= WIRE_IPV6_LEN)
		return (uint16_t)(2 + WIRE_IPV6_LEN + get_be16(b + 4));
	return -1;
}

/* Bytes of GRE's header; 0: of a form that is not followed (source routes, versions above 1). */
static inline unsigned wire_gre_length(unsigned flags)
{
	if (flags & WIRE_GRE_ROUTING || (flags & WIRE_GRE_VERSION) > 1)
		return 0;
	return 4 + (flags & WIRE_GRE_SUM ? 4 : 0) + (flags & WIRE_GRE_KEY ? 4 : 0) + (flags & WIRE_GRE_SEQ ? 4 : 0) +
	       (flags & WIRE_GRE_ACK && flags & 1 ? 4 : 0);
}

/* Bytes of an SCTP chunk's fixed part behind its head; 0 where its length does not have them. */
static inline unsigned wire_chunk_length(unsigned type, unsigned length)
{
	unsigned fixed = type == WIRE_CHUNK_DATA || type == WIRE_CHUNK_SACK	  ? 12
			 : type == WIRE_CHUNK_INIT || type == WIRE_CHUNK_INIT_ACK ? 16
			 : type == WIRE_CHUNK_SHUTDOWN				  ? 4
										  : 0;

	return length >= WIRE_CHUNK_LEN + fixed ? fixed : 0;
}

/* DCCP (RFC 4340, section 5), by its ninth byte: reserved 3 bits, type 4, X 1. */
struct wire_dccp {
	unsigned type, generic, ack, service, reset; /* bytes of each part; 0: it has none */
};

static inline struct wire_dccp wire_dccp(uint8_t byte)
{
	struct wire_dccp d = {.type = byte >> 1 & 15, .generic = byte & 1 ? 16 : 12};

	if (d.type != WIRE_DCCP_REQUEST && d.type != WIRE_DCCP_DATA && d.type <= WIRE_DCCP_SYNCACK)
		d.ack = byte & 1 ? 8 : 4;
	if (d.type == WIRE_DCCP_REQUEST || d.type == WIRE_DCCP_RESPONSE)
		d.service = 4;
	if (d.type == WIRE_DCCP_RESET)
		d.reset = 4;
	return d;
}

#endif
