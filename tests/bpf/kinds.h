/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kinds.h - one frame of every kind that the parser knows, with what it must find. Shared by the test of the program
 * and the test that native code and BPF agree.
 */
#ifndef XDP_RECORDER_TESTS_KINDS_H
#define XDP_RECORDER_TESTS_KINDS_H

#include "bpf/abi.h"
#include "tests/bpf/frames.h"

struct kind {
	const char *name;
	void (*make)(struct frame *f);
	unsigned cap;
	uint8_t off[REC_OFFS];
	unsigned proto;
	unsigned marks;
};

#define KIND(id) static void make_##id(struct frame *f)

KIND(udp4)
{
	frame_eth(f, 0x0800), frame_ip4(f, 17, 0), frame_udp(f, 1000, 53), frame_fill(f, 64);
}
KIND(udp4_options)
{
	frame_eth(f, 0x0800), frame_ip4(f, 17, 40), frame_udp(f, 1000, 53), frame_fill(f, 200);
}
KIND(tcp4)
{
	frame_eth(f, 0x0800), frame_ip4(f, 6, 0), frame_tcp(f, 40000, 443, 0), frame_fill(f, 60);
}
KIND(tcp4_timestamps)
{
	frame_eth(f, 0x0800), frame_ip4(f, 6, 0), frame_tcp(f, 40000, 443, 12);
}
KIND(tcp4_1514)
{
	frame_eth(f, 0x0800), frame_ip4(f, 6, 0), frame_tcp(f, 40000, 443, 40), frame_fill(f, 1514);
}
KIND(tcp4_offset_4)
{
	make_tcp4(f);
	f->bytes[14 + 20 + 12] = 0x40;
}
KIND(icmp4_echo)
{
	frame_eth(f, 0x0800), frame_ip4(f, 1, 0), frame_icmp(f, 8, 0), frame_fill(f, 98);
}
KIND(icmp4_unreachable)
{
	frame_eth(f, 0x0800), frame_ip4(f, 1, 0), frame_icmp(f, 3, 3), frame_ip4(f, 17, 4), frame_udp(f, 9, 99), frame_fill(f, 150);
}
KIND(icmp4_unreachable_short)
{
	frame_eth(f, 0x0800), frame_ip4(f, 1, 0), frame_icmp(f, 3, 3), frame_payload(f, 10);
}
KIND(icmp4_timestamp)
{
	frame_eth(f, 0x0800), frame_ip4(f, 1, 0), frame_icmp(f, 13, 0), frame_payload(f, 12);
}
KIND(icmp6_echo)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 58), frame_icmp(f, 128, 0), frame_fill(f, 118);
}
KIND(icmp6_too_big)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 58), frame_icmp(f, 2, 0), frame_ip6(f, 6), frame_tcp(f, 1, 2, 0), frame_fill(f, 400);
}
KIND(icmp6_neighbour)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 58), frame_icmp(f, 135, 0), frame_payload(f, 24);
}
KIND(icmp4_mask)
{
	frame_eth(f, 0x0800), frame_ip4(f, 1, 0), frame_icmp(f, 17, 0), frame_payload(f, 4);
}
KIND(icmp6_mld)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 0), frame_ext(f, 0, 58, 8), frame_icmp(f, 131, 0), frame_payload(f, 16);
}
KIND(icmp6_router)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 58), frame_icmp(f, 134, 0), frame_payload(f, 40);
}
KIND(icmp6_redirect)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 58), frame_icmp(f, 137, 0), frame_payload(f, 100);
}
KIND(icmp6_redirect_short)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 58), frame_icmp(f, 137, 0), frame_payload(f, 31);
}
KIND(rarp)
{
	frame_eth(f, 0x8035), frame_arp(f, 3), frame_fill(f, 60);
}
KIND(arp)
{
	frame_eth(f, 0x0806), frame_arp(f, 1), frame_fill(f, 60);
}
KIND(vlan_tcp4)
{
	frame_eth(f, 0x8100), frame_vlan(f, 0x2005, 0x0800), frame_ip4(f, 6, 0), frame_tcp(f, 1, 2, 12), frame_fill(f, 100);
}
KIND(qinq_tcp6)
{
	frame_eth(f, 0x88a8), frame_vlan(f, 100, 0x8100), frame_vlan(f, 200, 0x86dd), frame_ip6(f, 6);
	frame_tcp(f, 40000, 443, 12), frame_fill(f, 128);
}
KIND(vlan_4)
{
	frame_eth(f, 0x8100);
	for (int i = 0; i < 3; i++)
		frame_vlan(f, 1, 0x8100);
	frame_vlan(f, 1, 0x0800), frame_ip4(f, 17, 0), frame_udp(f, 1, 2), frame_payload(f, 10);
}
KIND(vlan_5)
{
	frame_eth(f, 0x8100);
	for (int i = 0; i < 4; i++)
		frame_vlan(f, 1, 0x8100);
	frame_vlan(f, 1, 0x0800), frame_ip4(f, 17, 0), frame_udp(f, 1, 2), frame_payload(f, 200);
}
KIND(udp6)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 17), frame_udp(f, 1000, 53), frame_payload(f, 30);
}
KIND(udp6_2ext)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 0), frame_ext(f, 0, 60, 8), frame_ext(f, 60, 17, 16), frame_udp(f, 1000, 53);
	frame_payload(f, 30);
}
KIND(tcp6_routing_ah)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 43), frame_ext(f, 43, 51, 24), frame_ext(f, 51, 6, 24), frame_tcp(f, 1, 2, 0);
	frame_payload(f, 30);
}
KIND(tcp6_8ext)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 60);
	for (int i = 0; i < 7; i++)
		frame_ext(f, 60, 60, 8);
	frame_ext(f, 60, 6, 8), frame_tcp(f, 1, 2, 0), frame_payload(f, 100);
}
KIND(tcp6_9ext)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 60);
	for (int i = 0; i < 8; i++)
		frame_ext(f, 60, 60, 8);
	frame_ext(f, 60, 6, 8), frame_tcp(f, 1, 2, 0), frame_payload(f, 100);
}
KIND(ip6_none)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 59), frame_payload(f, 30);
}
KIND(ip6_long)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 60), frame_ext(f, 60, 60, 160), frame_ext(f, 60, 17, 160), frame_udp(f, 1, 2);
	frame_payload(f, 300);
}
KIND(ip6_truncated)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 60), frame_ext(f, 60, 17, 160);
	f->len -= 100;
}
KIND(fragment4_first)
{
	frame_eth(f, 0x0800), frame_ip4(f, 17, 0), frame_udp(f, 1000, 53), frame_payload(f, 100);
	f->bytes[14 + 6] = 0x20;
}
KIND(fragment4_next)
{
	frame_eth(f, 0x0800), frame_ip4(f, 17, 0), frame_payload(f, 100);
	put_be16(f->bytes + 14 + 6, 0x2000 | 185);
}
KIND(fragment6_first)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 44), frame_ext(f, 44, 17, 8), frame_udp(f, 1, 2), frame_payload(f, 100);
	put_be16(f->bytes + 14 + 40 + 2, 1);
}
KIND(fragment6_next)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 44), frame_ext(f, 44, 17, 8), frame_payload(f, 100);
	put_be16(f->bytes + 14 + 40 + 2, 185 << 3 | 1);
}
static void vxlan(struct frame *f, unsigned vni)
{
	frame_eth(f, 0x0800), frame_ip4(f, 17, 0), frame_udp(f, 50000, 4789), frame_32(f, 0x08000000), frame_32(f, vni << 8);
}
KIND(vxlan_tcp4)
{
	vxlan(f, 77);
	frame_eth(f, 0x0800), frame_ip4(f, 6, 0), frame_tcp(f, 40000, 443, 12), frame_fill(f, 200);
}
KIND(vxlan_tcp6)
{
	vxlan(f, 77);
	frame_eth(f, 0x86dd), frame_ip6(f, 6), frame_tcp(f, 40000, 443, 12), frame_fill(f, 400);
}
KIND(vxlan_tcp6_short)
{
	vxlan(f, 77);
	frame_eth(f, 0x86dd), frame_ip6(f, 6), frame_tcp(f, 40000, 443, 12), frame_payload(f, 3);
}
/* frame_end leaves the outer UDP length, the second one, as it is. */
static void udp_length_stays(struct frame *f)
{
	f->layers--;
	memmove(f->layer + 1, f->layer + 2, (f->layers - 1) * sizeof(f->layer[0]));
}
/* UDP's length ends in the inner Ethernet header, IPv4's does not. */
KIND(vxlan_udp_ends)
{
	make_vxlan_tcp4(f);
	udp_length_stays(f);
	put_be16(f->bytes + 34 + 4, 8 + 8 + 10);
}
/* UDP's length ends within the network identifier: no tunnel. */
KIND(vxlan_udp_short)
{
	make_vxlan_tcp4(f);
	udp_length_stays(f);
	put_be16(f->bytes + 34 + 4, 8 + 7);
}
/* UDP's length is less than its header. */
KIND(vxlan_udp_none)
{
	make_vxlan_tcp4(f);
	udp_length_stays(f);
	put_be16(f->bytes + 34 + 4, 7);
}
KIND(vxlan_port_only)
{
	frame_eth(f, 0x0800), frame_ip4(f, 17, 0), frame_udp(f, 50000, 4789), frame_payload(f, 100);
	f->bytes[14 + 20 + 8] = 0;
}
KIND(vxlan_in_vxlan)
{
	vxlan(f, 77), vxlan(f, 78);
	frame_eth(f, 0x0800), frame_ip4(f, 17, 0), frame_udp(f, 1, 2), frame_payload(f, 100);
}
KIND(geneve_udp4)
{
	frame_eth(f, 0x0800), frame_ip4(f, 17, 0), frame_udp(f, 50000, 6081), frame_32(f, 0x02006558), frame_32(f, 77 << 8);
	frame_payload(f, 8), frame_eth(f, 0x0800), frame_ip4(f, 17, 0), frame_udp(f, 1, 2), frame_payload(f, 100);
}
KIND(gre_ip4)
{
	frame_eth(f, 0x0800), frame_ip4(f, 47, 0), frame_32(f, 0x20000800), frame_32(f, 5), frame_ip4(f, 17, 0);
	frame_udp(f, 1, 2), frame_payload(f, 100);
}
KIND(gre_teb_ip6)
{
	frame_eth(f, 0x0800), frame_ip4(f, 47, 0), frame_32(f, 0x6558), frame_eth(f, 0x86dd), frame_ip6(f, 17);
	frame_udp(f, 1, 2), frame_payload(f, 100);
}
KIND(gre_pptp)
{
	frame_eth(f, 0x0800), frame_ip4(f, 47, 0), frame_32(f, 0x3081880b), frame_payload(f, 200);
}
KIND(gre_pptp_ack)
{
	frame_eth(f, 0x0800), frame_ip4(f, 47, 0), frame_32(f, 0x2081880b), frame_32(f, 7), frame_32(f, 1);
}
KIND(gre_all)
{
	frame_eth(f, 0x0800), frame_ip4(f, 47, 0), frame_32(f, 0xb0000800), frame_payload(f, 12), frame_ip4(f, 6, 0);
	frame_tcp(f, 1, 2, 12), frame_payload(f, 100);
}
KIND(gre_routing)
{
	frame_eth(f, 0x0800), frame_ip4(f, 47, 0), frame_32(f, 0x40000800), frame_payload(f, 100);
}
KIND(gre_mpls_ip4)
{
	frame_eth(f, 0x0800), frame_ip4(f, 47, 0), frame_32(f, 0x8847), frame_32(f, 200 << 12 | 0x100 | 64), frame_ip4(f, 17, 0);
	frame_udp(f, 1, 2), frame_payload(f, 100);
}
KIND(geneve_ip6)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 17), frame_udp(f, 50000, 6081), frame_32(f, 0x86dd), frame_32(f, 77 << 8);
	frame_ip6(f, 17), frame_udp(f, 1, 2), frame_payload(f, 100);
}
KIND(ipip)
{
	frame_eth(f, 0x0800), frame_ip4(f, 4, 0), frame_ip4(f, 6, 0), frame_tcp(f, 1, 2, 0), frame_payload(f, 100);
}
KIND(ipip_ipip)
{
	frame_eth(f, 0x0800), frame_ip4(f, 4, 0), frame_ip4(f, 4, 0), frame_ip4(f, 6, 0), frame_tcp(f, 1, 2, 0);
	frame_payload(f, 100);
}
KIND(sixin4)
{
	frame_eth(f, 0x0800), frame_ip4(f, 41, 0), frame_ip6(f, 58), frame_icmp(f, 128, 0), frame_payload(f, 100);
}
KIND(mpls_ip4)
{
	frame_eth(f, 0x8847), frame_32(f, 100 << 12 | 64), frame_32(f, 200 << 12 | 0x100 | 64), frame_ip4(f, 17, 0);
	frame_udp(f, 1, 2), frame_payload(f, 100);
}
KIND(mpls_ip6)
{
	frame_eth(f, 0x8847), frame_32(f, 200 << 12 | 0x100 | 64), frame_ip6(f, 17), frame_udp(f, 1, 2), frame_payload(f, 100);
}
KIND(mpls_pw)
{
	frame_eth(f, 0x8847), frame_32(f, 200 << 12 | 0x100 | 64), frame_32(f, 0), frame_eth(f, 0x0800), frame_payload(f, 200);
}
KIND(pppoe_ip4)
{
	frame_eth(f, 0x8864), frame_32(f, 0x11000001), frame_16(f, 2 + 20 + 8 + 20), frame_16(f, 0x0021), frame_ip4(f, 17, 0);
	frame_udp(f, 1, 2), frame_payload(f, 20);
}
KIND(pppoe_lcp)
{
	frame_eth(f, 0x8864), frame_32(f, 0x11000001), frame_16(f, 10), frame_16(f, 0xc021), frame_payload(f, 8), frame_fill(f, 60);
}
KIND(pppoe_ip6)
{
	frame_eth(f, 0x8864), frame_32(f, 0x11000001), frame_16(f, 2 + 40 + 8 + 20), frame_16(f, 0x0057), frame_ip6(f, 17);
	frame_udp(f, 1, 2), frame_payload(f, 20);
}
/* ---- SCTP: what the first chunk's type fixes ---- */
static void sctp(struct frame *f, uint8_t chunk, uint16_t length, unsigned bytes)
{
	frame_eth(f, 0x0800), frame_ip4(f, 132, 0), frame_sctp(f, 40000, 3868), frame_chunk(f, chunk, length);
	frame_payload(f, bytes);
}
KIND(sctp_data)
{
	sctp(f, 0, 116, 112);
}
KIND(sctp_init)
{
	sctp(f, 1, 40, 36);
}
KIND(sctp_init_ack)
{
	sctp(f, 2, 200, 196);
}
KIND(sctp_sack)
{
	sctp(f, 3, 16, 12);
}
KIND(sctp_heartbeat)
{
	sctp(f, 4, 56, 52);
}
KIND(sctp_shutdown)
{
	sctp(f, 7, 8, 4);
}
KIND(sctp_shutdown_ack)
{
	sctp(f, 8, 4, 0);
}
KIND(sctp_forward)
{
	sctp(f, 192, 8, 4);
}
KIND(sctp_data_contradiction)
{
	sctp(f, 0, 15, 112);
}
KIND(sctp_chunk_of_3)
{
	sctp(f, 10, 3, 20);
}
KIND(sctp_data_truncated)
{
	sctp(f, 0, 116, 5);
}
KIND(sctp_no_chunk)
{
	frame_eth(f, 0x0800), frame_ip4(f, 132, 0), frame_sctp(f, 1, 2);
}
KIND(sctp_half_chunk)
{
	frame_eth(f, 0x0800), frame_ip4(f, 132, 0), frame_sctp(f, 1, 2), frame_payload(f, 2);
}
KIND(sctp6_data)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 132), frame_sctp(f, 1, 2), frame_chunk(f, 0, 116), frame_payload(f, 112);
}
KIND(vxlan_sctp)
{
	vxlan(f, 77);
	frame_eth(f, 0x0800), frame_ip4(f, 132, 0), frame_sctp(f, 1, 2), frame_chunk(f, 1, 20), frame_payload(f, 16);
}

