/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * audit.h - does it close? What is stored is added up anew and held against ledger, balance, summaries and events.
 *
 * The accounts are ledger/audit.h's; this room reads, and says which reads come in which order (internal.h). One thread, blocking.
 * Memory is a batch, a window and some pages, whatever the range; one number for each day.
 */
#ifndef XDP_RECORDER_AUDIT_AUDIT_H
#define XDP_RECORDER_AUDIT_AUDIT_H

#include "recorder/db/days.h"
#include "recorder/db/read_stream.h"
#include "recorder/ledger/audit.h"
#include "recorder/settings/settings.h"

enum audit_family { AUDIT_BALANCE, AUDIT_BATCHES, AUDIT_FLOODS, AUDIT_PACKETS, AUDIT_FAMILIES };
extern const char *const audit_family_names[AUDIT_FAMILIES];

struct audit_days {
	uint32_t *day;
	size_t count;
};

#define AUDIT_NAME 256

/* A capture of which there is something in the range. */
struct audit_capture {
	struct audit_of of; /* its text: sensor, iface */
	char sensor[AUDIT_NAME], iface[AUDIT_NAME];
	bool file;  /* a capture file: no witness, and seconds only where packets are */
	bool open;  /* still recording, or left with capture on */
	bool cut_off;	     /* by a reboot or a kill, and the next capture of the interface said so */
	uint64_t last_batch; /* that it named; 0: none */
	uint64_t newest;      /* open: the newest batch of which all before are there; later ones are still being written */
	uint64_t newest_from; /* boot second of its first packet */
	uint64_t rows_end;    /* boot second behind the balance, of the side that has the earlier one */
	uint64_t more_segments[REC_SIDES];
	uint64_t first_sec, last_sec; /* of its packets, by the ledger; first > last: none */
	uint8_t *windows;	      /* bits: windows of AUDIT_WINDOW seconds in which there are packets */
};

struct audit_delta {
	uint64_t sec, packets, bytes; /* found - entry */
	unsigned side;
};

/* What came of it, for the last line. */
struct audit_totals {
	struct rec_count term[REC_TERMS];
	struct rec_count open;
	uint64_t unseen, findings, packets, batches, rows;
};

struct audit_run {
	const struct settings *settings;
	struct db *db;
	struct db_client client;
	struct db_problem *problem;
	bool raw;		   /* rawData is understood */
	int64_t since, until, now; /* wall, ns; 0: no bound */
	const char *sensor;	   /* NULL: all */
	struct audit_days days[AUDIT_FAMILIES];
	uint64_t *documents; /* by day of AUDIT_PACKETS: plain documents of the range that batches have */
	uint64_t *buckets;   /* and the buckets that ledger entries of the day name */
	struct audit_capture *captures;
	size_t ncaptures;
	struct audit_delta *deltas; /* of the capture at work */
	size_t ndeltas;
	struct audit_batch batch;
	struct batch_second *seconds;
	struct audit_totals totals;
	audit_say *say; /* counts and prints */
	void (*note)(void *arg, const char *text);
	void *arg;
};

/* DB_OK also when something was found: it was said. */
enum db_result audit_run(struct audit_run *run);
void audit_run_free(struct audit_run *run);
void audit_note(struct audit_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
