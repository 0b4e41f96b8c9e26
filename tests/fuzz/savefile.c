/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * savefile.c - libFuzzer target: the reader of capture files on any bytes.
 *
 * What must hold, besides nothing being read or written where it must not: it ends; what it gives keeps the contract of savefile.h;
 * an error has a text that begins with the file's name and is said again when it is asked again. The same bytes behind a
 * pipe's short reads are the business of the unit test.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "recorder/source/savefile.h"
#include "tests/fuzz/fuzz.h"

#define PACKETS_MAX 100000u /* a bomb may go on for long: this is enough of it */

static void check_packet(const struct savefile *file, const struct savefile_packet *p)
{
	static volatile uint8_t sink;
	uint8_t sum = 0;

	MUST(p->wire_len >= p->cap_len && p->cap_len <= SAVEFILE_BLOCK_MAX);
	MUST(p->interface < savefile_interfaces(file));
	MUST(p->direction >= 0 && p->direction <= 2);
	MUST(p->has_time || !p->time_changed);
	for (uint32_t i = 0; i < p->cap_len; i++)
		sum = (uint8_t)(sum + p->bytes[i]);
	sink = sum;
	(void)sink;
}

static void check_names(const struct savefile *file)
{
	unsigned n = savefile_interfaces(file);

	MUST(!savefile_interface(file, n));
	for (unsigned i = 0; i < n; i++) {
		const struct savefile_interface *interface = savefile_interface(file, i);

		MUST(interface && interface->name[0] && memchr(interface->name, 0, sizeof(interface->name)));
		for (const char *c = interface->name; *c; c++)
			MUST((unsigned char)*c >= 0x20 && *c != 0x7f);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int memory = -1;
	struct savefile *file = NULL;
	struct savefile_packet packet;
	struct savefile_error error = { "" }, again;
	uint64_t before = 0;
	unsigned packets = 0;
	int fd, rc;

	if (memory < 0)
		memory = memfd_create("fuzz", MFD_CLOEXEC);
	MUST(ftruncate(memory, 0) == 0 && pwrite(memory, data, size, 0) == (ssize_t)size);
	lseek(memory, 0, SEEK_SET);
	fd = dup(memory);
	rc = savefile_open(&file, fd, "f", &error);
	if (rc) {
		MUST(rc < 0 && !file && !strncmp(error.text, "f: ", 3));
		return 0;
	}
	while ((rc = savefile_next(file, &packet, &error)) == 1 && packets++ < PACKETS_MAX) {
		check_packet(file, &packet);
		MUST(packet.offset > before);
		before = packet.offset;
	}
	if (rc < 0) {
		MUST(!strncmp(error.text, "f: ", 3));
		MUST(savefile_next(file, &packet, &again) == rc && !strcmp(again.text, error.text));
	}
	MUST(savefile_read_bytes(file) <= size);
	check_names(file);
	savefile_close(file);
	return 0;
}
