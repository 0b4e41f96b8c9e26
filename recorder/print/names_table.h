/* SPDX-License-Identifier: GPL-2.0-or-later */
/* names_table.h - NAMES(number, {1, "one"}, ...) is the body of a function that gives the name. For names*.c only. */
#ifndef XDP_RECORDER_PRINT_NAMES_TABLE_H
#define XDP_RECORDER_PRINT_NAMES_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "recorder/core/util.h"

struct name {
	uint32_t number;
	const char *text;
};

static inline const char *name_find(const struct name *names, size_t n, uint32_t number)
{
	for (size_t i = 0; i < n; i++)
		if (names[i].number == number)
			return names[i].text;
	return NULL;
}

#define NAMES(number, ...)                                                                                             \
	static const struct name names[] = {__VA_ARGS__};                                                              \
	return name_find(names, ARRAY_SIZE(names), number)

#endif
