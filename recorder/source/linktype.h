/* SPDX-License-Identifier: GPL-2.0-or-later */
/* linktype.h - the name of a capture file's link type, for messages. Pure, but for libpcap's table. */
#ifndef XDP_RECORDER_SOURCE_LINKTYPE_H
#define XDP_RECORDER_SOURCE_LINKTYPE_H

#include <stddef.h>

/* Writes e.g. "101 (RAW: Raw IP)" to out; returns it. */
const char *linktype_text(unsigned linktype, char *out, size_t size);

#endif
