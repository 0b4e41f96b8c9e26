/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What could not be seen, on its way to `events` (ledger/gap.h): what the keeper's watch tells, and, once the database
 * answers, what was before these captures: from the last second that the former capture of the interface has in the balance to
 * the first one of this. Gaps of former captures that nobody closed end there too.
 *
 * Both can happen more than once: the documents have the same _id, and what is there of former captures is not asked for again.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/db/read_former.h"
#include "recorder/ledger/gap.h"
#include "recorder/process/drainer.h"

/* ---- what the watch tells ------------------------------------------------------------------------------------- */

static int64_t wall_at(const struct lane *lane, uint64_t boot)
{
	struct clock_pair pair = lane_pair_at(lane, boot);

	return (int64_t)boot + clock_pair_offset(&pair);
}

void gaps_tell(struct drainer *d, const struct link_tell *tell)
{
	struct lane *lane = tell->capture < d->nlanes ? &d->lanes[tell->capture] : NULL;
	bson_t document = BSON_INITIALIZER;
	struct gap gap;

	if (!lane)
		return;
	if (tell->kind[0]) {
		book_event_at(d, lane, tell->begin, tell->kind, tell->text, NULL);
		return;
	}
	gap = (struct gap){
		.source = &lane->source,
		.side = (int)tell->side - 1,
		.why = (enum gap_why)tell->why,
		.by = (enum gap_by)tell->by,
		.id_boot = tell->begin,
		.begin = wall_at(lane, tell->begin),
		.end = wall_at(lane, tell->end),
		.open = !tell->end,
	};
	if (tell->side <= REC_SIDES)
		lane->unseen[tell->side] = gap.open ? tell->why : GAP_NONE;
	gap_document(&document, &gap);
	book_keep(d, &document);
	bson_destroy(&document);
}

const char *gaps_unseen(const struct lane *lane)
{
	for (unsigned i = 0; i < ARRAY_SIZE(lane->unseen); i++)
		if (lane->unseen[i])
			return gap_why_name((enum gap_why)lane->unseen[i]);
	return NULL;
}

/* ---- what was before -------------------------------------------------------------------------------------------- */

struct open_gap {
	bson_t *document;
	struct open_gap *next;
};

struct before {
	int64_t created, attached; /* wall ns: our capture was made; it began to see */
	bool there; /* the gap before it was told by an earlier process */
	struct read_former former;
	struct open_gap *open;
};

struct gaps_look {
	uv_work_t work;
	struct drainer *d;
	char boot[40];
	enum db_result result;
	char problem[200];
	struct before of[]; /* one a lane */
};

void gaps_boot_id(char out[40])
{
	CLEANUP_CLOSE int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, out, 39);

	out[n > 0 ? n : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
}

static struct gap gap_of(const struct lane *lane, const struct before *before)
{
	const struct read_former *f = &before->former;

	return (struct gap){
		.source = &lane->source,
		.side = -1,
		.why = f->same_boot || f->stopped ? GAP_NOT_RECORDING : GAP_REBOOT,
		.by = f->stopped ? GAP_BY_EVENT : GAP_BY_BALANCE,
		.id_boot = lane->info.created,
		.begin = f->until,
		.end = before->attached,
		.before = true,
		.former = f->found ? f->capture : NULL,
		.last_batch = f->last_batch,
		.unaccounted = f->unaccounted,
	};
}

static bool keep_open(void *arg, const bson_t *document)
{
	struct before *before = arg;
	struct open_gap *open = malloc(sizeof(*open));

	if (!open)
		return false;
	*open = (struct open_gap){bson_copy(document), before->open};
	before->open = open;
	return true;
}

static enum db_result look_at(struct gaps_look *look, struct lane *lane, struct before *before, struct db_problem *problem)
{
	struct drainer *d = look->d;
	const struct read_former_of of = {
		.sensor = d->settings->sensor,
		.iface = lane->info.iface,
		.instance = d->settings->instance,
		.capture = lane->info.id,
		.boot = look->boot,
		.netns = (int64_t)lane->info.netns,
		.created = before->created,
	};
	const struct gap gap = gap_of(lane, before);
	uint8_t id[GAP_ID_MAX];
	enum db_result result = read_event_there(d->db, id, (uint32_t)gap_id(id, &gap), &before->there, problem);

