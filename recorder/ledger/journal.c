/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/ledger/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include "recorder/core/log.h"

#define MAGIC "xdprecJ"
#define SALT_SHIFT 4
_Static_assert(JOURNAL_SALTS == 1u << (8 - SALT_SHIFT), "the salt has the upper bits of the flags");

/* In front of everything that is kept twice. `sum` covers what follows it and seq. */
struct stamp {
	uint64_t seq; /* 0: never written */
	uint32_t sum;
	uint32_t bytes;
};

struct head {
	char magic[8];
	uint32_t version;
	uint32_t cpus;
	uint8_t capture[CAPTURE_ID_LEN];
	uint32_t sum;
	uint32_t ready; /* 1, stored last */
	/* Behind the sum: each a single store, zero until then. */
	uint64_t attached;
	uint32_t start_told;
	uint32_t reserved;
};
_Static_assert(sizeof(struct head) <= 64, "the chain stays where it is");

struct chain {
	uint64_t number;
	uint8_t digest[DIGEST_LEN];
	struct rec_count stored;
};

struct pairs {
	uint32_t count;
	uint32_t reserved;
	struct clock_pair pair[JOURNAL_PAIRS];
};

struct slot {
	uint32_t state; /* enum journal_state, stored last */
	uint32_t sum;   /* over recipe and ranges */
	struct journal_recipe recipe;
	struct batch_range ranges[];
};

struct journal {
	uint8_t *base;
	size_t size, mapped;
	unsigned cpus;
	int is_new;
	struct pairs pairs; /* copy of the newest whole one */
};

/* ---- places ------------------------------------------------------------------------------------------------ */

static size_t align64(size_t n)
{
	return (n + 63) & ~(size_t)63;
}

static size_t twice(size_t bytes)
{
	return 2 * align64(sizeof(struct stamp) + bytes);
}

static size_t totals_bytes(unsigned cpus)
{
	return sizeof(uint64_t) + (size_t)cpus * REC_TERMS * sizeof(struct rec_count);
}

static size_t slot_bytes(unsigned cpus)
{
	return align64(sizeof(struct slot) + (size_t)cpus * REC_SIDES * sizeof(struct batch_range));
}

static size_t chain_at(void)
{
	return align64(sizeof(struct head));
}

static size_t pairs_at(void)
{
	return chain_at() + twice(sizeof(struct chain));
}

static size_t settled_at(unsigned cpus, unsigned side)
{
	return pairs_at() + twice(sizeof(struct pairs)) + side * twice(totals_bytes(cpus));
}

static size_t slot_at(unsigned cpus, int index)
{
	return settled_at(cpus, REC_SIDES) + (size_t)index * slot_bytes(cpus);
}

size_t journal_size(unsigned cpus)
{
	return slot_at(cpus, JOURNAL_RECIPES);
}

static struct slot *slot_of(const struct journal *j, int index)
{
	return (struct slot *)(j->base + slot_at(j->cpus, index));
}

/* ---- what is kept twice ------------------------------------------------------------------------------------ */

static uint32_t stamp_sum(const struct stamp *s)
{
	uint32_t sum = (uint32_t)crc32(0, (const uint8_t *)&s->seq, sizeof(s->seq));

	return (uint32_t)crc32(sum, (const uint8_t *)(s + 1), s->bytes);
}

static int stamp_whole(const struct stamp *s, size_t bytes)
{
	return s->seq && s->bytes == bytes && s->sum == stamp_sum(s);
}

/* The newest whole copy, or NULL when there never was one. */
static struct stamp *newest(const struct journal *j, size_t at, size_t bytes)
{
	struct stamp *a = (struct stamp *)(j->base + at);
	struct stamp *b = (struct stamp *)(j->base + at + twice(bytes) / 2);
	int a_whole = stamp_whole(a, bytes), b_whole = stamp_whole(b, bytes);

	if (a_whole && b_whole)
		return a->seq > b->seq ? a : b;
	return a_whole ? a : b_whole ? b : NULL;
}

