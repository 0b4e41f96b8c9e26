/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * print.c - libFuzzer target: any frame, as a line and as a tree.
 *
 * Input: a frame, then eight bytes of options, all zero in the corpus (tests/fuzz/corpus.c).
 * What must hold, besides nothing being read or written where it must not: a text ends with a newline and is shorter than
 * its bound, so that nothing was left out; a line is one line; no control character is in it but those of colours.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/print/print.h"
#include "recorder/source/native.h"
#include "tests/fuzz/fuzz.h"

struct options {
	uint8_t flags; /* 1: tx; 2: colours; 4: numbers; 8: with the day; 16: a super-packet; 32: a hostile name; 64: no bytes */
	uint8_t segs, gso, more; /* more: 16 bytes each that the wire had and the capture has not */
	int32_t wall;		 /* its upper half */
};

static void check(const char *text, size_t n, size_t most, bool one_line, bool color)
{
	MUST(n && n < most && text[n - 1] == '\n');
	for (size_t i = 0; i < n - 1; i++) {
		if (text[i] == '\n')
			MUST(!one_line);
		else if (text[i] == '\033')
			MUST(color && text[i + 1] == '[');
		else
			MUST(text[i] >= ' ' && text[i] < 0x7f);
	}
}

/* Copies of their own, so that a byte behind them is found. */
static uint8_t *copy(const void *bytes, size_t n)
{
	uint8_t *at = malloc(n ? n : 1);

	MUST(at);
	if (n)
		memcpy(at, bytes, n);
	return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char line[PRINT_LINE_MAX], tree[PRINT_TREE_MAX];
	struct print_packet one = {.number = 1, .iface = "eth0"};
	struct native_slot slot;
	struct packet packet;
	struct rec_head *head;
	struct options o;
	uint8_t *frame, *bytes;

	if (size < sizeof(o))
		return 0;
	size -= sizeof(o);
	memcpy(&o, data + size, sizeof(o));
	frame = copy(data, size);
	head = native_record(&slot, frame, (uint32_t)size, (uint32_t)size + 16u * o.more, 0, 0);
	head->side = o.flags & 1;
	head->gso_segs = o.flags & 16 ? o.segs : 0;
	head->gso_size = o.flags & 16 ? o.gso : 0;
	bytes = copy(head + 1, head->cap_len);
	packet_decode(&packet, head, bytes);
	one.packet = &packet;
	one.wall = (int64_t)o.wall * (1ll << 32);
	if (o.flags & 32)
		one.iface = "\033[31m\n\x9b\xff\\";
	if (!(o.flags & 64)) {
		one.bytes = bytes;
		one.cap_len = head->cap_len;
	}
	struct print_style style = {
		.color = o.flags & 2, .numeric = o.flags & 4, .date = o.flags & 8, .iface = true, .side = true};

	check(line, print_line(line, &one, &style), sizeof(line), true, style.color);
	check(tree, print_tree(tree, &one, &style), sizeof(tree), false, style.color);
	free(frame);
	free(bytes);
	return 0;
}
