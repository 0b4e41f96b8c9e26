/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Packets become records and batches, by what is in the file alone: whoever imports the same bytes again, on whatever
 * machine and however fast, forms the same batches under the same numbers.
 *
 * A batch holds packets of one interface and one UTC hour in the order of the file. It is closed by its 65,536th packet, at
 * the file's end, or when it is the fullest of those being filled and there are IMPORT_OPEN_MOST of them or IMPORT_OPEN_BYTES
 * in them (many interfaces, times that jump between many hours): closing any other would make small batches, and a batch costs
 * the same time whatever is in it. Numbers are given as batches are closed. An hour is the span of a year's buckets; as documents
 * the same file gives the same batches.
 *
 * Boot time is wall time: the clock pair is {0, 0}. A time before 1970 is the same 64 bits, signed: whoever adds the
 * pair's offset gets it back, and no batch holds times of both sides of 1970.
 */
#include "recorder/import/internal.h"

#include <errno.h>
#include <stdio.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/encode/document.h"
#include "recorder/source/cut.h"
#include "recorder/source/native.h"

#define ARENA_FIRST (4u << 10)
#define HOUR_NS (3600 * (int64_t)NS_PER_SEC)
#define LOOK_EVERY 256u /* packets between two looks at signals and what workers have done */

/* A batch that is being filled. */
struct import_open {
	struct import_capture *capture;
	struct batch *batch;
	int64_t hour; /* since 1970 */
	uint8_t *arena;
	size_t used, room; /* records stand one behind the other; the arena moves as it grows */
};

/* What one pass needs. */
struct pass {
	struct import_file *file;
	struct native_slot slot;
	/* Of the packet before: most are of the same. */
	int64_t hour;
	uint32_t year;
};

static struct batch *batch_new(const struct import_capture *capture, uint32_t year)
{
	struct batch *batch = calloc(1, sizeof(*batch));

	if (!batch)
		return NULL;
	batch->source = &capture->source;
	batch->day = year;
	batch->version = ENCODE_VERSION;
	batch->first_boot = UINT64_MAX;
	batch->ranges = calloc(REC_SIDES, sizeof(*batch->ranges));
	if (batch->ranges)
		return batch;
	batch_free(batch);
	return NULL;
}

static void open_free(struct import_open *open)
{
	batch_free(open->batch);
	free(open->arena);
}

/* ---- closing ------------------------------------------------------------------------------------------------------ */

static int compare_seconds(const void *x, const void *y)
{
	const struct batch_second *a = x, *b = y;

	if (a->sec != b->sec)
		return (int64_t)a->sec < (int64_t)b->sec ? -1 : 1;
	return (int)a->side - (int)b->side;
}

static uint64_t second_of(int64_t wall)
{
	return (uint64_t)(wall / (int64_t)NS_PER_SEC - (wall % (int64_t)NS_PER_SEC < 0));
}

/* One for each record, ordered, then the equal ones added up: file order says nothing about time. */
static int count_seconds(struct batch *batch)
{
	struct batch_second *cells = calloc(batch->nrecords ? batch->nrecords : 1, sizeof(*cells));
	unsigned n = 0;

	if (!cells)
		return -ENOMEM;
	for (uint32_t i = 0; i < batch->nrecords; i++) {
		const struct rec_head *r = batch->records[i];

		cells[i] = (struct batch_second){second_of((int64_t)r->time), r->side, 1, r->wire_len};
	}
	qsort(cells, batch->nrecords, sizeof(*cells), compare_seconds);
	for (uint32_t i = 1; i < batch->nrecords; i++) {
		if (!compare_seconds(&cells[n], &cells[i])) {
			cells[n].packets++;
			cells[n].bytes += cells[i].bytes;
		} else {
			cells[++n] = cells[i];
		}
	}
	batch->seconds = cells;
	batch->nseconds = batch->nrecords ? n + 1 : 0;
	return 0;
}

static int fail(struct import_file *file, int err, const char *text)
{
	snprintf(file->problem, sizeof(file->problem), "%s: %s", file->path, text);
	return err;
}

/* Where each record is, now that the arena stands still. 0 or -ENOMEM. */
static int point_at_records(struct batch *batch, const uint8_t *arena)
{
	batch->records = calloc(batch->nrecords, sizeof(*batch->records));
	if (!batch->records)
		return -ENOMEM;
	for (uint32_t i = 0; i < batch->nrecords; i++) {
		batch->records[i] = (const struct rec_head *)arena;
		arena += REC_RECORD_LEN(batch->records[i]->cap_len);
	}
	return 0;
}

