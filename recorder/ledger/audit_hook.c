/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/ledger/audit.h"

#include <stdio.h>

static int64_t wall_of(const struct audit_hook *hook, uint64_t sec)
{
	return (int64_t)(sec * NS_PER_SEC) + hook->offset;
}

static struct audit_finding finding_of(const struct audit_hook *hook, const char *what, uint64_t from, uint64_t end)
{
	return (struct audit_finding){
		.what = what,
		.collection = hook->collection,
		.capture = hook->of->capture,
		.sensor = hook->of->sensor,
		.iface = hook->of->iface,
		.side = (int)hook->side,
		.from = wall_of(hook, from),
		.to = wall_of(hook, end),
		.text = "",
	};
}

static void say(const struct audit_hook *hook, const struct audit_finding *finding)
{
	hook->of->say(hook->of->arg, finding);
}

static bool same(const struct rec_count *a, const struct rec_count *b)
{
	return a->packets == b->packets && a->bytes == b->bytes;
}

static void add(struct rec_count *to, const struct rec_count *more)
{
	to->packets += more->packets;
	to->bytes += more->bytes;
}

void audit_hook_begin(struct audit_hook *hook, const struct audit_of *of, unsigned side, bool continuous)
{
	*hook = (struct audit_hook){.of = of,
				    .side = side,
				    .continuous = continuous,
				    .final_stored = UINT64_MAX,
				    .final_summarised = UINT64_MAX};
}

/* ---- summaries --------------------------------------------------------------------------------------------------- */

static void close_group(struct audit_hook *hook)
{
	struct audit_epochs *e = &hook->epochs;
	struct audit_finding f;
	char text[160];

	if (!e->end)
		return;
	e->compared++;
	if (!same(&e->summaries, &e->balance)) {
		f = finding_of(hook, "floods", e->from, e->end);
		f.to += e->wall - f.from;
		f.from = e->wall;
		f.collection = "floods";
		f.counted = true;
		f.expected = e->balance;
		f.found = e->summaries;
		if (!e->epochs)
			snprintf(text, sizeof(text), "summarised in the balance, and no summary of these seconds");
		else
			snprintf(text, sizeof(text), "the summaries of epoch %u%s against the balance of their seconds", e->epoch,
				 e->epochs > 1 ? " and those before it that share a row" : "");
		f.text = text;
		say(hook, &f);
	}
	e->end = 0;
}

/* Joins the group that overlaps [sec, end), or begins one. */
static struct audit_epochs *join(struct audit_hook *hook, uint64_t sec, uint64_t end, int64_t wall)
{
	struct audit_epochs *e = &hook->epochs;

	if (e->end <= sec)
		close_group(hook);
	if (!e->end)
		*e = (struct audit_epochs){.from = sec, .wall = wall, .compared = e->compared};
	if (end > e->end)
		e->end = end;
	return e;
}

void audit_hook_epoch(struct audit_hook *hook, const struct flood_read *sum)
{
	const int64_t wall = hook->end ? wall_of(hook, sum->sec) : sum->wall;
	struct audit_epochs *e = join(hook, sum->sec, sum->sec + sum->secs, wall);

	e->epoch = sum->epoch;
	e->epochs++;
	add(&e->summaries, &sum->count);
}

static void take_summarised(struct audit_hook *hook, const struct balance_row *row)
{
	struct rec_count sum = row->term[REC_SUMMARISED_FLOW];

	add(&sum, &row->term[REC_SUMMARISED_PREFIX]);
	if ((!sum.packets && !sum.bytes) || row->sec < hook->first_summarised)
		return;
	if (row->sec + row->seconds > hook->final_summarised)
		add(&hook->open, &sum);
	else
		add(&join(hook, row->sec, row->sec + row->seconds, wall_of(hook, row->sec))->balance, &sum);
}

