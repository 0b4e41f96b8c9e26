/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * packets.h - what the tests of packet/, encode/ and ledger/ share: records made from frames by the natively compiled
 * parser, frames from hexadecimal text, and the frames of all Ethernet captures in a directory. Header only; test code:
 * it aborts where it cannot go on.
 */
#ifndef XDP_RECORDER_TESTS_PACKETS_H
#define XDP_RECORDER_TESTS_PACKETS_H

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "bpf/parse.h"
#pragma GCC diagnostic pop

/* The record of a frame of which `cap` bytes of `wire` are there, as the kernel side makes it. */
static inline void packets_record(struct rec_slot *slot, const uint8_t *frame, uint32_t cap, uint32_t wire,
				  unsigned side)
{
	uint32_t avail = cap < REC_CAP_MAX ? cap : REC_CAP_MAX, want;

	memset(slot, 0, sizeof(*slot));
	if (avail)
		memcpy(slot->bytes, frame, avail);
	slot->head.wire_len = wire;
	slot->head.side = (uint8_t)side;
	want = rec_parse(slot, avail, wire, 1);
	rec_trim(slot, want, avail);
}

/* "00 11 22 ..." to bytes; everything but hexadecimal digits is skipped. Gives the number. */
static inline unsigned packets_hex(uint8_t *out, unsigned cap, const char *text)
{
	unsigned n = 0, digits = 0, value = 0;

	for (; *text; text++) {
		int v = *text >= '0' && *text <= '9'   ? *text - '0'
			: *text >= 'a' && *text <= 'f' ? *text - 'a' + 10
						       : -1;

		if (v < 0)
			continue;
		value = value << 4 | (unsigned)v;
		if (++digits % 2 == 0) {
			if (n == cap)
				abort();
			out[n++] = (uint8_t)value;
		}
	}
	return n;
}

/* xorshift64*: the same mutations in each run. */
static inline uint64_t packets_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

typedef void packets_fn(void *arg, const uint8_t *frame, uint32_t cap, uint32_t wire);

struct packets_order {
	bool swap;
};
static inline uint32_t packets_u32(const struct packets_order *o, const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return o->swap ? __builtin_bswap32(v) : v;
}
static inline uint16_t packets_u16(const struct packets_order *o, const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return o->swap ? __builtin_bswap16(v) : v;
}

static inline void packets_pcap(const uint8_t *d, size_t n, packets_fn *fn, void *arg)
{
	struct packets_order o = {.swap = d[0] == 0xa1};

	if ((packets_u32(&o, d + 20) & 0x0fffffff) != 1)
		return;
	for (size_t i = 24; i + 16 <= n;) {
		uint32_t cap = packets_u32(&o, d + i + 8), wire = packets_u32(&o, d + i + 12);

		i += 16;
		if (cap > n - i)
			break;
		fn(arg, d + i, cap, wire < cap ? cap : wire);
		i += cap;
	}
}

static inline void packets_pcapng(const uint8_t *d, size_t n, packets_fn *fn, void *arg)
{
	struct packets_order o = {0};
	uint16_t link[64] = {0};
	unsigned links = 0;

	for (size_t i = 0; i + 12 <= n;) {
		const uint8_t *b = d + i;
		uint32_t type, length;

		if (!memcmp(b, "\x0a\x0d\x0d\x0a", 4)) {
			o.swap = b[8] == 0x1a;
			links = 0;
		}
		type = packets_u32(&o, b);
		length = packets_u32(&o, b + 4);
		if (length < 12 || length > n - i)
			break;
		if (type == 1 && links < 64 && length >= 20)
			link[links++] = packets_u16(&o, b + 8);
		if (type == 6 && length >= 32) {
			uint32_t iface = packets_u32(&o, b + 8), cap = packets_u32(&o, b + 20);
			uint32_t wire = packets_u32(&o, b + 24);

			if (cap <= length - 32 && iface < links && link[iface] == 1)
				fn(arg, b + 28, cap, wire < cap ? cap : wire);
		}
		i += length;
	}
}

static inline void packets_file(const char *path, packets_fn *fn, void *arg)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *d;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= 28) {
		size_t n = (size_t)st.st_size;

		d = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
		if (d != MAP_FAILED) {
			uint32_t magic;

			memcpy(&magic, d, 4);
			if (magic == 0xa1b2c3d4 || magic == 0xd4c3b2a1 || magic == 0xa1b23c4d || magic == 0x4d3cb2a1)
				packets_pcap(d, n, fn, arg);
			else if (magic == 0x0a0d0d0a)
				packets_pcapng(d, n, fn, arg);
			munmap(d, n);
		}
	}
	close(fd);
}

/* Every Ethernet frame of every capture under `dir`. */
static inline void packets_directory(const char *dir, packets_fn *fn, void *arg)
{
	struct dirent **names;
	int n = scandir(dir, &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/%s", dir, names[i]->d_name);
		if (names[i]->d_name[0] != '.') {
			struct stat st;

			if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
				packets_directory(path, fn, arg);
			else
				packets_file(path, fn, arg);
		}
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

/* Where the captures are: XDP_RECORDER_PCAPS, else beside the source tree. NULL when there are none: skip, and say so.
 */
static inline const char *packets_captures(void)
{
	static char path[4096];
	const char *set = getenv("XDP_RECORDER_PCAPS"), *source = getenv("XDP_RECORDER_SOURCE");

	if (set)
		snprintf(path, sizeof(path), "%s", set);
	else
		snprintf(path, sizeof(path), "%s/../shared/pcaps", source ? source : ".");
	return access(path, R_OK) == 0 ? path : NULL;
}

#endif
