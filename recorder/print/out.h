/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * out.h - bounded text with colours. What does not fit is left out; the end (colour off, newline) always fits. The put
 * functions give nothing back: a text that is cut is still a text.
 */
#ifndef XDP_RECORDER_PRINT_OUT_H
#define XDP_RECORDER_PRINT_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum paint {
	PAINT_NONE,
	PAINT_DIM,    /* time, labels, what is seldom looked at */
	PAINT_SOURCE, /* the two ends */
	PAINT_DEST,
	PAINT_PROTO, /* what it is */
	PAINT_FLAG,  /* what opens or closes a connection */
	PAINT_BAD,   /* an anomaly */
};

struct out {
	char *start;
	size_t len, room;
	bool color, painted;
};

struct out out_begin(char *at, size_t max, bool color);
/* Colour off, newline; gives the length. */
size_t out_end(struct out *o);

void out_bytes(struct out *o, const char *text, size_t length);
void out_text(struct out *o, const char *text);
void out_char(struct out *o, char c);
void out_spaces(struct out *o, unsigned n);
void out_number(struct out *o, uint64_t value);
/* Two's complement numbers too. */
void out_signed(struct out *o, int64_t value);
/* 0x and at least `digits` digits. */
void out_hex(struct out *o, uint64_t value, unsigned digits);
/* Bytes as lower-case hexadecimal digits, nothing between them. */
void out_dump(struct out *o, const uint8_t *bytes, size_t n);
/* A name from a file or the machine: what is not printable ASCII, and the backslash, is written \xNN. */
void out_name(struct out *o, const char *name);
void out_paint(struct out *o, enum paint paint);
/* paint, text, PAINT_NONE */
void out_painted(struct out *o, enum paint paint, const char *text);
void out_address(struct out *o, const uint8_t *address, unsigned family);
void out_mac(struct out *o, const uint8_t mac[6]);
/* "[2026-11-23 ]17:13:01.123456789", UTC. */
void out_time(struct out *o, int64_t wall, bool date);

#endif
