/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/cli/report.h"

#include <string.h>

#include "recorder/core/util.h"

#define BAR 24

struct count {
	bool there;
	uint64_t packets, bytes;
};

/* ---- fields ------------------------------------------------------------------------------------------------------ */

static bool find(const bson_t *document, const char *path, bson_iter_t *out)
{
	bson_iter_t iter;

	return document && bson_iter_init(&iter, document) && bson_iter_find_descendant(&iter, path, out);
}

struct text {
	char bytes[256];
};

/*
 * The text of a field in `out`, "" when there is none. It comes from the unprivileged process and goes to root's
 * terminal: nothing in it can be an escape sequence.
 */
static const char *text_in(const bson_t *document, const char *path, struct text *out)
{
	bson_iter_t iter;

	out->bytes[0] = '\0';
	if (find(document, path, &iter) && BSON_ITER_HOLDS_UTF8(&iter))
		snprintf(out->bytes, sizeof(out->bytes), "%s", bson_iter_utf8(&iter, NULL));
	for (char *p = out->bytes; *p; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
			*p = '?';
	return out->bytes;
}
/* Lives as long as the block that it stands in; the body of an `if` is one, with braces or without. */
#define text_of(document, path) text_in(document, path, &(struct text){{0}})

/* Any number, as the JSON happened to be read; negative ones are 0. */
static bool number_of(const bson_t *document, const char *path, double *out)
{
	bson_iter_t iter;

	if (!find(document, path, &iter) || !BSON_ITER_HOLDS_NUMBER(&iter))
		return false;
	*out = bson_iter_as_double(&iter);
	if (!(*out > 0))
		*out = 0;
	return true;
}

static bool integer_of(const bson_t *document, const char *path, uint64_t *out)
{
	bson_iter_t iter;
	int64_t value;

	if (!find(document, path, &iter) || !BSON_ITER_HOLDS_NUMBER(&iter))
		return false;
	value = bson_iter_as_int64(&iter);
	*out = value > 0 ? (uint64_t)value : 0;
	return true;
}

static struct count count_of(const bson_t *document, const char *path)
{
	struct count c = {0};
	char name[96];

	snprintf(name, sizeof(name), "%s.packets", path);
	c.there = integer_of(document, name, &c.packets);
	snprintf(name, sizeof(name), "%s.bytes", path);
	integer_of(document, name, &c.bytes);
	return c;
}

static struct count add(struct count a, struct count b)
{
	return (struct count){a.there || b.there, a.packets + b.packets, a.bytes + b.bytes};
}

/* The capture of the same id in `answer`. */
static bool same_capture(const bson_t *answer, const char *id, bson_t *out)
{
	bson_iter_t list, item;

	if (!find(answer, "captures", &list) || !BSON_ITER_HOLDS_ARRAY(&list) || !bson_iter_recurse(&list, &item))
		return false;
	while (bson_iter_next(&item)) {
		const uint8_t *data;
		uint32_t len;

		if (!BSON_ITER_HOLDS_DOCUMENT(&item))
			continue;
		bson_iter_document(&item, &len, &data);
		if (bson_init_static(out, data, len) && !strcmp(text_of(out, "id"), id))
			return true;
	}
	return false;
}

/* ---- figures ----------------------------------------------------------------------------------------------------- */

/* 1234567 as "1,234,567". */
static const char *grouped(uint64_t value, char out[32])
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)value), n = 0;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			out[n++] = ',';
		out[n++] = digits[i];
	}
	out[n] = '\0';
	return out;
}

static const char *bytes_text(uint64_t value, char out[32])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double v = (double)value;
	size_t u = 0;

	while (v >= 1024 && u + 1 < ARRAY_SIZE(units)) {
		v /= 1024;
		u++;
	}
	snprintf(out, 32, u && v < 100 ? "%.1f %s" : "%.0f %s", v, units[u]);
	return out;
}

static const char *span_text(double seconds, char out[48])
{
	uint64_t s = (uint64_t)seconds;

	if (s >= 86400)
		snprintf(out, 48, "%llu d %llu h", (unsigned long long)(s / 86400),
			 (unsigned long long)(s / 3600 % 24));
	else if (s >= 3600)
		snprintf(out, 48, "%llu h %llu min", (unsigned long long)(s / 3600), (unsigned long long)(s / 60 % 60));
	else if (s >= 60)
		snprintf(out, 48, "%llu min %llu s", (unsigned long long)(s / 60), (unsigned long long)(s % 60));
	else
		snprintf(out, 48, "%llu s", (unsigned long long)s);
	return out;
}

