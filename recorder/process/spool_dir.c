/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The spool's directory, made by who has the rights to and locked; the drainer gets the descriptor and never a path. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/process/spool_dir.h"

bool spool_dir_wanted(const struct settings *settings)
{
	return settings->mongo && settings->spool && strcmp(settings->spool, SPOOL_NONE);
}

/* All directories of the path that are missing; the last one is the drainer's alone. */
static int make_path(const char *path)
{
	char part[PATH_MAX];
	size_t len = strlen(path);

	if (len >= sizeof(part))
		return -ENAMETOOLONG;
	memcpy(part, path, len + 1);
	for (char *c = part + 1; *c; c++) {
		if (*c != '/')
			continue;
		*c = '\0';
		if (mkdir(part, 0755) && errno != EEXIST)
			return -errno;
		*c = '/';
	}
	return mkdir(part, 0700) && errno != EEXIST ? -errno : 0;
}

/* Another -Z than before: what is in the spool is the new drainer's. */
static int give_files(int dir, uid_t uid, gid_t gid)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	DIR *stream = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (!stream) {
		err = -errno;
		if (fd >= 0)
			close(fd);
		return err;
	}
	while (!err && (entry = readdir(stream))) {
		struct stat st;

		if (!fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) && S_ISREG(st.st_mode) && st.st_uid != uid &&
		    fchownat(dir, entry->d_name, uid, gid, AT_SYMLINK_NOFOLLOW))
			err = -errno;
	}
	closedir(stream);
	return err;
}

static int own(int fd, uid_t uid, gid_t gid)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if (st.st_mode & 077 && fchmod(fd, 0700))
		return -errno;
	if (geteuid() || st.st_uid == uid) /* without root the drainer is who we are */
		return 0;
	if (fchown(fd, uid, gid))
		return -errno;
	return give_files(fd, uid, gid);
}

int spool_dir_open(const struct settings *settings, uid_t uid, gid_t gid)
{
	int err = make_path(settings->spool);
	CLEANUP_CLOSE int fd = err ? -1 : open(settings->spool, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (!err && fd < 0)
		err = -errno;
	if (!err && flock(fd, LOCK_EX | LOCK_NB)) {
		log_error("--spool %s: another recorder uses it; name another directory", settings->spool);
		return -EBUSY;
	}
	if (!err)
		err = own(fd, uid, gid);
	if (err) {
		log_error("--spool %s: %s; name another directory, or --spool none to record without one",
			  settings->spool, strerror(-err));
		return err;
	}
	return TAKE_FD(fd);
}
