/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * parse.h - finds the headers of a frame: where each layer begins, how many bytes they are together, and whose
 * conversation it is. It reads no field that is not needed for that; fields are user space's (recorder/packet/).
 *
 * One source for the kernel and for native code (import, tests, fuzzing), so both give the same answer for the same
 * bytes. It works on a struct rec_slot: a record's head with the packet's first bytes behind it, in the ring itself
 * or in any memory. `avail` of the bytes are the packet's; what lies behind them is never looked at.
 *
 *   rec_headers  the outer frame and, in a tunnel, the inner one: how many header bytes there are
 *   rec_parse    the same, as one calls it; rec_short: there are more bytes to be loaded before it can tell
 *   rec_trim     what it says goes into the head: cap_len and marks
 *
 * Why so: the verifier walks a global function once, whatever calls it, and it costs one call for each packet. (A call
 * and its return are several ns where returns are protected from speculation: a second call for the inner frame made
 * VXLAN 10 % slower in all.) Three habits keep it at 30,000 instructions for the verifier, where it may look at a million:
 *   - an offset is an unknown number from the start (`start`, an argument, is always 0), else each VLAN tag and
 *     extension header is followed separately. It is masked once before each use, and the slot has REC_SLOT_PAD bytes behind the
 *     largest masked offset. The mask changes nothing: what is read has been compared with `lim`;
 *   - REC_FORGET where ways meet: the least value of an offset grows with each header, until the verifier can decide a
 *     comparison by it, and then it tells apart all the states that lead there (880,000 instructions);
 *   - where the packet ends stands in memory, and what is found goes into the head at once: fewer values live over the
 *     many branches, in registers.
 */
#ifndef XDP_RECORDER_PARSE_H
#define XDP_RECORDER_PARSE_H

#include "abi.h"
#include "wire.h"

/* Bytes read at once behind an offset: 40 of IPv6. */
#define REC_SLOT_PAD 64u
struct rec_slot {
	struct rec_head head;
	__u8 bytes[REC_CAP_MAX + REC_SLOT_PAD];
};
_Static_assert(sizeof(struct rec_slot) <= REC_RING_SLACK, "a slot at the last byte of the ring fits the slack");
_Static_assert(REC_CAP_MAX == 256, "offsets are masked with 255");

/* Bounds of the loops. What goes beyond them is unknown to us, and kept as such. */
#define REC_VLAN_TAGS 4u   /* IEEE 802.1ad knows two; four are seen in the wild */
#define REC_MPLS_LABELS 8u
#define REC_EXT_HEADERS 8u /* IPv6 extension headers, and AH */

REC_INLINE void rec_hash(struct rec_slot *s, __u64 flow, __u32 proto, __u64 seed, __u32 lim)
{
	if (!flow && lim >= 12) /* no IP: by the MAC addresses */
		flow = rec_mix(rec_ld32(s->bytes) | (__u64)rec_ld16(s->bytes + 4) << 32, seed) +
		       rec_mix(rec_ld32(s->bytes + 6) | (__u64)rec_ld16(s->bytes + 10) << 32, seed);
	s->head.hash = rec_flow_hash(flow, proto);
}

REC_INLINE const __u8 *rec_at(const struct rec_slot *s, __u32 pos)
{
	return s->bytes + (pos & (REC_CAP_MAX - 1));
}

/* The end of the packet as far as layer 3 has told; its place is wire_len's until the parser is done. */
#define REC_END(s) (*(volatile __u32 *)&(s)->head.wire_len)

/* Layer 3 says that the packet ends at `at`: what is behind is padding. */
REC_INLINE __u32 rec_ends_at(struct rec_slot *s, __u32 at, __u32 lim)
{
	if (at < REC_END(s))
		REC_END(s) = at;
	return at < lim ? at : lim;
}

/*
 * Parses the packet of wire_len bytes, of which `avail` are in the slot. Writes off, proto, marks and hash of the head,
 * spoils wire_len, and returns the header bytes that the packet would have: more than `avail` means that it ran out of
 * bytes there. `start` is 0, see above.
 */
