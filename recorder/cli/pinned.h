/* SPDX-License-Identifier: GPL-2.0-or-later */
/* pinned.h - status of an instance that captures without a process: read from the kernel's counters, nothing is
 * changed. */
#ifndef XDP_RECORDER_CLI_PINNED_H
#define XDP_RECORDER_CLI_PINNED_H

#include <bson/bson.h>

#include "recorder/process/instance.h"

/* A document like the control socket's, as far as the kernel knows it; NULL with one line in `problem`. */
bson_t *pinned_look(const struct instance *instance, char *problem, size_t size);

#endif
