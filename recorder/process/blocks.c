/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper's part in the block list. `xdp-recorder block` changes file and maps by itself, with or without a keeper; what is left to
 * do here is to fill the maps of a new capture, and to tell the database what was changed.
 *
 * <state>/block.told/<instance> holds the stamp of the newest change that this instance's database knows. It is written when the drainer
 * says so; killed in between, the change is told once more, under the same _id.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "recorder/capture/block.h"
#include "recorder/capture/block_store.h"
#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/process/keeper_internal.h"

/* ---- into the maps -------------------------------------------------------------------------------------------------- */

static int apply(const struct capture *c, const struct block_list *list)
{
	struct capture_error error = {""};
	struct block_maps maps;
	int err = block_maps_of(&maps, c, &error);

	if (!err) {
		err = block_maps_add(&maps, list, &error);
		if (!err)
			err = block_maps_trim(&maps, list, NULL, NULL, &error);
		block_maps_close(&maps);
	}
	if (err)
		log_error("%s: the block list cannot be put in force: %s", capture_iface(c), error.text);
	return err;
}

int blocks_apply(struct captures *captures)
{
	struct block_problem problem;
	struct block_store store;
	struct block_list list = {0};
	int err = block_store_open(&store, instance_state(), &problem);

	if (!err)
		err = block_store_read(&store, &list, &problem);
	if (err)
		log_error("the block list cannot be read: %s", problem.text);
	for (unsigned i = 0; !err && i < captures->n; i++)
		err = apply(captures->list[i], &list);
	if (!err && list.count)
		log_info("the block list has %zu entries: their packets are dropped", list.count);
	block_list_free(&list);
	block_store_close(&store);
	return err;
}

/* ---- to the database ------------------------------------------------------------------------------------------------ */

static void told_path(char out[PATH_MAX], const struct blocks *blocks)
{
	snprintf(out, PATH_MAX, "%s/block.told/%s", instance_state(), blocks->instance);
}

void blocks_open(struct blocks *blocks, const char *instance)
{
	char path[PATH_MAX];
	unsigned long long told = 0;
	FILE *file;

	*blocks = (struct blocks){.watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), .instance = instance};
	if (blocks->watch < 0 || inotify_add_watch(blocks->watch, instance_state(), IN_CLOSE_WRITE | IN_MOVED_TO) < 0)
		log_warn("%s cannot be watched: %s; changes of the block list are told to the database at the next start",
			 instance_state(), strerror(errno));
	told_path(path, blocks);
	file = fopen(path, "re");
	if (file && fscanf(file, "%llu", &told) != 1)
		told = 0;
	if (file)
		fclose(file);
	blocks->told = blocks->sent = told;
}

void blocks_close(struct blocks *blocks)
{
	if (blocks->watch >= 0)
		close(TAKE_FD(blocks->watch));
}

bool blocks_stirred(struct blocks *blocks)
{
	char events[4096];
	bool any = false;

	while (blocks->watch >= 0 && read(blocks->watch, events, sizeof(events)) > 0)
		any = true;
	return any;
}

struct sending {
	struct blocks *blocks;
	int link;
	unsigned entries;
};

static int send_change(void *arg, uint64_t stamp, const char *json)
{
	struct sending *s = arg;
	size_t size = sizeof(struct link_block) + strlen(json) + 1;
	CLEANUP_FREE struct link_block *block = malloc(size);
	int err;

	if (!block)
		return -ENOMEM;
	block->stamp = stamp;
	strcpy(block->json, json);
	err = link_send(s->link, LINK_BLOCK, s->entries, block, size, -1);
	if (!err)
		s->blocks->sent = stamp;
	return err;
}

void blocks_send(struct blocks *blocks, const struct captures *captures, int link, bool anew)
{
	struct sending s = {blocks, link, captures->n ? block_maps_entries(captures->list[0]) : 0};
	uint64_t before;
	int err;

	if (anew)
		blocks->sent = blocks->told;
	before = blocks->sent;
	err = block_changes_read(instance_state(), blocks->sent, send_change, &s);
	if (err)
		log_warn("changes of the block list cannot be told to the database now: %s", strerror(-err));
	if (before == blocks->sent)
		link_send(link, LINK_BLOCK, s.entries, NULL, 0, -1);
}

void blocks_told(struct blocks *blocks, uint64_t stamp)
{
	char path[PATH_MAX], fresh[PATH_MAX + 8];
	FILE *file;
	int err;

	if (stamp <= blocks->told || stamp > blocks->sent)
		return;
	blocks->told = stamp;
	snprintf(path, sizeof(path), "%s/block.told", instance_state());
	if (mkdir(path, 0755) && errno != EEXIST)
		goto failed;
	told_path(path, blocks);
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	file = fopen(fresh, "we");
	if (!file)
		goto failed;
	fprintf(file, "%llu\n", (unsigned long long)stamp);
	err = fflush(file) || fsync(fileno(file));
	if (fclose(file) || err || rename(fresh, path))
		goto failed;
	return;
failed:
	log_warn("%s: %s; the change will be told once more", path, strerror(errno));
}
