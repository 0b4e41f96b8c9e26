/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * document_read.h - a packet's document back to the packet: the inverse of document.h, for audit, takeover and export.
 *
 * Everything that packet_rebuild and the canonical record need comes from the document's own fields. Read strictly: a
 * field that the table does not know, of another type or out of range is an error, because bytes rebuilt without it
 * would be wrong.
 */
#ifndef XDP_RECORDER_ENCODE_DOCUMENT_READ_H
#define XDP_RECORDER_ENCODE_DOCUMENT_READ_H

#include <bson/bson.h>
#include <stdbool.h>

#include "recorder/packet/packet.h"

struct document_record {
	struct packet
		packet; /* as decoded, but: time is 0 (boot = wall - the pair's offset), PKT_SIDE as in the document */
	int64_t wall;	/* ns since 1970 */
	bool out;	/* the source is the local end */
	const uint8_t *id; /* _id, NULL when it is not there */
	uint32_t id_len;
	const char *iface, *sensor; /* of meta, NULL when not there */
};

/*
 * 0 or -EINVAL, then *problem (if not NULL) is the field's name or a word on what is missing. Pointers in *out point
 * into the document.
 */
int document_read(const bson_t *document, struct document_record *out, const char **problem);

#endif
