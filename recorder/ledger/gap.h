/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * gap.h - what could not be seen, as a value and as a document of `events`. Pure.
 *
 * A gap has a beginning and an end. Its document is written when it begins, with `end: null`, and once more under the same _id
 * when it ends; so a gap that nobody has closed yet is one that lasts, or whose recorder died. Both are told so that the gap is
 * rather too long than too short: it begins with the last moment at which somebody knew that packets would be seen.
 */
#ifndef XDP_RECORDER_LEDGER_GAP_H
#define XDP_RECORDER_LEDGER_GAP_H

#include <bson/bson.h>
#include <stdbool.h>

#include "recorder/source/batch.h"

enum gap_why {
	GAP_NONE = 0,
	GAP_GONE,	   /* the interface was not there */
	GAP_DOWN,	   /* it was set down, or had no carrier */
	GAP_DETACHED,	   /* somebody took a hook off */
	GAP_REBOOT,	   /* the machine was started anew */
	GAP_NOT_RECORDING, /* there was no capture of it: between `stop` and `record` */
	GAP_WHYS
};

/* How the beginning is known. */
enum gap_by {
	GAP_BY_EVENT,	/* the kernel said so at that moment */
	GAP_BY_LOOK,	/* the last look that found all well, at most a second or so before */
	GAP_BY_COUNT,	/* the carrier's counter moved between two looks */
	GAP_BY_PINS,	/* no process was there: the last packet that the kernel counted, or the last look of a former process */
	GAP_BY_BALANCE, /* the end of the last second (or silent run: the heartbeat) in the database */
	GAP_BYS
};

struct gap {
	const struct batch_source *source;
	int side; /* enum rec_side; -1: the whole interface */
	enum gap_why why;
	enum gap_by by;
	uint64_t id_boot; /* boot ns that stands in the _id: of the beginning, or, where that was another boot, of the end */
	int64_t begin, end; /* wall ns */
	bool open;	    /* it has not ended */
	/* Only of GAP_REBOOT and GAP_NOT_RECORDING: */
	bool before;		/* the capture did not exist yet */
	const uint8_t *former;	/* CAPTURE_ID_LEN of the one before it, NULL: not of these */
	uint64_t last_batch;	/* number of its newest ledger entry, 0: none */
	int64_t unaccounted;	/* its packets in the database behind `begin`, which no second of the balance counts */
};

/*
 * {_id, ts and ns (of the beginning), kind: "gap", sensor, iface, side?, text, why, by, begin, end (Date or null), capture, former?:
 * {capture, last_batch, unaccounted}}
 */
void gap_document(bson_t *out, const struct gap *gap);
/* The same _id, at most GAP_ID_MAX bytes; returns its length. */
#define GAP_ID_MAX (CAPTURE_ID_LEN + 8 + 16)
size_t gap_id(uint8_t id[GAP_ID_MAX], const struct gap *gap);

/* "link down", "last look": what stands in the document. */
const char *gap_why_name(enum gap_why why);
const char *gap_by_name(enum gap_by by);

#endif
