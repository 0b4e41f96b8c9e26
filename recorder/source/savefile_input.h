/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * savefile_input.h - the bytes of a capture file: plain, gzip (RFC 1952, members behind one another) or zstd (RFC 8878,
 * frames behind one another), from a descriptor that need not be seekable. One thread; for savefile.c.
 */
#ifndef XDP_RECORDER_SOURCE_SAVEFILE_INPUT_H
#define XDP_RECORDER_SOURCE_SAVEFILE_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct savefile_input;

struct savefile_input_error {
	char text[200];
};

/* Takes the descriptor over when it succeeds; looks at the first bytes. 0 or -errno with text. */
int savefile_input_open(struct savefile_input **out, int fd, struct savefile_input_error *error);
/* Uncompressed bytes, `size` of them unless the end comes before. -errno with text: not readable, damaged. */
ssize_t savefile_input_read(struct savefile_input *input, void *to, size_t size, struct savefile_input_error *error);
/* After a short read: the compressed data ended in the middle. */
bool savefile_input_torn(const struct savefile_input *input);
/* Bytes read from the descriptor and used. */
uint64_t savefile_input_used(const struct savefile_input *input);
/* "", " (gzip)" or " (zstd)". */
const char *savefile_input_kind(const struct savefile_input *input);
/* Closes the descriptor too. NULL is nothing. */
void savefile_input_close(struct savefile_input *input);

#endif
