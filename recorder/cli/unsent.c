/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/cli/unsent.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "recorder/core/util.h"
#include "recorder/settings/settings.h"
#include "recorder/sink/spool_file.h"

/* Bytes of the spool's files in a directory. */
static uint64_t held(int root, const char *name)
{
	int fd = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	uint64_t bytes = 0;
	struct stat st;

	if (!dir && fd >= 0)
		close(fd);
	while (dir && (entry = readdir(dir)))
		if (spool_name_sequence(entry->d_name) && !fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW))
			bytes += (uint64_t)st.st_size;
	if (dir)
		closedir(dir);
	return bytes;
}

void unsent_tell(const char *instance)
{
	CLEANUP_FREE char *root = settings_default_spool("");
	DIR *dir = root ? opendir(root) : NULL;
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		const char *name = entry->d_name;
		uint64_t bytes = name[0] == '.' || (instance && strcmp(instance, name)) ? 0 : held(dirfd(dir), name);

		if (bytes)
			fprintf(stderr,
				"xdp-recorder: %llu KiB that the database did not take are in the spool %s%s: the next `record` of "
				"instance %s sends them\n",
				(unsigned long long)(bytes + 1023) / 1024, root, name, name);
	}
	if (dir)
		closedir(dir);
}
