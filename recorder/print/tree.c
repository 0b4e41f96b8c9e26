/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tree.c - one packet as a tree. Each field that is written is ticked off; those that no layer claimed are listed at the
 * end by their names in the database, so nothing that was decoded can be missing.
 */
#include "recorder/print/internal.h"

#include <string.h>

#include "recorder/packet/fields.h"
#include "recorder/packet/text.h"

#define LABEL_WIDTH 18u
#define LAYER_WIDTH 10u
#define DUMP_WIDTH 16u

void tree_shown(struct print *t, unsigned field)
{
	t->shown[field >> 6] |= 1ull << (field & 63);
}

static bool is_shown(const struct print *t, unsigned field)
{
	return t->shown[field >> 6] >> (field & 63) & 1;
}

void tree_label(struct print *t, const char *label)
{
	size_t n = strlen(label);

	out_spaces(&t->out, 2 * t->depth + 2);
	out_paint(&t->out, PAINT_DIM);
	out_text(&t->out, label);
	out_spaces(&t->out, n < LABEL_WIDTH ? LABEL_WIDTH - (unsigned)n : 1);
	out_paint(&t->out, PAINT_NONE);
}

void tree_heading(struct print *t, const char *heading)
{
	out_spaces(&t->out, 2 * t->depth + 2);
	out_painted(&t->out, PAINT_DIM, heading);
	tree_done(t);
}

bool tree_field(struct print *t, unsigned field, const char *label)
{
	if (!packet_has(t->p, field) || is_shown(t, field))
		return false;
	tree_shown(t, field);
	tree_label(t, label);
	return true;
}

/* No spaces at a line's end: a layer's line may have nothing behind its name. */
void tree_done(struct print *t)
{
	while (t->out.len && t->out.start[t->out.len - 1] == ' ')
		t->out.len--;
	out_char(&t->out, '\n');
}

void tree_layer(struct print *t, const char *name)
{
	size_t n = strlen(name);

	out_spaces(&t->out, 2 * t->depth);
	out_painted(&t->out, PAINT_PROTO, name);
	out_spaces(&t->out, n < LAYER_WIDTH ? LAYER_WIDTH - (unsigned)n : 1);
}

void tree_number(struct print *t, unsigned field, const char *label, uint64_t value, const char *behind)
{
	if (!tree_field(t, field, label))
		return;
	out_number(&t->out, value);
	out_text(&t->out, behind);
	tree_done(t);
}

void tree_hex(struct print *t, unsigned field, const char *label, uint64_t value, unsigned digits)
{
	tree_hex_code(t, field, label, value, digits, NULL);
}

static void put_name(struct print *t, const char *name)
{
	if (name) {
		out_text(&t->out, "  ");
		out_text(&t->out, name);
	}
	tree_done(t);
}

void tree_code(struct print *t, unsigned field, const char *label, uint64_t value, const char *name)
{
	if (!tree_field(t, field, label))
		return;
	out_number(&t->out, value);
	put_name(t, name);
}

void tree_hex_code(struct print *t, unsigned field, const char *label, uint64_t value, unsigned digits, const char *name)
{
	if (!tree_field(t, field, label))
		return;
	out_hex(&t->out, value, digits);
	put_name(t, name);
}

void tree_bytes(struct print *t, unsigned field, const char *label, const struct packet_bytes *bytes)
{
	if (!tree_field(t, field, label))
		return;
	out_dump(&t->out, bytes->at, bytes->len);
	tree_done(t);
}

static void put_frame(struct print *t)
{
	const struct packet *p = t->p;

	out_painted(&t->out, PAINT_PROTO, "Frame");
	out_char(&t->out, ' ');
	out_number(&t->out, t->source->number);
	out_text(&t->out, "  ");
	out_time(&t->out, t->source->wall, true);
	out_text(&t->out, " UTC");
	if (t->style->iface && t->source->iface) {
		out_text(&t->out, "  ");
		out_name(&t->out, t->source->iface);
	}
	if (t->style->side)
		out_text(&t->out, p->outer.key.side == REC_TX ? "  tx" : "  rx");
	tree_done(t);
	tree_shown(t, PKT_TS);
	tree_shown(t, PKT_NS);
	tree_shown(t, PKT_DIR);	 /* a matter of who is local, which the reader of a wire need not know */
	tree_shown(t, PKT_SIDE); /* at the interface: rx and tx above */
	t->depth = 0;
	if (tree_field(t, PKT_LEN, "length")) {
		out_number(&t->out, p->len);
		out_text(&t->out, " bytes");
		if (t->source->cap_len) {
			out_text(&t->out, ", ");
			out_number(&t->out, t->source->cap_len);
			out_text(&t->out, " of them headers");
		}
		tree_done(t);
	}
	tree_number(t, PKT_SEGS, "segments", p->segs, " (a super-packet of segmentation offload)");
	tree_number(t, PKT_GSO, "segment size", p->gso, " bytes of payload each");
}

