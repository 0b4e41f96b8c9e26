/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rebuild.c - packet documents back to header bytes, by the recorder's own reader.
 *
 * usage: rebuild     BSON documents, one behind the other, on standard input; for each one on standard output, little-endian:
 *                    number of header bytes (i32, negative: -errno, and a line on standard error), wire length (u32), wall time
 *                    in ns (i64), the bytes
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/encode/document_read.h"

static int read_and_rebuild(const bson_t *document, unsigned long long number, struct document_record *record, uint8_t *bytes)
{
	const char *problem = NULL;
	int status = document_read(document, record, &problem);

	if (status) {
		fprintf(stderr, "rebuild: document %llu: %s: %s\n", number, problem ? problem : "?", strerror(-status));
		return status;
	}
	status = packet_rebuild(&record->packet, bytes);
	if (status < 0)
		fprintf(stderr, "rebuild: document %llu: its fields contradict each other\n", number);
	return status;
}

int main(void)
{
	bson_reader_t *reader = bson_reader_new_from_fd(0, false);
	const bson_t *document;
	unsigned long long number = 0;
	bool end = false;

	while ((document = bson_reader_read(reader, &end))) {
		struct document_record record = {0};
		uint8_t bytes[REC_CAP_MAX];
		int32_t length = read_and_rebuild(document, ++number, &record, bytes);
		uint32_t wire = record.packet.len;
		int64_t wall = record.wall;

		fwrite(&length, sizeof(length), 1, stdout);
		fwrite(&wire, sizeof(wire), 1, stdout);
		fwrite(&wall, sizeof(wall), 1, stdout);
		if (length > 0)
			fwrite(bytes, (size_t)length, 1, stdout);
	}
	bson_reader_destroy(reader);
	if (!end) {
		fprintf(stderr, "rebuild: what follows document %llu is no BSON document\n", number);
		return 1;
	}
	return fflush(stdout) || ferror(stdout) ? 1 : 0;
}
