/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * internal.h - the parts of `audit`, in the order in which they come:
 *
 *   run       what all parts use; captures one after the other
 *   captures  days of the range, captures in them, days that are missing
 *   judge     one capture:
 *     span      its part of the range
 *     ends      does it go on, why has it ended
 *     packets   its ledger, batch by batch, with the packets themselves
 *     seconds   the balance of each side against ledger and summaries, a window of seconds at a time
 *   strays    what lies in packets_* and belongs to no batch
 *   events    what the collection `events` says; used by all
 */
#ifndef XDP_RECORDER_AUDIT_INTERNAL_H
#define XDP_RECORDER_AUDIT_INTERNAL_H

#include "recorder/audit/audit.h"

#define AUDIT_WINDOW (1u << 18) /* seconds whose sums are in memory at once: 3 days */
#define AUDIT_WINDOWS (1u << 17) /* 2^64 ns are so many of them at most */
#define AUDIT_DELTAS 65536u

extern const uint32_t audit_id_len[AUDIT_FAMILIES]; /* bytes; 0: packets, whose ids differ by storage */

/* One side's rows that begin in the range. */
struct audit_span {
	bool there;
	uint64_t from, to;	 /* boot seconds that begin rows of the range; to: end of the last one */
	int64_t wall_from, wall_to;
	bool has_before;
	uint64_t before; /* end of the row in front of the range */
	uint64_t last_sec; /* the last row's */
};

/* run.c */
/* The place of a day in run->days[family], -1: it is not there. */
long audit_day_index(const struct audit_run *run, enum audit_family family, uint32_t day);
bool audit_wants(const struct audit_run *run, const char *sensor, const char *iface);
/* [*from, *to] of ids that begin with a capture's. */
void audit_id_range(uint8_t *from, uint8_t *to, uint32_t len, const uint8_t capture[CAPTURE_ID_LEN]);
/* Ledger entries with a packet in the boot seconds [from, to). */
void audit_append_seconds(bson_t *filter, uint64_t from, uint64_t to);
struct read_stream *audit_stream(struct audit_run *run, enum audit_family family, const uint8_t *from, const uint8_t *to,
				 uint32_t len, const bson_t *filter, const bson_t *projection);
enum db_result audit_no_memory(struct audit_run *run);

/* captures.c: run->days, run->captures, and a finding for each day between them that is not there. */
enum db_result audit_find_captures(struct audit_run *run);

/* judge.c */
enum db_result audit_judge(struct audit_run *run, struct audit_capture *capture);

/* span.c. Of all days, the smallest or greatest _id between two. */
enum db_result audit_edge(struct audit_run *run, enum audit_family family, const uint8_t *from, const uint8_t *to, bool greatest,
			  const bson_t *filter, uint8_t *id, bool *found);
enum db_result audit_side_span(struct audit_run *run, const struct audit_capture *capture, unsigned side, struct audit_span *span);

/* ends.c */
void audit_say_capture(struct audit_run *run, const struct audit_capture *capture, const char *what, const char *family, int side,
		       int64_t from, int64_t to, const char *text);
/* Does it go on (capture->open)? Else why has it ended? */
enum db_result audit_judge_end(struct audit_run *run, struct audit_capture *capture, const struct audit_span span[REC_SIDES]);
/* Both sides begin and end with the same second, and no later than the event says. */
enum db_result audit_judge_sides(struct audit_run *run, const struct audit_capture *capture, const struct audit_span span[REC_SIDES]);

/* packets.c. Batches first..last of a capture; before them the chain is as given. */
enum db_result audit_packets(struct audit_run *run, struct audit_capture *capture, struct audit_chain *chain, uint64_t first,
			     uint64_t last);

/* seconds.c. One side: rows whose seconds begin in [from, to). bounded: something may follow that is not of the range. */
enum db_result audit_seconds(struct audit_run *run, struct audit_capture *capture, unsigned side, uint64_t from, uint64_t to,
			     bool bounded, struct audit_hook *hook);

/* strays.c */
enum db_result audit_strays(struct audit_run *run);

#endif
