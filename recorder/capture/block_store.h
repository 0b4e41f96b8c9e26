/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block_store.h - what is kept of the block list on disk, one for a host:
 *
 *   <state>/block.list     its lines, as block_list.h says; replaced as a whole, by rename
 *   <state>/block.changes  what was changed, a line each: time (CLOCK_REALTIME, ns; rising), a space, JSON. The newest ones
 *   <state>/block.lock     held (flock) by who reads or writes the list
 *
 * Errors: 0 or -errno with text that names the file, and the line where there is one.
 */
#ifndef XDP_RECORDER_CAPTURE_BLOCK_STORE_H
#define XDP_RECORDER_CAPTURE_BLOCK_STORE_H

#include <limits.h>

#include "recorder/capture/block_list.h"

struct block_store {
	char dir[PATH_MAX - 32];
	int lock;
};

/* Makes the directory, takes the lock; -EBUSY when somebody has had it for ten seconds. */
int block_store_open(struct block_store *store, const char *dir, struct block_problem *problem);
void block_store_close(struct block_store *store);

/* Sorted; empty when there is no file. */
int block_store_read(const struct block_store *store, struct block_list *list, struct block_problem *problem);
/* Any file of lines; `by` where a line says none. Not sorted. -ENOENT, -EINVAL, ... `name` "-" is stdin. */
int block_file_read(const char *name, struct block_list *list, unsigned by, struct block_problem *problem);

/* In two steps: whatever can fail fails in the first, beside the list in force. */
int block_store_prepare(const struct block_store *store, const struct block_list *list, struct block_problem *problem);
int block_store_commit(const struct block_store *store, struct block_problem *problem);

/* A change that has been made; `json` is one line without its end. */
int block_store_tell(const struct block_store *store, const char *json, struct block_problem *problem);
/*
 * Changes later than `after`, oldest first, as long as `each` returns 0. Needs no lock: lines are whole or not there. Returns
 * what the last `each` did, or -errno; 0 when there is no file.
 */
int block_changes_read(const char *dir, uint64_t after, int (*each)(void *arg, uint64_t stamp, const char *json), void *arg);
#define BLOCK_CHANGE_MAX 50000u /* bytes of a line, at most */

#endif
