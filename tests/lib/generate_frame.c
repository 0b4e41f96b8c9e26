// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/lib/generate_frame.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static void put16(uint8_t *at, uint16_t v)
{
	at[0] = (uint8_t)(v >> 8);
	at[1] = (uint8_t)v;
}

static void put32(uint8_t *at, uint32_t v)
{
	put16(at, (uint16_t)(v >> 16));
	put16(at + 2, (uint16_t)v);
}

uint32_t frame_sum(const uint8_t *bytes, uint32_t len)
{
	uint32_t sum = 0;
	uint16_t word;

	for (; len > 1; bytes += 2, len -= 2) {
		memcpy(&word, bytes, 2);
		sum += word;
	}
	if (len) {
		word = 0;
		memcpy(&word, bytes, 1);
		sum += word;
	}
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static uint32_t address_len(const struct frame_spec *s)
{
	return s->family == 6 ? 16 : 4;
}

uint32_t frame_pseudo_sum(const struct frame_spec *s, uint32_t l4_len)
{
	if (s->proto == IPPROTO_ICMP)
		return 0;
	return frame_sum(s->dst, address_len(s)) + htons(s->proto) + htons((uint16_t)l4_len);
}

static uint32_t put_ethernet(uint8_t *out, const struct frame_spec *s)
{
	uint16_t type = s->family == 6 ? 0x86dd : 0x0800;

	memcpy(out, s->dmac, 6);
	memcpy(out + 6, s->smac, 6);
	if (!s->vlan) {
		put16(out + 12, type);
		return 14;
	}
	put16(out + 12, 0x8100);
	put16(out + 14, s->vlan);
	put16(out + 16, type);
	return 18;
}

static void put_ip(uint8_t *ip, const struct frame_spec *s, uint32_t l4_len)
{
	uint16_t check;

	if (s->family == 6) {
		put32(ip, 0x60000000 | (s->flow & 0xfffff));
		put16(ip + 4, (uint16_t)l4_len);
		ip[6] = s->proto;
		ip[7] = 64;
		memcpy(ip + 8, s->src, 16);
		memcpy(ip + 24, s->dst, 16);
		return;
	}
	ip[0] = 0x45;
	put16(ip + 2, (uint16_t)(20 + l4_len));
	put16(ip + 4, s->ipid);
	put16(ip + 6, s->frag);
	ip[8] = 64;
	ip[9] = s->proto;
	memcpy(ip + 12, s->src, 4);
	memcpy(ip + 16, s->dst, 4);
	check = fold(frame_sum(ip, 20));
	memcpy(ip + 10, &check, 2);
}

static uint32_t l4_header_len(const struct frame_spec *s)
{
	if (s->frag & 0x1fff)
		return 0;
	if (s->proto == IPPROTO_TCP)
		return s->tsval ? 32 : 20;
	return 8;
}

/* Returns where the checksum is, counted from `l4`. */
static uint32_t put_l4(uint8_t *l4, const struct frame_spec *s, uint32_t l4_len)
{
	if (s->frag & 0x1fff)
		return 0;
	if (s->proto == IPPROTO_TCP) {
		put16(l4, s->sport);
		put16(l4 + 2, s->dport);
		put32(l4 + 4, s->seq);
		put32(l4 + 8, s->ack);
		l4[12] = (uint8_t)(l4_header_len(s) << 2);
		l4[13] = s->flags;
		put16(l4 + 14, 0xfaf0);
		if (s->tsval) {
			put32(l4 + 20, 0x0101080a);
			put32(l4 + 24, s->tsval);
			put32(l4 + 28, s->tsval - 1);
		}
		return 16;
	}
	if (s->proto == IPPROTO_UDP) {
		put16(l4, s->sport);
		put16(l4 + 2, s->dport);
		put16(l4 + 4, (uint16_t)l4_len);
		return 6;
	}
	l4[0] = s->family == 6 ? 128 : 8; /* echo request */
	put16(l4 + 4, s->sport);
	put16(l4 + 6, s->dport);
	return 2;
}

uint32_t frame_build(uint8_t out[FRAME_MAX], const struct frame_spec *s, struct frame_layout *layout)
{
	uint32_t l3 = s->vlan ? 18 : 14, l4 = l3 + (s->family == 6 ? 40 : 20);
	uint32_t len = s->len < l4 + l4_header_len(s) ? l4 + l4_header_len(s) : s->len;
	uint32_t l4_len = (len <= FRAME_MIN ? l4 + l4_header_len(s) : len) - l4;
	uint32_t check;
	uint16_t sum;

	if (len < FRAME_MIN)
		len = FRAME_MIN;
	memset(out, 0, len);
	put_ethernet(out, s);
	put_ip(out + l3, s, l4_len);
	check = put_l4(out + l4, s, l4_len);
	if (check) {
		sum = fold(frame_sum(out + l4, l4_len) + frame_pseudo_sum(s, l4_len) +
			   (s->proto == IPPROTO_ICMP ? 0 : frame_sum(s->src, address_len(s))));
		if (!sum && s->proto == IPPROTO_UDP)
			sum = 0xffff;
		memcpy(out + l4 + check, &sum, 2);
	}
	*layout = (struct frame_layout){.l3 = l3, .l4 = l4, .l4_len = l4_len, .check = check ? l4 + check : 0};
	return len;
}
