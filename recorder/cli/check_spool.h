/* SPDX-License-Identifier: GPL-2.0-or-later */
/* check_spool.h - the part of `check` that looks at the place of --spool. */
#ifndef XDP_RECORDER_CLI_CHECK_SPOOL_H
#define XDP_RECORDER_CLI_CHECK_SPOOL_H

#include "recorder/settings/settings.h"

/* One line in `text` that says what fits there, or what would be right. 0; 1: a warning; -1: it cannot be used. */
int check_spool(const struct settings *settings, char *text, size_t size);

#endif
