/* SPDX-License-Identifier: GPL-2.0-or-later */
/* icmp.c - ICMP and ICMPv6 in one line, in tcpdump's words where it has some. */
#include "recorder/print/internal.h"

/* The code alone says that it is unreachable, and why. */
static bool code_is_enough(const struct packet_stack *st, bool six)
{
	return st->icmp_type == (six ? 1 : 3) && (six ? name_icmp6_code(1, st->icmp_code) : name_icmp_code(3, st->icmp_code));
}

static void put_code(struct print *l, const struct packet_stack *st, bool six)
{
	const char *name = six ? name_icmp6_code(st->icmp_type, st->icmp_code) : name_icmp_code(st->icmp_type, st->icmp_code);

	if (name) {
		out_char(&l->out, ' ');
		out_text(&l->out, name);
	} else if (st->icmp_code) {
		line_number(l, "code", st->icmp_code);
	}
}

/* The packet that an error is about: "for 10.0.0.1.44321 > 10.0.0.3.33434 UDP". */
static void put_quote(struct print *l)
{
	const struct packet *p = l->p;

	if (!print_has(p, QUOTE, PKT_LOCAL))
		return;
	out_text(&l->out, ", for ");
	line_ends(l, QUOTE);
	out_char(&l->out, ' ');
	line_proto(l, p->quote.key.proto);
	if (print_has(p, QUOTE, PKT_ICMP_TYPE)) {
		uint8_t type = p->quote.icmp_type;
		const char *name = p->quote.key.proto == PROTO_ICMPV6 ? name_icmp6(type) : name_icmp(type);

		out_char(&l->out, ' ');
		if (name)
			out_text(&l->out, name);
		else
			out_number(&l->out, type);
	}
	if (print_has(p, QUOTE, PKT_ICMP_ID))
		line_number(l, "id", p->quote.icmp_id);
	if (print_has(p, QUOTE, PKT_ICMP_SEQ))
		line_number(l, "seq", p->quote.icmp_seq);
	if (p->quote.key.proto == PROTO_TCP && print_has(p, QUOTE, PKT_SEQ))
		line_number(l, "seq", p->quote.seq);
	if (print_later_fragment(p, QUOTE))
		out_text(&l->out, " fragment");
}

/* The words that every reader of tcpdump knows: "10.0.0.3 UDP port 33434 unreachable". */
static bool put_unreachable(struct print *l, const struct packet_stack *st, bool six)
{
	const struct packet_key *q = &l->p->quote.key;
	bool port = st->icmp_type == (six ? 1 : 3) && st->icmp_code == (six ? 4 : 3);
	const char *name;

	if (!port || !print_has(l->p, QUOTE, PKT_RPORT))
		return false;
	out_char(&l->out, ' ');
	out_paint(&l->out, PAINT_DEST);
	out_address(&l->out, q->dst, q->family);
	out_paint(&l->out, PAINT_NONE);
	out_char(&l->out, ' ');
	line_proto(l, q->proto);
	out_text(&l->out, " port ");
	name = l->style->numeric ? NULL : name_service(q->proto, q->dport);
	if (name)
		out_name(&l->out, name);
	else
		out_number(&l->out, q->dport);
	out_text(&l->out, " unreachable");
	return true;
}

static void put_target(struct print *l, const char *label, const struct packet_stack *st)
{
	out_text(&l->out, label);
	out_paint(&l->out, PAINT_DEST);
	out_address(&l->out, st->target, 6);
	out_paint(&l->out, PAINT_NONE);
}

static void put_flag_words(struct print *l, uint32_t bits, const char *const *words, unsigned n)
{
	const char *before = " [";

	for (unsigned i = 0; i < n; i++)
		if (words[i] && bits >> (31 - i) & 1) {
			out_text(&l->out, before);
			out_text(&l->out, words[i]);
			before = " ";
		}
	if (before[1] == 0)
		out_char(&l->out, ']');
}

/* NDP and MLD: RFC 4861, 2710, 3810. */
static void put_neighbour(struct print *l, const struct packet_stack *st, unsigned s)
{
	static const char *const advertisement[] = {"router", "solicited", "override"};
	bool rest = print_has(l->p, s, PKT_ICMP_REST), target = print_has(l->p, s, PKT_TARGET);

	switch (st->icmp_type) {
	case 130:
		if (rest)
			line_number(l, "max delay", st->icmp_rest >> 16);
		if (target)
			put_target(l, " group ", st);
		break;
	case 131:
	case 132:
		if (target)
			put_target(l, " group ", st);
		break;
	case 134:
		if (rest) {
			static const char *const router[8] = {"managed", "other", "home agent"};

			line_number(l, "hop limit", st->icmp_rest >> 24);
			line_number(l, "lifetime", st->icmp_rest & 0xffff);
			out_char(&l->out, 's');
			put_flag_words(l, (st->icmp_rest & 0xff0000) << 8, router, 8);
		}
		break;
	case 135:
		if (target)
			put_target(l, " who-has ", st);
		break;
	case 136:
		if (target)
			put_target(l, " target ", st);
		if (rest)
			put_flag_words(l, st->icmp_rest, advertisement, 3);
		break;
	case 137:
		if (packet_has(l->p, PKT_RDEST)) {
			out_char(&l->out, ' ');
			out_address(&l->out, l->p->other.redirect, 6);
		}
		if (target)
			put_target(l, " to ", st);
		break;
	case 143:
		if (rest)
			line_number(l, "records", st->icmp_rest & 0xffff);
		break;
	}
}

static void put_rest(struct print *l, const struct packet_stack *st, unsigned s, bool six)
{
	uint8_t gateway[4] = {(uint8_t)(st->icmp_rest >> 24), (uint8_t)(st->icmp_rest >> 16), (uint8_t)(st->icmp_rest >> 8),
			      (uint8_t)st->icmp_rest};

	if (!print_has(l->p, s, PKT_ICMP_REST))
		return;
	if (six ? st->icmp_type == 2 : st->icmp_type == 3 && st->icmp_code == 4)
		line_number(l, "mtu", six ? st->icmp_rest : st->icmp_rest & 0xffff);
	else if (six ? st->icmp_type == 4 : st->icmp_type == 12)
		line_number(l, "at byte", six ? st->icmp_rest : st->icmp_rest >> 24);
	else if (!six && st->icmp_type == 5) {
		out_text(&l->out, " to ");
		out_address(&l->out, gateway, 4);
	}
}

void line_icmp(struct print *l, unsigned s)
{
	const struct packet_stack *st = print_stack(l->p, s);
	bool six = st->key.proto == PROTO_ICMPV6;
	const char *name;

	out_painted(&l->out, PAINT_PROTO, six ? "ICMP6" : "ICMP");
	if (!print_has(l->p, s, PKT_ICMP_TYPE))
		return;
	if (!put_unreachable(l, st, six)) {
		name = six ? name_icmp6(st->icmp_type) : name_icmp(st->icmp_type);
		if (!name) {
			line_number(l, "type", st->icmp_type);
		} else if (!print_has(l->p, s, PKT_ICMP_CODE) || !code_is_enough(st, six)) {
			out_char(&l->out, ' ');
			out_text(&l->out, name);
		}
		if (print_has(l->p, s, PKT_ICMP_CODE))
			put_code(l, st, six);
	}
	if (print_has(l->p, s, PKT_ICMP_ID))
		line_number(l, "id", st->icmp_id);
	if (print_has(l->p, s, PKT_ICMP_SEQ))
		line_number(l, "seq", st->icmp_seq);
	put_rest(l, st, s, six);
	if (six)
		put_neighbour(l, st, s);
	put_quote(l);
}
