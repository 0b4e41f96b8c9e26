/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flood_rows.h - a summary: packets that were counted instead of stored, as a document of floods_<day>. Pure.
 *
 * The same table gives the same documents under the same _ids, however often it is read: writing them again changes
 * nothing.
 */
#ifndef XDP_RECORDER_LEDGER_FLOOD_ROWS_H
#define XDP_RECORDER_LEDGER_FLOOD_ROWS_H

#include <bson/bson.h>

#include "bpf/abi.h"
#include "recorder/source/batch.h"

/* The epoch of one side that a summary is of. */
struct flood_epoch {
	const struct batch_source *source;
	uint32_t side, epoch;
	uint64_t sec;	 /* its first boot second */
	uint64_t end;	 /* the first one behind it */
	struct clock_pair pair; /* in force at its start */
};

/* enum rec_why as the documents say it; NULL: there is none. And back, as a bit; 0: there is none. */
const char *flood_why_name(unsigned why);
unsigned flood_why_bit(const char *name);

#define FLOOD_ID_LEN 25 /* capture (16), side (1), epoch (4), place in the sorted table (4), big-endian */
void flood_id(uint8_t id[FLOOD_ID_LEN], const struct flood_epoch *epoch, uint32_t place);

/* UTC day of the epoch's first second: the collection's. */
uint32_t flood_day(const struct flood_epoch *epoch);

/*
 * {_id, ts, ns (of the first packet), last, last_ns, sensor, iface, side, epoch, sec, secs (whole seconds of the balance that it is
 * of), by: "flow"|"destination"|"source"|"protocol", src?, dst? (as in packets: IPv4, IPv6, or MAC), src_net?, dst_net? ("10.0.0.0/8",
 * "2000::/12", "02:00:5e:00:00:00/24": what is left of the other end), sport?, dport?, proto?, icmp_type?, icmp_code?, etype?, packets,
 * bytes, len_min, len_max, flags_any?, flags_all? (TCP), fragments?: true, why: [..], clock: {boot, wall}}. epoch, sec,
 * packets and bytes are int64, other numbers int32.
 */
void flood_document(bson_t *out, const struct flood_epoch *epoch, uint32_t place, const struct rec_flood *flood);

#endif
