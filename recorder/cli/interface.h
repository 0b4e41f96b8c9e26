/* SPDX-License-Identifier: GPL-2.0-or-later */
/* interface.h - what the command line says about network interfaces. Only looks; changes nothing. */
#ifndef XDP_RECORDER_CLI_INTERFACE_H
#define XDP_RECORDER_CLI_INTERFACE_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recorder/settings/settings.h"

enum interface_answer { ANSWER_NO, ANSWER_YES, ANSWER_UNKNOWN };

struct interface {
	char name[IFNAMSIZ];
	unsigned index;
	char driver[32]; /* "" = unknown */
	unsigned mtu;
	unsigned flags;		     /* IFF_ */
	bool physical;		     /* as capture/ sees it: XDP by default */
	enum interface_answer xdp;   /* the driver has native XDP (Linux 6.3 says so) */
	enum interface_answer frags; /* ... for frames in several buffers */
	bool tso, lro, rxvlan;	     /* offloads that are on */
	uint32_t xdp_program;	     /* id of a program that is attached, 0 = none */
};

/* 0 or -ENODEV. */
int interface_look(struct interface *interface, const char *name);

/* All of this network namespace, by index; malloced. Their number or -errno. */
int interface_list(struct interface **list);

/* What `record` would use: "xdp native", "xdp generic", "xdp", "tcx", "clsact"; "-" for a side that is not recorded. */
const char *interface_rx(const struct interface *interface, const struct settings *settings, bool tcx);
const char *interface_tx(const struct settings *settings, bool tcx);

#endif
