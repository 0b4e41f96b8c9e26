/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * json.h - a packet as one line of JSON with the field names of the database (packet/fields.def), in their order:
 * {"_id":"<hex>","ts":"2026-11-23T17:13:01.123Z","ns":456789,"iface":"eth0","sensor":"host",...}. Dates are RFC 3339 in UTC with
 * milliseconds (ns has the rest, as in the database), numbers are plain, binary values are lower-case hex. Pure.
 *
 * What is longer than it can be is cut: names at JSON_NAME_MAX bytes, _id at JSON_ID_MAX, a byte field at REC_CAP_MAX.
 */
#ifndef XDP_RECORDER_ENCODE_JSON_H
#define XDP_RECORDER_ENCODE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "recorder/packet/packet.h"

/* Longest line: all fields, names escaped. */
#define JSON_LINE_MAX 16384u
#define JSON_NAME_MAX 255u /* bytes, before escaping */
#define JSON_ID_MAX 64u

struct json_source {
	const char *iface, *sensor; /* NULL: left out */
	const uint8_t *id;	    /* _id, NULL: left out */
	unsigned id_len;
};

/*
 * Writes the line to `at` (JSON_LINE_MAX bytes), without newline or NUL; gives its length. `out`: the source is the local
 * end; PKT_SIDE is set by the caller where side is not what that implies. The text is always valid UTF-8: other bytes in
 * names are replaced.
 */
size_t json_line(char *at, const struct packet *p, int64_t wall, bool out, const struct json_source *source);

#endif
