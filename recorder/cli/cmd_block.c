/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_block.c - the block list of this host: changed, and shown. */
#include <errno.h>
#include <stdio.h>

#include <bson/bson.h>

#include "recorder/cli/block_change.h"
#include "recorder/cli/block_reach.h"
#include "recorder/cli/cmd.h"
#include "recorder/core/clock.h"
#include "recorder/core/util.h"

#define NAMED_MAX 20u  /* entries that a message names */
#define TOLD_MAX 200u  /* that an event lists */

struct work {
	const struct settings *settings;
	struct block_store store;
	struct block_captures captures;
	struct block_list is;    /* in force */
	struct block_list asked; /* by the command line */
	struct block_problem problem;
};

static void work_end(struct work *w)
{
	block_list_free(&w->is);
	block_list_free(&w->asked);
	block_captures_close(&w->captures);
	block_store_close(&w->store);
}

/* The user who typed it: his login's, which neither sudo nor su changes. */
static uint32_t who(void)
{
	FILE *file = fopen("/proc/self/loginuid", "re");
	unsigned uid = UINT32_MAX;

	if (file && fscanf(file, "%u", &uid) != 1)
		uid = UINT32_MAX;
	if (file)
		fclose(file);
	return uid == UINT32_MAX ? getuid() : uid;
}

static int read_asked(struct work *w)
{
	const struct settings_list *words = &w->settings->arguments;
	unsigned by = w->settings->by == BY_SOURCE ? REC_BLOCK_SOURCE : w->settings->by == BY_DESTINATION ? REC_BLOCK_DESTINATION : BLOCK_EITHER;
	int64_t now = clock_wall_ns() / (int64_t)NS_PER_SEC;
	struct block_entry e;
	int err = 0;

	for (size_t i = 1; !err && i < words->count; i++) {
		err = block_entry_read(&e, words->items[i], &w->problem);
		e.by = (uint8_t)by;
		if (!err)
			err = block_list_append(&w->asked, &e);
	}
	if (!err && w->settings->file)
		err = block_file_read(w->settings->file, &w->asked, by, &w->problem);
	if (err)
		return cmd_fail(EXIT_USAGE, "%s", err == -ENOMEM ? "out of memory" : w->problem.text);
	for (size_t i = 0; i < w->asked.count; i++) {
		w->asked.entries[i].since = now;
		w->asked.entries[i].uid = who();
	}
	block_list_sort(&w->asked);
	return EXIT_DONE;
}

static int work_begin(struct work *w)
{
	char caps[96];
	int status;

	w->store.lock = -1;
	status = read_asked(w);
	if (status)
		return status;
	if (geteuid() || capture_missing_caps(caps, sizeof(caps)) > 0)
		return cmd_fail(EXIT_FAILED, "the block list is root's: run this as root");
	if (block_store_open(&w->store, instance_state(), &w->problem) || block_store_read(&w->store, &w->is, &w->problem) ||
	    block_captures_open(&w->captures, &w->problem))
		return cmd_fail(EXIT_FAILED, "%s", w->problem.text);
	return EXIT_DONE;
}

/* ---- telling -------------------------------------------------------------------------------------------------------- */

static void append_entry(bson_t *out, const struct block_entry *e, const struct rec_count *count)
{
	char network[BLOCK_TEXT_MAX];

	block_entry_text(network, e);
	BSON_APPEND_UTF8(out, "network", network);
	BSON_APPEND_UTF8(out, "by", block_by_name(e->by));
	if (count) {
		BSON_APPEND_INT64(out, "packets", (int64_t)count->packets);
		BSON_APPEND_INT64(out, "bytes", (int64_t)count->bytes);
	}
}

