/* SPDX-License-Identifier: GPL-2.0-or-later */
/* crc32c.h - CRC-32C (Castagnoli). Pure; by SSE 4.2 where the CPU has it. */
#ifndef XDP_RECORDER_CORE_CRC32C_H
#define XDP_RECORDER_CORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* `crc` is what a former piece gave, 0 for the first: crc32c(crc32c(0, a), b) is that of a and b one behind the other.
 */
uint32_t crc32c(uint32_t crc, const void *data, size_t length);

/* The same by tables, as on other CPUs. For tests. */
uint32_t crc32c_plain(uint32_t crc, const void *data, size_t length);

#endif
