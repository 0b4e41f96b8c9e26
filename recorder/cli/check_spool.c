/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/cli/check_spool.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "recorder/process/spool_dir.h"

#define PACKET_BYTES 30u /* of the spool, for a packet of ordinary traffic: tests/bench/run spool */
#define FREE_MOST ((uint64_t)1 << 30)

/* The nearest directory of the path that is there. */
static void existing(const char *path, char out[PATH_MAX])
{
	struct stat st;
	char *slash;

	snprintf(out, PATH_MAX, "%s", path);
	while (stat(out, &st) && (slash = strrchr(out, '/')))
		*(slash == out ? slash + 1 : slash) = '\0';
}

int check_spool(const struct settings *s, char *text, size_t size)
{
	char there[PATH_MAX];
	uint64_t keep = s->spool_free, room, minutes;
	struct statvfs fs;

	if (!spool_dir_wanted(s)) {
		snprintf(text, size, "none: what the database does not take stays in the rings until they are full");
		return s->mongo ? 1 : 0;
	}
	if (!s->spool) {
		snprintf(text, size, "its directory follows from the instance's name: -i IF or --instance NAME");
		return 0;
	}
	existing(s->spool, there);
	if (statvfs(there, &fs)) {
		snprintf(text, size, "%s: %s; name another directory by --spool", s->spool, strerror(errno));
		return -1;
	}
	if (fs.f_flag & ST_RDONLY || access(there, W_OK | X_OK)) {
		snprintf(text, size, "%s: %s cannot be written to; name another directory by --spool", s->spool, there);
		return -1;
	}
	if (!keep)
		keep = (uint64_t)fs.f_blocks * fs.f_frsize / 10 < FREE_MOST ? (uint64_t)fs.f_blocks * fs.f_frsize / 10
									    : FREE_MOST;
	room = (uint64_t)fs.f_bavail * fs.f_frsize;
	room = room > keep ? room - keep : 0;
	room = room < s->spool_size ? room : s->spool_size;
	minutes = room / PACKET_BYTES / 100000 / 60;
	snprintf(text, size,
		 "%s has room for %llu MiB: about %llu min without a database at 100,000 packets a second (%u bytes "
		 "each)%s",
		 s->spool, (unsigned long long)(room >> 20), (unsigned long long)minutes, PACKET_BYTES,
		 room < s->spool_size ? "; the file system does not hold --spool-size beside --spool-free" : "");
	return room < s->spool_size;
}
