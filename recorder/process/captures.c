/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "recorder/core/clock.h"
#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/ledger/journal.h"
#include "recorder/process/watch.h"

static unsigned sides_of(const struct settings *settings)
{
	switch (settings->direction) {
	case DIRECTION_IN:
		return CAPTURE_SIDE(REC_RX);
	case DIRECTION_OUT:
		return CAPTURE_SIDE(REC_TX);
	default:
		return CAPTURE_SIDE(REC_RX) | CAPTURE_SIDE(REC_TX);
	}
}

static uint64_t ring_bytes(const struct settings *settings, unsigned ifaces, unsigned sides)
{
	unsigned rings = ifaces * (unsigned)__builtin_popcount(sides) * capture_online_cpus();
	uint64_t each = REC_RING_MIN;

	if (!settings->ring_size)
		return settings->count_only ? REC_RING_MIN : capture_ring_default(rings);
	while (each * 2 * rings <= settings->ring_size && each < REC_RING_MAX)
		each *= 2;
	if (each * rings != settings->ring_size)
		log_info("--ring-size %llu: %u rings of %llu bytes are %llu (each is a power of two, at most %u)",
			 (unsigned long long)settings->ring_size, rings, (unsigned long long)each,
			 (unsigned long long)(each * rings), REC_RING_MAX);
	return each;
}

/*
 * The journal's first words: the clock pair and the second in which capture begins. Here, before anything is attached, and not
 * in the drainer, which may come much later (--detach).
 */
static int seed_journal(const struct capture *c)
{
	struct clock_sample sample = clock_sample();
	struct clock_pair pair = {0, sample.wall - (int64_t)sample.boot};
	unsigned cpus = capture_cpus(c);
	struct journal_totals totals = {.sec = capture_seen(c)->created / NS_PER_SEC - 1}; /* lane_first_second */
	struct journal *journal;
	int err = journal_open(&journal, capture_map_fd(c, CAPTURE_JOURNAL), cpus, capture_id(c));

	if (err)
		return err;
	totals.total = calloc((size_t)cpus * REC_TERMS, sizeof(*totals.total));
	if (totals.total) {
		journal_add_pair(journal, &pair, 0);
		for (unsigned side = 0; side < REC_SIDES; side++)
			journal_set_settled(journal, side, &totals);
	}
	err = totals.total ? 0 : -ENOMEM;
	free(totals.total);
	journal_close(journal);
	return err;
}

/* Summaries go to the database: without one nothing is counted. */
static enum rec_floods floods_of(const struct settings *settings)
{
	if (!settings->mongo || !settings->mongo[0])
		return REC_FLOODS_LOST;
	if (settings->count_only)
		return REC_FLOODS_ALL;
	return settings->floods ? REC_FLOODS_COUNTED : REC_FLOODS_LOST;
}

static int create(struct captures *captures, const struct settings *settings, const char *iface, unsigned nifaces,
		  const char *pin_dir)
{
	unsigned sides = sides_of(settings);
	struct capture_spec spec = {
		.iface = iface,
		.sides = sides,
		.hook = settings->hook == HOOK_XDP  ? CAPTURE_HOOK_XDP
			: settings->hook == HOOK_TC ? CAPTURE_HOOK_TC
						    : CAPTURE_HOOK_AUTO,
		.force_clsact = settings->clsact,
		.force_generic = settings->generic,
		.tap = settings->tap,
		.floods = floods_of(settings),
		.promisc = !settings->no_promiscuous && capture_wants_promisc(iface, sides),
		.ring_bytes = ring_bytes(settings, nifaces, sides),
		.pin_dir = pin_dir,
		.filter = captures->filter,
	};
	struct capture_error error = {""};
	struct capture *c;
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	int err;

	/* Possible CPUs can be more than configured ones: leave room, the library says how many there are. */
	spec.journal_bytes = (uint32_t)journal_size((unsigned)(cpus > 0 ? cpus : 1));
	err = capture_create(&c, &spec, &error);
	if (!err && journal_size(capture_cpus(c)) > capture_journal_bytes(c)) {
		spec.journal_bytes = (uint32_t)journal_size(capture_cpus(c));
		capture_remove(c, NULL);
		capture_close(c);
		err = capture_create(&c, &spec, &error);
	}
	if (err) {
		log_error("%s", error.text);
		return err;
	}
	captures->resumed[captures->n] = false;
	captures->list[captures->n++] = c;
	return seed_journal(c);
}

