/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * floods.h - what the kernel counted instead of storing, on its way to the database.
 *
 * Two tables for each ring: the kernel counts in that of the current epoch, the other one is written. The next epoch begins only
 * when that is acknowledged; until then the current one goes on counting, so an outage makes its interval longer and loses
 * nothing. Nothing is remembered here over a crash: a new process writes the former epoch's table again, under the same _ids.
 */
#ifndef XDP_RECORDER_PROCESS_FLOODS_H
#define XDP_RECORDER_PROCESS_FLOODS_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"

struct drainer;
struct lane;
struct flood_write; /* an epoch on its way */

/* Of one lane; zero is the beginning. */
struct floods {
	struct flood_write *write; /* NULL: none */
	uint64_t written;	   /* epochs below this one are acknowledged, as far as this process knows */
	uint32_t rows;		   /* of the newest one written */
	bool ended;		   /* capture is over, and the last epoch is acknowledged too */
	struct rec_count begun[2]; /* totals of both terms when the current epoch was asked for */
	/* the level of pressure, see floods_level */
	struct rec_count seen[2]; /* totals at the last look */
	unsigned level, calm;
};

/* Behind each horizon, and at the end: begins the next epoch, writes what is final. */
void floods_tick(struct drainer *d);
/* Once a second: tells of another level of pressure. */
void floods_look(struct drainer *d);
/* Nothing on its way; once capture has ended: nothing that is not acknowledged. */
bool floods_idle(const struct drainer *d);
/* Forgets what is on its way; no worker may have any of it. */
void floods_drop(struct drainer *d);
/* 0: all is stored; 2: heavy keys are counted by 5-tuple; 3: some by network or protocol. Falls after three calm seconds. */
unsigned floods_level(const struct lane *lane);
/* All that was counted so far is written and acknowledged. */
bool floods_written(const struct lane *lane);

#endif