void audit_hook_end(struct audit_hook *hook)
{
	close_group(hook);
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

void audit_cells_add(struct audit_cells *cells, uint64_t sec, uint64_t packets, uint64_t bytes)
{
	if (sec < cells->from || sec - cells->from >= cells->count)
		return;
	cells->cell[sec - cells->from].packets += packets;
	cells->cell[sec - cells->from].bytes += bytes;
}

static struct rec_count cells_take(struct audit_cells *cells, uint64_t sec, uint32_t seconds)
{
	struct rec_count sum = {0};

	for (uint64_t i = sec - cells->from; i < sec - cells->from + seconds && i < cells->count; i++) {
		add(&sum, &cells->cell[i]);
		cells->cell[i] = (struct rec_count){0};
	}
	return sum;
}

static void check_time(struct audit_hook *hook, const struct balance_row *row)
{
	struct audit_finding f;
	char text[96];

	if (!hook->end || row->sec == hook->end || (row->sec > hook->end && !hook->continuous))
		return;
	if (row->sec > hook->end) {
		f = finding_of(hook, "hole", hook->end, row->sec);
		snprintf(text, sizeof(text), "no balance for %llu s", (unsigned long long)(row->sec - hook->end));
	} else {
		f = finding_of(hook, "overlap", row->sec, hook->end);
		snprintf(text, sizeof(text), "%llu s stand in two rows of the balance",
			 (unsigned long long)(hook->end - row->sec));
	}
	f.text = text;
	say(hook, &f);
}

static void check_terms(struct audit_hook *hook, const struct balance_row *row)
{
	struct audit_finding f = finding_of(hook, "terms", row->sec, row->sec + row->seconds);

	f.counted = true;
	f.expected = row->term[REC_SEEN];
	for (unsigned i = 0; i < REC_TERMS; i++)
		if (i != REC_SEEN)
			add(&f.found, &row->term[i]);
	f.text = "seen (expected) against the sum of what became of it (found)";
	if (!same(&f.expected, &f.found)) {
		say(hook, &f);
	} else if (row->silent && row->term[REC_SEEN].packets) {
		f.counted = false;
		f.text = "called silent, and packets were seen";
		say(hook, &f);
	}
}

static void check_stored(struct audit_hook *hook, const struct balance_row *row, struct audit_cells *cells)
{
	struct audit_finding f = finding_of(hook, "stored", row->sec, row->sec + row->seconds);

	f.counted = true;
	f.expected = row->term[REC_PUBLISHED];
	f.found = cells_take(cells, row->sec, row->seconds);
	f.text = "stored as the balance has it (expected), and as the packets and the ledger have it (found)";
	if (row->sec + row->seconds > hook->final_stored)
		add(&hook->open, &row->term[REC_PUBLISHED]);
	else if (!same(&f.expected, &f.found))
		say(hook, &f);
}

void audit_hook_row(struct audit_hook *hook, const struct balance_row *row, int64_t wall, const char *collection,
		    struct audit_cells *cells)
{
	const uint64_t end = row->sec + row->seconds;

	hook->offset = wall - (int64_t)(row->sec * NS_PER_SEC);
	snprintf(hook->collection, sizeof(hook->collection), "%s", collection);
	check_time(hook, row);
	check_terms(hook, row);
	check_stored(hook, row, cells);
	take_summarised(hook, row);
	audit_witness_row(&hook->witness, row);
	for (unsigned i = 0; i < REC_TERMS; i++)
		add(&hook->term[i], &row->term[i]);
	if (!hook->end)
		hook->from = row->sec;
	if (end > hook->end)
		hook->end = end;
	hook->rows++;
}

void audit_hook_left(struct audit_hook *hook, struct audit_cells *cells, uint64_t upto, const char *collection)
{
	const uint64_t last = upto < hook->final_stored ? upto : hook->final_stored;

	for (uint32_t i = 0; i < cells->count && cells->from + i < last; i++) {
		const struct rec_count nothing = {0};
		const uint32_t from = i;
		struct audit_finding f;
		struct rec_count sum = {0};

		for (; i < cells->count && cells->from + i < last && !same(&cells->cell[i], &nothing); i++) {
			add(&sum, &cells->cell[i]);
			cells->cell[i] = nothing;
		}
		if (i == from)
			continue;
		f = finding_of(hook, "no balance", cells->from + from, cells->from + i);
		f.collection = collection;
		f.counted = true;
		f.found = sum;
		f.text = "packets are stored, and no row of the balance has their seconds";
		say(hook, &f);
	}
}
