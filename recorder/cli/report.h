/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * report.h - the text of `status`, made from what the drainer's control socket says (process/control.c). Pure.
 *
 * Fields that are missing are left out of the text, so that an older or newer drainer can be asked.
 */
#ifndef XDP_RECORDER_CLI_REPORT_H
#define XDP_RECORDER_CLI_REPORT_H

#include <stdint.h>
#include <stdio.h>

#include <bson/bson.h>

/* `before` (NULL: none) is the answer of `seconds` ago, for rates. `colour`: ANSI sequences may be used. */
void report_print(FILE *out, const bson_t *now, const bson_t *before, double seconds, bool colour);

#endif
