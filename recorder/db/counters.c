/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/db/counters.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static int held = -1; /* stderr, while the constructors of the libraries run */

/* Whose it is can be told by the number alone, so it is ours: 0, or -1 and errno as of shm_unlink(3). */
static int forget(void)
{
	char name[32];

	snprintf(name, sizeof(name), "/mongoc-%u", (unsigned)getpid());
	return shm_unlink(name);
}

void counters_forget(void)
{
	forget();
}

static void before_libraries(void)
{
	int nowhere;

	if (!forget() || errno == ENOENT)
		return;
	held = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	nowhere = held < 0 ? -1 : open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (nowhere < 0)
		return;
	dup2(nowhere, STDERR_FILENO);
	close(nowhere);
}

__attribute__((constructor)) static void after_libraries(void)
{
	if (held < 0)
		return;
	dup2(held, STDERR_FILENO);
	close(held);
	held = -1;
}

/* Runs before the constructors of the shared libraries (System V gABI, "Initialization and Termination Functions"). */
__attribute__((section(".preinit_array"), used)) static void (*const preinit)(void) = before_libraries;
