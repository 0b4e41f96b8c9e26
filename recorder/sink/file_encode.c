// SPDX-License-Identifier: GPL-2.0-or-later
/* A batch as blocks of pcapng or lines of JSON. */
#include <errno.h>
#include <stdlib.h>

#include "recorder/core/util.h"
#include "recorder/encode/document.h"
#include "recorder/encode/json.h"
#include "recorder/encode/pcapng.h"
#include "recorder/sink/file_internal.h"

#define ROOM_MIN 65536u

static size_t put_block(uint8_t *at, const struct batch *batch, uint32_t position)
{
	const struct rec_head *r = batch->records[position];
	const struct pcapng_packet packet = {
		.interface = 0, /* said when it is written */
		.wall = batch_wall(batch, r->time),
		.wire_len = r->wire_len,
		.cap_len = r->cap_len > REC_CAP_MAX ? REC_CAP_MAX : r->cap_len,
		.bytes = record_bytes(r),
		.direction = r->side == REC_TX ? 2 : 1,
		.id = batch->number << 24 | position,
	};

	return pcapng_packet(at, &packet);
}

static size_t put_line(char *at, const struct batch *batch, const struct ends_table *ends, uint32_t position)
{
	const struct rec_head *r = batch->records[position];
	uint8_t id[PACKET_ID_LEN];
	const struct json_source source = { batch->source->iface, batch->source->sensor, id, sizeof(id) };
	struct packet packet;
	bool out;
	size_t n;

	packet_id(id, batch, position);
	packet_decode(&packet, r, record_bytes(r));
	out = ends_source_is_local(ends, &packet);
	if (out != (packet.outer.key.side == REC_TX))
		packet_set(&packet, PKT_SIDE);
	n = json_line(at, &packet, batch_wall(batch, r->time), out, &source);
	at[n] = '\n';
	return n + 1;
}

int file_encode(struct sink_job *job, enum file_format format, const struct batch *batch, const struct ends_table *ends)
{
	size_t most = format == FILE_PCAPNG ? PCAPNG_PACKET_MAX : JSON_LINE_MAX + 1, room = 0, len = 0;

	job->count = batch->nrecords;
	job->at = malloc((batch->nrecords + 1) * sizeof(*job->at));
	if (!job->at)
		return -ENOMEM;
	for (uint32_t i = 0; i < batch->nrecords; i++) {
		if (room - len < most) {
			uint8_t *bytes = realloc(job->bytes, room = room ? 2 * room : ROOM_MIN);

			if (!bytes)
				return -ENOMEM;
			job->bytes = bytes;
		}
		job->at[i] = len;
		if (format == FILE_PCAPNG)
			len += put_block(job->bytes + len, batch, i);
		else
			len += put_line((char *)job->bytes + len, batch, ends, i);
	}
	job->at[batch->nrecords] = len;
	return 0;
}
