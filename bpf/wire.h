/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * wire.h - below parse.h: how bytes are loaded, in the kernel and natively, the numbers that stand in headers, and the
 * mixing of addresses and ports into a flow's hash.
 */
#ifndef XDP_RECORDER_WIRE_H
#define XDP_RECORDER_WIRE_H

#include <linux/types.h>

#ifdef __bpf__
#define REC_GLOBAL __attribute__((noinline))
/* Changes nothing (offsets are at most REC_CAP_MAX), but the verifier forgets what it knew of it; see parse.h. */
#define REC_FORGET(offset) asm volatile("%0 &= 511" : "+w"(offset))
#define REC_INLINE static __attribute__((always_inline)) inline
/* BPF has no unaligned accesses in C; the kernel's JIT does them where the machine can. */
#define rec_ld16(p) (*(const __u16 *)(p))
#define rec_ld32(p) (*(const __u32 *)(p))
#define rec_ld64(p) (*(const __u64 *)(p))
#define REC_NO_UNROLL _Pragma("clang loop unroll(disable)")
#define REC_UNROLL _Pragma("clang loop unroll(full)")
#else
#define REC_FORGET(offset) ((void)0)
#define REC_NO_UNROLL
#define REC_UNROLL
#define REC_GLOBAL static __attribute__((unused))
#define REC_INLINE static inline __attribute__((unused))
REC_INLINE __u16 rec_ld16(const __u8 *p)
{
	__u16 v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}
REC_INLINE __u32 rec_ld32(const __u8 *p)
{
	__u32 v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}
REC_INLINE __u64 rec_ld64(const __u8 *p)
{
	__u64 v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v;
}
#endif

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define REC_BE16(v) ((__u16)__builtin_bswap16(v))
#define REC_BE32(v) __builtin_bswap32(v)
#else
#define REC_BE16(v) ((__u16)(v))
#define REC_BE32(v) ((__u32)(v))
#endif

/* EtherTypes, IEEE 802 numbers. */
enum {
	REC_ETH_MIN = 0x0600, /* below: a length, IEEE 802.3 */
	REC_ETH_IPV4 = 0x0800,
	REC_ETH_ARP = 0x0806,
	REC_ETH_TEB = 0x6558, /* an Ethernet frame: inside GRE and Geneve, and our start */
	REC_ETH_RARP = 0x8035,
	REC_ETH_VLAN = 0x8100,
	REC_ETH_IPV6 = 0x86dd,
	REC_ETH_MPLS = 0x8847,
	REC_ETH_MPLS_MC = 0x8848,
	REC_ETH_PPPOE = 0x8864,
	REC_ETH_QINQ = 0x88a8,
	REC_ETH_QINQ_OLD = 0x9100,
};

/* Protocol numbers, IANA. */
enum {
	REC_IP_HOPOPTS = 0,
	REC_IP_ICMP = 1,
	REC_IP_IPIP = 4,
	REC_IP_TCP = 6,
	REC_IP_UDP = 17,
	REC_IP_DCCP = 33,
	REC_IP_IPV6 = 41,
	REC_IP_ROUTING = 43,
	REC_IP_FRAGMENT = 44,
	REC_IP_GRE = 47,
	REC_IP_ESP = 50,
	REC_IP_AH = 51,
	REC_IP_ICMP6 = 58,
	REC_IP_NONE = 59,
	REC_IP_DSTOPTS = 60,
	REC_IP_SCTP = 132,
	REC_IP_MOBILITY = 135,
	REC_IP_HIP = 139,
	REC_IP_SHIM6 = 140,
};

enum { REC_PORT_VXLAN = 4789, REC_PORT_GENEVE = 6081 };

/*
 * Words of 4 bytes behind a chunk's head that its type fixes, four bits for each of the types 0 to 7: DATA 3, INIT 4,
 * INIT ACK 4, SACK 3, SHUTDOWN (7) 1.
 */
#define REC_SCTP_WORDS 0x10003443u
/* DCCP's packet types, a bit each: with an acknowledgement number; with a service code (0, 1) or a reset code (7). */
#define REC_DCCP_ACKS 0x3fau
#define REC_DCCP_CODES 0x83u

/*
 * The flow's hash: the two addresses each mixed with the seed and added, then the ports as an unordered pair and the
 * protocol. So it is the same for both directions; who does not know the seed cannot choose keys that meet in one
 * bucket of a table.
 */
REC_INLINE __u64 rec_mix(__u64 v, __u64 seed)
{
	v = (v ^ seed) * (seed | 1);
	return v ^ v >> 32;
}

REC_INLINE __u64 rec_mix6(const __u8 *address, __u64 seed)
{
	return rec_mix(rec_mix(rec_ld64(address), seed) + rec_ld64(address + 8), seed);
}

REC_INLINE __u64 rec_ports(__u32 a, __u32 b)
{
	return (a < b ? (__u64)a << 32 | b : (__u64)b << 32 | a) * 0x9e3779b97f4a7c15ull;
}

REC_INLINE __u32 rec_flow_hash(__u64 flow, __u32 proto)
{
	flow = ((flow ^ flow >> 29) + proto) * 0xbf58476d1ce4e5b9ull;
	return (__u32)(flow >> 32);
}

/* By a mask, not by comparing: the verifier would go on with each of the numbers by itself. */
REC_INLINE int rec_is_extension(__u32 proto)
{
	const __u64 low = 1ull << REC_IP_HOPOPTS | 1ull << REC_IP_ROUTING | 1ull << REC_IP_FRAGMENT | 1ull << REC_IP_AH |
			  1ull << REC_IP_DSTOPTS;
	const __u64 high = 1ull << (REC_IP_MOBILITY - 128) | 1ull << (REC_IP_HIP - 128) | 1ull << (REC_IP_SHIM6 - 128);

	if (proto & 64)
		return 0;
	return (proto < 64 ? low : high) >> (proto & 63) & 1;
}

#endif
