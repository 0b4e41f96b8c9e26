/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * corpus.c - cuts the Ethernet frames of captures into corpus files: corpus OUT-DIRECTORY CAPTURES-DIRECTORY.
 *
 * Each file is a frame (its first 320 bytes) and eight zero bytes, the options of the targets. One frame of each form
 * is enough for a start: a form is the length of the headers, the offsets, marks and flags that the parser gives. Before
 * them a frame of every kind that the tests know (tests/bpf/kinds.h): captures hold few of the rarer ones.
 */
#include <errno.h>

#include "tests/bpf/kinds.h"
#include "tests/unit/packets.h"

#define FORMS (1u << 16)
static bool seen[FORMS];
static unsigned written;

static void one(void *arg, const uint8_t *frame, uint32_t cap, uint32_t wire)
{
	static const uint8_t options[8];
	uint32_t n = cap < 320 ? cap : 320, form = 2166136261u;
	struct rec_slot slot;
	char path[4096];
	FILE *file;

	packets_record(&slot, frame, cap, wire, REC_RX);
	slot.head.time = 0;
	slot.head.hash = 0;
	slot.head.wire_len = 0;
	for (const uint8_t *p = (const uint8_t *)&slot.head; p < (const uint8_t *)(&slot.head + 1); p++)
		form = (form ^ *p) * 16777619u;
	form = (form ^ form >> 16) % FORMS;
	if (seen[form])
		return;
	seen[form] = true;
	snprintf(path, sizeof(path), "%s/frame-%05u", (const char *)arg, written);
	file = fopen(path, "wb");
	if (!file || fwrite(frame, 1, n, file) != n || fwrite(options, 1, sizeof(options), file) != sizeof(options) ||
	    fclose(file)) {
		fprintf(stderr, "corpus: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	written++;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: corpus OUT-DIRECTORY CAPTURES-DIRECTORY\n");
		return 2;
	}
	for (unsigned i = 0; i < KINDS; i++) {
		struct frame f = kind_frame(&kinds_all[i]);

		one(argv[1], f.bytes, f.len, f.len);
	}
	packets_directory(argv[2], one, argv[1]);
	fprintf(stderr, "corpus: %u frames\n", written);
	return written ? 0 : 1;
}
