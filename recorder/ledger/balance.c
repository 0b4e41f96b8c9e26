/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/ledger/balance.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MASK (REC_SECONDS - 1)

static const struct rec_seconds *of_cpu(const struct balance *b, unsigned cpu)
{
	return &b->seconds[cpu];
}

static uint64_t slot_sec(const struct rec_seconds *s, uint64_t index)
{
	return __atomic_load_n(&s->slot[index & MASK].sec, __ATOMIC_ACQUIRE);
}

static uint64_t newest_of(const struct rec_seconds *s)
{
	return __atomic_load_n(&s->newest, __ATOMIC_ACQUIRE) & MASK;
}

/*
 * Slots are a ring in time order: each second in which a packet came took the one after `newest`. Going back from there the
 * seconds fall; where one rises, or is 0 close to a full turn, the kernel has just taken the slot again.
 */
struct found {
	uint64_t sec; /* 0: there is none */
	uint64_t index;
	bool gap; /* older slots behind `after` may have been used again */
};

/* The first second behind `after` that this CPU still knows. */
static struct found first_after(const struct rec_seconds *s, uint64_t after)
{
	uint64_t newest = newest_of(s), last = UINT64_MAX;
	struct found found = {0, 0, false};

	for (uint64_t back = 0; back < REC_SECONDS; back++) {
		uint64_t sec = slot_sec(s, newest - back);

		if (sec == 0 && back < REC_SECONDS - 2)
			return found; /* never used: nothing is older */
		if (sec == 0 || sec >= last)
			break;
		if (sec <= after)
			return found;
		found.sec = last = sec;
		found.index = (newest - back) & MASK;
	}
	found.gap = true;
	return found;
}

/* The newest slot of a second up to `upto`. */
static struct found last_upto(const struct rec_seconds *s, uint64_t upto)
{
	uint64_t newest = newest_of(s);

	for (uint64_t back = 0; back < REC_SECONDS; back++) {
		uint64_t sec = slot_sec(s, newest - back);

		if (sec == 0)
			break;
		if (sec <= upto)
			return (struct found){sec, (newest - back) & MASK, false};
	}
	return (struct found){0, 0, false};
}

/* Copies the totals of a slot that was found; false when the kernel has taken it again meanwhile. */
static bool read_slot(const struct rec_seconds *s, const struct found *found, struct rec_count total[REC_TERMS])
{
	const struct rec_second *slot = &s->slot[found->index];

	memcpy(total, slot->total, sizeof(slot->total));
	if (newest_of(s) == found->index) {
		/* What another context lost to contention since this slot was opened stands in a cell of its own. */
		total[REC_LOST_CONTENDED].packets = __atomic_load_n(&s->contended.packets, __ATOMIC_RELAXED);
		total[REC_LOST_CONTENDED].bytes = __atomic_load_n(&s->contended.bytes, __ATOMIC_RELAXED);
	}
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&slot->sec, __ATOMIC_RELAXED) == found->sec;
}

static size_t totals_size(const struct balance *b)
{
	return (size_t)b->cpus * REC_TERMS * sizeof(struct rec_count);
}

int balance_open(struct balance *b, struct journal *journal, const struct rec_seconds *seconds, unsigned cpus,
		 uint32_t side, uint64_t first_sec)
{
	*b = (struct balance){.seconds = seconds + (size_t)side * cpus, .cpus = cpus, .side = side};
	b->settled.total = calloc(1, totals_size(b));
	b->next.total = calloc(1, totals_size(b));
	if (!b->settled.total || !b->next.total) {
		balance_close(b);
		return -ENOMEM;
	}
	journal_settled(journal, side, &b->settled);
	if (!b->settled.sec) {
		b->settled.sec = first_sec - 1;
		journal_set_settled(journal, side, &b->settled);
	}
	return 0;
}

void balance_close(struct balance *b)
{
	free(b->settled.total);
	free(b->next.total);
	b->settled.total = b->next.total = NULL;
}

/* Brings b->next to the end of second `sec`; false when a slot was taken away meanwhile. */
static bool advance(struct balance *b, uint64_t sec)
{
	for (unsigned cpu = 0; cpu < b->cpus; cpu++) {
		const struct rec_seconds *s = of_cpu(b, cpu);
		struct rec_count *total = b->next.total + (size_t)cpu * REC_TERMS;
		struct found found = last_upto(s, sec);

		memcpy(total, b->settled.total + (size_t)cpu * REC_TERMS, REC_TERMS * sizeof(*total));
		if (found.sec > b->settled.sec && !read_slot(s, &found, total))
			return false;
	}
	b->next.sec = sec;
	return true;
}

static void fill(const struct balance *b, struct balance_row *row, bool busy)
{
	memset(row->term, 0, sizeof(row->term));
	row->side = b->side;
	row->sec = b->settled.sec + 1;
	row->seconds = (uint32_t)(b->next.sec - b->settled.sec);
	row->silent = !busy;
	for (size_t i = 0; i < (size_t)b->cpus * REC_TERMS; i++) {
		struct rec_count *to = &row->term[i % REC_TERMS];

		to->packets += b->next.total[i].packets - b->settled.total[i].packets;
		to->bytes += b->next.total[i].bytes - b->settled.total[i].bytes;
	}
	row->term[REC_SEEN].packets += row->term[REC_LOST_CONTENDED].packets;
	row->term[REC_SEEN].bytes += row->term[REC_LOST_CONTENDED].bytes;
}

bool balance_next(struct balance *b, uint64_t final_sec, bool flush, struct balance_row *row)
{
	uint64_t first = b->settled.sec + 1, next = UINT64_MAX, merged = 0;

	if (first >= final_sec)
		return false;
	for (unsigned cpu = 0; cpu < b->cpus; cpu++) {
		struct found found = first_after(of_cpu(b, cpu), b->settled.sec);

		if (found.sec && found.sec < next)
			next = found.sec;
		if (found.gap && found.sec > merged)
			merged = found.sec;
	}
	if (merged) {
		/* Some seconds are known only together: one row up to where every CPU is known again. */
		if (merged >= final_sec || !advance(b, merged))
			return false;
		fill(b, row, true);
		return true;
	}
	if (next == first) {
		if (!advance(b, first))
			return false;
		fill(b, row, true);
		return true;
	}
	/* Silence, up to the next packet or to what is final. */
	if (next < final_sec)
		final_sec = next;
	else if (final_sec - first < BALANCE_SILENCE && !flush)
		return false;
	if (!advance(b, final_sec - 1))
		return false;
	fill(b, row, false);
	return true;
}

void balance_settle(struct balance *b, struct journal *journal)
{
	struct journal_totals done = b->next;

	journal_set_settled(journal, b->side, &done);
	b->next = b->settled;
	b->settled = done;
}

void balance_now(const struct balance *b, struct rec_count term[REC_TERMS])
{
	memset(term, 0, REC_TERMS * sizeof(*term));
	for (unsigned cpu = 0; cpu < b->cpus; cpu++) {
		const struct rec_seconds *s = of_cpu(b, cpu);
		struct rec_count total[REC_TERMS];
		struct found found;

		do {
			found = last_upto(s, UINT64_MAX);
		} while (found.sec && !read_slot(s, &found, total));
		if (!found.sec)
			continue; /* this CPU has seen no packet yet */
		for (unsigned i = 0; i < REC_TERMS; i++) {
			term[i].packets += total[i].packets;
			term[i].bytes += total[i].bytes;
		}
	}
	term[REC_SEEN].packets += term[REC_LOST_CONTENDED].packets;
	term[REC_SEEN].bytes += term[REC_LOST_CONTENDED].bytes;
}
