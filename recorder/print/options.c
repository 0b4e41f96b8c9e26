/* SPDX-License-Identifier: GPL-2.0-or-later */
/* options.c - TCP's flags and options, in the order of the packet. */
#include <string.h>

#include "recorder/core/util.h"
#include "recorder/print/internal.h"

/* tcpdump's letters in tcpdump's order; AE is RFC 9768's. */
static const struct {
	uint16_t bit;
	char letter;
	const char *name;
} flags_known[] = {
	{0x001, 'F', "FIN"}, {0x002, 'S', "SYN"}, {0x004, 'R', "RST"}, {0x008, 'P', "PSH"}, {0x010, '.', "ACK"},
	{0x020, 'U', "URG"}, {0x040, 'E', "ECE"}, {0x080, 'W', "CWR"}, {0x100, 'e', "AE"},
};
#define FLAGS_RESERVED 0xe00u

void put_tcp_flags(struct out *o, unsigned flags)
{
	if (!(flags & 0xfff)) {
		out_painted(o, PAINT_BAD, "none");
		return;
	}
	out_paint(o, flags & 4 ? PAINT_BAD : flags & 3 ? PAINT_FLAG : PAINT_NONE);
	for (size_t i = 0; i < ARRAY_SIZE(flags_known); i++)
		if (flags & flags_known[i].bit)
			out_char(o, flags_known[i].letter);
	out_paint(o, PAINT_NONE);
	if (flags & FLAGS_RESERVED) {
		out_paint(o, PAINT_BAD);
		out_text(o, "+reserved ");
		out_hex(o, flags & FLAGS_RESERVED, 3);
		out_paint(o, PAINT_NONE);
	}
}

void put_tcp_flag_names(struct out *o, unsigned flags)
{
	const char *between = "";

	if (!flags)
		out_text(o, "none");
	for (size_t i = 0; i < ARRAY_SIZE(flags_known); i++)
		if (flags & flags_known[i].bit) {
			out_text(o, between);
			out_text(o, flags_known[i].name);
			between = ", ";
		}
	for (unsigned bit = 0x200; bit <= 0x800; bit <<= 1)
		if (flags & bit) {
			out_text(o, between);
			out_text(o, "reserved ");
			out_hex(o, bit, 3);
			between = ", ";
		}
}

/* The digits of `opts`, the highest first (stack.def). */
static bool next_digit(const struct packet_stack *st, unsigned *at, struct tcp_option *option)
{
	static const uint8_t kinds[8] = {0, 1, 2, 3, 4, 5, 8, 0};
	uint32_t code = (uint32_t)st->opts;
	unsigned digits = 1;

	while (digits < 10 && code >> 3 * digits)
		digits++;
	if (*at >= digits)
		return false;
	*option = (struct tcp_option){.kind = kinds[code >> 3 * (digits - 1 - *at) & 7], .known = true};
	++*at;
	return true;
}

/* Options that were kept as they were. What is not whole is given as far as it goes. */
static bool next_kept(const struct packet_bytes *b, unsigned *at, struct tcp_option *option)
{
	unsigned left = b->len - *at, length = 1;

	if (*at >= b->len)
		return false;
	option->kind = b->at[*at];
	option->known = false;
	if (option->kind > 1)
		length = left > 1 && b->at[*at + 1] >= 2 && b->at[*at + 1] <= left ? b->at[*at + 1] : left;
	else if (option->kind == 0)
		length = left;
	option->data = length > 2 ? b->at + *at + 2 : NULL;
	option->len = (uint8_t)(length > 2 ? length - 2 : 0);
	if (option->kind == 0) { /* what stands behind the end of the list */
		option->data = length > 1 ? b->at + *at + 1 : NULL;
		option->len = (uint8_t)(length - 1);
	}
	*at += length;
	return true;
}

