/* SPDX-License-Identifier: GPL-2.0-or-later */
/* wire.h - constants and checksums of the wire, for decode.c and rebuild.c only. */
#ifndef XDP_RECORDER_PACKET_WIRE_H
#define XDP_RECORDER_PACKET_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "recorder/core/util.h"

enum {
	WIRE_ETH_LEN = 14,
	WIRE_ARP_LEN = 28,
	WIRE_IPV4_LEN = 20,
	WIRE_IPV6_LEN = 40,
	WIRE_TCP_LEN = 20,
	WIRE_UDP_LEN = 8,
	WIRE_ICMP_LEN = 8, /* of the types that have an identifier and a sequence number */

	WIRE_ETYPE_IPV4 = 0x0800,
	WIRE_ETYPE_ARP = 0x0806,
	WIRE_ETYPE_IPV6 = 0x86dd,

	WIRE_ARP_REQUEST = 1,
	WIRE_FRAG_OFFSET = 0x1fff,  /* IPv4 */
	WIRE_FRAG6_OFFSET = 0xfff8, /* fragment header of IPv6 */

	/* IANA protocol numbers */
	WIRE_HOPOPTS = 0,
	WIRE_ICMP = 1,
	WIRE_TCP = 6,
	WIRE_UDP = 17,
	WIRE_ROUTING = 43,
	WIRE_FRAGMENT = 44,
	WIRE_AH = 51,
	WIRE_ICMPV6 = 58,
	WIRE_DSTOPTS = 60,
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

#endif