/* Two pieces, so that totals need no copy in between. The older copy is overwritten; the newer stays whole meanwhile. */
static void write_twice(struct journal *j, size_t at, const void *first, size_t first_bytes, const void *second,
			size_t second_bytes)
{
	size_t bytes = first_bytes + second_bytes;
	struct stamp *a = (struct stamp *)(j->base + at);
	struct stamp *b = (struct stamp *)(j->base + at + twice(bytes) / 2);
	struct stamp *now = newest(j, at, bytes);
	struct stamp *to = now == a ? b : a;
	uint64_t seq = now ? now->seq + 1 : 1;

	__atomic_store_n(&to->seq, 0, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	memcpy(to + 1, first, first_bytes);
	memcpy((uint8_t *)(to + 1) + first_bytes, second, second_bytes);
	to->bytes = (uint32_t)bytes;
	to->sum = (uint32_t)crc32(crc32(0, (const uint8_t *)&seq, sizeof(seq)), (const uint8_t *)(to + 1), (uInt)bytes);
	__atomic_store_n(&to->seq, seq, __ATOMIC_RELEASE);
}

/* ---- life -------------------------------------------------------------------------------------------------- */

static uint32_t head_sum(const struct head *h)
{
	return (uint32_t)crc32(0, (const uint8_t *)h, offsetof(struct head, sum));
}

static void format(struct journal *j, const uint8_t *capture)
{
	struct head *h = (struct head *)j->base;

	memset(j->base, 0, j->size);
	memcpy(h->magic, MAGIC, sizeof(h->magic));
	h->version = JOURNAL_VERSION;
	h->cpus = j->cpus;
	memcpy(h->capture, capture, sizeof(h->capture));
	h->sum = head_sum(h);
	__atomic_store_n(&h->ready, 1, __ATOMIC_RELEASE);
	j->is_new = 1;
}

static int check_head(const struct journal *j, const uint8_t *capture)
{
	const struct head *h = (const struct head *)j->base;
	const char *why = NULL;

	if (memcmp(h->magic, MAGIC, sizeof(h->magic)) || h->sum != head_sum(h))
		why = "it is damaged";
	else if (h->version != JOURNAL_VERSION)
		why = "another version of xdp-recorder made it; finish that capture with the version that began it";
	else if (h->cpus != j->cpus)
		why = "it is for another number of CPUs";
	else if (memcmp(h->capture, capture, sizeof(h->capture)))
		why = "it belongs to another capture";
	if (!why)
		return 0;
	log_error("the journal of this capture cannot be used: %s", why);
	return -EPROTO;
}

int journal_open(struct journal **out, int fd, unsigned cpus, const uint8_t capture[CAPTURE_ID_LEN])
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct journal *j = calloc(1, sizeof(*j));
	const struct stamp *pairs;
	void *map;
	int err = 0;

	if (!j)
		return -ENOMEM;
	j->cpus = cpus;
	j->size = journal_size(cpus);
	j->mapped = (j->size + page - 1) & ~(page - 1);
	map = mmap(NULL, j->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		err = -errno;
		free(j);
		return err;
	}
	j->base = map;
	if (((struct head *)map)->ready)
		err = check_head(j, capture);
	else
		format(j, capture);
	if (err) {
		journal_close(j);
		return err;
	}
	pairs = newest(j, pairs_at(), sizeof(struct pairs));
	if (pairs)
		memcpy(&j->pairs, pairs + 1, sizeof(j->pairs));
	*out = j;
	return 0;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	if (j->base)
		munmap(j->base, j->mapped);
	free(j);
}

uint64_t journal_attached(const struct journal *j)
{
	return __atomic_load_n(&((const struct head *)j->base)->attached, __ATOMIC_RELAXED);
}

void journal_set_attached(struct journal *j, uint64_t boot_ns)
{
	__atomic_store_n(&((struct head *)j->base)->attached, boot_ns, __ATOMIC_RELAXED);
}