/* What a resumed capture cannot be told any more. */
static void say_unchanged(const struct captures *captures, const struct settings *settings)
{
	const struct capture *c = captures->list[captures->n - 1];

	if (settings->count_only != (capture_floods(c) == REC_FLOODS_ALL))
		log_warn("%s: the capture is resumed as it is, %s; `stop` it to change that", capture_iface(c),
			 settings->count_only ? "storing packets" : "counting only");
	if (settings->interfaces.count && capture_sides(c) != sides_of(settings))
		log_warn("%s: the capture is resumed with the sides it has; `stop` it to change them", capture_iface(c));
}

/* The programs of this build with the filter of the settings, in the place of those that run. */
static int upgrade(struct captures *captures, unsigned which)
{
	const char *text = filter_text(captures->filter);
	struct capture *c = captures->list[which];
	struct capture_error error = {""};
	bool other = strcmp(capture_filter(c), text) != 0, rebuilt = capture_other_build(c);
	char before[64], now[64];
	int err;

	capture_build_name(c, before);
	capture_build_name_own(now);
	err = capture_upgrade(c, captures->filter, &error);

	if (err && other) {
		/* What runs would record by another filter than was asked for. */
		log_error("%s: the capture filter cannot be changed: %s", capture_iface(c), error.text);
		return err;
	}
	if (err)
		log_warn("%s: the running programs stay as they are: %s", capture_iface(c), error.text);
	captures->refiltered[which] = other;
	if (!err && rebuilt) {
		memcpy(captures->rebuilt[which], before, sizeof(before));
		log_info("%s: the programs of build %s are replaced in place by those of %s", capture_iface(c), before, now);
	}
	if (other && *text)
		log_info("%s: the capture filter is now '%.200s'", capture_iface(c), text);
	else if (other)
		log_info("%s: the capture has no filter any more", capture_iface(c));
	return 0;
}

/* The interface went while no process was there: the one of its name takes its place, or is waited for. */
static int take_up_again(struct capture *c)
{
	struct capture_error error = {""};
	int err = watch_move(c, &error);

	if (!err)
		log_warn("%s: the interface was taken away and is there again: the capture goes on with it", capture_iface(c));
	else if (err == -ENODEV)
		log_warn("%s: the interface is gone; what its rings hold is stored, and it is recorded when it is back", capture_iface(c));
	else
		log_error("%s", error.text);
	return err == -ENODEV ? 0 : err;
}

static int open_one(struct captures *captures, const struct settings *settings, const char *iface, unsigned nifaces,
		    const char *pin_dir, bool drain_only)
{
	struct capture_error error = {""};
	char foreign[PATH_MAX];
	struct capture *c;
	int err = capture_open(&c, pin_dir, &error);

	if (!err) {
		captures->resumed[captures->n] = true;
		captures->list[captures->n++] = c;
		if (drain_only)
			return 0;
		if (capture_gone(c) && (err = take_up_again(c)))
			return err;
		say_unchanged(captures, settings);
		return upgrade(captures, captures->n - 1);
	}
	if (err == -ESTALE) {
		log_warn("%s: what was left of a former capture is removed: %s", iface ? iface : pin_dir, error.text);
		err = capture_discard(pin_dir, &error);
		if (!err || err == -ENOENT)
			err = -ENOENT;
	}
	if (err == -ENOENT && iface && capture_foreign(instance_bpffs(), settings->instance, iface, foreign, sizeof(foreign), &error)) {
		log_error("%s", error.text);
		return -EBUSY;
	}
	if (err == -ENOENT && iface)
		return create(captures, settings, iface, nifaces, pin_dir);
	if (err == -ENOENT)
		return 0; /* nothing to resume here */
	log_error("%s", error.text);
	return err;
}

/* Every capture that the instance has pinned. */
static int open_pinned(struct captures *captures, const struct settings *settings, const struct instance *instance,
		       bool drain_only)
{
	DIR *dir = opendir(instance->pin_dir);
	struct dirent *entry;
	int err = 0;

	while (dir && !err && (entry = readdir(dir))) {
		char path[2 * PATH_MAX];

		if (entry->d_name[0] == '.' || captures->n == KEEPER_CAPTURES)
			continue;
		snprintf(path, sizeof(path), "%s/%s", instance->pin_dir, entry->d_name);
		err = open_one(captures, settings, NULL, 0, path, drain_only);
	}
	if (dir)
		closedir(dir);
	if (!err && !captures->n) {
		log_error("instance '%s' has no capture to take up; name an interface by -i", instance->name);
		return -ENOENT;
	}
	return err;
}

