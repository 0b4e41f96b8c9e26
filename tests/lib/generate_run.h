/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * generate_run.h - the generator's options and its two ways of sending.
 */
#ifndef XDP_RECORDER_GENERATE_RUN_H
#define XDP_RECORDER_GENERATE_RUN_H

#include <signal.h>
#include <stdint.h>

enum gen_proto { PROTO_UDP, PROTO_TCP_SYN, PROTO_TCP, PROTO_ICMP, PROTO_FRAGMENT, PROTO_MIX };

struct options {
	const char *iface;
	unsigned ifindex;
	uint64_t count, rate, first, seed;
	uint32_t size;
	uint32_t sources_mode, sources, targets_mode, targets;
	enum gen_proto proto;
	uint32_t quiet_per, quiet_flows, flows;
	uint16_t vlan;
	uint8_t smac[6], dmac[6];
	uint8_t from[4], to[4];
	int cpu;
	int shared; /* others send into the interface, too: what it took is not held against what was made */
};

/* What was sent, in frames and bytes; `refused` by the device, `quiet` a part of `packets`. */
struct result {
	uint64_t packets, bytes, quiet, quiet_bytes, refused;
	double seconds;
};

/* Set by SIGINT and SIGTERM: end early, with figures. */
extern volatile sig_atomic_t ended;

/* Both return 0, or -1 after a line on stderr. */
int send_live(const struct options *o, struct result *r);
int send_raw(const struct options *o, struct result *r);

/*
 * How many frames are due now, at most `most`; sleeps up to a tick while none is. `sent` since `start` (monotonic ns).
 * Rate 0: always `most`.
 */
uint64_t pace(uint64_t start, uint64_t sent, uint64_t count, uint64_t rate, uint64_t most);
uint64_t monotonic_ns(void);

#endif