static void put_marks(struct print *t)
{
	bool first = true;

	if (!packet_has(t->p, PKT_MARKS))
		return;
	for (unsigned i = 0; i < REC_MARKS; i++) {
		if (!(t->p->marks >> i & 1))
			continue;
		if (first)
			tree_field(t, PKT_MARKS, "marks");
		else
			tree_label(t, "");
		first = false;
		out_paint(&t->out, PAINT_BAD);
		out_text(&t->out, mark_names[i]);
		out_paint(&t->out, PAINT_NONE);
		out_text(&t->out, ": ");
		out_text(&t->out, name_mark(i));
		tree_done(t);
	}
}

/* Sixteen bytes a line: offset, hexadecimal, and the printable ones as text. */
static void put_raw(struct print *t)
{
	const struct packet *p = t->p;

	if (!packet_has(p, PKT_RAW))
		return;
	t->depth = 1;
	tree_layer(t, "Bytes");
	out_text(&t->out, "the headers as they were: the fields alone do not give them back");
	tree_done(t);
	for (unsigned i = 0; i < p->raw_len; i += DUMP_WIDTH) {
		unsigned n = p->raw_len - i < DUMP_WIDTH ? p->raw_len - i : DUMP_WIDTH;

		out_spaces(&t->out, 2 * t->depth + 2);
		out_paint(&t->out, PAINT_DIM);
		out_hex(&t->out, i, 4);
		out_paint(&t->out, PAINT_NONE);
		for (unsigned j = 0; j < DUMP_WIDTH; j++) {
			out_spaces(&t->out, j % 8 ? 1 : 2);
			if (j < n)
				out_dump(&t->out, p->raw + i + j, 1);
			else
				out_spaces(&t->out, 2);
		}
		out_spaces(&t->out, 2);
		for (unsigned j = 0; j < n; j++) {
			uint8_t c = p->raw[i + j];

			out_char(&t->out, c >= 0x20 && c < 0x7f ? (char)c : '.');
		}
		tree_done(t);
	}
}

/* ---- what no layer claimed --------------------------------------------------------------------------------- */

static void rest_INT32(struct print *t, int64_t value)
{
	out_signed(&t->out, value);
}
static void rest_DOUBLE(struct print *t, uint64_t value)
{
	out_number(&t->out, value);
}
static void rest_bytes(struct print *t, const uint8_t *bytes, unsigned n)
{
	out_dump(&t->out, bytes, n);
}
#define REST_INT32(where) rest_INT32(t, (int64_t)(where))
#define REST_DOUBLE(where) rest_DOUBLE(t, (uint64_t)(where))
#define REST_DATE(where) rest_INT32(t, clock_ms(where))
#define REST_PAIR(bytes, length) rest_bytes(t, bytes, length)
#define REST_BINARY(where) REST_PAIR where
#define REST_STRING(where) out_bytes(&t->out, at, where)

static void put_rest(struct print *t)
{
	const struct packet *p = t->p;
	const int64_t wall = t->source->wall;
	const bool out = true; /* local is the source */
	char at[FIELD_TEXT_MAX];
	bool any = false;

	for (unsigned i = 0; i < PACKET_WORDS; i++)
		any |= (p->has[i] & ~t->shown[i]) != 0;
	if (!any)
		return;
	t->depth = 1;
	tree_layer(t, "Other");
	out_text(&t->out, "fields by their names in the database");
	tree_done(t);
#define F(id, name, bson, where, tshark, text)                                                                         \
	if (tree_field(t, PKT_##id, #name)) {                                                                          \
		REST_##bson(where);                                                                                    \
		tree_done(t);                                                                                          \
	}
#include "recorder/packet/fields.def"
#undef F
}

size_t print_tree(char *at, const struct print_packet *packet, const struct print_style *style)
{
	struct print t = {
		.out = out_begin(at, PRINT_TREE_MAX, style->color), .source = packet, .p = packet->packet, .style = style};

	put_frame(&t);
	put_marks(&t);
	tree_shown(&t, PKT_RAW); /* at the very end */
	t.depth = 1;
	tree_stack(&t, OUTER);
	put_rest(&t);
	put_raw(&t);
	return out_end(&t.out);
}
