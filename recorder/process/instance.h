/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * instance.h - what one `record` leaves on the machine: its run directory, its lock, its pins.
 *
 *   <run>/<instance>/lock       held (flock) by keeper and drainer as long as either lives; contains the keeper's pid
 *   <run>/<instance>/control    Unix socket of the drainer: a line in, a line of JSON out ("status")
 *   <bpffs>/xdp-recorder/<abi>/<instance>/<iface>/   pins of one capture
 *
 * <run> is $XDP_RECORDER_RUN or /run/xdp-recorder, <bpffs> $XDP_RECORDER_BPFFS or /sys/fs/bpf (mounted there if
 * nothing is). Keeper side and command line only.
 */
#ifndef XDP_RECORDER_PROCESS_INSTANCE_H
#define XDP_RECORDER_PROCESS_INSTANCE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#define INSTANCE_NAME_MAX 64

struct instance {
	char name[INSTANCE_NAME_MAX];
	char run_dir[PATH_MAX];
	char pin_dir[PATH_MAX];
	char control[PATH_MAX]; /* path of the status socket */
	pid_t keeper;           /* 0: no process has the lock */
	bool pinned;            /* there are pins: capture may be going on */
	bool foreign;           /* there are pins of a build with another layout: see capture_foreign */
};

/* The directories named above. */
const char *instance_run_root(void);
const char *instance_bpffs(void);
/* What outlives a reboot: $XDP_RECORDER_STATE or /var/lib/xdp-recorder. */
const char *instance_state(void);

/* Fills the paths and looks at lock and pins. -EINVAL (with a log line) when the name cannot be a directory's. */
int instance_look(struct instance *instance, const char *name);

/* All instances that have a run directory or pins, up to `max`; returns their number, or -errno. */
int instance_list(struct instance *list, int max);

/*
 * Makes the directories (0700 pins, 0755 run), takes the lock. Returns the descriptor to keep open, or -EBUSY when another process
 * has it (instance->keeper says which), or -errno with a log line.
 */
int instance_lock(struct instance *instance);

/* Mounts a bpffs at <bpffs> if none is there. 0 or -errno with a log line. */
int instance_mount_bpffs(void);

#endif
