/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * filter.h - a pcap-filter expression: compiled by libpcap, run in the kernel as eBPF, or natively.
 *
 * Exact meaning: for every packet the decision is the one that pcap_offline_filter takes on the packet's first REC_CAP_MAX
 * bytes and its true length. An expression that could read a byte at offset REC_CAP_MAX or beyond, by a constant or by the
 * largest value that the offset can take, is refused with that offset: there it would be silently false. So are
 * expressions that jump backwards (`protochain`), that ask for what is not in the packet (`inbound`, `ifindex`), and those
 * longer than FILTER_INSNS_MAX. See CAPTURE.md section 10.
 */
#ifndef XDP_RECORDER_CAPTURE_FILTER_H
#define XDP_RECORDER_CAPTURE_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FILTER_INSNS_MAX 4096u
#define FILTER_TEXT_MAX 16384u

struct filter; /* read-only after compiling: any thread */

struct filter_error {
	char text[400];
};

/*
 * Ethernet. An empty or blank expression gives *out = NULL and 0: no filter. 0, or -EINVAL with one line that names the
 * expression's fault; -ENOMEM. May look names up (hosts, ports): before privileges are dropped.
 */
int filter_compile(struct filter **out, const char *expression, struct filter_error *error);
void filter_free(struct filter *filter);

const char *filter_text(const struct filter *filter);
/* Bytes of a packet that it may look at: largest offset + 1, 0 when it looks at none. At most REC_CAP_MAX. */
uint32_t filter_reach(const struct filter *filter);
/* Its classic BPF: length. For messages and benchmarks. */
unsigned filter_length(const struct filter *filter);
/* True: keep. `have` bytes (at most REC_CAP_MAX are looked at) of a packet of `wire` bytes. NULL filter: true. */
bool filter_match(const struct filter *filter, const uint8_t *bytes, uint32_t have, uint32_t wire);

#endif
