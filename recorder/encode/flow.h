/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flow.h - a batch's packets in flow order: packets of one conversation lie together, first those that left, then those
 * that came, each in time order; conversations are ordered by their local, then their remote address. So the columns of
 * a bucket hardly change, and a host's packets lie in few buckets.
 *
 * A packet becomes a row: what it shares with its conversation is a key (packet_key, one cache line, each distinct one
 * once), what is its own is one more cache line; what hardly any packet has goes to a list beside. Pure.
 */
#ifndef XDP_RECORDER_ENCODE_FLOW_H
#define XDP_RECORDER_ENCODE_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "recorder/packet/ends.h"
#include "recorder/packet/fields.h"
#include "recorder/source/batch.h"

/*
 * Records in a batch, at most; a key's number has 20 bits. A maker's memory is 229 bytes for each row, in powers of 2:
 * for FLOW_MOST of them 60 MB of addresses, of which 72 bytes a row are touched (19 MB) and 153 more for each key; and
 * a table of 8 to 16 bytes for each key. Rare fields are beside. Of a large
 * batch's memory what is above 65,536 rows is given back when 16 batches one after the other did not need it.
 */
#define FLOW_MOST 262144u
#define FLOW_KEY_BITS 20

/*
 * What changes seldom within a conversation stands in `slow`: compared as 24 bytes with the row before it. Which member
 * is meant says `has`: bit PKT_x is set where field x of has[0] is there and its value is in the row or in the key.
 * Fields that are there and not in the row or key are in the list of rare ones, their bits are not set. Members without
 * a set bit are 0.
 */
struct row_slow {
	uint64_t has;
	int32_t opts;
	union {
		uint32_t flow; /* FLOW, then a FRAG beside it is rare */
		uint32_t frag; /* FRAG */
	};
	union {
		uint16_t mss; /* MSS */
		struct {
			uint8_t icmp_type, icmp_code;
		};
	};
	uint16_t urg;
	uint8_t ttl, tos, ws;
	uint8_t rare; /* 1: the list of rare ones has fields of this row */
};

struct row {
	int64_t wall; /* ns since 1970: TS, NS */
	union {
		struct {
			uint32_t key : FLOW_KEY_BITS; /* number of its key */
			uint32_t marks : 32 - FLOW_KEY_BITS;
		};
		uint32_t key_marks; /* both, to be compared at once */
	};
	uint32_t len;
	uint32_t seq, ack;
	uint32_t ltsval, rtsval; /* by ends, not by who wrote them */
	union {
		struct {
			uint16_t flags, win;
		};
		struct {
			uint16_t icmp_id, icmp_seq;
		};
	};
	uint16_t ipid, csum;
	struct row_slow slow;
};
_Static_assert(sizeof(struct row_slow) == 24 && sizeof(struct row) == 64, "a row is a cache line");
_Static_assert(FLOW_MOST <= 1u << FLOW_KEY_BITS && REC_MARKS <= 32 - FLOW_KEY_BITS, "a key's number beside the marks");

/* Fields that stand in a row, each in its column of its own. */
#define ROW_BIT(id) (1ull << PKT_##id)
#define ROW_DENSE                                                                                                      \
	(ROW_BIT(TS) | ROW_BIT(NS) | ROW_BIT(LEN) | ROW_BIT(SEQ) | ROW_BIT(ACK) | ROW_BIT(LTSVAL) | ROW_BIT(RTSVAL) |  \
	 ROW_BIT(FLAGS) | ROW_BIT(WIN) | ROW_BIT(ICMP_ID) | ROW_BIT(ICMP_SEQ) | ROW_BIT(IPID) | ROW_BIT(CSUM))
#define ROW_SLOW                                                                                                       \
	(ROW_BIT(OPTS) | ROW_BIT(FLOW) | ROW_BIT(FRAG) | ROW_BIT(MSS) | ROW_BIT(ICMP_TYPE) | ROW_BIT(ICMP_CODE) |      \
	 ROW_BIT(URG) | ROW_BIT(TTL) | ROW_BIT(TOS) | ROW_BIT(WS) | ROW_BIT(SACK) /* always 1 */)
#define ROW_MARKS ROW_BIT(MARKS)
/* The same for every packet of a key, as long as the bit is set. */
#define ROW_KEY                                                                                                        \
	(ROW_BIT(DIR) | ROW_BIT(SIDE) | ROW_BIT(LOCAL) | ROW_BIT(LPORT) | ROW_BIT(REMOTE) | ROW_BIT(RPORT) |           \
	 ROW_BIT(PROTO) | ROW_BIT(VLAN) | ROW_BIT(TPID) | ROW_BIT(VLAN2) | ROW_BIT(TPID2) | ROW_BIT(ETYPE) |           \
	 ROW_BIT(LMAC) | ROW_BIT(RMAC))
#define ROW_FIELDS (ROW_DENSE | ROW_SLOW | ROW_MARKS | ROW_KEY)

/* A field of fields.def that is not in ROW_FIELDS, or does not fit the row. */
struct flow_rare {
	uint32_t row;
	uint16_t field; /* enum packet_field */
	uint16_t len;	/* STRING, BINARY: bytes */
	union {
		int64_t number; /* INT32, DOUBLE */
		const uint8_t *bytes;
	};
};

/* An address of a stack that is not the outer one. */
struct flow_address {
	uint32_t row;
	uint8_t family;	     /* 4, 6 */
	uint8_t address[16]; /* IPv4: 4 bytes, then zeros */
};

struct flow {
	uint32_t rows, keys, rares, addresses;
	struct row *row;		    /* [rows], by position in the batch (canonical order) */
	const uint32_t *order;		    /* [rows]: positions in flow order; rows of one key are a run */
	const struct packet_key *key;	    /* [keys], each 64-byte aligned */
	const uint8_t *out;		    /* [keys]: 1: the source is the local end */
	const struct flow_rare *rare;	    /* ascending by (row, field) */
	const uint32_t *first_rare;	    /* [rows]: of a row with slow.rare: number of its first one in `rare` */
	const struct flow_address *address; /* ascending by row: ends of inner and quoted packets */
};

/* Memory that is kept from batch to batch: one for each worker. NULL: no memory. */
struct flow_maker;
struct flow_maker *flow_maker_new(void);
void flow_maker_free(struct flow_maker *maker);

/*
 * Fills *flow from the batch's records, which are in canonical order; it is the maker's memory, until the next call. 0,
 * -ENOMEM, -E2BIG (more than FLOW_MOST records).
 */
int flow_make(struct flow_maker *maker, const struct batch *batch, const struct ends_table *ends, struct flow *flow);

#endif
