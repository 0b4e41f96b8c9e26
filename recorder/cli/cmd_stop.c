/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * stop: with a living keeper a signal and patience; without one this process takes over, ends the capture and stores
 * what the rings hold. With --keep only processes end.
 */
#include "recorder/cli/cmd.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include "recorder/capture/capture.h"
#include "recorder/core/clock.h"
#include "recorder/core/util.h"
#include "recorder/process/keeper.h"

#define PATIENCE_S 30u
#define PROGRESS_S 5u

/*
 * The lock file's pid can be that of a keeper that died while its drainer lives on, and belong to a stranger by now:
 * only a process of our name gets the signal, through a descriptor that cannot change its meaning in between.
 */
static int signal_keeper(pid_t pid, int number)
{
	CLEANUP_CLOSE int process = -1;
	char path[64], name[32] = "";
	FILE *file;

	if (pid <= 1)
		return -ESRCH;
	process = (int)syscall(SYS_pidfd_open, pid, 0);
	if (process < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	file = fopen(path, "re");
	if (file) {
		if (!fgets(name, sizeof(name), file))
			name[0] = '\0';
		fclose(file);
	}
	if (strncmp(name, "xdp-recorder", 12))
		return -ESRCH;
	return syscall(SYS_pidfd_send_signal, process, number, NULL, 0) ? -errno : 0;
}

/* Until nobody holds the lock. */
static int wait_for_end(const struct settings *settings, struct instance *instance)
{
	struct timespec pause = {.tv_nsec = 50000000};
	uint64_t begin = clock_boot_ns(), said = 0;
	pid_t pid = instance->keeper;
	char name[INSTANCE_NAME_MAX];

	memcpy(name, instance->name, sizeof(name));
	for (;;) {
		uint64_t waited = (clock_boot_ns() - begin) / NS_PER_SEC;

		if (instance_look(instance, name))
			return EXIT_FAILED;
		if (!instance->keeper)
			return EXIT_DONE;
		if (waited >= PATIENCE_S)
			return cmd_fail(EXIT_FAILED, "instance %s (process %d) is still there after %u s", name,
					(int)pid, PATIENCE_S);
		if (waited >= said + PROGRESS_S) {
			said = waited;
			if (!settings->quiet)
				fprintf(stderr,
					"xdp-recorder: instance %s (process %d) is storing what it has, %llu s so "
					"far\n",
					name, (int)pid, (unsigned long long)waited);
		}
		nanosleep(&pause, NULL);
	}
}

static int take_over(const struct settings *settings, const struct instance *instance)
{
	struct settings copy = *settings; /* shares the strings: not freed */
	CLEANUP_FREE char *path = NULL;

	if (!settings->discard && !cmd_has_target(settings))
		return cmd_fail(EXIT_USAGE, "instance %s has no process: what its rings hold has to be stored first",
				instance->name);
	if (!cmd_user_exists(settings->user))
		return cmd_fail(EXIT_FAILED, "user %s does not exist: -Z names the user that the drainer runs as",
				settings->user);
	copy.instance = (char *)instance->name;
	if (!copy.spool)
		copy.spool = path = settings_default_spool(instance->name);
	if (!copy.spool)
		return cmd_fail(EXIT_FAILED, "out of memory");
	return keeper_run(&copy, KEEPER_STOP);
}

/* Of a build with another layout: this one cannot store what its rings hold, only say who can, or throw it away. */
static int stop_foreign(const struct settings *settings, const struct instance *instance)
{
	struct capture_error error = {""};
	char dir[PATH_MAX];

	while (capture_foreign(instance_bpffs(), instance->name, NULL, dir, sizeof(dir), &error)) {
		if (!settings->discard)
			return cmd_fail(EXIT_FAILED, "%s", error.text);
		if (capture_discard(dir, &error))
			return cmd_fail(EXIT_FAILED, "%s", error.text);
		if (!settings->quiet)
			fprintf(stderr, "xdp-recorder: %s is removed; what its rings held is thrown away\n", dir);
	}
	return EXIT_DONE;
}

int cmd_stop(const struct settings *settings)
{
	struct instance instance;
	int status = cmd_find_instance(settings, &instance), err;
	bool had_keeper;

	if (status)
		return status;
	had_keeper = instance.keeper != 0;
	if (had_keeper) {
		pid_t keeper = instance.keeper;

		err = signal_keeper(keeper, settings->keep ? SIGUSR2 : SIGINT);
		if (err && err != -ESRCH)
			return cmd_fail(EXIT_FAILED, "cannot signal process %d of instance %s: %s", (int)keeper,
					instance.name, strerror(-err));
		status = wait_for_end(settings, &instance);
		if (status)
			return status;
		if (settings->keep && !instance.pinned)
			return cmd_fail(
				EXIT_FAILED,
				"instance %s was ending already: its capture has ended, everything is stored",
				instance.name);
	}
	if (settings->keep)
		return EXIT_DONE;
	if (instance.foreign && (status = stop_foreign(settings, &instance)))
		return status;
	if (!instance.pinned)
		return EXIT_DONE;
	if (had_keeper && !settings->discard && !settings->mongo && !settings->write)
		return cmd_fail(EXIT_FAILED,
				"instance %s has ended, but not everything is stored: `stop` it again, with --mongo or --write",
				instance.name);
	return take_over(settings, &instance);
}
