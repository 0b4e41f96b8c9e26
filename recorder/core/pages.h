/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pages.h - memory that grows, and that goes back to the system at once when it is freed: what is large comes from mmap (2), whatever the allocator
 * would like to keep. Any thread.
 */
#ifndef XDP_RECORDER_CORE_PAGES_H
#define XDP_RECORDER_CORE_PAGES_H

#include <stddef.h>

/*
 * `p` has `from` bytes (NULL: 0) by a former call, and shall have `to` (0: it is freed, and NULL returned). What fits of its content
 * stays. NULL: no memory, and p is as it was.
 */
void *pages_resize(void *p, size_t from, size_t to);

#endif
