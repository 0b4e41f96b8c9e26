/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/cli/block_change.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/process/instance.h"

#define INSTANCES_MAX 256

/* ---- the captures --------------------------------------------------------------------------------------------------- */

static int add_capture(struct block_captures *captures, const char *pin_dir, struct block_problem *problem)
{
	size_t n = captures->count;
	struct block_maps *maps = realloc(captures->maps, (n + 1) * sizeof(*maps));
	char **dirs;
	struct capture_error error = {""};
	int err;

	if (maps)
		captures->maps = maps;
	dirs = maps ? realloc(captures->pin_dirs, (n + 2) * sizeof(*dirs)) : NULL;
	if (!dirs)
		return -ENOMEM;
	captures->pin_dirs = dirs;
	dirs[n] = dirs[n + 1] = NULL;
	err = block_maps_open(&maps[n], pin_dir, &error);
	if (err == -ENOENT)
		return 0; /* half made, or just being removed: its keeper asks the file before it attaches */
	if (err) {
		snprintf(problem->text, sizeof(problem->text), "%.230s", error.text);
		return err;
	}
	captures->count++;
	dirs[n] = strdup(pin_dir);
	return dirs[n] ? 0 : -ENOMEM;
}

static int add_instance(struct block_captures *captures, const struct instance *instance, struct block_problem *problem)
{
	DIR *dir = opendir(instance->pin_dir);
	char path[2 * PATH_MAX];
	struct dirent *entry;
	int err = 0;

	while (dir && !err && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", instance->pin_dir, entry->d_name);
		err = add_capture(captures, path, problem);
	}
	if (dir)
		closedir(dir);
	return err;
}

int block_captures_open(struct block_captures *captures, struct block_problem *problem)
{
	CLEANUP_FREE struct instance *list = calloc(INSTANCES_MAX, sizeof(*list));
	int count = list ? instance_list(list, INSTANCES_MAX) : -ENOMEM, err = count < 0 ? count : 0;

	*captures = (struct block_captures){.pin_dirs = calloc(1, sizeof(char *))};
	if (!captures->pin_dirs)
		err = -ENOMEM;
	problem->text[0] = '\0';
	for (int i = 0; !err && i < count; i++)
		err = add_instance(captures, &list[i], problem);
	if (!err)
		return 0;
	if (!problem->text[0])
		snprintf(problem->text, sizeof(problem->text), "cannot look for captures: %s", strerror(-err));
	block_captures_close(captures);
	return err;
}

void block_captures_close(struct block_captures *captures)
{
	for (size_t i = 0; i < captures->count; i++) {
		block_maps_close(&captures->maps[i]);
		free(captures->pin_dirs[i]);
	}
	free(captures->maps);
	free(captures->pin_dirs);
	*captures = (struct block_captures){0};
}

struct sums {
	const struct block_list *list;
	struct rec_count *count; /* of each entry; NULL: nobody asks */
};

static void add_sum(void *arg, const struct block_entry *entry, const struct rec_count *count)
{
	struct sums *s = arg;
	const struct block_entry *e = s->count ? block_list_find(s->list, entry) : NULL;

	if (!e)
		return;
	s->count[e - s->list->entries].packets += count->packets;
	s->count[e - s->list->entries].bytes += count->bytes;
}

int block_captures_count(const struct block_captures *captures, const struct block_list *list, struct rec_count *count)
{
	struct sums s = {list, count};
	int err = 0;

	for (size_t i = 0; !err && i < captures->count; i++)
		err = block_maps_counts(&captures->maps[i], add_sum, &s);
	return err;
}

struct rec_count block_captures_uncounted(const struct block_captures *captures)
{
	struct rec_count sum = {0};

	for (size_t i = 0; i < captures->count; i++) {
		sum.packets += __atomic_load_n(&captures->maps[i].table->uncounted.packets, __ATOMIC_RELAXED);
		sum.bytes += __atomic_load_n(&captures->maps[i].table->uncounted.bytes, __ATOMIC_RELAXED);
	}
	return sum;
}

/* ---- a change ------------------------------------------------------------------------------------------------------- */

/* The first `n` captures say again what they said. */
static void undo(struct block_captures *captures, size_t n, const struct block_list *before)
{
	struct capture_error error = {""};

	for (size_t i = 0; i < n; i++)
		if (block_maps_add(&captures->maps[i], before, &error) ||
		    block_maps_trim(&captures->maps[i], before, NULL, NULL, &error))
			log_error("%s: the former block list could not be put back: %s", captures->pin_dirs[i], error.text);
}

int block_change(const struct block_store *store, struct block_captures *captures, const struct block_list *before,
		 const struct block_list *after, const struct block_list *fewer, struct rec_count *gone,
		 struct block_problem *problem)
{
	struct sums sums = {fewer, gone};
	struct capture_error error = {""};
	size_t done = 0;
	int err = block_store_prepare(store, after, problem);

	for (; !err && done < captures->count; done++) {
		err = block_maps_add(&captures->maps[done], after, &error);
		if (err)
			snprintf(problem->text, sizeof(problem->text), "%.100s: %.120s", captures->pin_dirs[done], error.text);
	}
	if (!err)
		err = block_store_commit(store, problem);
	if (err) {
		undo(captures, done, before);
		return err;
	}
	/* From here on it is so; a capture that could not be trimmed has entries too many until the next change. */
	for (size_t i = 0; i < captures->count; i++)
		if (block_maps_trim(&captures->maps[i], after, add_sum, &sums, &error))
			log_error("%s: entries that were taken away are still in force: %s", captures->pin_dirs[i], error.text);
	return 0;
}
