/* SPDX-License-Identifier: GPL-2.0-or-later */
/* util.h - what every module needs and libc does not have. */
#ifndef XDP_RECORDER_CORE_UTIL_H
#define XDP_RECORDER_CORE_UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Scope-bound ownership: CLEANUP_FREE char *p = ...; return TAKE_PTR(p); */
static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}
static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}
#define CLEANUP_FREE __attribute__((cleanup(cleanup_free)))
#define CLEANUP_CLOSE __attribute__((cleanup(cleanup_close)))
#define TAKE_PTR(p)                     \
	({                              \
		__typeof__(p) t_ = (p); \
		(p) = NULL;             \
		t_;                     \
	})
#define TAKE_FD(fd)         \
	({                  \
		int t_ = fd; \
		fd = -1;    \
		t_;         \
	})

/*
 * n zeroed objects of the type, aligned as it wants: calloc knows 16 bytes, and a bson_t, or what has one inside, wants 128. NULL: no
 * memory. free() frees it.
 */
#define NEW(type, n) ((type *)new_zeroed(_Alignof(type), sizeof(type), (n)))
static inline void *new_zeroed(size_t align, size_t size, size_t n)
{
	size_t bytes;
	void *p = NULL;

	if (__builtin_mul_overflow(size, n, &bytes) ||
	    posix_memalign(&p, align < sizeof(void *) ? sizeof(void *) : align, bytes ? bytes : size))
		return NULL;
	return memset(p, 0, bytes);
}

/* Two lower-case digits for each byte; gives the end, writes no NUL. */
static inline char *put_hex(char *at, const uint8_t *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*at++ = digits[bytes[i] >> 4];
		*at++ = digits[bytes[i] & 15];
	}
	return at;
}

static inline void put_be16(uint8_t *p, uint16_t v)
{
	v = __builtin_bswap16(v);
	memcpy(p, &v, 2);
}
static inline void put_be32(uint8_t *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, 4);
}
static inline void put_be64(uint8_t *p, uint64_t v)
{
	v = __builtin_bswap64(v);
	memcpy(p, &v, 8);
}
static inline uint16_t get_be16(const uint8_t *p)
{
	uint16_t v;
	memcpy(&v, p, 2);
	return __builtin_bswap16(v);
}
static inline uint32_t get_be32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, 4);
	return __builtin_bswap32(v);
}
static inline uint64_t get_be64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, 8);
	return __builtin_bswap64(v);
}

#endif