/* ---- the text ---------------------------------------------------------------------------------------------------- */

struct terms {
	struct count seen, stored, published, summarised, filtered, blocked, blocked_stored, ring_full, contended, no_ring, unreadable;
};

static void read_terms(const bson_t *capture, struct terms *t)
{
	t->seen = add(t->seen, count_of(capture, "totals.seen"));
	t->stored = add(t->stored, count_of(capture, "totals.stored"));
	t->published = add(t->published, count_of(capture, "totals.published"));
	t->summarised = add(t->summarised, count_of(capture, "totals.summarised"));
	t->filtered = add(t->filtered, count_of(capture, "totals.filtered"));
	t->blocked = add(t->blocked, count_of(capture, "totals.blocked"));
	t->blocked_stored = add(t->blocked_stored, count_of(capture, "totals.blocked_stored"));
	t->ring_full = add(t->ring_full, count_of(capture, "totals.lost.ring_full"));
	t->contended = add(t->contended, count_of(capture, "totals.lost.contended"));
	t->no_ring = add(t->no_ring, count_of(capture, "totals.lost.no_ring"));
	t->unreadable = add(t->unreadable, count_of(capture, "totals.lost.unreadable"));
}

static struct count lost(const struct terms *t)
{
	return add(add(t->ring_full, t->contended), add(t->no_ring, t->unreadable));
}

static void print_term(FILE *out, const char *name, struct count now, struct count before, double seconds,
		       const char *on, const char *off)
{
	char packets[32], bytes[32], rate[32] = "", byte_rate[32], per_second[48] = "";

	if (!now.there)
		return;
	if (seconds > 0 && before.there) {
		uint64_t more = now.packets > before.packets ? now.packets - before.packets : 0;
		uint64_t more_bytes = now.bytes > before.bytes ? now.bytes - before.bytes : 0;

		snprintf(per_second, sizeof(per_second), " %14s %12s",
			 grouped((uint64_t)((double)more / seconds + 0.5), rate),
			 bytes_text((uint64_t)((double)more_bytes / seconds + 0.5), byte_rate));
	}
	fprintf(out, "%s%-14s %18s %12s%s%s\n", on, name, grouped(now.packets, packets), bytes_text(now.bytes, bytes),
		per_second, off);
}

static void print_terms(FILE *out, const struct terms *t, const struct terms *b, double seconds, const char *red,
			const char *off)
{
	struct count all_lost = lost(t), waiting = t->published;
	bool bad = all_lost.packets > 0;

	print_term(out, "seen", t->seen, b->seen, seconds, "", "");
	print_term(out, "stored", t->stored, b->stored, seconds, "", "");
	if (!t->stored.there)
		print_term(out, "put in rings", t->published, b->published, seconds, "", "");
	if (t->stored.there && t->published.there) {
		char packets[32];

		waiting.packets = waiting.packets > t->stored.packets ? waiting.packets - t->stored.packets : 0;
		fprintf(out, "%-14s %18s\n", "waiting", grouped(waiting.packets, packets));
	}
	print_term(out, "summarised", t->summarised, b->summarised, seconds, "", "");
	print_term(out, "filtered", t->filtered, b->filtered, seconds, "", "");
	print_term(out, "blocked", t->blocked, b->blocked, seconds, "", "");
	print_term(out, "lost", all_lost, lost(b), seconds, bad ? red : "", bad ? off : "");
	if (t->ring_full.packets)
		print_term(out, "  ring full", t->ring_full, b->ring_full, seconds, red, off);
	if (t->contended.packets)
		print_term(out, "  contended", t->contended, b->contended, seconds, red, off);
	if (t->no_ring.packets)
		print_term(out, "  no ring", t->no_ring, b->no_ring, seconds, red, off);
	if (t->unreadable.packets)
		print_term(out, "  unreadable", t->unreadable, b->unreadable, seconds, red, off);
}

/* What was dropped: recorded, or counted only. */
static void print_block(FILE *out, const bson_t *now, const struct terms *t)
{
	struct count all = add(t->blocked, t->blocked_stored);
	uint64_t entries = 0;
	char text[3][32];

	if (integer_of(now, "block_entries", &entries) && (entries || all.packets))
		fprintf(out, "block list     %s entries, %s packets dropped, %s of them stored\n", grouped(entries, text[0]),
			grouped(all.packets, text[1]), grouped(t->blocked_stored.packets, text[2]));
}

