/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * traffic_rest.c - what a network carries besides flows of TCP, UDP and echoes. The kinds and their weights are a site's with
 * tunnels between its machines (kinds[] below): ARP, NDP and MLD, ICMP errors with what they quote, fragments, VXLAN, Geneve,
 * GRE, IP in IP, 6in4, ESP, SCTP, PPPoE, MPLS, QinQ, TCP with other systems' options. What speaks at its own pace instead
 * (IGMP, VRRP, OSPF, LLDP, spanning tree: three a second beside some 15,000 packets) is one packet in TRAFFIC_CONTROL_EVERY of
 * all, a damaged packet one in TRAFFIC_DAMAGED_EVERY.
 */
#include <string.h>

#include "recorder/core/util.h"
#include "tests/bench/traffic.h"
#include "tests/unit/packets.h"

#define TRAFFIC_CONTROL_EVERY 5000
#define TRAFFIC_DAMAGED_EVERY 50000

#define below traffic_below

/* Headers are written one behind the other; what is not written is random. `at` becomes the end of the headers. */
struct frame {
	uint8_t bytes[320];
	uint8_t *at;
	uint32_t wire;
};

static void put16(struct frame *f, unsigned v)
{
	put_be16(f->at, (uint16_t)v);
	f->at += 2;
}

static void put32(struct frame *f, uint32_t v)
{
	put_be32(f->at, v);
	f->at += 4;
}

static void put_bytes(struct frame *f, const char *bytes, unsigned n)
{
	memcpy(f->at, bytes, n);
	f->at += n;
}
#define PUT(f, literal) put_bytes(f, literal, sizeof(literal) - 1)

static void ethernet(struct frame *f, unsigned etype)
{
	f->at[0] = f->at[6] = 2;
	f->at += 12;
	put16(f, etype);
}

/* `behind` are the bytes that follow the header. */
static void ipv4(struct frame *f, unsigned proto, unsigned behind, unsigned frag)
{
	uint8_t *b = f->at;
	uint64_t sum = 0;

	b[0] = 0x45;
	b[1] = 0;
	put_be16(b + 2, (uint16_t)(20 + behind));
	put_be16(b + 6, (uint16_t)frag);
	b[8] = (uint8_t)(32 + below(200));
	b[9] = (uint8_t)proto;
	put_be16(b + 10, 0);
	b[12] = b[16] = 10;
	for (unsigned i = 0; i < 20; i += 2)
		sum += get_be16(b + i);
	sum = (sum & 0xffff) + (sum >> 16);
	put_be16(b + 10, (uint16_t) ~((sum & 0xffff) + (sum >> 16)));
	f->at += 20;
}

static void ipv6(struct frame *f, unsigned next, unsigned behind)
{
	uint8_t *b = f->at;

	put_be32(b, 0x60000000 | below(1 << 20));
	put_be16(b + 4, (uint16_t)behind);
	b[6] = (uint8_t)next;
	b[7] = 255;
	memcpy(b + 8, "\xfe\x80\0\0\0\0\0\0", 8);
	memcpy(b + 24, "\xff\2\0\0\0\0\0\0", 8);
	f->at += 40;
}

static void tcp(struct frame *f, unsigned flags, const char *options, unsigned n)
{
	f->at += 12; /* ports, sequence numbers */
	put16(f, (5 + n / 4) << 12 | flags);
	put16(f, 512);
	f->at += 2;
	put16(f, 0);
	put_bytes(f, options, n);
}
#define TCP_TS "\1\1\10\12abcdefgh"

static void udp(struct frame *f, unsigned port, unsigned payload)
{
	f->at += 2;
	put16(f, port);
	put16(f, 8 + payload);
	f->at += 2;
}

/* IPv4 with TCP or UDP: PACKET_LEN bytes (the last 24 of UDP are not header), and `payload` behind them. */
enum { PACKET_LEN = 20 + 32 };
static void packet(struct frame *f, unsigned payload)
{
	if (below(4)) {
		ipv4(f, 6, 32 + payload, 0x4000);
		tcp(f, 0x10, TCP_TS, 12);
	} else {
		ipv4(f, 17, 32 + payload, 0);
		udp(f, 443, 24 + payload);
	}
}

static void arp(struct frame *f)
{
	ethernet(f, 0x0806);
	PUT(f, "\0\1\10\0\6\4\0\1");
	memcpy(f->at, f->bytes + 6, 6); /* the sender is the frame's; nobody knows the target yet */
	memset(f->at + 10, 0, 6);
	if (below(2)) { /* a reply is to who asked */
		f->at[-1] = 2;
		memcpy(f->at + 10, f->bytes, 6);
	}
	f->at += 20;
	f->wire = 60;
}