/* The event that the recordings put into their databases (process/blocks.c). `count` of each entry, or NULL. */
static int tell(struct work *w, const char *action, const struct block_list *changed, const struct rec_count *count,
		size_t total)
{
	struct rec_count sum = {0};
	bson_t doc = BSON_INITIALIZER, list, one;
	char index[16], *json;
	int err;

	BSON_APPEND_UTF8(&doc, "action", action);
	BSON_APPEND_INT64(&doc, "uid", who());
	BSON_APPEND_INT64(&doc, "count", (int64_t)changed->count);
	BSON_APPEND_INT64(&doc, "entries", (int64_t)total);
	for (size_t i = 0; count && i < changed->count; i++) {
		sum.packets += count[i].packets;
		sum.bytes += count[i].bytes;
	}
	if (count) {
		BSON_APPEND_INT64(&doc, "packets", (int64_t)sum.packets);
		BSON_APPEND_INT64(&doc, "bytes", (int64_t)sum.bytes);
	}
	bson_append_array_begin(&doc, "list", -1, &list);
	for (size_t i = 0; i < changed->count && i < TOLD_MAX; i++) {
		snprintf(index, sizeof(index), "%zu", i);
		bson_append_document_begin(&list, index, -1, &one);
		append_entry(&one, &changed->entries[i], count ? &count[i] : NULL);
		bson_append_document_end(&list, &one);
	}
	bson_append_array_end(&doc, &list);
	json = bson_as_relaxed_extended_json(&doc, NULL);
	err = json ? block_store_tell(&w->store, json, &w->problem) : -ENOMEM;
	bson_free(json);
	bson_destroy(&doc);
	if (err)
		return cmd_fail(EXIT_FAILED, "the change is in force, but the databases will not be told: %s", w->problem.text);
	return EXIT_DONE;
}

static void say(const struct work *w, const char *what, const struct block_list *changed, size_t total)
{
	if (w->settings->quiet)
		return;
	printf("%s %zu entries %zu captures %zu\n", what, changed->count, total, w->captures.count);
}

/* ---- add ------------------------------------------------------------------------------------------------------------- */

/* Of what was asked for, what is not so yet. */
static int find_news(struct work *w, struct block_list *news)
{
	size_t there = 0;
	int err = 0;

	for (size_t i = 0; !err && i < w->asked.count; i++) {
		const struct block_entry *e = &w->asked.entries[i], *same = block_list_find(&w->is, e);
		char network[BLOCK_TEXT_MAX];

		if (!same || same->by != e->by) {
			err = block_list_append(news, e);
			continue;
		}
		block_entry_text(network, e);
		if (!w->settings->quiet && there++ < NAMED_MAX)
			fprintf(stderr, "xdp-recorder: %s by %s is on the list already\n", network, block_by_name(e->by));
	}
	if (there > NAMED_MAX && !w->settings->quiet)
		fprintf(stderr, "xdp-recorder: and %zu more\n", there - NAMED_MAX);
	return err;
}

static bool is_safe(const struct work *w, const struct block_list *news)
{
	struct reach reach = {0};
	unsigned n;

	reach_look(&reach, w->captures.pin_dirs);
	n = reach_check(&reach, news, stderr);
	reach_free(&reach);
	if (!n || w->settings->force)
		return true;
	cmd_fail(EXIT_FAILED, "nothing was changed; if that is what you want: --force");
	return false;
}

static int add(struct work *w)
{
	struct block_list news = {0}, after = {0}, none = {0};
	int status = EXIT_FAILED;

	if (find_news(w, &news) || block_list_with(&after, &w->is, &news)) {
		cmd_fail(EXIT_FAILED, "out of memory");
	} else if (after.count > REC_BLOCK_ENTRIES) {
		cmd_fail(EXIT_FAILED, "the list would have %zu entries, it has room for %u", after.count, REC_BLOCK_ENTRIES);
	} else if (is_safe(w, &news)) {
		/* Also where nothing is new: a capture that does not say what the list says is put right. */
		status = EXIT_DONE;
		if (block_change(&w->store, &w->captures, &w->is, &after, &none, NULL, &w->problem))
			status = cmd_fail(EXIT_FAILED, "nothing was changed: %s", w->problem.text);
		else if (news.count)
			status = tell(w, "add", &news, NULL, after.count);
		if (!status)
			say(w, "added", &news, after.count);
	}
	block_list_free(&news);
	block_list_free(&after);
	return status;
}

/* ---- del ------------------------------------------------------------------------------------------------------------- */

