/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/process/instance.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "recorder/capture/capture.h"
#include "recorder/core/log.h"
#include "recorder/core/util.h"

static const char *from_env(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value && *value ? value : otherwise;
}

const char *instance_run_root(void)
{
	return from_env("XDP_RECORDER_RUN", "/run/xdp-recorder");
}

const char *instance_bpffs(void)
{
	return from_env("XDP_RECORDER_BPFFS", CAPTURE_BPFFS);
}

const char *instance_state(void)
{
	return from_env("XDP_RECORDER_STATE", "/var/lib/xdp-recorder");
}

static bool name_is_sound(const char *name)
{
	return *name && strlen(name) < INSTANCE_NAME_MAX && *name != '.' && !strchr(name, '/');
}

static int join(char *out, const char *a, const char *b)
{
	int n = snprintf(out, PATH_MAX, "%s/%s", a, b);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* The process that holds the lock, 0 when nobody does. The pid is only told, the flock is what counts. */
static pid_t lock_holder(int fd)
{
	char text[32] = "";
	long pid;

	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		flock(fd, LOCK_UN);
		return 0;
	}
	if (pread(fd, text, sizeof(text) - 1, 0) < 0)
		return 1;
	pid = strtol(text, NULL, 10);
	return pid > 0 ? (pid_t)pid : 1;
}

/* The directory of all of an instance's captures: the path of a capture without its last part. */
static int pin_root(char *out, const char *name)
{
	char *slash;
	int err = capture_pin_path(out, PATH_MAX, instance_bpffs(), name, "x");

	if (err)
		return err;
	slash = strrchr(out, '/');
	*slash = '\0';
	return 0;
}

static bool has_entries(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	bool found = false;

	if (!dir)
		return false;
	while (!found && (entry = readdir(dir)))
		found = entry->d_name[0] != '.';
	closedir(dir);
	return found;
}

int instance_look(struct instance *instance, const char *name)
{
	char lock[PATH_MAX], foreign[PATH_MAX];
	CLEANUP_CLOSE int fd = -1;

	memset(instance, 0, sizeof(*instance));
	if (!name_is_sound(name)) {
		log_error("instance '%s': a name is 1 to %d characters, without '/' and not beginning with '.'", name,
			  INSTANCE_NAME_MAX - 1);
		return -EINVAL;
	}
	strcpy(instance->name, name);
	if (join(instance->run_dir, instance_run_root(), name) || join(instance->control, instance->run_dir, "control") ||
	    join(lock, instance->run_dir, "lock") || pin_root(instance->pin_dir, name)) {
		log_error("instance '%s': the path is too long", name);
		return -EINVAL;
	}
	instance->pinned = has_entries(instance->pin_dir);
	instance->foreign = capture_foreign(instance_bpffs(), name, NULL, foreign, sizeof(foreign), NULL);
	fd = open(lock, O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		instance->keeper = lock_holder(fd);
	return 0;
}

int instance_list(struct instance *list, int max)
{
	DIR *dir = opendir(instance_run_root());
	struct dirent *entry;
	int n = 0;

	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	while (n < max && (entry = readdir(dir)))
		if (name_is_sound(entry->d_name) && instance_look(&list[n], entry->d_name) == 0 &&
		    (list[n].keeper || list[n].pinned || list[n].foreign))
			n++;
	closedir(dir);
	return n;
}

static int make_dir(const char *path, mode_t mode)
{
	if (mkdir(path, mode) == 0 || errno == EEXIST)
		return 0;
	log_error("cannot make the directory %s: %s", path, strerror(errno));
	return -errno;
}

int instance_lock(struct instance *instance)
{
	char lock[PATH_MAX], pid[32];
	CLEANUP_CLOSE int fd = -1;
	int n;

	if (make_dir(instance_run_root(), 0755) || make_dir(instance->run_dir, 0755))
		return -EACCES;
	if (join(lock, instance->run_dir, "lock"))
		return -ENAMETOOLONG;
	fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0) {
		int err = -errno;

		log_error("cannot open %s: %s", lock, strerror(errno));
		return err;
	}
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		instance->keeper = lock_holder(fd);
		return -EBUSY;
	}
	n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) || pwrite(fd, pid, (size_t)n, 0) != n) {
		log_error("cannot write %s: %s", lock, strerror(errno));
		return -EIO;
	}
	return TAKE_FD(fd);
}

int instance_mount_bpffs(void)
{
	const char *path = instance_bpffs();
	struct stat ours, others;
	char parent[40];
	struct statfs fs;

	if (statfs(path, &fs) == 0 && fs.f_type == BPF_FS_MAGIC)
		return 0;
	if (mkdir(path, 0700) && errno != EEXIST) {
		log_error("cannot make %s for the bpf filesystem: %s", path, strerror(errno));
		return -errno;
	}
	if (mount("bpf", path, "bpf", 0, "mode=0700")) {
		int err = -errno;

		log_error("cannot mount the bpf filesystem at %s: %s; mount it by `mount -t bpf bpf %s`", path,
			  strerror(errno), path);
		return err;
	}
	log_info("mounted a bpf filesystem at %s", path);
	/* Who may not look at process 1 looks at who called: `ip netns exec` stands between them. */
	snprintf(parent, sizeof(parent), "/proc/%d/ns/mnt", (int)getppid());
	if (stat("/proc/self/ns/mnt", &ours) == 0 && (stat("/proc/1/ns/mnt", &others) == 0 || stat(parent, &others) == 0) &&
	    ours.st_ino != others.st_ino)
		log_warn("this process has a mount namespace of its own (`ip netns exec` makes one): what is pinned goes with it; "
			 "mount a bpf filesystem outside and name it by XDP_RECORDER_BPFFS to let capture outlive the process");
	return 0;
}