static void ndp(struct frame *f)
{
	static const uint8_t types[] = {135, 136, 135, 136, 133, 134};
	uint8_t type = types[below(sizeof(types))];
	unsigned length = type == 133 ? 16 : type == 134 ? 64 : 32;

	ethernet(f, 0x86dd);
	ipv6(f, 58, length);
	f->at[0] = type;
	f->at[1] = 0;
	f->wire = (uint32_t)(f->at - f->bytes) + length;
}

static void mld(struct frame *f)
{
	ethernet(f, 0x86dd);
	ipv6(f, 0, 36);
	PUT(f, "\72\0\5\2\0\0\1\0");
	f->at[0] = below(2) ? 143 : 131;
	f->at[1] = 0;
	f->wire = (uint32_t)(f->at - f->bytes) + 28;
}

static void icmp_error(struct frame *f)
{
	static const char *const heads[] = {"\3\3", "\3\1", "\3\4", "\13\0"};
	unsigned kind = below(4);

	ethernet(f, 0x0800);
	ipv4(f, 1, 8 + 28 + 20, 0);
	put_bytes(f, heads[kind], 2);
	f->at += 2;
	put32(f, kind == 2 ? 1400 : 0);
	switch (kind == 2 ? 2 : below(3)) {
	case 0:
		ipv4(f, 17, 8 + 500, 0);
		udp(f, 33434 + below(90), 500);
		break;
	case 1:
		ipv4(f, 1, 64, 0);
		PUT(f, "\10\0");
		break;
	case 2:
		ipv4(f, 6, 1480, 0x4000);
		break;
	}
	f->wire = 14 + 20 + 8 + 28 + 20;
}

static void icmpv6_error(struct frame *f)
{
	ethernet(f, 0x86dd);
	ipv6(f, 58, 8 + 40 + 1192);
	put_bytes(f, below(2) ? "\2\0" : "\1\4", 2);
	f->at += 2;
	put32(f, 1280);
	ipv6(f, below(2) ? 6 : 17, 1452);
	f->wire = 14 + 40 + 8 + 40 + 1192;
}

static void fragment(struct frame *f)
{
	unsigned first = below(2);

	if (below(4)) {
		ethernet(f, 0x0800);
		ipv4(f, 17, 1480, first ? 0x2000 : 0x2000 | 185);
		if (first)
			udp(f, 2049, 8000);
		f->wire = 14 + 20 + 1480;
		return;
	}
	ethernet(f, 0x86dd);
	ipv6(f, 44, 8 + 1448);
	put16(f, 17 << 8);
	put16(f, first ? 1 : 1448 | 1);
	put32(f, below(1 << 30));
	if (first)
		udp(f, 2049, 8000);
	f->wire = 14 + 40 + 8 + 1448;
}

static void vxlan(struct frame *f)
{
	unsigned payload = below(1300), geneve = below(4) == 0;

	ethernet(f, 0x0800);
	ipv4(f, 17, 8 + 8 + geneve * 8 + 14 + PACKET_LEN + payload, 0);
	udp(f, geneve ? 6081 : 4789, 8 + geneve * 8 + 14 + PACKET_LEN + payload);
	if (geneve) {
		PUT(f, "\2\0\x65\x58");
		put32(f, below(1 << 24) << 8);
		PUT(f, "\1\2\x80\1");
		f->at += 4;
	} else {
		PUT(f, "\10\0\0\0");
		put32(f, below(1 << 24) << 8);
	}
	ethernet(f, 0x0800);
	packet(f, payload);
	f->wire = 14 + 20 + 8 + 8 + geneve * 8 + 14 + PACKET_LEN + payload;
}

static void gre(struct frame *f)
{
	unsigned payload = below(1300), key = below(2);

	ethernet(f, 0x0800);
	ipv4(f, 47, 4 + 4 * key + PACKET_LEN + payload, 0);
	put16(f, key ? 0x2000 : 0);
	put16(f, 0x0800);
	f->at += 4 * key;
	packet(f, payload);
	f->wire = 14 + 20 + 4 + 4 * key + PACKET_LEN + payload;
}

static void ip_in_ip(struct frame *f)
{
	unsigned payload = below(1300);

	ethernet(f, 0x0800);
	if (below(2)) {
		ipv4(f, 4, PACKET_LEN + payload, 0);
		packet(f, payload);
		f->wire = 14 + 20 + PACKET_LEN + payload;
		return;
	}
	ipv4(f, 41, 40 + 32 + payload, 0);
	ipv6(f, 6, 32 + payload);
	tcp(f, 0x18, TCP_TS, 12);
	f->wire = 14 + 20 + 40 + 32 + payload;
}

static void esp(struct frame *f)
{
	ethernet(f, 0x0800);
	ipv4(f, 50, 1400, 0x4000);
	f->wire = 14 + 20 + 1400;
}

static void sctp(struct frame *f)
{
	static const char *const chunks[] = {"\0\3\0\64", "\3\0\0\20", "\4\0\0\64", "\1\0\0\24"};

	ethernet(f, 0x0800);
	ipv4(f, 132, 12 + 52, 0);
	f->at += 12;
	put_bytes(f, chunks[below(4)], 4);
	f->wire = 14 + 20 + 12 + 52;
}

