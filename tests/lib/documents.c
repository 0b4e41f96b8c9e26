/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * documents.c - the documents of a capture file without a kernel and without a database: what import would store, by the
 * natively compiled parser. For tests/equality --quick.
 *
 * usage: documents FILE     BSON documents, one behind the other, on standard output
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/encode/document.h"
#include "recorder/packet/ends.h"
#include "recorder/source/native.h"
#include "recorder/source/savefile.h"

static int fail(const char *file, const char *what)
{
	fprintf(stderr, "documents: %s: %s\n", file, what);
	return 1;
}

/* One packet as a batch of its own, numbered by its place in the file, which makes the ids different. */
static int put_document(const struct savefile *file, const struct savefile_packet *packet, uint64_t number, const struct ends_table *ends)
{
	const struct savefile_interface *interface = savefile_interface(file, packet->interface);
	struct native_slot slot;
	struct rec_head *record = native_record(&slot, packet->bytes, packet->cap_len, packet->wire_len, (uint64_t)packet->wall, 0);
	const struct rec_head *records[] = {record};
	struct batch_source source = {.sensor = "documents", .iface = interface->name};
	struct batch batch = {.source = &source, .number = number, .version = ENCODE_VERSION, .records = records, .nrecords = 1};
	bson_t document = BSON_INITIALIZER;
	int status;

	if (packet->time_changed)
		record->marks |= REC_MARK_TIME;
	status = document_encode(&document, &batch, ends, 0);
	if (!status && fwrite(bson_get_data(&document), document.len, 1, stdout) != 1)
		status = -errno;
	bson_destroy(&document);
	return status;
}

static int put_all(struct savefile *file, const char *name, const struct ends_table *ends)
{
	struct savefile_error error;
	struct savefile_packet packet;
	uint64_t number = 0;
	int status;

	while ((status = savefile_next(file, &packet, &error)) == 1) {
		int result = put_document(file, &packet, ++number, ends);

		if (result) {
			fprintf(stderr, "documents: %s: packet %llu: %s\n", name, (unsigned long long)number, strerror(-result));
			return 1;
		}
	}
	if (status && status != -ENODATA)
		return fail(name, error.text);
	return fflush(stdout) ? fail("standard output", strerror(errno)) : 0;
}

int main(int argc, char **argv)
{
	struct savefile_error error;
	struct savefile *file;
	struct ends_table *ends;
	int fd, status;

	if (argc != 2) {
		fprintf(stderr, "usage: documents FILE\n");
		return 2;
	}
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(argv[1], strerror(errno));
	if (savefile_open(&file, fd, argv[1], &error))
		return fail(argv[1], error.text);
	ends = ends_table_new(NULL, 0, NULL, 0, NULL, 0);
	status = ends ? put_all(file, argv[1], ends) : fail(argv[1], strerror(ENOMEM));
	ends_table_free(ends);
	savefile_close(file);
	return status;
}
