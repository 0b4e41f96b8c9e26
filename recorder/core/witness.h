/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * witness.h - the interface's own counters: an account of packets that the recorder does not keep.
 */
#ifndef XDP_RECORDER_CORE_WITNESS_H
#define XDP_RECORDER_CORE_WITNESS_H

#include <stdint.h>

/* Totals of struct rtnl_link_stats64, as read at `boot`. */
struct witness {
	uint64_t boot; /* ns; 0 = not read */
	uint64_t rx_packets, rx_bytes, rx_dropped;
	uint64_t tx_packets, tx_bytes, tx_dropped;
};

/* By rtnetlink (RTM_GETLINK, IFLA_STATS64), in the caller's network namespace, without privileges. 0 or -errno. */
int witness_read(const char *iface, struct witness *out);

#endif
