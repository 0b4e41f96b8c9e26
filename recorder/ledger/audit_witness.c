/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/ledger/audit.h"

/*
 * d = witness - seen, of the moment of a reading, lies in [least, most]: in its second the hook had seen no less than before
 * it and no more than behind it. d only grows, by what was unseen.
 */
static void compare(struct audit_witness *w, const struct audit_reading *r, uint64_t before, uint64_t behind)
{
	const int64_t least = (int64_t)(r->packets - behind), most = (int64_t)(r->packets - before);

	w->readings++;
	if (!w->begun) {
		w->begun = true;
		w->first_least = w->most_least = least;
		w->least_most = most;
		return;
	}
	if (least - w->least_most > (int64_t)w->unseen)
		w->unseen = (uint64_t)(least - w->least_most);
	if (w->most_least - most > (int64_t)w->excess)
		w->excess = (uint64_t)(w->most_least - most);
	if (most < w->least_most)
		w->least_most = most;
	if (least > w->most_least)
		w->most_least = least;
	w->at_most = most > w->first_least ? (uint64_t)(most - w->first_least) : 0;
	if (w->at_most < w->unseen)
		w->at_most = w->unseen;
}

static void reset(struct audit_witness *w)
{
	w->unseen_before += w->unseen;
	w->at_most_before += w->at_most;
	w->unseen = w->at_most = 0;
	w->begun = false;
	w->nwaiting = 0;
	w->resets++;
}

static void wait_for(struct audit_witness *w, const struct audit_reading *r)
{
	struct audit_reading *newest = w->nwaiting ? &w->waiting[w->nwaiting - 1] : NULL;

	if (newest && newest->sec >= r->sec)
		return; /* one of a second is enough */
	if (w->nwaiting < AUDIT_READINGS)
		w->waiting[w->nwaiting++] = *r;
}

void audit_witness_row(struct audit_witness *w, const struct balance_row *row)
{
	const uint64_t end = row->sec + row->seconds, behind = w->seen_before + row->term[REC_SEEN].packets;
	const struct witness *read = &row->witness;
	const bool tx = row->side == REC_TX;
	const struct audit_reading r = {.sec = read->boot / NS_PER_SEC,
					.packets = tx ? read->tx_packets : read->rx_packets,
					.bytes = tx ? read->tx_bytes : read->rx_bytes};
	unsigned done = 0;

	for (; done < w->nwaiting && w->waiting[done].sec < end; done++)
		if (w->waiting[done].sec >= row->sec)
			compare(w, &w->waiting[done], w->seen_before, behind);
	w->nwaiting -= done;
	memmove(w->waiting, w->waiting + done, w->nwaiting * sizeof(*w->waiting));
	w->seen_before = behind;
	if (!read->boot)
		return;
	if (r.packets < w->last.packets)
		reset(w);
	w->last = r;
	if (r.sec >= end) /* a row is written behind its seconds */
		wait_for(w, &r);
}
