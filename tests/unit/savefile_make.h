/* SPDX-License-Identifier: GPL-2.0-or-later */
/* savefile_make.h - capture files made byte by byte in memory, for tests of the reader. */
#ifndef XDP_RECORDER_TESTS_SAVEFILE_MAKE_H
#define XDP_RECORDER_TESTS_SAVEFILE_MAKE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct made {
	uint8_t bytes[1 << 16];
	size_t len;
	bool big; /* byte order of what is added */
};

static inline void made_bytes(struct made *m, const void *p, size_t n)
{
	memcpy(m->bytes + m->len, p, n);
	m->len += n;
}

static inline void made_16(struct made *m, uint16_t v)
{
	v = m->big ? __builtin_bswap16(v) : v;
	made_bytes(m, &v, 2);
}

static inline void made_32(struct made *m, uint32_t v)
{
	v = m->big ? __builtin_bswap32(v) : v;
	made_bytes(m, &v, 4);
}

static inline void made_64(struct made *m, uint64_t v)
{
	v = m->big ? __builtin_bswap64(v) : v;
	made_bytes(m, &v, 8);
}

/* pcap */
static inline void made_head(struct made *m, uint32_t magic, uint16_t minor, uint32_t snaplen, uint32_t link)
{
	made_32(m, magic);
	made_16(m, 2);
	made_16(m, minor);
	made_64(m, 0);
	made_32(m, snaplen);
	made_32(m, link);
}

/* A record's head; `pad` more bytes where the file is of the modified form. The packet is `cap` bytes counting up from `first`. */
static inline void made_packet(struct made *m, uint32_t cap, uint8_t first)
{
	for (uint32_t i = 0; i < cap; i++)
		m->bytes[m->len++] = (uint8_t)(first + i);
}

static inline void made_record(struct made *m, uint32_t sec, uint32_t fraction, uint32_t cap, uint32_t wire, unsigned pad)
{
	made_32(m, sec);
	made_32(m, fraction);
	made_32(m, cap);
	made_32(m, wire);
	memset(m->bytes + m->len, 0xee, pad);
	m->len += pad;
	made_packet(m, cap, (uint8_t)sec);
}

/* pcapng: a block is begun, filled, ended; `begin` gives what `end` needs. */
static inline size_t made_begin(struct made *m, uint32_t type)
{
	size_t at = m->len;

	made_32(m, type);
	made_32(m, 0);
	return at;
}

static inline void made_pad(struct made *m)
{
	while (m->len % 4)
		m->bytes[m->len++] = 0;
}

static inline void made_end(struct made *m, size_t at)
{
	struct made *to = m;
	uint32_t len;

	made_pad(m);
	len = (uint32_t)(m->len - at + 4);
	made_32(m, len);
	memcpy(to->bytes + at + 4, to->bytes + to->len - 4, 4);
}

static inline void made_option(struct made *m, uint16_t code, const void *value, uint16_t len)
{
	made_16(m, code);
	made_16(m, len);
	made_bytes(m, value, len);
	made_pad(m);
}

static inline void made_section(struct made *m)
{
	size_t at = made_begin(m, 0x0a0d0d0a);

	made_32(m, 0x1a2b3c4d);
	made_16(m, 1);
	made_16(m, 0);
	made_64(m, UINT64_MAX);
	made_end(m, at);
}

/* tsresol, fcs < 0: no such option. */
static inline void made_interface(struct made *m, uint16_t link, uint32_t snaplen, const char *name, int tsresol, int64_t offset,
				  int fcs)
{
	size_t at = made_begin(m, 1);
	uint8_t one = (uint8_t)tsresol, f = (uint8_t)fcs;

	made_16(m, link);
	made_16(m, 0);
	made_32(m, snaplen);
	if (name)
		made_option(m, 2, name, (uint16_t)strlen(name));
	if (tsresol >= 0)
		made_option(m, 9, &one, 1);
	if (fcs >= 0)
		made_option(m, 13, &f, 1);
	if (offset) {
		made_16(m, 14);
		made_16(m, 8);
		made_64(m, (uint64_t)offset);
	}
	made_option(m, 0, NULL, 0);
	made_end(m, at);
}

/* flags < 0: no such option. */
static inline void made_enhanced(struct made *m, uint32_t interface, uint64_t stamp, uint32_t cap, uint32_t wire, int64_t flags)
{
	size_t at = made_begin(m, 6);

	made_32(m, interface);
	made_32(m, (uint32_t)(stamp >> 32));
	made_32(m, (uint32_t)stamp);
	made_32(m, cap);
	made_32(m, wire);
	made_packet(m, cap, 1);
	made_pad(m);
	if (flags >= 0) {
		made_16(m, 2);
		made_16(m, 4);
		made_32(m, (uint32_t)flags);
	}
	made_end(m, at);
}

static inline void made_simple(struct made *m, uint32_t cap, uint32_t wire)
{
	size_t at = made_begin(m, 3);

	made_32(m, wire);
	made_packet(m, cap, 1);
	made_end(m, at);
}

static inline void made_old(struct made *m, uint16_t interface, uint64_t stamp, uint32_t cap, uint32_t wire)
{
	size_t at = made_begin(m, 2);

	made_16(m, interface);
	made_16(m, 7); /* drops */
	made_32(m, (uint32_t)(stamp >> 32));
	made_32(m, (uint32_t)stamp);
	made_32(m, cap);
	made_32(m, wire);
	made_packet(m, cap, 1);
	made_end(m, at);
}

#endif