static bool all_there(const struct work *w)
{
	size_t missing = 0;

	for (size_t i = 0; i < w->asked.count; i++) {
		char network[BLOCK_TEXT_MAX];

		if (block_list_find(&w->is, &w->asked.entries[i]))
			continue;
		block_entry_text(network, &w->asked.entries[i]);
		if (missing++ < NAMED_MAX)
			fprintf(stderr, "xdp-recorder: %s is not on the list\n", network);
	}
	if (missing)
		cmd_fail(EXIT_FAILED, "nothing was changed: %zu of %zu entries are not on the list", missing, w->asked.count);
	return !missing;
}

static int del(struct work *w)
{
	CLEANUP_FREE struct rec_count *gone = calloc(w->asked.count + 1, sizeof(*gone));
	struct block_list after = {0};
	int status = EXIT_FAILED;

	if (!all_there(w))
		return EXIT_FAILED;
	for (size_t i = 0; i < w->asked.count; i++)
		w->asked.entries[i] = *block_list_find(&w->is, &w->asked.entries[i]);
	if (!gone || block_list_without(&after, &w->is, &w->asked)) {
		cmd_fail(EXIT_FAILED, "out of memory");
	} else if (block_change(&w->store, &w->captures, &w->is, &after, &w->asked, gone, &w->problem)) {
		cmd_fail(EXIT_FAILED, "nothing was changed: %s", w->problem.text);
	} else {
		status = tell(w, "del", &w->asked, gone, after.count);
		if (!status)
			say(w, "deleted", &w->asked, after.count);
	}
	block_list_free(&after);
	return status;
}

/* ---- list ------------------------------------------------------------------------------------------------------------ */

static void print_entry(const struct work *w, const struct block_entry *e, const struct rec_count *count)
{
	char line[BLOCK_LINE_MAX], *json;
	bson_t doc = BSON_INITIALIZER;

	if (w->settings->json) {
		append_entry(&doc, e, count);
		BSON_APPEND_INT64(&doc, "since", e->since);
		BSON_APPEND_INT64(&doc, "uid", e->uid);
		json = bson_as_relaxed_extended_json(&doc, NULL);
		puts(json ? json : "{}");
		bson_free(json);
	} else {
		line[block_line_write(line, e) - 1] = '\0';
		printf("%s  %llu packets %llu bytes\n", line, count->packets, count->bytes);
	}
	bson_destroy(&doc);
}

static int list(struct work *w)
{
	const struct block_list *shown = w->asked.count ? &w->asked : &w->is;
	struct rec_count sum = {0}, uncounted = block_captures_uncounted(&w->captures);
	CLEANUP_FREE struct rec_count *count = calloc(shown->count + 1, sizeof(*count));
	int err;

	if (w->asked.count && !all_there(w))
		return EXIT_FAILED;
	err = count ? block_captures_count(&w->captures, shown, count) : -ENOMEM;
	if (err)
		return cmd_fail(EXIT_FAILED, "the counters cannot be read: %s", strerror(-err));
	for (size_t i = 0; i < shown->count; i++) {
		print_entry(w, block_list_find(&w->is, &shown->entries[i]), &count[i]);
		sum.packets += count[i].packets;
		sum.bytes += count[i].bytes;
	}
	if (uncounted.packets)
		fprintf(stderr, "xdp-recorder: %llu packets, %llu bytes more were dropped by entries that the kernel had no memory to count\n",
			uncounted.packets, uncounted.bytes);
	if (!w->settings->json && !w->settings->quiet)
		printf("entries %zu packets %llu bytes %llu\n", shown->count, sum.packets, sum.bytes);
	return EXIT_DONE;
}

int cmd_block(const struct settings *settings)
{
	struct work w = {.settings = settings};
	const char *word = settings->arguments.count ? settings->arguments.items[0] : "";
	int (*does)(struct work *) = !strcmp(word, "add") ? add : !strcmp(word, "del") ? del : !strcmp(word, "list") ? list : NULL;
	int status;

	if (!does)
		return cmd_fail(EXIT_USAGE, "block add, block del or block list is needed, not \"%.40s\"", word);
	if (does != list && settings->arguments.count < 2 && !settings->file)
		return cmd_fail(EXIT_USAGE, "block %s needs a network, such as 203.0.113.7 or 2001:db8::/32, or --file", word);
	status = work_begin(&w);
	if (!status)
		status = does(&w);
	work_end(&w);
	return status;
}