static void print_ring(FILE *out, const bson_t *capture, const char *red, const char *yellow, const char *off)
{
	double bytes, used = 0, peak = 0;
	char size[32], bar[BAR + 1], note[48] = "";
	const char *on = "";
	int full;

	if (!number_of(capture, "ring.bytes", &bytes) || bytes <= 0)
		return;
	number_of(capture, "ring.used", &used);
	used = used > bytes ? bytes : used;
	full = (int)(used / bytes * BAR + 0.999);
	memset(bar, '.', BAR);
	memset(bar, '#', (size_t)full);
	bar[BAR] = '\0';
	if (used / bytes >= 0.5)
		on = used / bytes >= 0.9 ? red : yellow;
	if (number_of(capture, "ring.peak", &peak))
		snprintf(note, sizeof(note), ", at most %.0f %%", (peak > bytes ? bytes : peak) / bytes * 100);
	fprintf(out, "  rings [%s%s%s] %.0f %% of %s%s\n", on, bar, *on ? off : "", used / bytes * 100,
		bytes_text((uint64_t)bytes, size), note);
}

static void print_capture(FILE *out, const bson_t *capture, const bson_t *before, double seconds, const char *red,
			  const char *yellow, const char *off)
{
	struct terms t = {0}, b = {0};
	char seen[32], stored[32], gone[32], rate[32] = "", line[80] = "";
	const char *rx = text_of(capture, "hooks.rx"), *tx = text_of(capture, "hooks.tx");
	uint64_t settled, flying, behind;

	read_terms(capture, &t);
	read_terms(before, &b);
	if (seconds > 0 && b.seen.there && t.seen.packets >= b.seen.packets)
		snprintf(line, sizeof(line), ", %s packets/s",
			 grouped((uint64_t)((double)(t.seen.packets - b.seen.packets) / seconds + 0.5), rate));
	fprintf(out, "\n%s: %s%s%s%s%s%s\n", text_of(capture, "iface"), *rx ? "received by " : "", rx,
		*rx && *tx ? ", " : "", *tx ? "sent by " : "", tx, line);
	if (*text_of(capture, "unseen"))
		fprintf(out, "  %snothing can be seen: %s%s\n", red, text_of(capture, "unseen"), off);
	fprintf(out, "  seen %s", grouped(t.seen.packets, seen));
	if (t.stored.there)
		fprintf(out, ", stored %s", grouped(t.stored.packets, stored));
	fprintf(out, ", lost %s\n", grouped(lost(&t).packets, gone));
	print_ring(out, capture, red, yellow, off);
	if (integer_of(capture, "batches.settled", &settled)) {
		flying = 0;
		integer_of(capture, "batches.in_flight", &flying);
		fprintf(out, "  batches %s settled, %llu in flight", grouped(settled, seen),
			(unsigned long long)flying);
		if (integer_of(capture, "balance.behind", &behind))
			fprintf(out, "; balance closed up to %llu s ago", (unsigned long long)behind);
		fputc('\n', out);
	}
}

static void print_file(FILE *out, const bson_t *now, const char *red, const char *green, const char *off)
{
	const char *state = text_of(now, "file.state");
	uint64_t bytes = 0, packets = 0;
	char text[2][32];

	if (!*state)
		return;
	integer_of(now, "file.bytes", &bytes);
	integer_of(now, "file.packets", &packets);
	fprintf(out, "file      %s%s%s, %s (%s), %s bytes, %s packets by this process\n", !strcmp(state, "ok") ? green : red, state,
		off, text_of(now, "file.name"), text_of(now, "file.format"), grouped(bytes, text[0]), grouped(packets, text[1]));
}

/* Only where there is something in it, or it is in use. */
static void print_spool(FILE *out, const bson_t *now, const char *red, const char *off)
{
	const char *state = text_of(now, "spool.state");
	uint64_t packets = 0, documents = 0, bytes = 0, room = 0;
	char count[32], size[2][32];

	if (!*state || !strcmp(state, "empty"))
		return;
	integer_of(now, "spool.packets", &packets);
	integer_of(now, "spool.documents", &documents);
	integer_of(now, "spool.bytes", &bytes);
	integer_of(now, "spool.room", &room);
	fprintf(out, "spool     %s%s%s: %s packets, %llu documents, %s; room for %s more in %s\n",
		!strcmp(state, "full") ? red : "", state, !strcmp(state, "full") ? off : "", grouped(packets, count), (unsigned long long)documents,
		bytes_text(bytes, size[0]), bytes_text(room, size[1]), text_of(now, "spool.directory"));
}

