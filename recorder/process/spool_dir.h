/* SPDX-License-Identifier: GPL-2.0-or-later */
/* spool_dir.h - the directory of --spool. Keeper side and command line only. */
#ifndef XDP_RECORDER_PROCESS_SPOOL_DIR_H
#define XDP_RECORDER_PROCESS_SPOOL_DIR_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "recorder/settings/settings.h"

#define SPOOL_NONE "none"

/* With a database, unless --spool none. */
bool spool_dir_wanted(const struct settings *settings);

/*
 * Makes it (0700, owned by the drainer's user) where it is not there, and locks it: the lock is held as long as anybody
 * has this descriptor. The descriptor, or -errno with a log line.
 */
int spool_dir_open(const struct settings *settings, uid_t uid, gid_t gid);

#endif
