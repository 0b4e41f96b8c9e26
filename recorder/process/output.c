/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The file of --write, opened by who has the rights to; the drainer gets the descriptor and never a path.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/process/keeper_internal.h"

#define READER_WAIT_S 10u

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), n = strlen(end);

	return len >= n && !strcmp(text + len - n, end);
}

enum file_format output_format(const struct settings *settings)
{
	bool json = !strcmp(settings->write, "-") ? settings->json : ends_with(settings->write, ".json");

	return json ? FILE_JSON : FILE_PCAPNG;
}

/* stdout; where it is a file, opened once more for reading too, so that what is in it can be read back after a crash. */
static int open_stdout(void)
{
	int mode = fcntl(STDOUT_FILENO, F_GETFL), fd;
	struct stat st;

	/* Read only: nothing was there, see main(). */
	if (mode < 0 || (mode & O_ACCMODE) == O_RDONLY || fstat(STDOUT_FILENO, &st)) {
		log_error("--write -: there is no stdout that can be written to");
		return -EBADF;
	}
	fd = S_ISREG(st.st_mode) ? open("/proc/self/fd/1", O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	if (fd < 0) {
		log_error("--write -: stdout: %s", strerror(errno));
		return -errno;
	}
	return fd;
}

/*
 * A named pipe is opened for writing alone: who could also read would never learn that the reader goes. Its reader is waited for, but
 * not for ever, and not in open(2), which holds up everything.
 */
static int open_pipe(const char *path)
{
	for (unsigned tries = 0;; tries++) {
		int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);

		if (fd >= 0) {
			if (!fcntl(fd, F_SETFL, O_WRONLY))
				return fd;
			close(fd);
			return -errno;
		}
		if (errno != ENXIO || tries >= READER_WAIT_S * 20) {
			int err = errno;

			if (err == ENXIO)
				log_error("--write %s: nobody has opened this pipe to read it within %u s: start its reader first, or with it",
					  path, READER_WAIT_S);
			else
				log_error("--write %s: %s", path, strerror(err));
			return -err;
		}
		usleep(50000);
	}
}

static int open_named(const char *path)
{
	struct stat st;
	int fd, err;

	if (!stat(path, &st) && S_ISFIFO(st.st_mode))
		return open_pipe(path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
	err = errno;
	if (fd >= 0)
		return fd;
	log_error("--write %s: %s", path, strerror(err));
	return -err;
}

int output_open(const struct settings *settings)
{
	CLEANUP_CLOSE int fd = strcmp(settings->write, "-") ? open_named(settings->write) : open_stdout();
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || !flock(fd, LOCK_EX | LOCK_NB))
		return TAKE_FD(fd);
	log_error("--write %s: another recorder writes it; name another file", settings->write);
	return -EBUSY;
}
