/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keeper.h - the privileged process: loads, attaches, pins, starts the drainer and watches it.
 *
 * KEEPER_RECORD records until a signal says otherwise. KEEPER_STOP takes over an instance without a living process: ends its
 * capture, stores what the rings hold, removes its pins.
 */
#ifndef XDP_RECORDER_PROCESS_KEEPER_H
#define XDP_RECORDER_PROCESS_KEEPER_H

#include "recorder/settings/settings.h"

enum keeper_mode { KEEPER_RECORD, KEEPER_STOP };

/* Runs to the end; returns the program's exit status. */
int keeper_run(const struct settings *settings, enum keeper_mode mode);

/* The drainer's main, on the socket descriptor `link` inherited from the keeper (hidden subcommand). */
int drainer_main(int link);

#endif
