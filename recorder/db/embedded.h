/* SPDX-License-Identifier: GPL-2.0-or-later */
/* embedded.h - the files of migrations/, put into the program by embed.cmake. */
#ifndef XDP_RECORDER_DB_EMBEDDED_H
#define XDP_RECORDER_DB_EMBEDDED_H

#include <stddef.h>

struct embedded_file {
	const char *name;
	const char *bytes;
	size_t length;
};

extern const struct embedded_file embedded_migrations[];
extern const size_t embedded_migrations_count;

#endif
