/* SPDX-License-Identifier: GPL-2.0-or-later */
/* when.h - a moment as a person writes it. Pure. */
#ifndef XDP_RECORDER_SETTINGS_WHEN_H
#define XDP_RECORDER_SETTINGS_WHEN_H

#include <stdbool.h>
#include <stdint.h>

/*
 * 2026-11-24, 2026-11-24T10:00, 2026-11-24T10:00:05.25 (a space for the T, a Z behind it; all UTC), `now`, or a time ago: 90s, 30m, 2h,
 * 7d. Wall-clock ns since 1970 in *out. False, and *out untouched, for anything else.
 */
bool when_parse(const char *text, int64_t now, int64_t *out);

#define WHEN_FORMS "a date (2026-11-24), a time in UTC (2026-11-24T10:00:05), now, or a time ago (90s, 30m, 2h, 7d)"

#define WHEN_LEN 32
/* "2026-11-24 10:00:05.250Z" */
char *when_text(char out[WHEN_LEN], int64_t wall_ns);

#endif
