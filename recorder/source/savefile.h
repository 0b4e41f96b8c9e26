/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * savefile.h - reads capture files: pcap (both byte orders, us and ns, modified Kuznetzov form) and pcapng (any number of
 * sections and interfaces, if_tsresol, if_tsoffset, EPB, SPB and the old packet block), plain, gzip or zstd, from a descriptor
 * that need not be seekable. Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
 *
 * Strict: what contradicts itself is an error that names the byte offset (in the uncompressed data) and what would be right.
 * A file that ends in the middle of a packet gives all packets before it, then -ENODATA: the user decides. A block that is not
 * about packets is skipped. One thread; bounded memory (the largest block accepted is SAVEFILE_BLOCK_MAX).
 */
#ifndef XDP_RECORDER_SOURCE_SAVEFILE_H
#define XDP_RECORDER_SOURCE_SAVEFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SAVEFILE_BLOCK_MAX (16u << 20)
#define SAVEFILE_ETHERNET 1 /* LINKTYPE_ETHERNET */

struct savefile;

struct savefile_error {
	char text[300];
};

/* Interfaces are numbered over the whole file: a second section's begin behind those of the first. pcap has one. */
struct savefile_interface {
	char name[64]; /* if_name; "if<number>" where there is none (pcap: "if0"); control characters are replaced by '?' */
	uint16_t linktype;
	uint32_t snaplen; /* 0: no limit */
};

struct savefile_packet {
	int64_t wall;	   /* ns since 1970 */
	bool time_changed; /* the stamp was out of range (us >= 1,000,000; beyond int64 ns): normalised as tshark does */
	bool has_time;	   /* false for a simple packet block, which has none: wall is then that of the packet before, or 0 */
	unsigned interface;
	uint32_t wire_len; /* bytes on the wire; at least cap_len, at most INT32_MAX */
	uint32_t cap_len;
	int8_t direction; /* epb_flags: 1 inbound, 2 outbound, 0 unknown */
	const uint8_t *bytes; /* valid until the next call */
	uint64_t offset;      /* of the packet's record or block, in the uncompressed data */
};

/* Takes the descriptor over. `name` is for messages and copied. 0 or -errno with text; *out is then unchanged. */
int savefile_open(struct savefile **out, int fd, const char *name, struct savefile_error *error);
/* 1: a packet; 0: the end; -ENODATA: the file is cut off; -EBADMSG and other -errno: error. */
int savefile_next(struct savefile *file, struct savefile_packet *packet, struct savefile_error *error);
/* NULL when there is no such interface (yet: pcapng may name further ones later). */
const struct savefile_interface *savefile_interface(const struct savefile *file, unsigned number);
unsigned savefile_interfaces(const struct savefile *file);
/* Compressed bytes read so far: for a progress bar against the file's size. */
uint64_t savefile_read_bytes(const struct savefile *file);
/* "pcap", "pcapng", with " (gzip)" or " (zstd)". */
const char *savefile_format(const struct savefile *file);
void savefile_close(struct savefile *file);

#endif
