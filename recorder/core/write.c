// SPDX-License-Identifier: GPL-2.0-or-later
#include "recorder/core/write.h"

#include <errno.h>
#include <unistd.h>

int write_at(int fd, const uint8_t *bytes, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pwrite(fd, bytes, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -ENOSPC;
		bytes += n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return 0;
}
