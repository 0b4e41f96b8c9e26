/* SPDX-License-Identifier: GPL-2.0-or-later */
/* line.c - one packet, one line: what stands around it, and layers 2 and 3. */
#include "recorder/print/internal.h"

#include <string.h>

#include "recorder/packet/fields.h"

/* Marks that another part of the line shows in its own words. */
#define MARKS_SAID (REC_MARK_FRAGMENT | REC_MARK_VLAN_HW | REC_MARK_GSO)
/* Marks with which the bytes recorded do not end where the data begin. */
#define MARKS_NO_DATA (REC_MARK_TRUNCATED | REC_MARK_MALFORMED | REC_MARK_LONG | REC_MARK_UNKNOWN)

bool print_later_fragment(const struct packet *p, unsigned s)
{
	const struct packet_stack *st = print_stack(p, s);

	return print_has(p, s, PKT_FRAG) && st->frag & (st->key.family == 6 ? 0xfff8 : 0x1fff);
}

uint16_t print_mpls_count(const struct packet *p)
{
	uint16_t n = 0;

	while (n < PACKET_LABELS && packet_has(p, PKT_MPLS + n))
		n++;
	return n;
}
_Static_assert(PKT_MPLS4 == PKT_MPLS + 3, "the labels stand in a row");

void line_number(struct print *l, const char *label, uint64_t value)
{
	out_char(&l->out, ' ');
	out_text(&l->out, label);
	out_char(&l->out, ' ');
	out_number(&l->out, value);
}

void line_hex(struct print *l, const char *label, uint64_t value, unsigned digits)
{
	out_char(&l->out, ' ');
	out_text(&l->out, label);
	out_char(&l->out, ' ');
	out_hex(&l->out, value, digits);
}

void line_proto(struct print *l, unsigned proto)
{
	bool everyday = proto == PROTO_TCP || proto == PROTO_UDP || proto == PROTO_ICMP || proto == PROTO_ICMPV6;
	const char *name = l->style->numeric && !everyday ? NULL : name_protocol(proto);

	out_paint(&l->out, PAINT_PROTO);
	if (name) {
		out_text(&l->out, name);
	} else {
		out_text(&l->out, "proto ");
		out_number(&l->out, proto);
	}
	out_paint(&l->out, PAINT_NONE);
}

static void put_port(struct print *l, unsigned proto, uint16_t port)
{
	const char *name = l->style->numeric ? NULL : name_service(proto, port);

	out_char(&l->out, '.');
	if (name)
		out_name(&l->out, name);
	else
		out_number(&l->out, port);
}

void line_end(struct print *l, unsigned s, bool source)
{
	const struct packet_key *k = &print_stack(l->p, s)->key;

	out_paint(&l->out, source ? PAINT_SOURCE : PAINT_DEST);
	if (print_has(l->p, s, PKT_LOCAL))
		out_address(&l->out, source ? k->src : k->dst, k->family);
	else
		out_mac(&l->out, source ? k->smac : k->dmac);
	if (print_has(l->p, s, PKT_LPORT))
		put_port(l, k->proto, source ? k->sport : k->dport);
	out_paint(&l->out, PAINT_NONE);
}

void line_ends(struct print *l, unsigned s)
{
	line_end(l, s, true);
	out_text(&l->out, " > ");
	line_end(l, s, false);
}

/* One tag: "vlan 5 ", "vlan 5 pcp 3 dei ". */
static void put_tag(struct print *l, const char *label, uint16_t tci)
{
	out_text(&l->out, label);
	out_char(&l->out, ' ');
	out_number(&l->out, tci & 0xfff);
	if (tci >> 13)
		line_number(l, "pcp", tci >> 13);
	if (tci & 0x1000)
		out_text(&l->out, " dei");
	out_char(&l->out, ' ');
}

static void put_labels(struct print *l)
{
	uint16_t n = print_mpls_count(l->p);

	out_text(&l->out, "mpls ");
	for (unsigned i = 0; i < n; i++) {
		if (i)
			out_char(&l->out, '/');
		out_number(&l->out, l->p->other.mpls[i] >> 12);
	}
	out_char(&l->out, ' ');
}

