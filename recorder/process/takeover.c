/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the former process left in the journal. Its recipes are formed again: the rings still hold their records, because the
 * indexes have not moved. Of an open batch the largest revision is sent once more, closed. A recipe of a version that this
 * program does not know is no reason to stop: what that one wrote is read, and the sink adds what is not there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/core/log.h"
#include "recorder/encode/document.h"
#include "recorder/process/pipeline_internal.h"

#define BUCKETS_VERSION 2u /* the first that made buckets */

/* Forming its batch again gives what its maker sent. */
static bool recipe_known(const struct journal_recipe *r)
{
	if (r->mode == JOURNAL_DOCUMENTS)
		return r->version && r->version <= ENCODE_VERSION;
	return r->mode == JOURNAL_BUCKETS && r->version >= BUCKETS_VERSION && r->version <= ENCODE_VERSION &&
	       (r->form == 2 || r->form == 3);
}

static void as_recipe_says(struct batch *batch, const struct journal_recipe *r)
{
	batch->number = r->number;
	batch->mode = r->mode;
	batch->version = r->version;
	batch->span_s = r->span_s;
	batch->form = r->form;
	batch->raw = r->flags & JOURNAL_RAW;
	batch->assumed_span = r->flags & JOURNAL_ASSUMED;
	batch->salt = (uint8_t)journal_salt(r);
	batch->attempted = 1;
	batch->foreign = !recipe_known(r);
	if (batch->foreign) { /* named in the ledger as buckets and documents: either may be there */
		batch->mode = JOURNAL_BUCKETS;
		batch->version = ENCODE_VERSION;
	}
	memcpy(batch->digest, r->digest, DIGEST_LEN);
	memcpy(batch->previous, r->previous, DIGEST_LEN);
}

static void damaged(struct lane *lane, const struct journal_left *left)
{
	log_error("%s: the recipe of batch %llu does not fit its rings: its packets may be missing", lane->info.iface,
		  (unsigned long long)left->recipe.number);
	book_event(lane->drainer, lane, "recipe-damaged", "a recipe did not fit its rings", NULL);
	journal_free(lane->journal, left->index);
	lane->next_number = left->recipe.number + 1; /* it may have been used */
}

/* Forms the batch of a recipe again. False: out of memory. */
static bool take_over_one(struct lane *lane, const struct journal_left *left)
{
	const struct journal_recipe *r = &left->recipe;
	struct batch *batch = cut_again(&lane->source, lane->rings, lane->nrings, left->ranges, r->nranges, &r->pair);
	struct flight *flight;

	if (!batch && errno != EBADMSG)
		return false;
	if (!batch) {
		damaged(lane, left);
		return true;
	}
	as_recipe_says(batch, r);
	if (batch->foreign)
		log_warn("%s: batch %llu was sent in a way that this program does not know (mode %u, version %u, form %u)",
			 lane->info.iface, (unsigned long long)r->number, r->mode, r->version, r->form);
	memcpy(lane->chain, r->digest, DIGEST_LEN);
	flight = flight_new(lane, batch);
	if (!flight) {
		batch_free(batch);
		return false;
	}
	flight->recipe = left->index;
	flight->chained = true;
	for (unsigned i = 0; i < batch->nranges; i++) /* cut_again has found each of them */
		cut_ring_of(lane->rings, lane->nrings, &batch->ranges[i])->next = batch->ranges[i].to;
	lane->next_number = r->number + 1;
	if (left->state == JOURNAL_DONE)
		flight->state = FLIGHT_SETTLED;
	else
		flight_prepare(flight);
	return true;
}

/* A batch that stands in the spool is done. With a file besides, that one may not have it yet: then it is formed once more. */
static void note_spooled(struct lane *lane, struct journal_left *left)
{
	const struct drainer *d = lane->drainer;

	if (left->state != JOURNAL_VALID || !d->spool || d->file ||
	    !spool_sink_holds(d->spool, lane->source.capture, left->recipe.number, left->recipe.digest))
		return;
	journal_mark_done(lane->journal, left->index);
	left->state = JOURNAL_DONE;
}

bool pipeline_take_over(struct lane *lane)
{
	struct journal_left left[JOURNAL_RECIPES];
	uint64_t chain = journal_chain(lane->journal, lane->chain, &lane->stored);
	unsigned n = journal_left(lane->journal, left), taken = 0;

	lane->next_number = chain + 1;
	lane->stored_before = lane->stored.packets;
	for (int i = 0; i < (int)JOURNAL_RECIPES; i++) {
		bool kept = false;

		for (unsigned k = 0; k < n; k++)
			kept |= left[k].index == i && left[k].recipe.number > chain && !left[k].smaller;
		for (unsigned k = 0; k < n; k++)
			if (left[k].index == i && left[k].recipe.number <= chain)
				lane_settle_ranges(lane, left[k].ranges, left[k].recipe.nranges);
		if (!kept)
			journal_free(lane->journal, i); /* settled; a former revision; or torn, so never sent */
	}
	for (unsigned k = 0; k < n; k++) {
		if (left[k].recipe.number <= chain || left[k].smaller)
			continue;
		note_spooled(lane, &left[k]);
		taken += left[k].state == JOURNAL_VALID;
		if (!take_over_one(lane, &left[k]))
			return false;
	}
	lane_settle_prefix(lane);
	if (taken)
		log_info("%s: %u batches of the former process may have been sent: they are read back first",
			 lane->info.iface, taken);
	return true;
}
