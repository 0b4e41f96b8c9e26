/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pcaps.h - reads the packets of Ethernet captures (pcap and pcapng, both byte orders) for tests; nothing else of them.
 * The directory is $XDP_RECORDER_PCAPS, or ../shared/pcaps beside the source tree ($XDP_RECORDER_SOURCE).
 */
#ifndef XDP_RECORDER_TESTS_PCAPS_H
#define XDP_RECORDER_TESTS_PCAPS_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef void pcaps_each(const uint8_t *bytes, uint32_t captured, uint32_t wire, void *arg);

static inline uint32_t pcaps_32(const uint8_t *p, bool swap)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return swap ? __builtin_bswap32(v) : v;
}

static inline uint16_t pcaps_16(const uint8_t *p, bool swap)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return swap ? __builtin_bswap16(v) : v;
}

static inline unsigned pcaps_classic(const uint8_t *b, size_t n, bool swap, pcaps_each *each, void *arg)
{
	unsigned packets = 0;

	if (n < 24 || (pcaps_32(b + 20, swap) & 0xffff) != 1)
		return 0;
	for (size_t at = 24; at + 16 <= n;) {
		uint32_t captured = pcaps_32(b + at + 8, swap), wire = pcaps_32(b + at + 12, swap);

		at += 16;
		if (captured > n - at)
			break;
		each(b + at, captured, wire, arg);
		at += captured;
		packets++;
	}
	return packets;
}

static inline unsigned pcaps_ng(const uint8_t *b, size_t n, pcaps_each *each, void *arg)
{
	unsigned packets = 0, interfaces = 0;
	bool swap = false, ethernet[64] = { false };

	for (size_t at = 0; at + 12 <= n;) {
		uint32_t type, length;

		if (pcaps_32(b + at, false) == 0x0a0d0d0a) {
			swap = pcaps_32(b + at + 8, false) != 0x1a2b3c4d;
			interfaces = 0;
		}
		type = pcaps_32(b + at, swap);
		length = pcaps_32(b + at + 4, swap);
		if (length < 12 || length > n - at)
			break;
		if (type == 1 && length >= 20 && interfaces < 64)
			ethernet[interfaces++] = pcaps_16(b + at + 8, swap) == 1;
		if (type == 6 && length >= 32) {
			uint32_t interface = pcaps_32(b + at + 8, swap), captured = pcaps_32(b + at + 20, swap);

			if (interface < interfaces && ethernet[interface] && captured <= length - 32) {
				each(b + at + 28, captured, pcaps_32(b + at + 24, swap), arg);
				packets++;
			}
		}
		at += length;
	}
	return packets;
}

/* Packets of one file; 0 where it is not an Ethernet capture. */
static inline unsigned pcaps_file(const char *path, pcaps_each *each, void *arg)
{
	FILE *f = fopen(path, "rb");
	unsigned packets = 0;
	struct stat st;
	uint8_t *b;

	if (!f || fstat(fileno(f), &st) || st.st_size < 24 || !(b = malloc((size_t)st.st_size))) {
		if (f)
			fclose(f);
		return 0;
	}
	if (fread(b, 1, (size_t)st.st_size, f) == (size_t)st.st_size) {
		uint32_t magic = pcaps_32(b, false);

		if (magic == 0xa1b2c3d4 || magic == 0xa1b23c4d)
			packets = pcaps_classic(b, (size_t)st.st_size, false, each, arg);
		else if (magic == 0xd4c3b2a1 || magic == 0x4d3cb2a1)
			packets = pcaps_classic(b, (size_t)st.st_size, true, each, arg);
		else if (magic == 0x0a0d0d0a)
			packets = pcaps_ng(b, (size_t)st.st_size, each, arg);
	}
	free(b);
	fclose(f);
	return packets;
}

static inline unsigned pcaps_tree(const char *dir, int depth, pcaps_each *each, void *arg)
{
	unsigned packets = 0;
	DIR *d = depth ? opendir(dir) : NULL;
	struct dirent *e;
	char path[4096];

	if (!d)
		return 0;
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		packets += e->d_type == DT_DIR ? pcaps_tree(path, depth - 1, each, arg) : pcaps_file(path, each, arg);
	}
	closedir(d);
	return packets;
}

/* All packets of all captures; 0 when there are none. */
static inline unsigned pcaps_all(pcaps_each *each, void *arg)
{
	const char *dir = getenv("XDP_RECORDER_PCAPS"), *source = getenv("XDP_RECORDER_SOURCE");
	char path[4096];

	snprintf(path, sizeof(path), "%s/../shared/pcaps", source ? source : ".");
	return pcaps_tree(dir ? dir : path, 4, each, arg);
}

#endif