REC_GLOBAL __u32 rec_headers(struct rec_slot *s, __u32 avail, __u32 seed32, __u32 start)
{
	__u32 pos = start & 0xff, etype, lim, want, inner = 0, proto = 0, i, n;
	__u64 flow = 0, seed = seed32 * 0xd6e8feb86659fd93ull;
	const __u8 *p;
	__u8 *off;

	if (!s)
		return 0;
	lim = avail < REC_CAP_MAX ? avail : REC_CAP_MAX;
	off = s->head.off;
	for (i = 0; i < REC_OFFS; i++)
		off[i] = 0;
	s->head.marks = 0;
	s->head.proto = 0;

	/* Layer 2: after it, pos and etype say where layer 3 is and what. */
ethernet:
	want = pos + 14;
	if (want > lim)
		goto cut;
	p = rec_at(s, pos);
	etype = REC_BE16(rec_ld16(p + 12));
	pos = want;
	if (etype == REC_ETH_IPV4)
		goto ip4;
	REC_NO_UNROLL
	for (i = 0; i < REC_VLAN_TAGS; i++) {
		if (etype != REC_ETH_VLAN && etype != REC_ETH_QINQ && etype != REC_ETH_QINQ_OLD)
			break;
		want = pos + 4;
		if (want > lim)
			goto cut;
		etype = REC_BE16(rec_ld16(rec_at(s, pos) + 2));
		pos = want;
	}
	REC_FORGET(pos);
known: /* behind Ethernet, or inside a tunnel without it */
	if (etype == REC_ETH_IPV4)
		goto ip4;
	if (etype == REC_ETH_IPV6)
		goto ip6;
	if (etype == REC_ETH_ARP || etype == REC_ETH_RARP) { /* RFC 826, address lengths honoured */
		off[REC_L3] = (__u8)pos;
		want = pos + 8;
		if (want > lim)
			goto cut;
		p = rec_at(s, pos);
		n = 2 * ((__u32)p[4] + p[5]);
		want += n;
		if (want > lim)
			goto cut;
		if (n == 2 * (6 + 4))
			flow = rec_mix(rec_ld32(p + 14), seed) + rec_mix(rec_ld32(p + 24), seed);
		goto out;
	}
	if (etype == REC_ETH_PPPOE) { /* RFC 2516: version, type, code, session, length, PPP's protocol */
		want = pos + 8;
		if (want > lim)
			goto cut;
		p = rec_at(s, pos);
		if (rec_ld16(p) != REC_BE16(0x1100))
			goto unknown;
		n = pos + 6 + REC_BE16(rec_ld16(p + 4));
		if (n < want)
			goto malformed;
		lim = rec_ends_at(s, n, lim);
		n = REC_BE16(rec_ld16(p + 6));
		pos = want;
		if (n == 0x0021)
			goto ip4;
		if (n == 0x0057)
			goto ip6;
		goto unknown;
	}
	if (etype == REC_ETH_MPLS || etype == REC_ETH_MPLS_MC) { /* RFC 3032, RFC 4928 for the first nibble */
		REC_NO_UNROLL
		for (i = 0; i < REC_MPLS_LABELS; i++) {
			REC_FORGET(pos);
			want = pos + 4;
			if (want > lim)
				goto cut;
			n = rec_at(s, pos)[2];
			pos = want;
			if (n & 1) {
				want = pos + 1;
				if (want > lim)
					goto cut;
				n = rec_at(s, pos)[0] >> 4;
				if (n == 4)
					goto ip4;
				if (n == 6)
					goto ip6;
				break;
			}
		}
		goto unknown;
	}
	if (etype < REC_ETH_MIN) { /* IEEE 802.3: a length, then IEEE 802.2 LLC; RFC 1042 for SNAP */
		lim = rec_ends_at(s, pos + etype, lim);
		want = pos + 3;
		if (want > lim)
			goto cut;
		p = rec_at(s, pos);
		n = rec_ld16(p);
		if (n == 0xffff) /* raw IPX, without LLC */
			goto unknown;
		if ((p[2] & 3) != 3)
			want++;
		if (n == 0xaaaa && p[2] == 3)
			want += 5;
		if (want > lim)
			goto cut;
		pos = want;
		etype = REC_BE16(rec_ld16(p + 6));
		if (n != 0xaaaa || rec_ld32(p + 2) & REC_BE32(0x00ffffff) || p[2] != 3 || etype < REC_ETH_MIN)
			goto unknown;
		REC_FORGET(pos);
		REC_FORGET(lim);
		goto known;
	}
	goto unknown;

	/* Layer 3: after it, pos and proto say where layer 4 is and what. */
ip4:
	REC_FORGET(pos);
	REC_FORGET(lim);
	off[REC_L3] = (__u8)pos;
	want = pos + 20;
	if (want > lim)
		goto cut;
	p = rec_at(s, pos);
	i = p[0];
	n = (i & 15) * 4;
	if (i >> 4 != 4 || n < 20)
		goto malformed;
	want = pos + n;
	i = REC_BE16(rec_ld16(p + 2)); /* 0: filled in later, by the card that segments it */
	if (i) {
		if (i < n)
			goto malformed;
		lim = rec_ends_at(s, pos + i, lim);
	}
	proto = p[9];
	if (!inner) {
		s->head.proto = (__u8)proto;
		flow = rec_mix(rec_ld32(p + 12), seed) + rec_mix(rec_ld32(p + 16), seed);
	}
	if (want > lim)
		goto cut;
	pos = want;
	if (rec_ld16(p + 6) & REC_BE16(0x1fff))
		goto fragment;
	if (proto == REC_IP_AH)
		goto chain;
	goto layer4;

ip6:
	REC_FORGET(pos);
	REC_FORGET(lim);
	off[REC_L3] = (__u8)pos;
	want = pos + 40;
	if (want > lim)
		goto cut;
	p = rec_at(s, pos);
	if (p[0] >> 4 != 6)
		goto malformed;
	i = REC_BE16(rec_ld16(p + 4)); /* 0: a jumbogram */
	if (i)
		lim = rec_ends_at(s, want + i, lim);
	proto = p[6];
	if (!inner)
		flow = rec_mix6(p + 8, seed) + rec_mix6(p + 24, seed);
	pos = want;
chain: /* of IPv6's extension headers; AH in IPv4 too */
	REC_NO_UNROLL
	for (i = 0; i < REC_EXT_HEADERS; i++) {
		__u32 fragment = 0;

		REC_FORGET(pos);
		if (!rec_is_extension(proto))
			break;
		want = pos + 8;
		if (want > lim)
			goto cut;
		p = rec_at(s, pos);
		n = (p[1] + 1) * 8;
		if (proto == REC_IP_AH)
			n = (p[1] + 2) * 4;
		if (proto == REC_IP_FRAGMENT) {
			n = 8;
			fragment = rec_ld16(p + 2) & REC_BE16(0xfff8);
		}
		want = pos + n;
		if (want > lim)
			goto cut;
		pos = want;
		proto = p[0];
		if (fragment) {
			if (!inner)
				s->head.proto = (__u8)proto;
			goto fragment;
		}
	}
	if (!inner)
		s->head.proto = (__u8)proto;
	if (proto == REC_IP_NONE) {
		want = pos;
		goto out;
	}

layer4: /* the two that are nearly everything first */
	REC_FORGET(pos);
	REC_FORGET(lim);
	off[REC_L4] = (__u8)pos;
	if (proto == REC_IP_TCP) {
		want = pos + 20;
		if (want > lim)
			goto cut;
		p = rec_at(s, pos);
		if (!inner)
			flow += rec_ports(rec_ld16(p), rec_ld16(p + 2));
		n = (p[12] >> 4) * 4;
		if (n < 20) {
			s->head.marks |= REC_MARK_MALFORMED;
			goto out;
		}
		want = pos + n;
		if (want > lim)
			goto cut;
		goto out;
	}
	if (proto == REC_IP_UDP) {
		want = pos + 8;
		if (want > lim)
			goto cut;
		p = rec_at(s, pos);
		n = rec_ld16(p + 2);
		if (!inner)
			flow += rec_ports(rec_ld16(p), n);
		i = REC_BE16(rec_ld16(p + 4));
		if (i && i < 8) {
			s->head.marks |= REC_MARK_MALFORMED;
			goto out;
		}
		if ((n != REC_BE16(REC_PORT_VXLAN) && n != REC_BE16(REC_PORT_GENEVE)) || inner)
			goto out;
		if (i) /* what stands behind the datagram's end is not in the tunnel */
			lim = rec_ends_at(s, pos + i, lim);
		if (pos + 16 > REC_END(s))
			goto out;
		/* RFC 7348, RFC 8926: eight bytes, then the inner frame */
		want = pos + 16;
		if (want > lim)
			goto out; /* there is more of it: again with more bytes */
		if (n == REC_BE16(REC_PORT_VXLAN)) {
			i = p[8] & 0x08 ? REC_ETH_TEB : 0; /* the flag I: it has a network identifier */
		} else {
			want += (p[8] & 0x3f) * 4;
			i = p[8] >> 6 ? 0 : REC_BE16(rec_ld16(p + 10));
		}
		if (i != REC_ETH_TEB && i != REC_ETH_IPV4 && i != REC_ETH_IPV6) {
			want = pos + 8; /* something else on that port */
			goto out;
		}
		if (want > lim)
			goto cut;
		etype = i;
		goto tunnel;
	}
	if (proto == REC_IP_ICMP) { /* RFC 792: errors quote an IP header and 8 bytes */
		want = pos + 8;
		if (want > lim)
			goto cut;
		p = rec_at(s, pos);
		i = p[0];
		if (i == 3 || i == 4 || i == 5 || i == 11 || i == 12) {
			n = 20;
			if (want < lim && p[8] >> 4 == 4 && (p[8] & 15) > 5)
				n = (p[8] & 15) * 4;
			want += n + 8;
			if (want > REC_END(s))
				want = REC_END(s);
			goto out;
		}
		if (i == 13 || i == 14)
			want += 12; /* time stamps */
		else if (i == 17 || i == 18)
			want += 4; /* address masks */
		if (want > lim)
			goto cut;
		goto out;
	}
	if (proto == REC_IP_ICMP6) { /* RFC 4443, heads of RFC 4861 and RFC 2710 */
		want = pos + 8;
		if (want > lim)
			goto cut;
		i = rec_at(s, pos)[0];
		if (i - 1 < 4) {
			want += 48;
			if (want > REC_END(s))
				want = REC_END(s);
			goto out;
		}
		if (i == 135 || i == 136 || i - 130 < 3)
			want += 16; /* solicitation, advertisement; listener query, report, done */
		else if (i == 134)
			want += 8; /* router advertisement */
		else if (i == 137)
			want += 32; /* redirect */
		if (want > lim)
			goto cut;
		goto out;
	}
	if (proto == REC_IP_ESP) { /* RFC 4303 */
		want = pos + 8;
		if (want > lim)
			goto cut;
		goto out;
	}
	if (proto == REC_IP_SCTP) { /* RFC 9260: a common header, the head of the first chunk and what its type fixes */
		want = pos + 12;
		if (want > lim)
			goto cut;
		p = rec_at(s, pos);
		if (!inner)
			flow += rec_ports(rec_ld16(p), rec_ld16(p + 2));
		if (want == REC_END(s))
			goto out;
		want += 4;
		if (want > lim)
			goto cut;
		i = p[12];
		n = (REC_SCTP_WORDS >> (i & 7) * 4 & 15) * 4;
		if (i > 7)
			n = 0;
		if (REC_BE16(rec_ld16(p + 14)) < 4 + n) {
			s->head.marks |= REC_MARK_MALFORMED;
			goto out;
		}
		want += n;
		if (want > lim)
			goto cut;
		goto out;
	}
	if (proto == REC_IP_DCCP) { /* RFC 4340: acknowledgement, then service or reset code, then options */
		want = pos + 12;
		if (want > lim)
			goto cut;
		p = rec_at(s, pos);
		if (!inner)
			flow += rec_ports(rec_ld16(p), rec_ld16(p + 2));
		i = p[8] >> 1 & 15;
		n = (p[8] & 1) * 4; /* X: longer numbers */
		n = 12 + n + (REC_DCCP_ACKS >> i & 1) * (4 + n) + (REC_DCCP_CODES >> i & 1) * 4;
		i = p[4] * 4;
		if (i < n)
			goto malformed;
		want = pos + i;
		if (want > lim)
			goto cut;
		goto out;
	}
	if (inner) /* one tunnel is followed, not two */
		goto unknown;
	if (proto == REC_IP_IPIP || proto == REC_IP_IPV6) {
		off[REC_L4] = 0; /* nothing stands between the two */
		want = pos;
		etype = proto == REC_IP_IPIP ? REC_ETH_IPV4 : REC_ETH_IPV6;
		goto tunnel;
	}
	if (proto == REC_IP_GRE) { /* RFC 2784, RFC 2890; version 1 is RFC 2637 */
		want = pos + 4;
		if (want > lim)
			goto cut;
		p = rec_at(s, pos);
		i = p[0];
		n = p[1];
		if (i & 0x40 || (n & 7) > 1)
			goto unknown;
		want += (i >> 7 & 1) * 4 + (i >> 5 & 1) * 4 + (i >> 4 & 1) * 4 + (n >> 7 & n & 1) * 4;
		if (want > lim)
			goto cut;
		pos = want;
		etype = REC_BE16(rec_ld16(p + 2));
		if (etype != REC_ETH_IPV4 && etype != REC_ETH_IPV6 && etype != REC_ETH_TEB && etype != REC_ETH_MPLS &&
		    etype != REC_ETH_MPLS_MC)
			goto unknown;
		goto tunnel;
	}
	goto unknown;

fragment:
	s->head.marks |= REC_MARK_FRAGMENT;
	goto out;
unknown:
	s->head.marks |= REC_MARK_UNKNOWN;
	goto keep;
malformed:
	s->head.marks |= REC_MARK_MALFORMED;
keep:
	want = REC_END(s);
	if (want > REC_CAP_FAST)
		want = REC_CAP_FAST;
	if (want < pos)
		want = pos;
	goto edge;
cut:
	if (want > REC_END(s)) {
		s->head.marks |= REC_MARK_TRUNCATED;
		want = REC_END(s);
	}
edge: /* a layer of which there is no byte does not begin */
	if (off[REC_L3] >= want)
		off[REC_L3] = 0;
	if (off[REC_L4] >= want)
		off[REC_L4] = 0;
out:
	if (!inner)
		rec_hash(s, flow, proto, seed, lim);
	return want;

tunnel: /* the frame inside begins at `want`, with Ethernet or as etype says; the hash is the outer one's */
	rec_hash(s, flow, proto, seed, lim);
	pos = want;
	REC_FORGET(pos);
	REC_FORGET(lim);
	off += REC_INNER_L3;
	inner = 1;
	if (etype == REC_ETH_TEB)
		goto ethernet;
	goto known;
}

