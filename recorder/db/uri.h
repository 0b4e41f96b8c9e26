/* SPDX-License-Identifier: GPL-2.0-or-later */
/* uri.h - what connect.c and its tests need of uri.c beside uri_redacted(). Pure. */
#ifndef XDP_RECORDER_DB_URI_H
#define XDP_RECORDER_DB_URI_H

#include <stdbool.h>
#include <stddef.h>

/* Hides, in place, the passwords of all URIs inside of a text. */
void uri_redact_text(char *text);

/* The URI of a Unix socket; false when it does not fit. */
bool uri_from_path(const char *path, char *out, size_t size);

#endif
