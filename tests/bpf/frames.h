/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frames.h - builds frames layer by layer for tests and benches. Lengths are filled in by frame_end; checksums are
 * left 0, nothing here looks at them.
 *
 *   struct frame f = frame_begin();
 *   frame_eth(&f, 0x0800); frame_ip4(&f, 17, 0); frame_udp(&f, 1000, 53); frame_payload(&f, 22); frame_end(&f);
 */
#ifndef XDP_RECORDER_TESTS_FRAMES_H
#define XDP_RECORDER_TESTS_FRAMES_H

#include <stdint.h>
#include <string.h>

#include "recorder/core/util.h"

#define FRAME_MAX 16384u

struct frame {
	uint8_t bytes[FRAME_MAX];
	unsigned len;
	/* offsets of what holds a length: IPv4, IPv6, UDP; frame_end fills them to the frame's end */
	struct {
		char kind;
		unsigned at;
	} layer[16];
	unsigned layers;
};

static inline struct frame frame_begin(void)
{
	struct frame f;

	memset(&f, 0, sizeof(f));
	return f;
}

static inline uint8_t *frame_push(struct frame *f, unsigned n)
{
	uint8_t *p = f->bytes + f->len;

	f->len += n;
	return p;
}

static inline void frame_layer(struct frame *f, char kind)
{
	f->layer[f->layers].kind = kind;
	f->layer[f->layers++].at = f->len;
}

static inline void frame_16(struct frame *f, uint16_t v)
{
	put_be16(frame_push(f, 2), v);
}

static inline void frame_32(struct frame *f, uint32_t v)
{
	put_be32(frame_push(f, 4), v);
}

static inline void frame_eth(struct frame *f, uint16_t etype)
{
	memcpy(frame_push(f, 12), "\x02\x00\x00\x00\x00\x0b\x02\x00\x00\x00\x00\x0a", 12);
	frame_16(f, etype);
}

/* Behind an Ethernet header (or tag) that announced a tag. */
static inline void frame_vlan(struct frame *f, uint16_t tci, uint16_t etype)
{
	frame_16(f, tci);
	frame_16(f, etype);
}

static inline void frame_ip4(struct frame *f, uint8_t proto, unsigned option_bytes)
{
	uint8_t *p;

	frame_layer(f, '4');
	p = frame_push(f, 20 + option_bytes);
	p[0] = (uint8_t)(0x45 + option_bytes / 4);
	put_be16(p + 4, 0x1234);
	p[8] = 64;
	p[9] = proto;
	memcpy(p + 12, "\x0a\x00\x00\x01\x0a\x00\x00\x02", 8);
	memset(p + 20, 1, option_bytes); /* no-operation */
}

static inline void frame_ip6(struct frame *f, uint8_t next)
{
	uint8_t *p;

	frame_layer(f, '6');
	p = frame_push(f, 40);
	p[0] = 0x60;
	p[6] = next;
	p[7] = 64;
	memcpy(p + 8, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
	memcpy(p + 24, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02", 16);
}

/* An extension header of `bytes` (a multiple of 8); AH: of 4. */
static inline void frame_ext(struct frame *f, uint8_t kind, uint8_t next, unsigned bytes)
{
	uint8_t *p = frame_push(f, bytes);

	p[0] = next;
	p[1] = (uint8_t)(kind == 51 ? bytes / 4 - 2 : kind == 44 ? 0 : bytes / 8 - 1);
}

static inline void frame_tcp(struct frame *f, uint16_t sport, uint16_t dport, unsigned option_bytes)
{
	uint8_t *p = frame_push(f, 20 + option_bytes);

	put_be16(p, sport);
	put_be16(p + 2, dport);
	put_be32(p + 4, 0x01020304);
	put_be32(p + 8, 0x05060708);
	p[12] = (uint8_t)((20 + option_bytes) / 4 << 4);
	p[13] = 0x10;
	put_be16(p + 14, 502);
	memset(p + 20, 1, option_bytes);
	if (option_bytes == 12)
		memcpy(p + 20, "\x01\x01\x08\x0a\x11\x22\x33\x44\x55\x66\x77\x88", 12);
}

static inline void frame_udp(struct frame *f, uint16_t sport, uint16_t dport)
{
	uint8_t *p;

	frame_layer(f, 'u');
	p = frame_push(f, 8);
	put_be16(p, sport);
	put_be16(p + 2, dport);
}

static inline void frame_icmp(struct frame *f, uint8_t type, uint8_t code)
{
	uint8_t *p = frame_push(f, 8);

	p[0] = type;
	p[1] = code;
	put_be16(p + 4, 7);
	put_be16(p + 6, 9);
}

static inline void frame_sctp(struct frame *f, uint16_t sport, uint16_t dport)
{
	frame_16(f, sport), frame_16(f, dport), frame_32(f, 0xcafe0001), frame_32(f, 0);
}

/* The head of a chunk; `length` is what it says, the head's 4 bytes among it. */
static inline void frame_chunk(struct frame *f, uint8_t type, uint16_t length)
{
	*frame_push(f, 1) = type;
	*frame_push(f, 1) = 3;
	frame_16(f, length);
}

/* A header of `bytes` (a multiple of 4); `type`: packet type << 1 | X. */
static inline void frame_dccp(struct frame *f, uint8_t type, unsigned bytes)
{
	uint8_t *p = frame_push(f, bytes);

	put_be16(p, 40000);
	put_be16(p + 2, 5001);
	p[4] = (uint8_t)(bytes / 4);
	p[8] = type;
	p[11] = 7;
}

static inline void frame_arp(struct frame *f, uint16_t operation)
{
	uint8_t *p = frame_push(f, 28);

	memcpy(p, "\x00\x01\x08\x00\x06\x04", 6);
	put_be16(p + 6, operation);
	memcpy(p + 8, "\x02\x00\x00\x00\x00\x0a\x0a\x00\x00\x01", 10);
	memcpy(p + 18, "\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x02", 10);
}

static inline void frame_payload(struct frame *f, unsigned n)
{
	for (uint8_t *p = frame_push(f, n); n--; p++)
		*p = (uint8_t)(0xd0 + n % 13);
}

/* Payload up to a frame of `len` bytes. */
static inline void frame_fill(struct frame *f, unsigned len)
{
	if (f->len < len)
		frame_payload(f, len - f->len);
}

static inline void frame_end(struct frame *f)
{
	for (unsigned i = 0; i < f->layers; i++) {
		uint8_t *p = f->bytes + f->layer[i].at;
		uint16_t n = (uint16_t)(f->len - f->layer[i].at);

		if (f->layer[i].kind == '4')
			put_be16(p + 2, n);
		else if (f->layer[i].kind == '6')
			put_be16(p + 4, (uint16_t)(n - 40));
		else
			put_be16(p + 4, n);
	}
}

/* Exchanges MAC addresses, addresses and ports of a plain Ethernet, IPv4 or IPv6, TCP or UDP frame. */
static inline void frame_swap(uint8_t *a, uint8_t *b, unsigned n)
{
	while (n--) {
		uint8_t t = *a;

		*a++ = *b;
		*b++ = t;
	}
}

static inline void frame_reverse(struct frame *f, unsigned l3, unsigned l4)
{
	unsigned n = f->bytes[l3] >> 4 == 4 ? 4 : 16, at = l3 + (n == 4 ? 12 : 8);

	frame_swap(f->bytes, f->bytes + 6, 6);
	frame_swap(f->bytes + at, f->bytes + at + n, n);
	frame_swap(f->bytes + l4, f->bytes + l4 + 2, 2);
}

#endif