/* Names of hosts and ports are looked up here, before any privilege is dropped. */
static int compile(struct captures *captures, const struct settings *settings)
{
	struct filter_error error = {""};
	int err = filter_compile(&captures->filter, settings->filter, &error);

	if (err)
		log_error("%s", error.text);
	return err;
}

int captures_open(struct captures *captures, const struct settings *settings, const struct instance *instance,
		  bool drain_only)
{
	size_t nifaces = settings->interfaces.count;
	int err = 0;

	memset(captures, 0, sizeof(*captures));
	if (nifaces > KEEPER_CAPTURES) {
		log_error("%zu interfaces are named; an instance records at most %d", nifaces, KEEPER_CAPTURES);
		return -E2BIG;
	}
	if (!drain_only)
		err = compile(captures, settings);
	if (!err && (!nifaces || drain_only)) {
		err = open_pinned(captures, settings, instance, drain_only);
		if (err)
			captures_close(captures);
		return err;
	}
	for (size_t i = 0; i < nifaces && !err; i++) {
		char path[PATH_MAX];

		err = capture_pin_path(path, sizeof(path), instance_bpffs(), instance->name,
				       settings->interfaces.items[i]);
		if (!err)
			err = open_one(captures, settings, settings->interfaces.items[i], (unsigned)nifaces, path, false);
	}
	if (err) {
		captures_remove(captures, true);
		captures_close(captures);
	}
	return err;
}

int captures_attach(struct captures *captures)
{
	int failed = blocks_apply(captures);

	if (failed)
		return failed;
	for (unsigned i = 0; i < captures->n; i++) {
		struct capture_error error = {""};
		int err = capture_gone(captures->list[i]) ? 0 : capture_attach(captures->list[i], &error);

		if (err) {
			log_error("%s", error.text);
			return err;
		}
	}
	for (unsigned i = 0; i < captures->n; i++) {
		captures->resumed[i] = true; /* for the next drainer */
		captures->refiltered[i] = false;
		captures->rebuilt[i][0] = '\0';
	}
	captures->attached = captures->ever_attached = true;
	return 0;
}

void captures_detach(struct captures *captures)
{
	for (unsigned i = 0; i < captures->n; i++) {
		struct capture_error error = {""};

		if (capture_detach(captures->list[i], &error))
			log_error("%s", error.text);
	}
	captures->attached = false;
}

void captures_remove(struct captures *captures, bool created_only)
{
	for (unsigned i = 0; i < captures->n; i++) {
		struct capture_error error = {""};

		if (created_only && captures->resumed[i])
			continue;
		if (capture_remove(captures->list[i], &error))
			log_error("%s", error.text);
	}
}

void captures_close(struct captures *captures)
{
	for (unsigned i = 0; i < captures->n; i++)
		capture_close(captures->list[i]);
	captures->n = 0;
	filter_free(captures->filter);
	captures->filter = NULL;
}

void captures_own(struct captures *captures, const struct rec_own_key *key, bool add)
{
	static struct log_limit limit;

	for (unsigned i = 0; i < captures->n; i++) {
		int err = add ? capture_own_add(captures->list[i], key) : capture_own_del(captures->list[i], key);

		if (err)
			log_limited(&limit, 10, LOG_WARNING, "%s: the recorder's own connection is recorded: %s",
				    capture_iface(captures->list[i]), strerror(-err));
	}
	if (add && captures->nown < ARRAY_SIZE(captures->own)) {
		captures->own[captures->nown++] = *key;
		return;
	}
	for (unsigned i = 0; !add && i < captures->nown; i++)
		if (memcmp(&captures->own[i], key, sizeof(*key)) == 0) {
			captures->own[i] = captures->own[--captures->nown];
			return;
		}
}

void captures_forget_own(struct captures *captures)
{
	while (captures->nown) {
		struct rec_own_key key = captures->own[0];

		captures_own(captures, &key, false);
	}
}
