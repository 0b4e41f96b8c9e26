/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pcapng.h - blocks of a pcapng file (draft-ietf-opsawg-pcapng), little-endian, nanoseconds, LINKTYPE_ETHERNET. Pure: each
 * function writes one whole block to `at` and gives its length, a multiple of 4. Texts are cut to PCAPNG_TEXT_MAX bytes, a
 * filter to PCAPNG_FILTER_MAX. The format's stamps are unsigned: a time before 1970 is written as 1970.
 */
#ifndef XDP_RECORDER_ENCODE_PCAPNG_H
#define XDP_RECORDER_ENCODE_PCAPNG_H

#include <stddef.h>
#include <stdint.h>

#define PCAPNG_TEXT_MAX 255u
#define PCAPNG_FILTER_MAX 16384u
#define PCAPNG_SECTION_MAX 1024u
#define PCAPNG_INTERFACE_MAX 17408u /* a filter's text may be 16 KiB */
#define PCAPNG_PACKET_MAX 384u	    /* of REC_CAP_MAX header bytes */
#define PCAPNG_STATISTICS_MAX 128u

/* Section header: shb_hardware, shb_os, shb_userappl ("xdp-recorder <version>"); section length unknown (-1). */
size_t pcapng_section(uint8_t *at, const char *hardware, const char *os, const char *application);

struct pcapng_interface {
	const char *name;	 /* if_name */
	const char *description; /* if_description; "capture <hex id>" tells the recorder which capture it is */
	const char *filter;	 /* if_filter, code 0; NULL: none */
	uint32_t snaplen;
};
size_t pcapng_interface(uint8_t *at, const struct pcapng_interface *interface); /* with if_tsresol 9 */

struct pcapng_packet {
	uint32_t interface; /* of the section, from 0 */
	int64_t wall;	    /* ns since 1970 */
	uint32_t wire_len, cap_len;
	const uint8_t *bytes;
	uint8_t direction; /* epb_flags: 1 inbound, 2 outbound, 0 not said */
	uint64_t id;	   /* epb_packetid, 0: none */
};
size_t pcapng_packet(uint8_t *at, const struct pcapng_packet *packet);
/* Says anew which interface a packet block is of. */
void pcapng_set_interface(uint8_t *packet_block, uint32_t interface);

struct pcapng_statistics {
	uint32_t interface;
	int64_t wall; /* of the statistics */
	uint64_t received, dropped, accepted, delivered; /* isb_ifrecv, isb_ifdrop, isb_filteraccept, isb_usrdeliv */
};
size_t pcapng_statistics(uint8_t *at, const struct pcapng_statistics *statistics);

/*
 * Reading back what these functions wrote, for who goes on behind it. pcapng_whole: the length of the block at `at`, of which
 * `have` bytes are there; 0: its rest is missing, as far as it is there it is one of ours; -1: it is none of ours.
 */
enum pcapng_kind { PCAPNG_SECTION = 0x0a0d0d0a, PCAPNG_INTERFACE = 1, PCAPNG_STATISTICS = 5, PCAPNG_PACKET = 6 };
#define PCAPNG_BLOCK_MAX PCAPNG_INTERFACE_MAX
int pcapng_whole(const uint8_t *at, size_t have);
enum pcapng_kind pcapng_kind(const uint8_t *block);
/* An option's value in a whole block; NULL: there is none. */
const uint8_t *pcapng_option(const uint8_t *block, unsigned code, uint16_t *len);
enum { PCAPNG_APPLICATION = 4, PCAPNG_DESCRIPTION = 3, PCAPNG_PACKET_ID = 5 };
uint32_t pcapng_packet_interface(const uint8_t *packet_block);

#endif
