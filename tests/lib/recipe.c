// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * recipe - counts the recipes in a pinned journal, of batches that may have been sent; or makes them those of another
 * version of the recorder, while no process has it open.
 *
 * usage: recipe JOURNAL [MODE VERSION]     prints how many there are
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "recorder/core/log.h"
#include "recorder/ledger/journal.h"

#define CAPTURE_AT 16 /* in the journal's head */

static int capture_of(int fd, uint8_t capture[CAPTURE_ID_LEN])
{
	uint8_t *head = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

	if (head == MAP_FAILED)
		return -1;
	memcpy(capture, head + CAPTURE_AT, CAPTURE_ID_LEN);
	return munmap(head, 4096);
}

/* Written anew as its maker would have, but for mode and version. */
static void change(struct journal *journal, const struct journal_left *left, uint16_t mode, uint16_t version)
{
	const struct journal_recipe *r = &left->recipe;
	struct batch batch = {
		.number = r->number,
		.day = r->day,
		.mode = mode,
		.version = version,
		.span_s = r->span_s,
		.form = r->form,
		.salt = (uint8_t)journal_salt(r),
		.raw = r->flags & JOURNAL_RAW,
		.open = r->flags & JOURNAL_OPEN,
		.pair = r->pair,
		.nranges = r->nranges,
	};
	struct batch_range *ranges = calloc(r->nranges + 1, sizeof(*ranges));

	if (!ranges)
		abort();
	memcpy(ranges, left->ranges, r->nranges * sizeof(*ranges));
	batch.ranges = ranges;
	memcpy(batch.digest, r->digest, DIGEST_LEN);
	memcpy(batch.previous, r->previous, DIGEST_LEN);
	journal_write_recipe(journal, left->index, &batch);
	free(ranges);
}

int main(int argc, char **argv)
{
	struct journal_left left[JOURNAL_RECIPES];
	uint8_t capture[CAPTURE_ID_LEN];
	struct journal *journal;
	unsigned found = 0, n;
	int fd;

	if (argc != 2 && argc != 4) {
		fprintf(stderr, "usage: recipe JOURNAL [MODE VERSION]\n");
		return 2;
	}
	fd = bpf_obj_get(argv[1]);
	if (fd < 0 || capture_of(fd, capture) ||
	    journal_open(&journal, fd, (unsigned)libbpf_num_possible_cpus(), capture)) {
		fprintf(stderr, "recipe: %s cannot be opened\n", argv[1]);
		return 1;
	}
	n = journal_left(journal, left);
	for (unsigned i = 0; i < n; i++)
		if (left[i].state == JOURNAL_VALID) {
			if (argc == 4)
				change(journal, &left[i], (uint16_t)atoi(argv[2]), (uint16_t)atoi(argv[3]));
			found++;
		}
	journal_close(journal);
	close(fd);
	printf("%u\n", found);
	return 0;
}
