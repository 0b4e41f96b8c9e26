/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * print.h - a packet for people: one line, or a tree. Pure but for the table of service names (services.c), which is read
 * from the machine's own list once; one thread.
 *
 * The line is as dense and regular as tcpdump's:
 *   17:13:01.123456789 eth0 rx 10.0.0.1.44321 > 10.0.0.2.https: TCP S seq 1234 win 64240 <mss 1460,sackOK,ts 1 0,nop,ws 7> len 74
 * `seq A:B` and `data N` say how much the packet carries, `len` is the frame on the wire as in the database. What a tunnel
 * carries stands behind " | ". What a reader must be warned of (the marks) stands at the end, in brackets.
 *
 * The tree has a line for each layer and one for each field below it, with units and the names of codes. Everything that is in
 * the packet is in the tree: a field that no layer claims is listed at the end by its name in the database. What comes from
 * the network or a file is escaped: no control character ever reaches a terminal.
 */
#ifndef XDP_RECORDER_PRINT_PRINT_H
#define XDP_RECORDER_PRINT_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recorder/packet/packet.h"

#define PRINT_LINE_MAX 4096u
#define PRINT_TREE_MAX 32768u

struct print_style {
	bool color;
	bool numeric; /* ports and protocols as numbers; addresses always are: no question is ever sent to a name server */
	bool date;    /* with the day in front of the time (files) */
	bool iface;   /* with the interface */
	bool side;    /* with rx or tx: where it is known */
};

struct print_packet {
	const struct packet *packet;
	int64_t wall; /* ns since 1970 */
	const char *iface;
	uint64_t number;      /* from 1 */
	const uint8_t *bytes; /* header bytes; NULL: not at hand */
	unsigned cap_len;     /* their number: with it the line can say how much data is behind them */
};

/* Both write at most their MAX bytes, newline included, no NUL, and give the length. Times are UTC. */
size_t print_line(char *at, const struct print_packet *packet, const struct print_style *style);
size_t print_tree(char *at, const struct print_packet *packet, const struct print_style *style);

#endif