bool journal_start_told(const struct journal *j)
{
	return __atomic_load_n(&((const struct head *)j->base)->start_told, __ATOMIC_RELAXED);
}

void journal_set_start_told(struct journal *j)
{
	__atomic_store_n(&((struct head *)j->base)->start_told, 1, __ATOMIC_RELAXED);
}

int journal_is_new(const struct journal *j)
{
	return j->is_new;
}

/* ---- pairs, chain, balance --------------------------------------------------------------------------------- */

unsigned journal_pairs(const struct journal *j, const struct clock_pair **pairs)
{
	*pairs = j->pairs.pair;
	return j->pairs.count;
}

void journal_add_pair(struct journal *j, const struct clock_pair *pair, uint64_t keep_from)
{
	struct pairs *p = &j->pairs;

	while (p->count > 1 && p->pair[1].boot <= keep_from) {
		memmove(p->pair, p->pair + 1, (p->count - 1) * sizeof(*p->pair));
		p->count--;
	}
	if (p->count == JOURNAL_PAIRS) {
		/* 32 steps within what the rings hold: the two oldest spans become one, under the younger offset. */
		memmove(p->pair, p->pair + 1, (p->count - 1) * sizeof(*p->pair));
		p->count--;
		log_warn("more than %u clock steps within the buffered packets; the oldest is forgotten",
			 JOURNAL_PAIRS);
	}
	p->pair[p->count++] = *pair;
	write_twice(j, pairs_at(), p, sizeof(*p), "", 0);
}

uint64_t journal_chain(const struct journal *j, uint8_t digest[DIGEST_LEN], struct rec_count *stored)
{
	const struct stamp *s = newest(j, chain_at(), sizeof(struct chain));
	const struct chain *c = (const struct chain *)(s + 1);

	if (!s) {
		memset(digest, 0, DIGEST_LEN);
		*stored = (struct rec_count){0, 0};
		return 0;
	}
	memcpy(digest, c->digest, DIGEST_LEN);
	*stored = c->stored;
	return c->number;
}

void journal_set_chain(struct journal *j, uint64_t number, const uint8_t digest[DIGEST_LEN],
		       const struct rec_count *stored)
{
	struct chain c = {.number = number, .stored = *stored};

	memcpy(c.digest, digest, DIGEST_LEN);
	write_twice(j, chain_at(), &c, sizeof(c), "", 0);
}

void journal_settled(const struct journal *j, unsigned side, struct journal_totals *totals)
{
	size_t bytes = (size_t)j->cpus * REC_TERMS * sizeof(struct rec_count);
	const struct stamp *s = newest(j, settled_at(j->cpus, side), totals_bytes(j->cpus));

	if (!s) {
		totals->sec = 0;
		memset(totals->total, 0, bytes);
		return;
	}
	memcpy(&totals->sec, s + 1, sizeof(totals->sec));
	memcpy(totals->total, (const uint8_t *)(s + 1) + sizeof(totals->sec), bytes);
}

void journal_set_settled(struct journal *j, unsigned side, const struct journal_totals *totals)
{
	write_twice(j, settled_at(j->cpus, side), &totals->sec, sizeof(totals->sec), totals->total,
		    (size_t)j->cpus * REC_TERMS * sizeof(struct rec_count));
}

/* ---- recipes ----------------------------------------------------------------------------------------------- */

static uint32_t slot_sum(const struct slot *s)
{
	uint32_t sum = (uint32_t)crc32(0, (const uint8_t *)&s->recipe, sizeof(s->recipe));

	return (uint32_t)crc32(sum, (const uint8_t *)s->ranges, (uInt)(s->recipe.nranges * sizeof(*s->ranges)));
}

int journal_free_recipe(const struct journal *j)
{
	for (int i = 0; i < (int)JOURNAL_RECIPES; i++)
		if (slot_of(j, i)->state == JOURNAL_FREE)
			return i;
	return -ENOSPC;
}

