/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * block_list.h - the block list as such: entries, their text, sets of them. Pure, but for memory.
 *
 * A line of text is `CIDR [source|destination|either [TIME [UID]]]`; # begins a comment. It is what a person writes for --file, and
 * what stands in the state directory.
 */
#ifndef XDP_RECORDER_CAPTURE_BLOCK_LIST_H
#define XDP_RECORDER_CAPTURE_BLOCK_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"

#define BLOCK_EITHER (REC_BLOCK_SOURCE | REC_BLOCK_DESTINATION)

struct block_entry {
	uint8_t address[16]; /* IPv4: the first four, then zeros */
	uint8_t version;     /* 4 or 6 */
	uint8_t length;      /* of the prefix */
	uint8_t by;          /* REC_BLOCK_* */
	uint32_t uid;        /* who added it */
	int64_t since;       /* when: wall clock, s; 0: not known */
};

/* Zeros are an empty one. In order (version, address, length), each prefix once, after block_list_sort. */
struct block_list {
	struct block_entry *entries;
	size_t count, room;
};

struct block_problem {
	char text[240];
};

/* An address or a network: "10.0.0.0/8", "2001:db8::1". By either; since and uid 0. 0 or -EINVAL with text. */
int block_entry_read(struct block_entry *entry, const char *text, struct block_problem *problem);
#define BLOCK_TEXT_MAX 64u
void block_entry_text(char out[BLOCK_TEXT_MAX], const struct block_entry *entry);
/* "source", "destination", "either"; 0 of another word. */
const char *block_by_name(unsigned by);
unsigned block_by_read(const char *word);

/* A line of a list. 1: an entry, 0: nothing in it, -EINVAL with text. `line` is written to. `by`: where it says none. */
int block_line_read(struct block_entry *entry, char *line, unsigned by, struct block_problem *problem);
#define BLOCK_LINE_MAX 160u
/* With its end of line. */
unsigned block_line_write(char out[BLOCK_LINE_MAX], const struct block_entry *entry);

/* At the end; sort behind it. 0 or -ENOMEM. */
int block_list_append(struct block_list *list, const struct block_entry *entry);
/* Of entries of the same prefix the last appended stays. */
void block_list_sort(struct block_list *list);
/* Order of entries: by their prefix only. */
int block_entry_compare(const struct block_entry *a, const struct block_entry *b);
const struct block_entry *block_list_find(const struct block_list *list, const struct block_entry *prefix);
/* out (empty before): `list` with those of `more`, which take the place of equal prefixes; or `list` without them. 0, -ENOMEM. */
int block_list_with(struct block_list *out, const struct block_list *list, const struct block_list *more);
int block_list_without(struct block_list *out, const struct block_list *list, const struct block_list *fewer);
void block_list_free(struct block_list *list);

/* The widest entry that an address (of that version) lies in; NULL: none. */
const struct block_entry *block_list_covering(const struct block_list *list, unsigned version, const uint8_t *address);

#endif