static void print_problem(FILE *out, const bson_t *now, const char *red, const char *off)
{
	const char *problem = text_of(now, "database.problem"), *file = text_of(now, "file.problem");

	if (*problem || *file)
		fprintf(out, "problem   %s%s%s\n", red, *problem ? problem : file, off);
}

/* Only what is not as it should be, and the span. */
static void print_buckets(FILE *out, const bson_t *now, const char *red, const char *off)
{
	double span = 0, written = 0, failed = 0, refused = 0, clashes = 0, checked = 0;

	if (!number_of(now, "buckets.span", &span) || strncmp(text_of(now, "storage"), "buckets", 7))
		return;
	number_of(now, "buckets.written", &written);
	number_of(now, "buckets.checked", &checked);
	number_of(now, "buckets.check_failed", &failed);
	number_of(now, "buckets.refused", &refused);
	number_of(now, "buckets.clashes", &clashes);
	fprintf(out, "buckets   of %.0f s: %.0f written, %.0f decoded again", span, written, checked);
	if (failed + refused + clashes > 0)
		fprintf(out, ", %s%.0f were not what they were made from, %.0f refused, %.0f ids taken%s", red, failed, refused,
			clashes, off);
	fputc('\n', out);
}

static void print_head(FILE *out, const bson_t *now, const char *red, const char *green, const char *off)
{
	const char *state = text_of(now, "state"), *database = text_of(now, "database.state");
	uint64_t keeper = 0, drainer = 0;
	double uptime, latency;
	char span[48];

	fprintf(out, "instance  %s, %s%s%s", text_of(now, "instance"), !strcmp(state, "recording") ? green : red, state,
		off);
	if (number_of(now, "uptime", &uptime))
		fprintf(out, " since %s (%s)", text_of(now, "since"), span_text(uptime, span));
	fputc('\n', out);
	integer_of(now, "keeper", &keeper);
	integer_of(now, "drainer", &drainer);
	if (drainer)
		fprintf(out, "processes keeper %llu, drainer %llu, version %s\n", (unsigned long long)keeper,
			(unsigned long long)drainer, text_of(now, "version"));
	if (*text_of(now, "sensor"))
		fprintf(out, "sensor    %s\n", text_of(now, "sensor"));
	if (*database) {
		fprintf(out, "database  %s%s%s", !strcmp(database, "ok") ? green : red, database, off);
		if (number_of(now, "database.latency_ms", &latency) && latency > 0)
			fprintf(out, ", a command takes %.1f ms", latency);
		fprintf(out, ", %s at %s, stored as %s\n", text_of(now, "database.name"), text_of(now, "database.uri"),
			text_of(now, "storage"));
		print_buckets(out, now, red, off);
	}
	print_spool(out, now, red, off);
	print_file(out, now, red, green, off);
	print_problem(out, now, red, off);
}

void report_print(FILE *out, const bson_t *now, const bson_t *before, double seconds, bool colour)
{
	const char *red = colour ? "\033[31m" : "", *green = colour ? "\033[32m" : "",
		   *yellow = colour ? "\033[33m" : "";
	const char *off = colour ? "\033[0m" : "";
	struct terms all = {0}, all_before = {0};
	bson_iter_t list, item;
	bool captures;

	print_head(out, now, red, green, off);
	captures = find(now, "captures", &list) && BSON_ITER_HOLDS_ARRAY(&list);
	/* Sums first: they are what one looks at. */
	for (int pass = 0; captures && pass < 2; pass++) {
		if (!bson_iter_recurse(&list, &item))
			return;
		while (bson_iter_next(&item)) {
			bson_t capture, earlier;
			const uint8_t *data;
			uint32_t len;
			bool known;

			if (!BSON_ITER_HOLDS_DOCUMENT(&item))
				continue;
			bson_iter_document(&item, &len, &data);
			if (!bson_init_static(&capture, data, len))
				continue;
			known = same_capture(before, text_of(&capture, "id"), &earlier);
			if (pass == 0) {
				read_terms(&capture, &all);
				read_terms(known ? &earlier : NULL, &all_before);
			} else {
				print_capture(out, &capture, known ? &earlier : NULL, seconds, red, yellow, off);
			}
		}
		if (pass == 0) {
			fprintf(out, "\n%-14s %18s %12s%s\n", "", "packets", "bytes",
				seconds > 0 && before ? "      packets/s      bytes/s" : "");
			print_terms(out, &all, &all_before, seconds, red, off);
			print_block(out, now, &all);
		}
	}
}