/* ---- DCCP: type, X, header bytes ---- */
static void dccp(struct frame *f, uint8_t type, unsigned bytes)
{
	frame_eth(f, 0x0800), frame_ip4(f, 33, 0), frame_dccp(f, type, bytes), frame_payload(f, 100);
}
KIND(dccp_request)
{
	dccp(f, 0 << 1 | 1, 20);
}
KIND(dccp_response_options)
{
	dccp(f, 1 << 1 | 1, 48);
}
KIND(dccp_data)
{
	dccp(f, 2 << 1, 12);
}
KIND(dccp_data_x)
{
	dccp(f, 2 << 1 | 1, 16);
}
KIND(dccp_ack)
{
	dccp(f, 3 << 1, 16);
}
KIND(dccp_dataack_x)
{
	dccp(f, 4 << 1 | 1, 24);
}
KIND(dccp_reset)
{
	dccp(f, 7 << 1 | 1, 28);
}
KIND(dccp_long)
{
	dccp(f, 9 << 1 | 1, 400);
}
KIND(dccp_reserved_type)
{
	dccp(f, 12 << 1 | 1, 16);
}
KIND(dccp_request_too_small)
{
	dccp(f, 0 << 1 | 1, 16);
}
KIND(dccp_reset_too_small)
{
	dccp(f, 7 << 1 | 1, 24);
}
KIND(dccp_truncated)
{
	frame_eth(f, 0x0800), frame_ip4(f, 33, 0), frame_dccp(f, 1 << 1 | 1, 60);
	f->len -= 20;
}
KIND(ipip_dccp6)
{
	frame_eth(f, 0x0800), frame_ip4(f, 41, 0), frame_ip6(f, 33), frame_dccp(f, 2 << 1, 12), frame_payload(f, 50);
}

