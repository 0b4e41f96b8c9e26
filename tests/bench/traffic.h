/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * traffic.h - a synthetic heavy-tailed mix as records in rings, for the benchmarks: TRAFFIC_TEXT says what is in it.
 * Without `rest` it is flows of TCP, UDP and echoes only, with the parameters of the encoder's measurements, and the
 * same packets in every run; so are those with `rest`. Test code.
 */
#ifndef XDP_RECORDER_TESTS_TRAFFIC_H
#define XDP_RECORDER_TESTS_TRAFFIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"

enum { INSIDE = 400, OUTSIDE = 30000, LIVE = 1500, PACKETS = 400000, BATCH = 4096, RINGS = 4, FLOW_MAX = 60000 };
#define TRAFFIC_TEXT                                                                                                   \
	"%d hosts inside (Zipf 1.0), %d outside (1.1), %d live flows, length Pareto 1.1 up to %d, 15%% IPv6, 70%% "    \
	"TCP (4%% "                                                                                                    \
	"one-SYN scans), 26%% UDP (half DNS), 4%% ICMP, trains of 1-24, a third of the inside hosts tagged, random "   \
	"checksums"

/* Records as they lie in rings, at most PACKETS. */
struct trace {
	uint8_t *ring[RINGS];
	size_t used[RINGS];
	const struct rec_head **records; /* batch by batch, in runs by ring */
	uint32_t n;
	uint64_t time, header_bytes;
};
struct rec_slot; /* bpf/parse.h */
void trace_init(struct trace *t);
void trace_free(struct trace *t);
void trace_add(struct trace *t, const struct rec_slot *slot, unsigned ring);
/* Within each batch of BATCH: ring after ring, as `cut` takes them. */
void trace_by_rings(struct trace *t);

/* Fills the trace with the mix; with `rest` one train in TRAFFIC_REST_EVERY is one of traffic_rest. */
#define TRAFFIC_REST_EVERY 8
void traffic_flows(struct trace *t, bool rest);
/* The same, with `live` flows at a time (1 to LIVE): few packets a second come from few conversations. */
void traffic_flows_of(struct trace *t, bool rest, unsigned live);
/* A train of packets of one of the other kinds; seldom, a packet that needs raw: see traffic_rest.c. */
void traffic_rest(struct trace *t);
void traffic_noise(struct trace *t);

/* The mix's random numbers: 0 to n - 1. */
uint32_t traffic_below(uint32_t n);

#endif
