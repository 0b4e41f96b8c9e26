/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * episodes.h - from the summaries of floods_* to floods as a person means them: who, whom, what, when, how much. Pure but for
 * memory.
 *
 * Summaries that follow each other within EPISODE_GAP_S, of one capture, side and protocol, and that share a host are one
 * episode: the destination (by: flow, destination), or the source (by: source). Those that share neither (by: protocol) are one too.
 * At the end the episodes that have one source between them, EPISODE_SCAN destinations or more, become one, of that source.
 */
#ifndef XDP_RECORDER_LEDGER_EPISODES_H
#define XDP_RECORDER_LEDGER_EPISODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EPISODE_GAP_S 10
#define EPISODE_LEAST_S 0.1 /* rates are over no less */
#define EPISODE_SCAN 16
#define EPISODE_MOST 65536 /* episodes; what comes beyond is put to those without a host */
#define EPISODE_HOST 48	   /* an address as text */
#define EPISODE_NAME 64
#define EPISODE_KINDS 4

enum flood_by { FLOOD_BY_FLOW, FLOOD_BY_DESTINATION, FLOOD_BY_SOURCE, FLOOD_BY_PROTOCOL, FLOOD_BYS };

/* A document of floods_*; text lives as long as the call. Numbers that are not there are -1. */
struct flood_row {
	uint8_t capture[16];
	const char *sensor, *iface;
	const char *src, *dst; /* "": not whole */
	unsigned side;
	uint32_t epoch;
	int64_t first, last; /* wall clock, ns */
	enum flood_by by;
	int32_t proto, etype, icmp_type, sport, dport, flags_any, flags_all;
	bool fragments;
	uint64_t packets, bytes;
	unsigned why; /* bits of enum rec_why */
};

struct episode {
	uint8_t capture[16];
	char sensor[EPISODE_NAME], iface[EPISODE_NAME];
	unsigned side;
	int32_t proto; /* -1: not IP */
	char host[EPISODE_HOST];   /* the one that they share, "": none */
	char other[EPISODE_HOST];  /* the other end, if it is one host; "" else */
	bool from;		   /* host is the source */
	uint32_t others;	   /* conversations and networks at the other end: summaries of the epoch that had most */
	int64_t first, last;	   /* wall clock, ns */
	uint64_t packets, bytes, of[FLOOD_BYS]; /* packets by what they were counted by */
	struct {
		char name[EPISODE_HOST]; /* "ICMP echo request", "TCP SYN", "UDP from DNS" ... */
		uint64_t packets; /* of summaries that tell more than the protocol */
	} kind[EPISODE_KINDS];
	double peak_packets, peak_bits; /* a second, of the epoch that had most: over its packets' time, at least EPISODE_LEAST_S */
	unsigned why;
	/* the epoch that is being added up */
	uint32_t epoch, epoch_rows;
	int64_t epoch_first, epoch_last;
	uint64_t epoch_packets, epoch_bytes;
};

struct episodes {
	struct episode *list;
	size_t count, room;
	uint32_t *slot; /* open ones by key: index + 1 */
	size_t slots;
};

/* Of each capture and side in the order of epochs. 0 or -ENOMEM. */
int episodes_add(struct episodes *e, const struct flood_row *row);
/* Scans become one; in the order of their first packet. */
void episodes_end(struct episodes *e);
void episodes_free(struct episodes *e);

/* How long it was, for rates. */
double episode_seconds(const struct episode *e);

/* What most of its packets are, such as "TCP SYN". */
const char *episode_kind(const struct episode *e);

#endif
