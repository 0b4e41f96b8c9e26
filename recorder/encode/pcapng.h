/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pcapng.h - blocks of a pcapng file (draft-ietf-opsawg-pcapng), little-endian, nanoseconds, LINKTYPE_ETHERNET. Pure: each
 * function writes one whole block to `at` and gives its length, a multiple of 4.
 */
#ifndef XDP_RECORDER_ENCODE_PCAPNG_H
#define XDP_RECORDER_ENCODE_PCAPNG_H

#include <stddef.h>
#include <stdint.h>

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

struct pcapng_statistics {
	uint32_t interface;
	int64_t wall; /* of the statistics */
	uint64_t received, dropped, filtered, delivered; /* isb_ifrecv, isb_ifdrop, isb_filteraccept, isb_usrdeliv */
};
size_t pcapng_statistics(uint8_t *at, const struct pcapng_statistics *statistics);

#endif
