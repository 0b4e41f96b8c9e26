/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keeper_internal.h - the keeper's parts.
 *
 *   keeper.c    life: the order of things, signals, the drainer's messages, the summary
 *   captures.c  an instance's captures: created, resumed, attached, detached, removed
 *   blocks.c    the block list: into the maps before a hook is attached, its changes to the drainer
 *   output.c    the file of --write
 *   spool_dir.c the directory of --spool
 *   watch.c     is what is captured also seen? gaps, hooks put on again
 *   warm.c      the rings' pages used for the first time
 *   spawn.c     the drainer process: privileges dropped, descriptors handed over
 */
#ifndef XDP_RECORDER_PROCESS_KEEPER_INTERNAL_H
#define XDP_RECORDER_PROCESS_KEEPER_INTERNAL_H

#include <stdbool.h>
#include <sys/types.h>

#include "recorder/capture/capture.h"
#include "recorder/capture/filter.h"
#include "recorder/process/instance.h"
#include "recorder/process/link.h"
#include "recorder/settings/settings.h"
#include "recorder/sink/file.h"

#define KEEPER_CAPTURES 32

struct captures {
	struct capture *list[KEEPER_CAPTURES];
	bool resumed[KEEPER_CAPTURES];
	bool refiltered[KEEPER_CAPTURES]; /* it was resumed with another filter, which no drainer was told yet */
	char rebuilt[KEEPER_CAPTURES][64]; /* the build whose programs were replaced, which no drainer was told yet */
	struct filter *filter; /* of the settings, NULL: none; for all captures, as long as they are open */
	unsigned n;
	bool attached;      /* a hook of any of them is on, or is to be taken for it */
	bool ever_attached; /* packets may have come since this process has them */
	struct rec_own_key own[REC_OWN_FLOWS / 2]; /* entered for the present drainer */
	unsigned nown;
};

/*
 * Takes up what is pinned and creates what is not, for the interfaces of the settings, or for all that the instance has
 * pinned when none is named. `drain_only`: all that is pinned, to be stored and removed. 0 or -errno with a log line; on failure what was created here is removed.
 */
int captures_open(struct captures *captures, const struct settings *settings, const struct instance *instance,
		  bool drain_only);
int captures_attach(struct captures *captures);
void captures_detach(struct captures *captures);
/* Removes the pins of all (`created_only`: only of those that this process made). */
void captures_remove(struct captures *captures, bool created_only);
void captures_close(struct captures *captures);
/* A connection of the drainer's; add false removes it. */
void captures_own(struct captures *captures, const struct rec_own_key *key, bool add);
/* All connections of a drainer that is gone. */
void captures_forget_own(struct captures *captures);

/* The host's block list in the maps of all captures. 0 or -errno with a log line: then attach nothing. */
int blocks_apply(struct captures *captures);

/* What is to be told of the list: each change once to each instance's database, also one that was made while no process was there. */
struct blocks {
	int watch; /* inotify on the state directory, -1: none */
	const char *instance;
	uint64_t told, sent; /* stamps of the newest change: in the database; on its way to it */
};
void blocks_open(struct blocks *blocks, const char *instance);
void blocks_close(struct blocks *blocks);
/* Changes that were not sent yet, and the number of entries, to the drainer. `anew`: it is another drainer. */
void blocks_send(struct blocks *blocks, const struct captures *captures, int link, bool anew);
/* Something in the state directory is new; whether it can have to do with the list. */
bool blocks_stirred(struct blocks *blocks);
void blocks_told(struct blocks *blocks, uint64_t stamp);

/* JSON lines for a name in .json, and for stdout with --json; else pcapng. */
enum file_format output_format(const struct settings *settings);
/*
 * Opens the file of --write for reading and writing, made with mode 0600 where it is not there, and locks it (flock) against a second
 * recorder. What is in it is the drainer's to judge. The descriptor, or -errno with a log line.
 */
int output_open(const struct settings *settings);

/* The unprivileged user's ids from its name. 0 or -ENOENT with a log line. */
int spawn_user(const char *name, uid_t *uid, gid_t *gid);
/* For a child process: another user, no capability, no way to gain one. 0 or -errno: then go no further. */
int spawn_drop_privileges(uid_t uid, gid_t gid);
/*
 * Starts a drainer and hands it everything, `file` (-1: none) is that of --write, `spool` (-1: none) the directory of --spool; it holds `lock` as well, so that nobody takes over while it lives. `again`: a former
 * one of this keeper's had reached the database: this one waits for it as long as it takes. Returns the link's
 * descriptor (non-blocking), or -errno with a log line.
 */
int spawn_drainer(const struct settings *settings, const struct captures *captures, int control, int file, int spool, int lock,
		  const uint8_t sensor_id[16], bool again, pid_t *pid);
/* A listening status socket at `path`. -errno with a log line. */
int spawn_control(const char *path, uid_t uid);

#endif