/*
 * Parses the packet in the slot and returns the header bytes that it would have. More than `avail`, and the packet
 * (`wire` bytes) has them: load up to REC_CAP_MAX and call again.
 */
REC_INLINE __u32 rec_parse(struct rec_slot *s, __u32 avail, __u32 wire, __u32 seed)
{
	__u32 want;

	s->head.wire_len = wire;
	want = rec_headers(s, avail < wire ? avail : wire, seed, 0);
	s->head.wire_len = wire;
	return want;
}

/* True when it is worth loading more of the packet and parsing again. */
REC_INLINE int rec_short(__u32 want, __u32 avail, __u32 wire)
{
	return want > avail && avail < REC_CAP_MAX && avail < wire;
}

/* Settles cap_len and marks after the last rec_parse. */
REC_INLINE __u32 rec_trim(struct rec_slot *s, __u32 want, __u32 avail)
{
	if (want > avail) {
		s->head.marks |= avail < REC_CAP_MAX ? REC_MARK_TRUNCATED : REC_MARK_LONG;
		want = avail;
		REC_UNROLL
		for (__u32 i = 0; i < REC_OFFS; i++)
			if (s->head.off[i] >= want)
				s->head.off[i] = 0;
	}
	s->head.cap_len = (__u16)want;
	return want;
}

#endif
