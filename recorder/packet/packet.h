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
 * A packet is up to three stacks of headers of one form: the outer one, the one inside a tunnel, the one that an ICMP
 * error quotes. Each is cut for the bucket encoder: what normally stays the same through a conversation is in `key` (one
 * cache line, compared as bytes, hence without padding), what varies is in the rest.
 */
#ifndef XDP_RECORDER_PACKET_PACKET_H
#define XDP_RECORDER_PACKET_PACKET_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"

/*
 * Bits of packet.has, one for each F(...) line of fields.def, in its order: PKT_<id> / 64 is the word. A stack's fields
 * have the same places in words 0, 1 and 2. Numbers below PKT_FIELDS that no line has are names of nothing.
 */
enum packet_field {
#define F(id, name, bson, where, tshark, text) PKT_##id,
#define WORD(n, first) PKT_WORD##n = 64 * n + (first) - 1,
#include "recorder/packet/fields.def"
#undef F
	PKT_FIELDS
};
#define PACKET_WORDS 4u
_Static_assert(PKT_RAW < 64 && PKT_FIELDS <= 64 * PACKET_WORDS, "packet.has is four words");
_Static_assert(PKT_ILOCAL == PKT_LOCAL + 64 && PKT_IRMAC == PKT_RMAC + 64 && PKT_QRMAC == PKT_RMAC + 128,
	       "a stack's fields have the same places in their words");

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
	uint8_t tags;	/* number of VLAN tags, 0..2, and their EtherTypes: packet_tpid */
	uint8_t reserved[6];
};
_Static_assert(sizeof(struct packet_key) == 64, "packet_key is one cache line");

#define PACKET_TPID 0x8100u
#define PACKET_TPID_AD 0x88a8u	/* IEEE 802.1ad */
#define PACKET_TPID_OLD 0x9100u /* before it */
/* Bits of packet_key.tags for tag i (0, 1): its EtherType is AD or OLD; none: PACKET_TPID. */
#define PACKET_TAG_AD(i) (0x10u << 2 * (i))
#define PACKET_TAG_OLD(i) (0x20u << 2 * (i))
static inline uint32_t packet_tpid(unsigned tags, unsigned i)
{
	return tags & PACKET_TAG_AD(i) ? PACKET_TPID_AD : tags & PACKET_TAG_OLD(i) ? PACKET_TPID_OLD : PACKET_TPID;
}

#define PACKET_SACKS 4u
#define PACKET_LABELS 4u

/* Bytes kept as they were: in the record, or in the document that the packet was read from. Not owned. */
struct packet_bytes {
	const uint8_t *at;
	uint16_t len;
};

/*
 * One stack of headers; what stack.def says of each member. The first 40 bytes behind the key are in the order of struct row
 * (encode/flow.h), which takes them 8 at a time.
 */
struct packet_stack {
	struct packet_key key;
	uint32_t seq, ack;
	uint32_t tsval, tsecr; /* as written by the sender */
	uint16_t flags, win, ipid, csum;
	int32_t opts; /* TCP options' order and padding, see decode.c */
	uint32_t flow;
	uint16_t mss, urg;
	uint8_t ttl, tos, ws, sacks;
	uint16_t icmp_id, icmp_seq, frag;
	uint8_t icmp_type, icmp_code;
	int32_t pad;
	uint16_t ipcsum, ulen, arp_op;
	uint8_t nxt;
	uint32_t sack_left[PACKET_SACKS], sack_right[PACKET_SACKS];
	uint32_t fragid, icmp_rest;
	uint8_t sha[6], tha[6];
	uint8_t target[16];
	struct packet_bytes ipopts, ext, topts;
};

/* What a packet has once at most, in whichever stack; fields.def, word 3. */
struct packet_other {
	uint16_t quote_len;
	uint8_t dsap, ssap;
	uint16_t llc_control, pid;
	uint32_t oui;
	uint16_t pppoe, ppp_len, ppp;
	uint32_t mpls[PACKET_LABELS];
	uint16_t gre, gre_proto;
	uint32_t gre_sum, gre_key, gre_seq, gre_ack;
	uint32_t vni;
	uint16_t vx_flags, vx_group, geneve, geneve_proto;
	uint8_t vni_reserved;
	struct packet_bytes geneve_opts;
	uint32_t spi, esp_seq, ah_spi, ah_seq;
	uint32_t icmp_time[3], icmp_mask;
	uint32_t ra_reach, ra_retrans;
	uint8_t redirect[16];
	uint32_t sctp_tag, sctp_sum, tsn, ppid, rwnd, init_tag;
	uint16_t chunk_len, sid, ssn, ostreams, istreams;
	uint8_t chunk, chunk_flags;
	uint8_t dccp_type, dccp_cc, dccp_reserved;
	uint64_t dccp_seq, dccp_ack;
	uint32_t dccp_service, dccp_reset;
};

/*
 * `inner`, `quote` and `other` are set only where their word of has is not 0: reading a member whose bit is not set is
 * a mistake.
 */
struct packet {
	uint64_t has[PACKET_WORDS]; /* bit (f & 63) of word f >> 6: field f is there */
	uint64_t time;		    /* boot time, ns */
	uint32_t len;		    /* bytes on the wire */
	uint16_t marks;		    /* enum rec_mark */
	uint16_t segs, gso;
	uint16_t raw_len;
	const uint8_t *raw; /* the record's header bytes (not owned), where PKT_RAW */
	struct packet_stack outer;
	struct packet_stack inner; /* inside a tunnel: one is followed */
	struct packet_stack quote; /* in an ICMP error, of the outer or of the inner stack */
	struct packet_other other;
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
