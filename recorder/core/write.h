/* SPDX-License-Identifier: GPL-2.0-or-later */
/* write.h - all of some bytes, or why not. */
#ifndef XDP_RECORDER_CORE_WRITE_H
#define XDP_RECORDER_CORE_WRITE_H

#include <stddef.h>
#include <stdint.h>

/* Goes on where a write was short or interrupted (pwrite(2)). 0 or -errno; then any part of it may be there. */
int write_at(int fd, const uint8_t *bytes, size_t len, uint64_t at);

#endif