/* Without either: the options whose values were read, by kind. */
static bool next_read(const struct packet *p, unsigned s, unsigned *at, struct tcp_option *option)
{
	static const struct {
		uint8_t kind;
		uint8_t field;
	} read[] = {{2, PKT_MSS}, {3, PKT_WS}, {4, PKT_SACK}, {5, PKT_SL1}, {8, PKT_LTSVAL}};

	for (; *at < ARRAY_SIZE(read); ++*at)
		if (print_has(p, s, read[*at].field)) {
			*option = (struct tcp_option){.kind = read[*at].kind, .known = true};
			++*at;
			return true;
		}
	return false;
}

bool next_tcp_option(const struct packet *p, unsigned s, unsigned *at, struct tcp_option *option)
{
	const struct packet_stack *st = print_stack(p, s);

	if (print_has(p, s, PKT_TOPTS))
		return next_kept(&st->topts, at, option);
	if (print_has(p, s, PKT_OPTS))
		return next_digit(st, at, option);
	return next_read(p, s, at, option);
}

static void put_sack(struct out *o, const uint32_t *left, const uint32_t *right, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		out_char(o, i ? ',' : ' ');
		out_number(o, left[i]);
		out_char(o, '-');
		out_number(o, right[i]);
	}
}

/* An option of a known form among those that were kept: read into the members that put_known shows. */
static bool read_kept(struct packet_stack *st, const struct tcp_option *option)
{
	const uint8_t *d = option->data;

	switch (option->kind) {
	case 2:
		if (option->len == 2)
			st->mss = get_be16(d);
		return option->len == 2;
	case 3:
		if (option->len == 1)
			st->ws = d[0];
		return option->len == 1;
	case 5:
		st->sacks = option->len / 8;
		for (unsigned i = 0; i < st->sacks && i < PACKET_SACKS; i++) {
			st->sack_left[i] = get_be32(d + 8 * i);
			st->sack_right[i] = get_be32(d + 8 * i + 4);
		}
		return option->len && option->len % 8 == 0 && st->sacks <= PACKET_SACKS;
	case 8:
		if (option->len == 8) {
			st->tsval = get_be32(d);
			st->tsecr = get_be32(d + 4);
		}
		return option->len == 8;
	}
	return false;
}

bool tcp_option_is_field(const struct packet_stack *st, const struct tcp_option *option)
{
	struct packet_stack read;

	memset(&read, 0, sizeof(read));
	if (option->known || (option->kind == 4 && !option->len))
		return true;
	if (!read_kept(&read, option))
		return false;
	switch (option->kind) {
	case 2:
		return read.mss == st->mss;
	case 3:
		return read.ws == st->ws;
	case 5:
		return read.sacks == st->sacks && !memcmp(read.sack_left, st->sack_left, sizeof(st->sack_left[0]) * st->sacks) &&
		       !memcmp(read.sack_right, st->sack_right, sizeof(st->sack_right[0]) * st->sacks);
	case 8:
		return read.tsval == st->tsval && read.tsecr == st->tsecr;
	}
	return false;
}

static void put_known(struct out *o, const struct packet_stack *st, unsigned kind, const char *echo)
{
	switch (kind) {
	case 2:
		out_char(o, ' ');
		out_number(o, st->mss);
		break;
	case 3:
		out_char(o, ' ');
		out_number(o, st->ws);
		break;
	case 5:
		put_sack(o, st->sack_left, st->sack_right, st->sacks < PACKET_SACKS ? st->sacks : PACKET_SACKS);
		break;
	case 8:
		out_char(o, ' ');
		out_number(o, st->tsval);
		out_text(o, echo);
		out_number(o, st->tsecr);
		break;
	}
}

void put_tcp_option(struct out *o, const struct packet_stack *st, const struct tcp_option *option, const char *echo)
{
	const char *name = name_tcp_option(option->kind);
	struct packet_stack read;

	if (name) {
		out_text(o, name);
	} else {
		out_text(o, "opt ");
		out_number(o, option->kind);
	}
	if (option->known) {
		put_known(o, st, option->kind, echo);
		return;
	}
	memset(&read, 0, sizeof(read));
	if (read_kept(&read, option)) {
		put_known(o, &read, option->kind, echo);
	} else if (option->len) {
		out_text(o, " 0x");
		out_dump(o, option->data, option->len);
	}
}