/* ---- ESP and AH ---- */
KIND(esp4)
{
	frame_eth(f, 0x0800), frame_ip4(f, 50, 0), frame_payload(f, 100);
}
KIND(esp6_routing)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 43), frame_ext(f, 43, 50, 24), frame_payload(f, 100);
}
KIND(esp_truncated)
{
	frame_eth(f, 0x0800), frame_ip4(f, 50, 0), frame_payload(f, 7);
}
KIND(ah4_tcp)
{
	frame_eth(f, 0x0800), frame_ip4(f, 51, 0), frame_ext(f, 51, 6, 24), frame_tcp(f, 1, 2, 0), frame_payload(f, 30);
}
KIND(ah4_esp)
{
	frame_eth(f, 0x0800), frame_ip4(f, 51, 0), frame_ext(f, 51, 50, 28), frame_payload(f, 30);
}
KIND(ah6_udp)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 51), frame_ext(f, 51, 17, 24), frame_udp(f, 1, 2), frame_payload(f, 30);
}
KIND(gre_esp)
{
	frame_eth(f, 0x0800), frame_ip4(f, 47, 0), frame_32(f, 0x86dd), frame_ip6(f, 50), frame_payload(f, 100);
}

/* ---- protocols whose bytes are kept as they are ---- */
KIND(ospf)
{
	frame_eth(f, 0x0800), frame_ip4(f, 89, 0), frame_payload(f, 44);
}
KIND(vrrp)
{
	frame_eth(f, 0x0800), frame_ip4(f, 112, 0), frame_payload(f, 20), frame_end(f), f->layers = 0, frame_fill(f, 60);
}
KIND(pim6)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 103), frame_payload(f, 200);
}
KIND(igmp_padded)
{
	frame_eth(f, 0x0800), frame_ip4(f, 2, 0), frame_payload(f, 8), frame_end(f), f->layers = 0, frame_fill(f, 60);
}
KIND(udp4_padded)
{
	/* the padding must not be taken for a UDP header */
	frame_eth(f, 0x0800), frame_ip4(f, 17, 0), frame_payload(f, 4), frame_end(f), f->layers = 0, frame_fill(f, 60);
}
/* ---- IEEE 802.3: the length ends the packet, what follows is padding ---- */
static void llc(struct frame *f, unsigned length, const char *head, unsigned bytes)
{
	frame_eth(f, (uint16_t)length), memcpy(frame_push(f, bytes), head, bytes);
}
KIND(llc_bpdu)
{
	llc(f, 38, "\x42\x42\x03", 3), frame_payload(f, 35), frame_fill(f, 60);
}
KIND(llc_numbered)
{
	llc(f, 24, "\xf0\xf1\x02\x04", 4), frame_payload(f, 20), frame_fill(f, 60);
}
KIND(llc_only)
{
	llc(f, 3, "\x00\x01\xaf", 3), frame_fill(f, 60);
}
KIND(llc_long)
{
	llc(f, 1000, "\xe0\xe0\x03", 3), frame_payload(f, 997);
}
KIND(llc_short)
{
	llc(f, 2, "\x42\x42\x03", 3), frame_fill(f, 60);
}
KIND(llc_length_0)
{
	frame_eth(f, 0), frame_fill(f, 60);
}
KIND(llc_1535)
{
	llc(f, 1535, "\x42\x42\x03", 3), frame_payload(f, 40);
}
KIND(ethertype_1536)
{
	llc(f, 1536, "\x42\x42\x03", 3), frame_payload(f, 40);
}
KIND(ipx_raw)
{
	llc(f, 50, "\xff\xff\x00\x32", 4), frame_payload(f, 46);
}
KIND(snap_udp4)
{
	llc(f, 8 + 28 + 20, "\xaa\xaa\x03\0\0\0\x08\x00", 8), frame_ip4(f, 17, 0), frame_udp(f, 1, 2), frame_payload(f, 20);
	frame_end(f), f->layers = 0, frame_payload(f, 9);
}
KIND(snap_tcp6)
{
	llc(f, 8 + 60 + 20, "\xaa\xaa\x03\0\0\0\x86\xdd", 8), frame_ip6(f, 6), frame_tcp(f, 1, 2, 0), frame_payload(f, 20);
}
KIND(snap_arp)
{
	llc(f, 8 + 28, "\xaa\xaa\x03\0\0\0\x08\x06", 8), frame_arp(f, 1), frame_fill(f, 60);
}
KIND(snap_cdp)
{
	llc(f, 8 + 100, "\xaa\xaa\x03\0\0\x0c\x20\x00", 8), frame_payload(f, 100);
}
KIND(snap_length)
{
	llc(f, 8 + 40, "\xaa\xaa\x03\0\0\0\0\x64", 8), frame_payload(f, 40);
}
KIND(snap_numbered)
{
	llc(f, 8 + 40, "\xaa\xaa\x02\0\0\0\x08\x00", 8), frame_payload(f, 40);
}
KIND(snap_truncated)
{
	llc(f, 60, "\xaa\xaa\x03\0\0", 5);
}
KIND(vlan_llc)
{
	frame_eth(f, 0x8100), frame_vlan(f, 7, 38), memcpy(frame_push(f, 3), "\x42\x42\x03", 3), frame_payload(f, 35);
	frame_fill(f, 64);
}
KIND(gre_teb_llc)
{
	frame_eth(f, 0x0800), frame_ip4(f, 47, 0), frame_32(f, 0x6558), frame_eth(f, 38);
	memcpy(frame_push(f, 3), "\x42\x42\x03", 3), frame_payload(f, 60);
}
KIND(unknown_long)
{
	frame_eth(f, 0x88b5), frame_payload(f, 600);
}
KIND(ihl_4)
{
	make_udp4(f);
	f->bytes[14] = 0x44;
}
KIND(version_5)
{
	make_udp4(f);
	f->bytes[14] = 0x55;
}
KIND(ip4_length_10)
{
	make_tcp4_1514(f), frame_end(f), f->layers = 0;
	put_be16(f->bytes + 16, 10);
}
KIND(only_ethernet)
{
	frame_eth(f, 0x0800);
}

