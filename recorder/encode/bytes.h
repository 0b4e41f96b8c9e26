/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bytes.h - integers into a buffer, in the processor's order (little-endian); each gives the byte behind it. */
#ifndef XDP_RECORDER_ENCODE_BYTES_H
#define XDP_RECORDER_ENCODE_BYTES_H

#include <stdint.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "BSON and our pcapng are written with the processor's stores");

static inline uint8_t *put16(uint8_t *w, uint16_t v)
{
	memcpy(w, &v, 2);
	return w + 2;
}

static inline uint8_t *put32(uint8_t *w, uint32_t v)
{
	memcpy(w, &v, 4);
	return w + 4;
}

static inline uint8_t *put64(uint8_t *w, uint64_t v)
{
	memcpy(w, &v, 8);
	return w + 8;
}

#endif
