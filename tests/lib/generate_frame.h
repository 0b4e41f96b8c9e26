/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * generate_frame.h - one Ethernet frame from a description. Pure.
 */
#ifndef XDP_RECORDER_GENERATE_FRAME_H
#define XDP_RECORDER_GENERATE_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_MIN 60u
#define FRAME_MAX 1514u

/* Host byte order; addresses in network order. */
struct frame_spec {
	int family; /* 4 or 6 */
	uint8_t proto;
	uint8_t smac[6], dmac[6];
	uint8_t src[16], dst[16]; /* IPv4: the first four bytes */
	uint16_t sport, dport;	  /* ICMP: id, sequence */
	uint16_t ipid, frag;
	uint16_t vlan;		  /* VID, 0: untagged */
	uint32_t flow;		  /* IPv6 flow label */
	uint32_t seq, ack, tsval; /* tsval not 0: with the time stamps option */
	uint8_t flags;
	uint32_t len; /* of the frame; up to FRAME_MIN the rest behind the headers is Ethernet padding */
};

/* Where things are in a frame that was built. */
struct frame_layout {
	uint32_t l3, l4, l4_len;
	uint32_t check; /* offset of the layer 4 checksum, 0: none */
};

/* Writes spec->len bytes (made larger when the headers need it) and returns their number. With checksums. */
uint32_t frame_build(uint8_t out[FRAME_MAX], const struct frame_spec *spec, struct frame_layout *layout);

/* Sum of native 16-bit words, not folded. */
uint32_t frame_sum(const uint8_t *bytes, uint32_t len);

/* The pseudo header's part without the source address. */
uint32_t frame_pseudo_sum(const struct frame_spec *spec, uint32_t l4_len);

#endif