/* What stands between Ethernet and layer 3. */
static void put_carriers(struct print *l, unsigned s)
{
	const struct packet_key *k = &print_stack(l->p, s)->key;
	unsigned etype = print_has(l->p, s, PKT_ETYPE) ? k->etype
			 : s == INNER && packet_has(l->p, PKT_GRE_PROTO) ? l->p->other.gre_proto
									  : 0;

	out_paint(&l->out, PAINT_DIM);
	if (print_has(l->p, s, PKT_VLAN))
		put_tag(l, "vlan", k->vlan);
	if (print_has(l->p, s, PKT_VLAN2))
		put_tag(l, "vlan", k->vlan2);
	if (etype == ETYPE_PPPOE && packet_has(l->p, PKT_PPPOE)) {
		out_text(&l->out, "pppoe ");
		out_hex(&l->out, l->p->other.pppoe, 4);
		out_char(&l->out, ' ');
	}
	if ((etype == ETYPE_MPLS || etype == ETYPE_MPLS_MULTICAST) && print_mpls_count(l->p))
		put_labels(l);
	out_paint(&l->out, PAINT_NONE);
}

static void put_arp(struct print *l, unsigned s)
{
	const struct packet_stack *st = print_stack(l->p, s);
	const uint8_t *sha = print_has(l->p, s, PKT_ASHA) ? st->sha : st->key.smac;
	const uint8_t *tha = print_has(l->p, s, PKT_ATHA) ? st->tha : st->key.dmac;
	bool known = print_has(l->p, s, PKT_LOCAL);

	out_painted(&l->out, PAINT_PROTO, st->arp_op == 3 || st->arp_op == 4 ? "RARP" : "ARP");
	if (known && st->arp_op == 1) {
		out_text(&l->out, " who-has ");
		line_end(l, s, false);
		out_text(&l->out, " tell ");
		line_end(l, s, true);
		if (print_has(l->p, s, PKT_ATHA)) {
			out_text(&l->out, " (at ");
			out_mac(&l->out, st->tha);
			out_char(&l->out, ')');
		}
	} else if (known && st->arp_op == 2) {
		out_char(&l->out, ' ');
		line_end(l, s, true);
		out_text(&l->out, " is-at ");
		out_mac(&l->out, sha);
	} else if (known && st->arp_op == 3) {
		out_text(&l->out, " who-is ");
		out_mac(&l->out, print_has(l->p, s, PKT_ATHA) ? st->tha : sha);
		out_text(&l->out, " tell ");
		out_mac(&l->out, sha);
	} else if (known && st->arp_op == 4) {
		out_char(&l->out, ' ');
		out_mac(&l->out, tha);
		out_text(&l->out, " is ");
		line_end(l, s, false);
	} else {
		line_number(l, "operation", st->arp_op);
	}
	if (known && (st->arp_op == 1 || st->arp_op == 2) && print_has(l->p, s, PKT_ASHA)) {
		out_char(&l->out, ' ');
		out_painted(&l->out, PAINT_BAD, "[sender is not the frame's source]");
	}
}

/* 802.3 with LLC, and EtherTypes without addresses. */
static void put_layer2(struct print *l, unsigned s)
{
	const struct packet_other *other = &l->p->other;
	const struct packet_key *k = &print_stack(l->p, s)->key;
	const char *name = NULL;

	line_ends(l, s);
	out_text(&l->out, ": ");
	if (!print_has(l->p, s, PKT_ETYPE))
		return;
	if (k->etype >= ETYPE_MIN) {
		if (!l->style->numeric)
			name = name_etype(k->etype);
		if (name)
			out_painted(&l->out, PAINT_PROTO, name);
		if (!name) {
			out_text(&l->out, "ethertype ");
			out_hex(&l->out, k->etype, 4);
		}
		if (k->etype == ETYPE_PPPOE && packet_has(l->p, PKT_PPP)) {
			name = name_ppp(other->ppp);
			out_char(&l->out, ' ');
			if (name)
				out_text(&l->out, name);
			else
				out_hex(&l->out, other->ppp, 4);
		}
		return;
	}
	out_painted(&l->out, PAINT_PROTO, packet_has(l->p, PKT_PID) ? "SNAP" : packet_has(l->p, PKT_DSAP) ? "LLC" : "802.3");
	if (packet_has(l->p, PKT_PID)) {
		name = l->style->numeric ? NULL : name_pid(other->oui, other->pid);
		line_hex(l, "oui", other->oui, 6);
		line_hex(l, "pid", other->pid, 4);
	} else if (packet_has(l->p, PKT_DSAP)) {
		name = l->style->numeric ? NULL : name_lsap(other->dsap);
		line_hex(l, "dsap", other->dsap, 2);
		line_hex(l, "ssap", other->ssap, 2);
		line_hex(l, "ctl", other->llc_control, 2);
	}
	if (name) {
		out_text(&l->out, " (");
		out_text(&l->out, name);
		out_char(&l->out, ')');
	}
}

