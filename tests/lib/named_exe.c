/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * named_exe.c - a library to preload under valgrind, where /proc/self/exe is valgrind: execl of it executes $NAMED_EXE instead.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORDS_MOST 16

int execl(const char *path, const char *word, ...)
{
	char *words[WORDS_MOST] = {(char *)word};
	const char *named = getenv("NAMED_EXE");
	unsigned n = 1;
	va_list rest;

	va_start(rest, word);
	while (n < WORDS_MOST - 1 && (words[n] = va_arg(rest, char *)))
		n++;
	va_end(rest);
	return execv(named && !strcmp(path, "/proc/self/exe") ? named : path, words);
}