void journal_write_recipe(struct journal *j, int index, const struct batch *batch)
{
	struct slot *s = slot_of(j, index);

	__atomic_store_n(&s->state, JOURNAL_FREE, __ATOMIC_RELEASE);
	s->recipe = (struct journal_recipe){
		.number = batch->number,
		.day = batch->day,
		.mode = batch->mode,
		.version = batch->version,
		.pair = batch->pair,
		.nranges = batch->nranges,
		.span_s = batch->span_s,
		.form = batch->form,
		.flags = (uint8_t)((batch->open ? JOURNAL_OPEN : 0) | (batch->raw ? JOURNAL_RAW : 0) |
				   (batch->assumed_span ? JOURNAL_ASSUMED : 0) | batch->salt << SALT_SHIFT),
	};
	memcpy(s->recipe.digest, batch->digest, DIGEST_LEN);
	memcpy(s->recipe.previous, batch->previous, DIGEST_LEN);
	memcpy(s->ranges, batch->ranges, batch->nranges * sizeof(*batch->ranges));
	s->sum = slot_sum(s);
	__atomic_store_n(&s->state, JOURNAL_VALID, __ATOMIC_RELEASE);
}

void journal_mark_done(struct journal *j, int index)
{
	__atomic_store_n(&slot_of(j, index)->state, JOURNAL_DONE, __ATOMIC_RELEASE);
}

void journal_free(struct journal *j, int index)
{
	__atomic_store_n(&slot_of(j, index)->state, JOURNAL_FREE, __ATOMIC_RELEASE);
}

enum journal_state journal_read_recipe(const struct journal *j, int index, struct journal_recipe *recipe,
				       const struct batch_range **ranges)
{
	const struct slot *s = slot_of(j, index);
	uint32_t state = __atomic_load_n(&s->state, __ATOMIC_ACQUIRE);

	if ((state != JOURNAL_VALID && state != JOURNAL_DONE) || s->recipe.nranges > j->cpus * REC_SIDES ||
	    s->sum != slot_sum(s))
		return JOURNAL_FREE;
	*recipe = s->recipe;
	if (recipe->mode == JOURNAL_DOCUMENTS) { /* who knew nothing else left these bytes as they were */
		recipe->span_s = 0;
		recipe->form = recipe->flags = 0;
	}
	*ranges = s->ranges;
	return (enum journal_state)state;
}

unsigned journal_salt(const struct journal_recipe *recipe)
{
	return recipe->flags >> SALT_SHIFT;
}

static uint64_t records_of(const struct journal_left *left)
{
	uint64_t records = 0;

	for (uint32_t i = 0; i < left->recipe.nranges; i++)
		records += left->ranges[i].records;
	return records;
}

/* Done, else the larger; of the same records the one made later: with the next salt. */
static int compare_left(const void *a, const void *b)
{
	const struct journal_left *x = a, *y = b;
	uint64_t x_records = records_of(x), y_records = records_of(y);

	if (x->recipe.number != y->recipe.number)
		return x->recipe.number < y->recipe.number ? -1 : 1;
	if (x->state != y->state)
		return x->state < y->state ? -1 : 1;
	if (x_records != y_records)
		return x_records < y_records ? -1 : 1;
	return (int)x->recipe.flags - (int)y->recipe.flags;
}
_Static_assert(JOURNAL_VALID < JOURNAL_DONE, "compare_left goes by the order");

unsigned journal_left(const struct journal *j, struct journal_left left[JOURNAL_RECIPES])
{
	unsigned n = 0;

	for (int i = 0; i < (int)JOURNAL_RECIPES; i++) {
		left[n] = (struct journal_left){.index = i};
		left[n].state = journal_read_recipe(j, i, &left[n].recipe, &left[n].ranges);
		n += left[n].state != JOURNAL_FREE;
	}
	qsort(left, n, sizeof(*left), compare_left);
	for (unsigned i = 0; i + 1 < n; i++)
		left[i].smaller = left[i].recipe.number == left[i + 1].recipe.number;
	return n;
}