void line_stack(struct print *l, unsigned s)
{
	put_carriers(l, s);
	if (print_has(l->p, s, PKT_ARP_OP)) {
		put_arp(l, s);
	} else if (print_has(l->p, s, PKT_LOCAL)) {
		line_ends(l, s);
		out_text(&l->out, ": ");
		line_upper(l, s);
	} else if (print_has(l->p, s, PKT_LMAC)) {
		put_layer2(l, s);
	} else {
		out_painted(&l->out, PAINT_BAD, "no header");
	}
}

/* Bytes behind the headers, where the headers recorded are all there are; 0 when that cannot be said. */
static uint64_t data_length(const struct print *l)
{
	const struct packet *p = l->p;
	int64_t n = (int64_t)p->len - l->source->cap_len;

	if (!l->source->cap_len || (packet_has(p, PKT_MARKS) && p->marks & MARKS_NO_DATA) || p->has[QUOTE] ||
	    !print_has(p, OUTER, PKT_LOCAL) || print_has(p, OUTER, PKT_ARP_OP))
		return 0;
	if (print_has(p, OUTER, PKT_PAD))
		n -= p->outer.pad;
	if (print_has(p, INNER, PKT_PAD))
		n -= p->inner.pad;
	return n < 0 ? 0 : (uint64_t)n;
}

/* Layer 3 announces more than there is: `data` and `seq A:B` are what it announces. */
static void put_missing(struct print *l)
{
	for (unsigned s = OUTER; s <= INNER; s++) {
		int64_t pad = print_has(l->p, s, PKT_PAD) ? print_stack(l->p, s)->pad : 0;

		if (pad >= 0)
			continue;
		out_char(&l->out, ' ');
		out_paint(&l->out, PAINT_BAD);
		out_char(&l->out, '[');
		out_number(&l->out, (uint64_t)-pad);
		out_text(&l->out, " bytes missing]");
		out_paint(&l->out, PAINT_NONE);
	}
}

static void put_marks(struct print *l)
{
	unsigned marks = packet_has(l->p, PKT_MARKS) || l->p->marks ? l->p->marks & ~MARKS_SAID & REC_MARKS_ALL : 0;
	unsigned harmless = REC_MARK_UNKNOWN | REC_MARK_CSUM_NONE;
	char text[FIELD_TEXT_MAX];
	unsigned n;

	if (print_has(l->p, OUTER, PKT_IPCSUM) || print_has(l->p, INNER, PKT_IPCSUM)) {
		out_char(&l->out, ' ');
		out_painted(&l->out, PAINT_BAD, "[IPv4 checksum wrong]");
	}
	put_missing(l);
	if (!marks)
		return;
	n = fields_marks(text, marks);
	out_char(&l->out, ' ');
	out_paint(&l->out, marks & ~harmless ? PAINT_BAD : PAINT_DIM);
	out_char(&l->out, '[');
	out_bytes(&l->out, text, n);
	out_char(&l->out, ']');
	out_paint(&l->out, PAINT_NONE);
}

size_t print_line(char *at, const struct print_packet *packet, const struct print_style *style)
{
	struct print l = {
		.out = out_begin(at, PRINT_LINE_MAX, style->color), .source = packet, .p = packet->packet, .style = style};

	l.data = data_length(&l);
	out_paint(&l.out, PAINT_DIM);
	out_time(&l.out, packet->wall, style->date);
	out_char(&l.out, ' ');
	if (style->iface && packet->iface) {
		out_name(&l.out, packet->iface);
		out_char(&l.out, ' ');
	}
	if (style->side)
		out_text(&l.out, l.p->outer.key.side == REC_TX ? "tx " : "rx ");
	out_paint(&l.out, PAINT_NONE);
	line_stack(&l, OUTER);
	if (l.data)
		line_number(&l, "data", l.data);
	if (packet_has(l.p, PKT_SEGS)) {
		line_number(&l, "gso", l.p->segs);
		out_char(&l.out, 'x');
		out_number(&l.out, packet_has(l.p, PKT_GSO) ? l.p->gso : 0);
	}
	out_paint(&l.out, PAINT_DIM);
	line_number(&l, "len", l.p->len);
	out_paint(&l.out, PAINT_NONE);
	put_marks(&l);
	return out_end(&l.out);
}