/* The batch at `index` goes on its way. */
static int close_batch(struct import_file *file, unsigned index)
{
	struct import_open open = file->open[index];
	struct batch *batch = open.batch;
	unsigned sides = 0;
	int err;

	file->nopen--;
	memmove(file->open + index, file->open + index + 1, (file->nopen - index) * sizeof(*file->open));
	file->open_bytes -= open.used;
	for (unsigned side = 0; side < REC_SIDES; side++)
		if (batch->ranges[side].records)
			batch->ranges[sides++] = batch->ranges[side];
	batch->nranges = sides;
	err = point_at_records(batch, open.arena) || count_seconds(batch) ? fail(file, -ENOMEM, "out of memory")
									  : import_year(file, batch->day);
	if (err) {
		open_free(&open);
		return err;
	}
	import_storage_of(file, batch, open.hour);
	batch->number = ++open.capture->next;
	import_launch(file, open.capture, batch, open.arena);
	import_wait(file, false);
	return import_ends(file) ? -ECANCELED : 0;
}

/* ---- filling ------------------------------------------------------------------------------------------------------ */

/* Of the equally full the one begun first. */
static unsigned fullest(const struct import_file *file)
{
	unsigned most = 0;

	for (unsigned i = 1; i < file->nopen; i++)
		if (file->open[i].used > file->open[most].used)
			most = i;
	return most;
}

static struct import_open *open_of(struct import_file *file, struct import_capture *capture, int64_t hour, uint32_t year)
{
	struct import_open *open;

	for (unsigned i = file->nopen; i-- > 0;)
		if (file->open[i].capture == capture && file->open[i].hour == hour)
			return &file->open[i];
	if (file->nopen == IMPORT_OPEN_MOST && close_batch(file, fullest(file)))
		return NULL;
	open = &file->open[file->nopen];
	open->capture = capture;
	open->hour = hour;
	open->used = 0;
	open->room = ARENA_FIRST;
	open->arena = malloc(open->room);
	open->batch = batch_new(capture, year);
	if (open->arena && open->batch) {
		file->nopen++;
		return open;
	}
	open_free(open);
	fail(file, -ENOMEM, "out of memory");
	return NULL;
}

/* Bytes of the file that the batch comes from, as first and last record of each side. */
static void extend_range(struct batch *batch, unsigned side, uint64_t offset)
{
	struct batch_range *range = &batch->ranges[side];

	if (!range->records++) {
		range->side = (uint16_t)side;
		range->from = offset;
	}
	range->to = offset + 1;
}

static int add(struct import_file *file, struct import_open *open, const struct rec_head *record,
	       const struct savefile_packet *packet, unsigned side)
{
	struct batch *batch = open->batch;
	size_t len = REC_RECORD_LEN(record->cap_len);
	struct rec_head *copy;

	if (open->used + len > open->room) {
		uint8_t *more = realloc(open->arena, 2 * open->room);

		if (!more)
			return fail(file, -ENOMEM, "out of memory");
		open->arena = more;
		open->room *= 2;
	}
	copy = (struct rec_head *)(open->arena + open->used);
	memcpy(copy, record, sizeof(*record) + record->cap_len);
	copy->side = (uint8_t)side;
	if (packet->time_changed || !packet->has_time)
		copy->marks |= REC_MARK_TIME;
	batch->nrecords++;
	open->used += len;
	file->open_bytes += len;
	batch->bytes += copy->wire_len;
	if (copy->time < batch->first_boot)
		batch->first_boot = copy->time;
	if (copy->time > batch->last_boot)
		batch->last_boot = copy->time;
	extend_range(batch, side, packet->offset);
	if (batch->nrecords == IMPORT_BATCH)
		return close_batch(file, (unsigned)(open - file->open));
	return file->open_bytes > IMPORT_OPEN_BYTES ? close_batch(file, fullest(file)) : 0;
}

static void find_hour(struct pass *pass, int64_t wall)
{
	int64_t hour = wall / HOUR_NS - (wall % HOUR_NS < 0);

	if (hour != pass->hour || !pass->year)
		pass->year = clock_day(wall) / 10000;
	pass->hour = hour;
}

/* ---- one packet ---------------------------------------------------------------------------------------------------- */

