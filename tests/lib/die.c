/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * die.c - a library to preload: kill -9 in the middle of settling a batch. journal_set_chain's checksum (8 bytes of sequence, then
 * DIE_BYTES of record) is the first thing behind a batch that is marked done; with DIE_FILE there, the process ends there.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

unsigned long crc32(unsigned long sum, const unsigned char *bytes, unsigned n);

unsigned long crc32(unsigned long sum, const unsigned char *bytes, unsigned n)
{
	static unsigned long (*real)(unsigned long, const unsigned char *, unsigned);
	const char *file = getenv("DIE_FILE"), *size = getenv("DIE_BYTES");

	if (!real)
		real = (unsigned long (*)(unsigned long, const unsigned char *, unsigned))dlsym(RTLD_NEXT, "crc32");
	if (file && size && n == (unsigned)atoi(size) && access(file, F_OK) == 0)
		kill(getpid(), SIGKILL);
	return real(sum, bytes, n);
}