#define UNKNOWN REC_MARK_UNKNOWN
#define MALFORMED REC_MARK_MALFORMED
#define TRUNCATED REC_MARK_TRUNCATED
#define FRAGMENT REC_MARK_FRAGMENT
#define K(id, ...) { #id, make_##id, __VA_ARGS__ }

static const struct kind kinds_all[] = {
	/* name, cap, offsets of L3, L4, inner L3, inner L4, protocol, marks */
	K(udp4, 42, { 14, 34, 0, 0 }, 17, 0),
	K(udp4_options, 82, { 14, 74, 0, 0 }, 17, 0),
	K(tcp4, 54, { 14, 34, 0, 0 }, 6, 0),
	K(tcp4_timestamps, 66, { 14, 34, 0, 0 }, 6, 0),
	K(tcp4_1514, 94, { 14, 34, 0, 0 }, 6, 0),
	K(tcp4_offset_4, 54, { 14, 34, 0, 0 }, 6, MALFORMED),
	K(icmp4_echo, 42, { 14, 34, 0, 0 }, 1, 0),
	K(icmp4_unreachable, 74, { 14, 34, 0, 0 }, 1, 0),
	K(icmp4_unreachable_short, 52, { 14, 34, 0, 0 }, 1, 0),
	K(icmp4_timestamp, 54, { 14, 34, 0, 0 }, 1, 0),
	K(icmp6_echo, 62, { 14, 54, 0, 0 }, 58, 0),
	K(icmp6_too_big, 110, { 14, 54, 0, 0 }, 58, 0),
	K(icmp6_neighbour, 78, { 14, 54, 0, 0 }, 58, 0),
	K(icmp4_mask, 46, { 14, 34, 0, 0 }, 1, 0),
	K(icmp6_mld, 86, { 14, 62, 0, 0 }, 58, 0),
	K(icmp6_router, 70, { 14, 54, 0, 0 }, 58, 0),
	K(icmp6_redirect, 94, { 14, 54, 0, 0 }, 58, 0),
	K(icmp6_redirect_short, 93, { 14, 54, 0, 0 }, 58, TRUNCATED),
	K(rarp, 42, { 14, 0, 0, 0 }, 0, 0),
	K(arp, 42, { 14, 0, 0, 0 }, 0, 0),
	K(vlan_tcp4, 70, { 18, 38, 0, 0 }, 6, 0),
	K(qinq_tcp6, 94, { 22, 62, 0, 0 }, 6, 0),
	K(vlan_4, 58, { 30, 50, 0, 0 }, 17, 0),
	K(vlan_5, 128, { 0, 0, 0, 0 }, 0, UNKNOWN),
	K(udp6, 62, { 14, 54, 0, 0 }, 17, 0),
	K(udp6_2ext, 86, { 14, 78, 0, 0 }, 17, 0),
	K(tcp6_routing_ah, 122, { 14, 102, 0, 0 }, 6, 0),
	K(tcp6_8ext, 138, { 14, 118, 0, 0 }, 6, 0),
	K(tcp6_9ext, 128, { 14, 118, 0, 0 }, 60, UNKNOWN),
	K(ip6_none, 54, { 14, 0, 0, 0 }, 59, 0),
	K(ip6_long, 256, { 14, 0, 0, 0 }, 0, REC_MARK_LONG),
	K(ip6_truncated, 114, { 14, 0, 0, 0 }, 0, TRUNCATED),
	K(fragment4_first, 42, { 14, 34, 0, 0 }, 17, 0),
	K(fragment4_next, 34, { 14, 0, 0, 0 }, 17, FRAGMENT),
	K(fragment6_first, 70, { 14, 62, 0, 0 }, 17, 0),
	K(fragment6_next, 62, { 14, 0, 0, 0 }, 17, FRAGMENT),
	K(vxlan_tcp4, 116, { 14, 34, 64, 84 }, 17, 0),
	K(vxlan_tcp6, 136, { 14, 34, 64, 104 }, 17, 0),
	K(vxlan_tcp6_short, 136, { 14, 34, 64, 104 }, 17, 0),
	K(vxlan_udp_ends, 60, { 14, 34, 0, 0 }, 17, REC_MARK_TRUNCATED),
	K(vxlan_udp_short, 42, { 14, 34, 0, 0 }, 17, 0),
	K(vxlan_udp_none, 42, { 14, 34, 0, 0 }, 17, REC_MARK_MALFORMED),
	K(vxlan_port_only, 42, { 14, 34, 0, 0 }, 17, 0),
	K(vxlan_in_vxlan, 92, { 14, 34, 64, 84 }, 17, 0),
	K(geneve_udp4, 100, { 14, 34, 72, 92 }, 17, 0),
	K(gre_ip4, 70, { 14, 34, 42, 62 }, 47, 0),
	K(gre_teb_ip6, 100, { 14, 34, 52, 92 }, 47, 0),
	K(gre_pptp, 128, { 14, 34, 0, 0 }, 47, UNKNOWN),
	K(gre_pptp_ack, 46, { 14, 34, 0, 0 }, 47, UNKNOWN),
	K(gre_all, 102, { 14, 34, 50, 70 }, 47, 0),
	K(gre_routing, 128, { 14, 34, 0, 0 }, 47, UNKNOWN),
	K(gre_mpls_ip4, 70, { 14, 34, 42, 62 }, 47, 0),
	K(geneve_ip6, 118, { 14, 54, 70, 110 }, 17, 0),
	K(ipip, 74, { 14, 0, 34, 54 }, 4, 0),
	K(ipip_ipip, 128, { 14, 0, 34, 54 }, 4, UNKNOWN),
	K(sixin4, 82, { 14, 0, 34, 74 }, 41, 0),
	K(mpls_ip4, 50, { 22, 42, 0, 0 }, 17, 0),
	K(mpls_ip6, 66, { 18, 58, 0, 0 }, 17, 0),
	K(mpls_pw, 128, { 0, 0, 0, 0 }, 0, UNKNOWN),
	K(pppoe_ip4, 50, { 22, 42, 0, 0 }, 17, 0),
	K(pppoe_lcp, 30, { 0, 0, 0, 0 }, 0, UNKNOWN),
	K(pppoe_ip6, 70, { 22, 62, 0, 0 }, 17, 0),
	K(sctp_data, 62, { 14, 34, 0, 0 }, 132, 0),
	K(sctp_init, 66, { 14, 34, 0, 0 }, 132, 0),
	K(sctp_init_ack, 66, { 14, 34, 0, 0 }, 132, 0),
	K(sctp_sack, 62, { 14, 34, 0, 0 }, 132, 0),
	K(sctp_heartbeat, 50, { 14, 34, 0, 0 }, 132, 0),
	K(sctp_shutdown, 54, { 14, 34, 0, 0 }, 132, 0),
	K(sctp_shutdown_ack, 50, { 14, 34, 0, 0 }, 132, 0),
	K(sctp_forward, 50, { 14, 34, 0, 0 }, 132, 0),
	K(sctp_data_contradiction, 50, { 14, 34, 0, 0 }, 132, MALFORMED),
	K(sctp_chunk_of_3, 50, { 14, 34, 0, 0 }, 132, MALFORMED),
	K(sctp_data_truncated, 55, { 14, 34, 0, 0 }, 132, TRUNCATED),
	K(sctp_no_chunk, 46, { 14, 34, 0, 0 }, 132, 0),
	K(sctp_half_chunk, 48, { 14, 34, 0, 0 }, 132, TRUNCATED),
	K(sctp6_data, 82, { 14, 54, 0, 0 }, 132, 0),
	K(vxlan_sctp, 116, { 14, 34, 64, 84 }, 17, 0),
	K(dccp_request, 54, { 14, 34, 0, 0 }, 33, 0),
	K(dccp_response_options, 82, { 14, 34, 0, 0 }, 33, 0),
	K(dccp_data, 46, { 14, 34, 0, 0 }, 33, 0),
	K(dccp_data_x, 50, { 14, 34, 0, 0 }, 33, 0),
	K(dccp_ack, 50, { 14, 34, 0, 0 }, 33, 0),
	K(dccp_dataack_x, 58, { 14, 34, 0, 0 }, 33, 0),
	K(dccp_reset, 62, { 14, 34, 0, 0 }, 33, 0),
	K(dccp_long, 256, { 14, 34, 0, 0 }, 33, REC_MARK_LONG),
	K(dccp_reserved_type, 50, { 14, 34, 0, 0 }, 33, 0),
	K(dccp_request_too_small, 128, { 14, 34, 0, 0 }, 33, MALFORMED),
	K(dccp_reset_too_small, 128, { 14, 34, 0, 0 }, 33, MALFORMED),
	K(dccp_truncated, 74, { 14, 34, 0, 0 }, 33, TRUNCATED),
	K(ipip_dccp6, 86, { 14, 0, 34, 74 }, 41, 0),
	K(esp4, 42, { 14, 34, 0, 0 }, 50, 0),
	K(esp6_routing, 86, { 14, 78, 0, 0 }, 50, 0),
	K(esp_truncated, 41, { 14, 34, 0, 0 }, 50, TRUNCATED),
	K(ah4_tcp, 78, { 14, 58, 0, 0 }, 6, 0),
	K(ah4_esp, 70, { 14, 62, 0, 0 }, 50, 0),
	K(ah6_udp, 86, { 14, 78, 0, 0 }, 17, 0),
	K(gre_esp, 86, { 14, 34, 38, 78 }, 47, 0),
	K(ospf, 78, { 14, 34, 0, 0 }, 89, UNKNOWN),
	K(vrrp, 54, { 14, 34, 0, 0 }, 112, UNKNOWN),
	K(pim6, 128, { 14, 54, 0, 0 }, 103, UNKNOWN),
	K(igmp_padded, 42, { 14, 34, 0, 0 }, 2, UNKNOWN),
	K(udp4_padded, 38, { 14, 34, 0, 0 }, 17, TRUNCATED),
	K(llc_bpdu, 52, { 0, 0, 0, 0 }, 0, UNKNOWN),
	K(llc_numbered, 38, { 0, 0, 0, 0 }, 0, UNKNOWN),
	K(llc_only, 17, { 0, 0, 0, 0 }, 0, UNKNOWN),
	K(llc_long, 128, { 0, 0, 0, 0 }, 0, UNKNOWN),
	K(llc_short, 16, { 0, 0, 0, 0 }, 0, TRUNCATED),
	K(llc_length_0, 14, { 0, 0, 0, 0 }, 0, TRUNCATED),
	K(llc_1535, 57, { 0, 0, 0, 0 }, 0, UNKNOWN),
	K(ethertype_1536, 57, { 0, 0, 0, 0 }, 0, UNKNOWN),
	K(ipx_raw, 64, { 0, 0, 0, 0 }, 0, UNKNOWN),
	K(snap_udp4, 50, { 22, 42, 0, 0 }, 17, 0),
	K(snap_tcp6, 82, { 22, 62, 0, 0 }, 6, 0),
	K(snap_arp, 50, { 22, 0, 0, 0 }, 0, 0),
	K(snap_cdp, 122, { 0, 0, 0, 0 }, 0, UNKNOWN),
	K(snap_length, 62, { 0, 0, 0, 0 }, 0, UNKNOWN),
	K(snap_numbered, 62, { 0, 0, 0, 0 }, 0, UNKNOWN),
	K(snap_truncated, 19, { 0, 0, 0, 0 }, 0, TRUNCATED),
	K(vlan_llc, 56, { 0, 0, 0, 0 }, 0, UNKNOWN),
	K(gre_teb_llc, 90, { 14, 34, 0, 0 }, 47, UNKNOWN),
	K(unknown_long, 128, { 0, 0, 0, 0 }, 0, UNKNOWN),
	K(ihl_4, 64, { 14, 0, 0, 0 }, 0, MALFORMED),
	K(version_5, 64, { 14, 0, 0, 0 }, 0, MALFORMED),
	K(ip4_length_10, 128, { 14, 0, 0, 0 }, 0, MALFORMED),
	K(only_ethernet, 14, { 0, 0, 0, 0 }, 0, TRUNCATED),
};
#define KINDS ARRAY_SIZE(kinds_all)

static inline struct frame kind_frame(const struct kind *k)
{
	struct frame f = frame_begin();

	k->make(&f);
	frame_end(&f);
	return f;
}

#endif
