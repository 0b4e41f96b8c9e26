/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/core/pages.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#ifdef __SANITIZE_ADDRESS__
#define LARGE SIZE_MAX /* the sanitizer knows what malloc gave */
#else
#define LARGE ((size_t)256 << 10)
#endif

static void release(void *p, size_t size)
{
	if (size >= LARGE)
		munmap(p, size);
	else
		free(p);
}

static void *take(size_t size)
{
	void *p;

	if (size < LARGE)
		return malloc(size);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

void *pages_resize(void *p, size_t from, size_t to)
{
	const bool was_large = from >= LARGE, large = to >= LARGE;
	void *more;

	if (!to) {
		release(p, from);
		return NULL;
	}
	if (!was_large && !large)
		return realloc(p, to);
	if (was_large && large) {
		more = mremap(p, from, to, MREMAP_MAYMOVE);
		return more == MAP_FAILED ? NULL : more;
	}
	more = take(to);
	if (more && from) {
		memcpy(more, p, from < to ? from : to);
		release(p, from);
	}
	return more;
}