static int parse(struct pass *pass, const struct savefile_packet *packet, enum rec_term *term,
		 const struct rec_head **record)
{
	struct import *im = pass->file->import;

	if (im->run)
		return capture_run(im->run, packet->bytes, packet->cap_len, packet->wire_len, (uint64_t)packet->wall, term,
				   record);
	pass->file->native++;
	*term = REC_FILTERED_EXPR;
	if (!filter_match(im->filter, packet->bytes, packet->cap_len, packet->wire_len))
		return 0;
	*term = REC_PUBLISHED;
	*record = native_record(&pass->slot, packet->bytes, packet->cap_len, packet->wire_len, (uint64_t)packet->wall, 0);
	return 0;
}

static void note(struct import_result *result, const struct savefile_packet *packet, enum rec_term term)
{
	if (!result->packets || packet->wall < result->first)
		result->first = packet->wall;
	if (!result->packets || packet->wall > result->last)
		result->last = packet->wall;
	result->packets++;
	result->bytes += packet->wire_len;
	result->filtered += term == REC_FILTERED_EXPR;
	result->lost += term != REC_FILTERED_EXPR && term != REC_PUBLISHED;
}

static int take(struct pass *pass, const struct savefile_packet *packet)
{
	struct import_file *file = pass->file;
	unsigned side = packet->direction == 2 ? REC_TX : REC_RX;
	const struct rec_head *record = NULL;
	struct import_open *open;
	enum rec_term term;
	int err;

	if (packet->interface >= file->ncaptures)
		return fail(file, -EBADMSG, "it changed while it was read; import it again");
	err = parse(pass, packet, &term, &record);
	if (err) {
		snprintf(file->problem, sizeof(file->problem), "%s: the packet at byte %llu cannot be run: %s", file->path,
			 (unsigned long long)packet->offset, strerror(-err));
		return err;
	}
	if (term != REC_PUBLISHED && term != REC_FILTERED_EXPR && term != REC_LOST_UNREADABLE) {
		snprintf(file->problem, sizeof(file->problem), "%s: the program counted the packet at byte %llu as term %d",
			 file->path, (unsigned long long)packet->offset, (int)term);
		return -EIO;
	}
	note(&file->result, packet, term);
	if (import_rows_add(file->rows, packet->interface, side, second_of(packet->wall), term, packet->wire_len))
		return fail(file, -ENOMEM, "out of memory");
	if (term != REC_PUBLISHED)
		return 0;
	find_hour(pass, packet->wall);
	open = open_of(file, &file->captures[packet->interface], pass->hour, pass->year);
	if (!open)
		return file->problem[0] ? -ENOMEM : -ECANCELED;
	return add(file, open, record, packet, side);
}

static int take_all(struct pass *pass, struct savefile *savefile)
{
	struct import_file *file = pass->file;
	struct savefile_packet packet;
	struct savefile_error error;
	int err = 0, got;

	/* What was put behind it since it was counted is not part of what was hashed. */
	while (!err && file->result.packets < file->total && (got = savefile_next(savefile, &packet, &error)) == 1) {
		err = take(pass, &packet);
		if (!err && file->result.packets % LOOK_EVERY == 0) {
			uv_run(&file->import->loop, UV_RUN_NOWAIT);
			import_say(file, false, savefile_read_bytes(savefile), file->result.packets, false);
			err = import_ends(file) ? -ECANCELED : 0;
		}
	}
	if (err)
		return err;
	if (file->result.packets != file->total)
		return fail(file, -EBADMSG, "it changed while it was read; import it again");
	import_say(file, false, file->size, file->result.packets, false);
	while (!err && file->nopen)
		err = close_batch(file, 0);
	return err;
}

int import_form(struct import_file *file)
{
	struct pass pass = {.file = file};
	uint64_t native = file->import->run ? capture_run_native(file->import->run) : 0;
	struct savefile *savefile;
	int err = import_file_rewind(file, &savefile);

	if (err)
		return err;
	file->open = calloc(IMPORT_OPEN_MOST, sizeof(*file->open));
	err = file->open ? take_all(&pass, savefile) : fail(file, -ENOMEM, "out of memory");
	while (file->nopen)
		open_free(&file->open[--file->nopen]);
	free(TAKE_PTR(file->open));
	savefile_close(savefile);
	if (file->import->run)
		file->native = capture_run_native(file->import->run) - native;
	file->result.native = file->native;
	if (!err)
		import_wait(file, true);
	return err ? err : import_ends(file) ? -ECANCELED : 0;
}
