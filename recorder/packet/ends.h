/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ends.h - which end of a packet is local. One pure function of the packet and a table of addresses.
 *
 * Rule, first that decides: exactly one end is an own address -> it; exactly one end lies in the home
 * networks -> it; the destination is multicast or broadcast -> the sender; the numerically lower address (bytes in
 * network order), then the lower port -> it. For frames without addresses the MAC addresses take their place, own MACs
 * included. A multicast or broadcast destination never is local.
 */
#ifndef XDP_RECORDER_PACKET_ENDS_H
#define XDP_RECORDER_PACKET_ENDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recorder/packet/packet.h"

struct ends_network {
	uint8_t address[16];
	uint8_t family; /* 4 or 6 */
	uint8_t prefix; /* bits */
};

/* Read-only while workers use it; build a new one and swap to change it. */
struct ends_table;

/*
 * `own` are host addresses (prefix ignored), `macs` own MAC addresses, `home` networks. Copies all. NULL when out of
 * memory. An empty table is valid.
 */
struct ends_table *ends_table_new(const struct ends_network *own, size_t owns, const uint8_t (*macs)[6], size_t nmacs,
				  const struct ends_network *home, size_t homes);
void ends_table_free(struct ends_table *table);

/* True when both give the same answer for every packet. */
bool ends_table_equal(const struct ends_table *a, const struct ends_table *b);

/* True when the source is the local end. It hangs on the outer key alone. */
bool ends_key_is_local(const struct ends_table *table, const struct packet_key *key);
static inline bool ends_source_is_local(const struct ends_table *table, const struct packet *p)
{
	return ends_key_is_local(table, &p->outer.key);
}

#endif