	if (result != DB_OK || before->there)
		return result;
	result = read_former(d->db, &of, &before->former, problem);
	if (result == DB_OK && before->former.found)
		result = read_open_gaps(d->db, &of, keep_open, before, problem);
	return result;
}

static void look_work(uv_work_t *work)
{
	struct gaps_look *look = work->data;
	struct db_problem problem = {0};

	look->result = DB_OK;
	for (unsigned i = 0; look->result == DB_OK && i < look->d->nlanes; i++)
		look->result = look_at(look, &look->d->lanes[i], &look->of[i], &problem);
	snprintf(look->problem, sizeof(look->problem), "%.190s", problem.text);
}

/* The same document with an end: no later than what its capture is known to have done. */
static void close_one(struct drainer *d, const bson_t *open, int64_t end)
{
	bson_t document = BSON_INITIALIZER;
	bson_iter_t it;

	if (bson_iter_init_find(&it, open, "begin") && BSON_ITER_HOLDS_DATE_TIME(&it) &&
	    bson_iter_date_time(&it) > clock_ms(end))
		end = bson_iter_date_time(&it) * 1000000;
	bson_copy_to_excluding_noinit(open, &document, "end", "text", NULL);
	BSON_APPEND_UTF8(&document, "text", "nothing could be seen; nobody saw the end: it is that of the capture");
	BSON_APPEND_DATE_TIME(&document, "end", clock_ms(end));
	book_keep(d, &document);
	bson_destroy(&document);
}

static void take(struct drainer *d, struct lane *lane, struct before *before)
{
	const struct gap gap = gap_of(lane, before);
	bson_t document = BSON_INITIALIZER;

	if (!before->there && before->former.found && gap.begin < gap.end) {
		log_info("%s: nothing was seen for %.1f s before this capture (%s)", lane->info.iface,
			 (double)(gap.end - gap.begin) / 1e9, gap_why_name(gap.why));
		gap_document(&document, &gap);
		book_keep(d, &document);
	}
	bson_destroy(&document);
	while (before->open) {
		struct open_gap *open = before->open;

		before->open = open->next;
		close_one(d, open->document, gap.begin);
		bson_destroy(open->document);
		free(open);
	}
}

static void look_done(uv_work_t *work, int status)
{
	struct gaps_look *look = work->data;
	struct drainer *d = look->d;
	static struct log_limit limit;

	(void)status;
	d->working--;
	d->gaps_busy = false;
	d->gaps_known = look->result == DB_OK;
	if (!d->gaps_known && look->result != DB_CANCELLED)
		log_limited(&limit, 60, LOG_WARNING, "what was before this recording is not known yet: %s", look->problem);
	/* Each lane that was read is told, the others are asked for again. */
	for (unsigned i = 0; i < d->nlanes; i++)
		if (d->gaps_known)
			take(d, &d->lanes[i], &look->of[i]);
		else
			while (look->of[i].open) {
				struct open_gap *open = look->of[i].open;

				look->of[i].open = open->next;
				bson_destroy(open->document);
				free(open);
			}
	free(look);
	drainer_check_end(d);
}

void gaps_look(struct drainer *d)
{
	struct gaps_look *look;
	uint64_t packets;

	if (!d->db || d->gaps_known || d->gaps_busy || !d->db_ready || d->state != DRAINER_RECORDING)
		return;
	if (spooling_holds(d, &packets))
		return; /* perhaps the last seconds of the former capture */
	for (unsigned i = 0; i < d->nlanes; i++)
		if (!journal_attached(d->lanes[i].journal))
			return; /* LINK_ATTACHED asks again */
	look = calloc(1, sizeof(*look) + d->nlanes * sizeof(look->of[0]));
	if (!look)
		return;
	look->d = d;
	look->work.data = look;
	for (unsigned i = 0; i < d->nlanes; i++) {
		look->of[i].created = wall_at(&d->lanes[i], d->lanes[i].info.created);
		look->of[i].attached = wall_at(&d->lanes[i], journal_attached(d->lanes[i].journal));
	}
	gaps_boot_id(look->boot);
	d->gaps_busy = true;
	d->working++;
	uv_queue_work(&d->loop, &look->work, look_work, look_done);
}
