/* SPDX-License-Identifier: GPL-2.0-or-later */
/* events.h - what the collection `events` says of the edges of captures, and of holes. For audit; blocking. */
#ifndef XDP_RECORDER_AUDIT_EVENTS_H
#define XDP_RECORDER_AUDIT_EVENTS_H

#include "recorder/audit/audit.h"

/*
 * The event that explains the end of a balance at `wall`: "stop" and "interface-gone" (it has ended), "leave" (capture goes on
 * without a process), "gap" (of the capture that came next: it says that this one was cut off, and with which batch);
 * else the kind of the next one of this interface, "" when there is none.
 */
struct audit_ending {
	char kind[32];
	bool explained;
	uint64_t last_batch; /* of a gap; 0: not said */
};
enum db_result audit_event_of_end(struct audit_run *run, const struct audit_capture *capture, int64_t wall,
				  struct audit_ending *ending);

/*
 * The boot second with which each side's balance begins, by the event `start`; 0: it is not there, or does not say so.
 * there: there is one.
 */
enum db_result audit_event_of_start(struct audit_run *run, const struct audit_capture *capture, uint64_t sec[REC_SIDES],
				    bool *there);

/* True when the last start or stop before the day that begins at `wall` is a stop, and nothing starts in that day. */
enum db_result audit_capture_was_off(struct audit_run *run, int64_t wall, bool *off);

/* Captures that began in the range, by their event, and of which there is nothing. */
enum db_result audit_starts(struct audit_run *run);

/* Events of a sensor within [from, to], in a few words ("stop 2026-11-24 10:00:05.250Z"), as many as fit; "" = none. */
enum db_result audit_events_between(struct audit_run *run, const char *sensor, int64_t from, int64_t to, char *text, size_t size);

#endif
