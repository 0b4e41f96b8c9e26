// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tear - leaves a pinned journal as a process leaves it that died in the middle of writing it; or, for a control, forgets what was
 * in flight. No process may have the journal open.
 *
 * usage: tear JOURNAL copies|recipes|wipe|untold SEED
 *
 *   copies   of chain, pairs and settled seconds the older copy is half overwritten, as write_twice does it
 *   recipes  all free ones hold half of another one; some of them look valid, which a checksum has to tell
 *   wipe     all recipes are free
 *   untold   nobody knows whether the event `start` is in the database
 *
 * The journal's layout is its own business, so its source is included here.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "recorder/ledger/journal.c"

static void scribble(uint8_t *at, size_t len)
{
	for (size_t i = 0; i < len; i++)
		at[i] = (uint8_t)random();
}

static void tear_copy(struct journal *j, size_t at, size_t bytes)
{
	struct stamp *a = (struct stamp *)(j->base + at), *b = (struct stamp *)(j->base + at + twice(bytes) / 2);
	struct stamp *to = newest(j, at, bytes) == a ? b : a;

	to->seq = 0;
	scribble((uint8_t *)(to + 1), (size_t)random() % bytes);
}

static void tear_recipes(struct journal *j)
{
	for (int i = 0; i < (int)JOURNAL_RECIPES; i++) {
		struct slot *s = slot_of(j, i);

		if (s->state != JOURNAL_FREE)
			continue;
		scribble((uint8_t *)&s->recipe, (size_t)random() % sizeof(s->recipe));
		if (random() % 2) {
			s->recipe.nranges = 1;
			s->sum = slot_sum(s) + 1;
			s->state = JOURNAL_VALID;
		}
	}
}

int main(int argc, char **argv)
{
	unsigned cpus = (unsigned)libbpf_num_possible_cpus();
	struct journal *j;
	const struct head *head;
	int fd = argc == 4 ? bpf_obj_get(argv[1]) : -1;

	if (fd < 0) {
		fprintf(stderr, "usage: tear JOURNAL copies|recipes|wipe|untold SEED\n");
		return 2;
	}
	srandom((unsigned)strtoul(argv[3], NULL, 10));
	head = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	if (head == MAP_FAILED || journal_open(&j, fd, cpus, head->capture)) {
		fprintf(stderr, "tear: %s cannot be opened\n", argv[1]);
		return 1;
	}
	if (!strcmp(argv[2], "untold")) {
		((struct head *)j->base)->start_told = 0;
	} else if (!strcmp(argv[2], "wipe")) {
		for (int i = 0; i < (int)JOURNAL_RECIPES; i++)
			journal_free(j, i);
	} else if (!strcmp(argv[2], "recipes")) {
		tear_recipes(j);
	} else {
		tear_copy(j, chain_at(), sizeof(struct chain));
		tear_copy(j, pairs_at(), sizeof(struct pairs));
		for (unsigned side = 0; side < REC_SIDES; side++)
			tear_copy(j, settled_at(cpus, side), totals_bytes(cpus));
	}
	printf("%s: %s\n", argv[1], argv[2]);
	return 0;
}
