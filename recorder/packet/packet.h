/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * packet.h - a packet's header fields, between the bytes in a ring and the document in a database.
 *
 *   packet_decode   header bytes -> struct packet      pure, no allocation
 *   packet_rebuild  struct packet -> header bytes      pure, its inverse
 *
 * Law: for every record r that decodes without PKT_RAW, rebuild(decode(r)) = the header bytes of r. Where fields cannot
 * give the bytes back, decode sets PKT_RAW, the bytes themselves are stored (`raw`), and rebuild copies them. The
 * fields that could be read stand beside `raw` all the same.
 *
 * Source and destination are as on the wire; who is local is decided later (ends.h). Values are in host byte order,
 * addresses in network order. Which fields are there says `has`, one bit for each name in fields.def.
 *
 * The struct is cut for the bucket encoder: what normally stays the same through a conversation is in `key` (one
 * cache line, compared as bytes, hence without padding), what varies is in the rest.
 */
#ifndef XDP_RECORDER_PACKET_PACKET_H
#define XDP_RECORDER_PACKET_PACKET_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"

/* Bits of packet.has, one for each F(...) line of fields.def, in its order. */
enum packet_field {
#define F(id, name, bson, where, tshark, text) PKT_##id,
#include "recorder/packet/fields.def"
#undef F
	PKT_FIELDS
};
_Static_assert(PKT_FIELDS <= 128, "packet.has is two words");

/* What a conversation keeps. No padding; unused bytes are zero, so that equal keys are equal bytes. */
struct packet_key {
	uint8_t src[16]; /* IPv4: 4 bytes, then zeros */
	uint8_t dst[16];
	uint8_t smac[6];
	uint8_t dmac[6];
	uint16_t sport;
	uint16_t dport;
	uint16_t etype; /* of the innermost tag, or 802.3 length */
	uint16_t vlan;	/* TCI of the outer tag: PCP, DEI, VID */
	uint16_t vlan2; /* TCI of the second tag */
	uint8_t proto;	/* IANA protocol number of layer 4 */
	uint8_t family; /* 4, 6, or 0: no addresses. ARP: 4 */
	uint8_t side;	/* enum rec_side */
	uint8_t tags;	/* number of VLAN tags, 0..2; bit 4+i set: tag i is 802.1ad (PACKET_TPID_AD) */
	uint8_t reserved[6];
};
_Static_assert(sizeof(struct packet_key) == 64, "packet_key is one cache line");

#define PACKET_TPID 0x8100u
#define PACKET_TPID_AD 0x88a8u
#define PACKET_TAG_AD(i) (0x10u << (i))

#define PACKET_SACKS 4u

struct packet {
	struct packet_key key;
	uint64_t has[2]; /* bit (f & 63) of word f >> 6: field f is there */
	uint64_t time;	 /* boot time, ns */
	uint32_t len;	 /* bytes on the wire */
	uint32_t seq, ack;
	uint32_t tsval, tsecr; /* as written by the sender */
	uint32_t flow;	       /* IPv6 flow label */
	uint32_t sack_left[PACKET_SACKS], sack_right[PACKET_SACKS];
	int32_t opts;	/* TCP options' order and padding, see decode.c */
	int32_t pad;	/* bytes on the wire behind what layer 3 says is its end (Ethernet padding), may be negative */
	uint16_t marks; /* enum rec_mark */
	uint16_t segs, gso;
	uint16_t ipid, frag, ipcsum, csum;
	uint16_t flags, win, urg, mss;
	uint16_t ulen; /* UDP length where it is not what layer 3 implies */
	uint16_t icmp_id, icmp_seq, arp_op;
	uint8_t ttl, tos, ws, icmp_type, icmp_code, sacks;
	uint8_t sha[6], tha[6]; /* ARP hardware addresses where not implied, see fields.def */
	uint16_t raw_len;
	const uint8_t *raw; /* the record's header bytes (not owned), where PKT_RAW */
};

static inline int packet_has(const struct packet *p, unsigned field)
{
	return (int)(p->has[field >> 6] >> (field & 63) & 1);
}
static inline void packet_set(struct packet *p, unsigned field)
{
	p->has[field >> 6] |= 1ull << (field & 63);
}
static inline void packet_clear(struct packet *p, unsigned field)
{
	p->has[field >> 6] &= ~(1ull << (field & 63));
}

/*
 * Writes every member of *p. head->off is not used: the layers are found in the bytes themselves. `bytes` are
 * head->cap_len header bytes and must live as long as *p is used; more than REC_CAP_MAX are cut. Unknown marks are
 * dropped, REC_MARK_CSUM_NONE is found here: side tx, and the L4 checksum is the bare sum of the pseudo header.
 */
void packet_decode(struct packet *p, const struct rec_head *head, const uint8_t *bytes);

/*
 * Writes the header bytes to out[REC_CAP_MAX] and returns their number; -EINVAL when the fields contradict each other
 * (possible only for a packet that did not come from packet_decode, e.g. read from a damaged document).
 */
int packet_rebuild(const struct packet *p, uint8_t out[REC_CAP_MAX]);

/* The folded sum of the IPv4 or IPv6 pseudo header (not complemented): what offload leaves in the checksum field. */
uint16_t packet_pseudo_sum(const struct packet_key *key, uint32_t length);

#endif
