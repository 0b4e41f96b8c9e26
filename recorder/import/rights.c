/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who this process is, and that a file is imported once at a time.
 *
 * Files are opened and the program is loaded with the rights of who called; what is in the files is looked at without
 * them. BPF_PROG_RUN goes through bpf(2), for which CAP_BPF is kept; it gives no access to anything of the host's.
 */
#include "recorder/import/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/process/instance.h"

#define BPF_CAPABILITY 39 /* CAP_BPF, Linux 5.8 */

static int set_capabilities(bool bpf)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};

	if (bpf)
		data[BPF_CAPABILITY / 32].permitted = data[BPF_CAPABILITY / 32].effective = 1u << BPF_CAPABILITY % 32;
	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

static int become(const struct settings *settings, bool bpf)
{
	struct passwd *entry = getpwnam(settings->user);

	if (!entry) {
		log_error("--user %s: there is no such user; name another, or make it by `useradd -r %s`", settings->user,
			  settings->user);
		return -ENOENT;
	}
	for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
		prctl(PR_CAPBSET_DROP, cap, 0, 0, 0); /* fails only for one this kernel does not know */
	if (prctl(PR_SET_KEEPCAPS, bpf, 0, 0, 0) || setgroups(0, NULL) ||
	    setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid) ||
	    setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid))
		return -errno;
	return 0;
}

int import_drop_rights(const struct settings *settings, bool bpf)
{
	int err = geteuid() == 0 ? become(settings, bpf) : 0;

	if (err == -ENOENT)
		return err;
	if (!err)
		err = set_capabilities(bpf);
	if (!err && (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)))
		err = -errno;
	if (err)
		log_error("cannot become user %s: %s", settings->user, strerror(-err));
	return err;
}

/* ---- locks ------------------------------------------------------------------------------------------------------ */

/* A name with a dot in front is no instance's. */
int import_lock_dir(const struct settings *settings)
{
	char path[PATH_MAX];
	struct passwd *entry = getpwnam(settings->user);
	CLEANUP_CLOSE int fd = -1;

	if (snprintf(path, sizeof(path), "%s/.import", instance_run_root()) >= (int)sizeof(path))
		return -1;
	mkdir(instance_run_root(), 0755);
	mkdir(path, 0700);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || faccessat(fd, ".", W_OK, AT_EACCESS))
		return -1;
	if (geteuid() == 0 && entry && fchown(fd, entry->pw_uid, entry->pw_gid))
		return -1;
	return TAKE_FD(fd);
}

static void lock_name(const struct import_file *file, char out[48])
{
	strcpy(put_hex(out, file->id, CAPTURE_ID_LEN), ".lock");
}

static int open_lock(const struct import *import, const struct import_file *file)
{
	char name[48];

	if (import->locks < 0)
		return fcntl(file->fd, F_DUPFD_CLOEXEC, 3);
	lock_name(file, name);
	return openat(import->locks, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
}

int import_lock(const struct import *import, const struct import_file *file, char *problem, size_t size)
{
	for (;;) {
		CLEANUP_CLOSE int fd = open_lock(import, file);
		struct stat st;

		if (fd < 0 || (flock(fd, LOCK_EX | LOCK_NB) && errno != EWOULDBLOCK)) {
			int err = -errno;

			snprintf(problem, size, "%s: cannot be locked: %s", file->path, strerror(errno));
			return err;
		}
		if (flock(fd, LOCK_EX | LOCK_NB)) {
			snprintf(problem, size,
				 "%s: another process of this host imports it at this moment; wait for its end",
				 file->path);
			return -EBUSY;
		}
		/* Who had it before has taken the name away: then it keeps nobody out. */
		if (import->locks < 0 || (!fstat(fd, &st) && st.st_nlink))
			return TAKE_FD(fd);
	}
}

void import_unlock(const struct import *import, struct import_file *file)
{
	char name[48];

	if (file->lock < 0)
		return;
	if (import->locks >= 0) {
		lock_name(file, name);
		unlinkat(import->locks, name, 0);
	}
	close(TAKE_FD(file->lock));
}
