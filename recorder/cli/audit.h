/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * audit.h - the parts of `audit`: what is read in which order, for the accounts of ledger/audit.h.
 *
 *   audit_run      captures and days of the range, one capture after the other
 *   audit_packets  a capture's ledger, batch by batch, with the packets themselves
 *   audit_seconds  the balance of each side against ledger and summaries, a window of seconds at a time
 *   audit_strays   what lies in packets_* and belongs to no batch
 *
 * One thread, blocking. Memory is a batch, a window and some pages, whatever the range; one number for each day.
 */
#ifndef XDP_RECORDER_CLI_AUDIT_H
#define XDP_RECORDER_CLI_AUDIT_H

#include "recorder/cli/settings.h"
#include "recorder/db/days.h"
#include "recorder/db/read_stream.h"
#include "recorder/ledger/audit.h"

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
	uint64_t more_segments[REC_SIDES];
	uint64_t first_sec, last_sec; /* of its packets, by the ledger; first > last: none */
	uint8_t *windows;	      /* bits: windows of AUDIT_WINDOW seconds in which there are packets */
};

#define AUDIT_WINDOW (1u << 18) /* seconds whose sums are in memory at once: 3 days */
#define AUDIT_WINDOWS (1u << 17) /* 2^64 ns are so many of them at most */
#define AUDIT_DELTAS 65536u

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

/* The place of a day in run->days[family], -1: it is not there. */
long audit_day_index(const struct audit_run *run, enum audit_family family, uint32_t day);
bool audit_wants(const struct audit_run *run, const char *sensor, const char *iface);
/* [*from, *to] of ids that begin with a capture's. */
void audit_id_range(uint8_t *from, uint8_t *to, uint32_t len, const uint8_t capture[CAPTURE_ID_LEN]);
struct read_stream *audit_stream(struct audit_run *run, enum audit_family family, const uint8_t *from, const uint8_t *to,
				 uint32_t len, const bson_t *filter, const bson_t *projection);
enum db_result audit_no_memory(struct audit_run *run);

/* Batches first..last of a capture; before them the chain is as given. */
enum db_result audit_packets(struct audit_run *run, struct audit_capture *capture, struct audit_chain *chain, uint64_t first,
			     uint64_t last);

/* One side: rows whose seconds begin in [from, to). bounded: something may follow that is not of the range. */
enum db_result audit_seconds(struct audit_run *run, struct audit_capture *capture, unsigned side, uint64_t from, uint64_t to,
			     bool bounded, struct audit_hook *hook);

enum db_result audit_strays(struct audit_run *run);

#endif
