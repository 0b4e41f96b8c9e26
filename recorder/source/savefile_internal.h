/* SPDX-License-Identifier: GPL-2.0-or-later */
/* savefile_internal.h - what the two formats' readers share; only savefile*.c include it. */
#ifndef XDP_RECORDER_SOURCE_SAVEFILE_INTERNAL_H
#define XDP_RECORDER_SOURCE_SAVEFILE_INTERNAL_H

#include "recorder/source/savefile.h"
#include "recorder/source/savefile_input.h"

#define SAVEFILE_INTERFACES_MAX 65536u /* of all sections together: bounds what a hostile file makes us keep */

struct savefile_if {
	struct savefile_interface public;
	uint8_t tsresol;  /* as in if_tsresol: power of 10, or with the top bit of 2 */
	int64_t tsoffset; /* s */
	uint8_t fcs;      /* bytes at each packet's end that are frame check sequence */
};

struct savefile {
	struct savefile_input *input;
	char *name;
	char format[24];
	uint64_t offset; /* uncompressed bytes taken so far */
	uint64_t packet; /* offset of the record or block at hand */
	bool swap;       /* the file's byte order is not ours */
	int failed;      /* what the last call ended with; said again */
	struct savefile_error error;
	int64_t wall; /* of the packet before */

	int (*next)(struct savefile *file, struct savefile_packet *packet);
	/* pcap */
	unsigned record_head; /* bytes: 16, or 24 in the modified form */
	bool nanoseconds;
	uint16_t minor;
	/* pcapng: number of the section's first interface */
	unsigned section;

	struct savefile_if *interfaces;
	unsigned ninterfaces, interfaces_room;
	uint8_t *bytes;
	size_t room;
};

/* Sets file->error to "<name>: <text>" and gives `err` (negative). */
int savefile_fail(struct savefile *file, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));

/*
 * Reads `size` bytes to file->bytes + at (grown as data come, so that a length that lies takes no memory). 1: all are there; 0: the
 * file ended before the first; -ENODATA: in the middle; other -errno. `what` is what is being read, for the message.
 */
int savefile_fill(struct savefile *file, size_t at, size_t size, const char *what);

/* A new interface, zeroed but for its name; NULL with the error set. */
struct savefile_if *savefile_add_interface(struct savefile *file);

/* if_name: control characters and what is not UTF-8 become '?'. */
void savefile_name(char *to, size_t room, const uint8_t *from, size_t len);

/* Takes the frame check sequence off (draft-ietf-opsawg-pcap: FCS len): it is no part of the packet, and a live capture has none. */
void savefile_cut_fcs(struct savefile_packet *packet, unsigned fcs);

/* From the file's byte order. */
uint16_t savefile_16(const struct savefile *file, const uint8_t *p);
uint32_t savefile_32(const struct savefile *file, const uint8_t *p);
uint64_t savefile_64(const struct savefile *file, const uint8_t *p);

/* Read what follows the magic number, which is in file->bytes[0, 4). 0 or -errno with the error set. */
int savefile_pcap_open(struct savefile *file, uint32_t magic);
int savefile_pcapng_open(struct savefile *file);

#endif