static void pppoe(struct frame *f)
{
	unsigned payload = below(1300);

	ethernet(f, 0x8864);
	PUT(f, "\x11\0\0\7");
	put16(f, 2 + PACKET_LEN + payload);
	put16(f, 0x0021);
	packet(f, payload);
	f->wire = 14 + 8 + PACKET_LEN + payload;
}

static void mpls(struct frame *f)
{
	unsigned payload = below(1300);

	ethernet(f, 0x8847);
	put32(f, below(1 << 20) << 12 | 64);
	put32(f, below(1 << 20) << 12 | 0x100 | 64);
	packet(f, payload);
	f->wire = 14 + 8 + PACKET_LEN + payload;
}

static void qinq(struct frame *f)
{
	unsigned payload = below(1300);

	ethernet(f, 0x88a8);
	put16(f, below(4095));
	put16(f, 0x8100);
	put16(f, below(4095));
	put16(f, 0x0800);
	packet(f, payload);
	f->wire = 14 + 8 + PACKET_LEN + payload;
}

static void tcp_options(struct frame *f)
{
	static const struct {
		const char *bytes;
		unsigned n, flags;
	} options[] = {
		{"\2\4\5\264\1\3\3\10\1\1\4\2", 12, 2},				   /* Windows */
		{"\2\4\5\264\1\3\3\6\1\1\10\12abcdefgh\4\2\0\0", 24, 2},	   /* macOS */
		{"\2\4\5\264\4\2\10\12abcdefgh\1\3\3\7\42\12abcdefgh\1\1", 32, 2}, /* Fast Open (RFC 7413) */
		{"\1\1\10\12abcdefgh\36\24abcdefghijklmnopqr", 32, 0x10},	   /* MPTCP (RFC 8684) */
		{"\1\1\23\22abcdefghijklmnop", 20, 0x10},			   /* MD5 (RFC 2385) */
		{"\1\1\10\12abcdefgh\1\1\5\32abcdefghijklmnopqrstuvwx", 40, 0x10}, /* three SACK blocks */
		{"", 0, 4},							   /* a reset */
	};
	unsigned i = below(sizeof(options) / sizeof(*options));

	ethernet(f, 0x0800);
	ipv4(f, 6, 20 + options[i].n, 0x4000);
	tcp(f, options[i].flags, options[i].bytes, options[i].n);
	f->wire = 14 + 40 + options[i].n;
	f->wire = f->wire < 60 ? 60 : f->wire;
}

static void control(struct frame *f)
{
	static const uint8_t protos[] = {2, 112, 89};
	unsigned i = below(5);

	ethernet(f, i < 3 ? 0x0800 : i == 3 ? 0x88cc : 38);
	if (i < 3)
		ipv4(f, protos[i], 44, 0);
	if (i == 4)
		PUT(f, "\x42\x42\3\0\0\2\2");
	f->wire = 14 + 64;
}

/* It ends within a header that it announces, or announces one that cannot be. */
static void damaged(struct frame *f)
{
	ethernet(f, 0x0800);
	packet(f, 0);
	f->wire = 14 + 20 + below(8);
	if (below(2)) {
		f->wire = 14 + PACKET_LEN;
		f->bytes[14] = 0x43;
	}
}

static const struct {
	void (*make)(struct frame *f);
	unsigned weight; /* of 1000 trains */
} kinds[] = {
	{arp, 150}, {ndp, 80},	 {mld, 20},  {icmp_error, 100}, {icmpv6_error, 30}, {fragment, 70},	 {vxlan, 170}, {gre, 50},
	{ip_in_ip, 50}, {esp, 80}, {sctp, 40}, {pppoe, 40},	 {mpls, 20},	     {qinq, 30},  {tcp_options, 70},
};

static void add(struct trace *t, void (*make)(struct frame *f))
{
	struct rec_slot slot;
	struct frame f = {.at = f.bytes};

	for (unsigned i = 0; i < sizeof(f.bytes); i += 4)
		put_be32(f.bytes + i, below(UINT32_MAX));
	make(&f);
	packets_record(&slot, f.bytes, f.wire < sizeof(f.bytes) ? f.wire : sizeof(f.bytes), f.wire, below(2));
	trace_add(t, &slot, below(RINGS));
}

void traffic_rest(struct trace *t)
{
	unsigned at = below(1000), k = 0;

	while (at >= kinds[k].weight)
		at -= kinds[k++].weight;
	for (unsigned train = 1 + below(4); train && t->n < PACKETS; train--)
		add(t, kinds[k].make);
}

void traffic_noise(struct trace *t)
{
	if (below(TRAFFIC_CONTROL_EVERY) == 0)
		add(t, control);
	if (below(TRAFFIC_DAMAGED_EVERY) == 0 && t->n < PACKETS)
		add(t, damaged);
}
