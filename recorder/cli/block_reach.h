/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block_reach.h - what an entry of the block list would cut off that nobody means: the databases of the recordings, the session
 * of whoever types the command, the default gateway, the host itself, everybody.
 */
#ifndef XDP_RECORDER_CLI_BLOCK_REACH_H
#define XDP_RECORDER_CLI_BLOCK_REACH_H

#include <stdio.h>

#include "recorder/capture/block_list.h"

struct reach {
	struct reach_address {
		uint8_t address[16];
		uint8_t version;
		char what[80];
	} *list;
	size_t count, room;
};

/* The addresses as they are now; of `databases` (pin directories of the captures, NULL behind the last) those in use. */
void reach_look(struct reach *reach, char *const *pin_dirs);
void reach_add(struct reach *reach, unsigned version, const uint8_t *address, const char *what);
void reach_free(struct reach *reach);

/* A line for each that the entries cover. Their number. */
unsigned reach_check(const struct reach *reach, const struct block_list *entries, FILE *out);

#endif
