/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * print_frames.h - the frames whose lines and trees stand in tests/golden/print. tests/bpf/kinds.h has bare ones of every
 * kind; a reader wants to see values.
 */
#ifndef XDP_RECORDER_TESTS_PRINT_FRAMES_H
#define XDP_RECORDER_TESTS_PRINT_FRAMES_H

#include "tests/bpf/kinds.h"

static void ends(struct frame *f, unsigned at, const char *source, const char *destination)
{
	memcpy(f->bytes + at, source, 4);
	memcpy(f->bytes + at + 4, destination, 4);
}

#define SHOWN(id) static void show_##id(struct frame *f)

SHOWN(tcp_syn)
{
	frame_eth(f, 0x0800), frame_ip4(f, 6, 0), frame_tcp(f, 44321, 443, 20);
	put_be16(f->bytes + 14 + 6, 0x4000);
	memcpy(f->bytes + 34 + 4, "\x3a\xde\x68\xb1\0\0\0\0\xa0\x02\xfa\xf0\xbe\xef\0\0", 16);
	memcpy(f->bytes + 54, "\x02\x04\x05\xb4\x04\x02\x08\x0a\x11\x22\x33\x44\0\0\0\0\x01\x03\x03\x07", 20);
}
SHOWN(tcp_data)
{
	frame_eth(f, 0x0800), frame_ip4(f, 6, 0), frame_tcp(f, 443, 44321, 12), frame_payload(f, 1448);
	f->bytes[14 + 1] = 0xb9; /* EF, ECT(1) */
	put_be16(f->bytes + 34 + 12, 0x8018);
}
SHOWN(tcp_sack)
{
	frame_eth(f, 0x0800), frame_ip4(f, 6, 0), frame_tcp(f, 40000, 80, 32);
	memcpy(f->bytes + 54, "\x01\x01\x08\x0a\0\0\0\x63\xff\xff\xff\xfe\x01\x01\x05\x12", 16);
	memcpy(f->bytes + 70, "\x80\0\0\0\x80\0\0\x10\0\0\0\x0a\0\0\0\x0b", 16);
	put_be16(f->bytes + 34 + 12, 0xd1d0);
}
SHOWN(tcp_options_kept)
{
	frame_eth(f, 0x0800), frame_ip4(f, 6, 0), frame_tcp(f, 40000, 80, 16);
	memcpy(f->bytes + 54, "\x02\x04\x05\xb4\x1e\x08\x00\x81\xaa\xbb\xcc\xdd\x03\x03\x05\x00", 16);
	put_be16(f->bytes + 34 + 12, 0x9004);
}
SHOWN(dns)
{
	frame_eth(f, 0x0800), frame_ip4(f, 17, 0), frame_udp(f, 53124, 53), frame_payload(f, 29);
	put_be16(f->bytes + 34 + 6, 0x8f1c);
}
SHOWN(icmp_echo)
{
	frame_eth(f, 0x0800), frame_ip4(f, 1, 0), frame_icmp(f, 8, 0), frame_fill(f, 98);
	put_be16(f->bytes + 34 + 2, 0x4d3c);
}
SHOWN(icmp_unreachable)
{
	frame_eth(f, 0x0800), frame_ip4(f, 1, 0), frame_icmp(f, 3, 3), frame_ip4(f, 17, 0), frame_udp(f, 44321, 33434);
	frame_payload(f, 32);
	memset(f->bytes + 34 + 4, 0, 4);
	ends(f, 14 + 12, "\x0a\x00\x00\xfe", "\x0a\x00\x00\x01");
	ends(f, 42 + 12, "\x0a\x00\x00\x01", "\x0a\x00\x00\x03");
	f->bytes[42 + 8] = 1;
}
SHOWN(arp_request)
{
	frame_eth(f, 0x0806), frame_arp(f, 1), frame_fill(f, 60);
	memset(f->bytes, 0xff, 6);
}
SHOWN(arp_reply)
{
	frame_eth(f, 0x0806), frame_arp(f, 2);
	f->bytes[14 + 8 + 5] = 0x66; /* not who sent the frame */
	memcpy(f->bytes + 14 + 18, f->bytes, 6);
}
SHOWN(neighbour_solicitation)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 58), frame_icmp(f, 135, 0), frame_payload(f, 24);
	memset(f->bytes + 54 + 4, 0, 4);
	memcpy(f->bytes + 54 + 8, "\xfe\x80\0\0\0\0\0\0\0\0\0\xff\xfe\0\0\x01\x01\x01\x02\0\0\0\0\x0a", 24);
	f->bytes[14 + 7] = 255;
}
SHOWN(router_advertisement)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 58), frame_icmp(f, 134, 0), frame_payload(f, 8);
	memcpy(f->bytes + 54 + 4, "\x40\xc0\x07\x08\0\0\x75\x30\0\0\x03\xe8", 12);
	f->bytes[14 + 7] = 255;
}
SHOWN(fragment6)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 44), frame_ext(f, 44, 17, 8), frame_payload(f, 100);
	put_be16(f->bytes + 14 + 40 + 2, 1480 | 1);
	put_be32(f->bytes + 14 + 40 + 4, 0x1234abcd);
}
SHOWN(extensions6)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 0), frame_ext(f, 0, 60, 8), frame_ext(f, 60, 17, 16), frame_udp(f, 1000, 2000);
	frame_payload(f, 30);
}
SHOWN(ah_tcp)
{
	frame_eth(f, 0x0800), frame_ip4(f, 51, 0), frame_ext(f, 51, 6, 24), frame_tcp(f, 1, 2, 0), frame_payload(f, 30);
	put_be32(f->bytes + 34 + 4, 0xcafe0001);
	put_be32(f->bytes + 34 + 8, 17);
}
SHOWN(fragment4)
{
	frame_eth(f, 0x0800), frame_ip4(f, 17, 0), frame_payload(f, 1480);
	put_be16(f->bytes + 14 + 6, 0x2000 | 185);
}
SHOWN(qinq)
{
	frame_eth(f, 0x88a8), frame_vlan(f, 0x6064, 0x8100), frame_vlan(f, 0x10c8, 0x86dd), frame_ip6(f, 6);
	frame_tcp(f, 40000, 443, 12), frame_fill(f, 128);
}
SHOWN(mpls)
{
	frame_eth(f, 0x8847), frame_32(f, 16001 << 12 | 5 << 9 | 64), frame_32(f, 24005u << 12 | 0x100 | 63), frame_ip4(f, 17, 0);
	frame_udp(f, 1000, 2000), frame_payload(f, 100);
}
SHOWN(pppoe)
{
	frame_eth(f, 0x8864), frame_32(f, 0x11001a2b), frame_16(f, 2 + 40 + 8 + 20), frame_16(f, 0x0057), frame_ip6(f, 17);
	frame_udp(f, 1000, 2000), frame_payload(f, 20);
}
SHOWN(vxlan)
{
	frame_eth(f, 0x0800), frame_ip4(f, 17, 0), frame_udp(f, 50000, 4789), frame_32(f, 0x08000000), frame_32(f, 7700 << 8);
	frame_eth(f, 0x0800), frame_ip4(f, 6, 0), frame_tcp(f, 40000, 443, 12), frame_fill(f, 200);
	ends(f, 64 + 12, "\xc0\xa8\x07\x01", "\xc0\xa8\x07\x02");
}
SHOWN(gre)
{
	frame_eth(f, 0x0800), frame_ip4(f, 47, 0), frame_32(f, 0x30000800), frame_32(f, 5), frame_32(f, 99), frame_ip4(f, 1, 0);
	frame_icmp(f, 8, 0), frame_payload(f, 56);
	ends(f, 46 + 12, "\xc0\xa8\x07\x01", "\xc0\xa8\x07\x02");
}
SHOWN(sctp_init)
{
	static const char init[] = "\x0b\x59\x0b\x59\0\0\0\0\xde\xad\xbe\xef\x01\0\0\x14"
				   "\x12\x34\x56\x78\0\x01\0\0\0\x0a\xff\xff\0\0\x03\xe8";

	frame_eth(f, 0x0800), frame_ip4(f, 132, 0);
	memcpy(frame_push(f, 32), init, 32);
}
SHOWN(spanning_tree)
{
	frame_eth(f, 38), frame_16(f, 0x4242), memset(frame_push(f, 36), 3, 36), frame_fill(f, 60);
	memcpy(f->bytes, "\x01\x80\xc2\0\0\0", 6);
}
SHOWN(malformed)
{
	make_udp4(f), frame_end(f), f->layers = 0;
	f->bytes[14] = 0x44; /* IHL 4 */
}
SHOWN(truncated)
{
	show_tcp_syn(f), frame_end(f), f->layers = 0;
	f->len = 14 + 20 + 14;
}

SHOWN(too_big)
{
	make_icmp6_too_big(f);
	put_be32(f->bytes + 54 + 4, 1280);
}
SHOWN(icmp_timestamp)
{
	frame_eth(f, 0x0800), frame_ip4(f, 1, 0), frame_icmp(f, 13, 0);
	memcpy(frame_push(f, 12), "\x03\xb2\x1c\x63\0\0\0\0\0\0\0\0", 12);
}
SHOWN(geneve)
{
	frame_eth(f, 0x0800), frame_ip4(f, 17, 0), frame_udp(f, 50000, 6081), frame_32(f, 0x02006558), frame_32(f, 77 << 8);
	memcpy(frame_push(f, 8), "\x01\x02\x80\x01\xde\xad\xbe\xef", 8);
	frame_eth(f, 0x86dd), frame_ip6(f, 58), frame_icmp(f, 128, 0), frame_payload(f, 56);
}

#endif
