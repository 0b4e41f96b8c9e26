/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tree_stack.c - layers 2 and 3 of the tree. Each layer stands one step to the right of the tree's root. */
#include "recorder/print/internal.h"

#include "recorder/core/util.h"

/* A stack's field in the word of the stack. */
#define AT(s, field) ((field) + 64 * (s))

static void put_pair(struct print *t, unsigned s, bool macs)
{
	const struct packet_key *k = &print_stack(t->p, s)->key;

	for (unsigned end = 0; end < 2; end++) {
		if (end)
			out_text(&t->out, " > ");
		out_paint(&t->out, end ? PAINT_DEST : PAINT_SOURCE);
		if (macs)
			out_mac(&t->out, end ? k->dmac : k->smac);
		else
			out_address(&t->out, end ? k->dst : k->src, k->family);
		out_paint(&t->out, PAINT_NONE);
	}
	tree_shown(t, AT(s, macs ? PKT_LMAC : PKT_LOCAL));
	tree_shown(t, AT(s, macs ? PKT_RMAC : PKT_REMOTE));
	tree_done(t);
}

static void put_tag(struct print *t, unsigned s, unsigned i)
{
	const struct packet_key *k = &print_stack(t->p, s)->key;
	uint16_t tci = i ? k->vlan2 : k->vlan;
	uint32_t tpid = packet_tpid(k->tags, i);

	if (!print_has(t->p, s, i ? PKT_VLAN2 : PKT_VLAN))
		return;
	tree_layer(t, tpid == PACKET_TPID ? "802.1Q" : tpid == PACKET_TPID_AD ? "802.1ad" : "QinQ");
	out_text(&t->out, "VLAN ");
	out_number(&t->out, tci & 0xfff);
	tree_done(t);
	if (!i)
		tree_hex(t, AT(s, PKT_TPID), "tag type", tpid, 4);
	else
		tree_hex(t, AT(s, PKT_TPID2), "tag type", tpid, 4);
	if (tree_field(t, AT(s, i ? PKT_VLAN2 : PKT_VLAN), "tag")) {
		out_hex(&t->out, tci, 4);
		out_text(&t->out, "  priority ");
		out_number(&t->out, tci >> 13);
		out_text(&t->out, tci & 0x1000 ? ", drop eligible" : ", not drop eligible");
		out_text(&t->out, ", VLAN ");
		out_number(&t->out, tci & 0xfff);
		tree_done(t);
	}
}

static void put_ethernet(struct print *t, unsigned s)
{
	const struct packet_key *k = &print_stack(t->p, s)->key;

	if (!print_has(t->p, s, PKT_LMAC))
		return;
	tree_layer(t, k->etype < ETYPE_MIN && print_has(t->p, s, PKT_ETYPE) ? "802.3" : "Ethernet");
	put_pair(t, s, true);
	if (!print_has(t->p, s, PKT_VLAN)) {
		if (k->etype < ETYPE_MIN)
			tree_number(t, AT(s, PKT_ETYPE), "length", k->etype, " bytes");
		else
			tree_hex_code(t, AT(s, PKT_ETYPE), "type", k->etype, 4, name_etype(k->etype));
		return;
	}
	put_tag(t, s, 0);
	put_tag(t, s, 1);
	if (k->etype < ETYPE_MIN)
		tree_number(t, AT(s, PKT_ETYPE), "length", k->etype, " bytes");
	else
		tree_hex_code(t, AT(s, PKT_ETYPE), "type", k->etype, 4, name_etype(k->etype));
}

static void put_llc(struct print *t)
{
	const struct packet_other *o = &t->p->other;

	tree_layer(t, "LLC");
	out_text(&t->out, packet_has(t->p, PKT_OUI) ? "with SNAP" : "IEEE 802.2");
	tree_done(t);
	tree_hex_code(t, PKT_DSAP, "destination SAP", o->dsap, 2, name_lsap(o->dsap));
	tree_hex_code(t, PKT_SSAP, "source SAP", o->ssap, 2, name_lsap(o->ssap));
	tree_hex_code(t, PKT_LLCCTL, "control", o->llc_control, 2, o->llc_control == 3 ? "unnumbered information" : NULL);
	tree_hex_code(t, PKT_OUI, "organisation", o->oui, 6, name_oui(o->oui));
	tree_hex_code(t, PKT_PID, "protocol", o->pid, 4, name_pid(o->oui, o->pid));
}

void tree_labels(struct print *t)
{
	unsigned n = print_mpls_count(t->p);

	for (unsigned i = 0; i < n; i++) {
		uint32_t entry = t->p->other.mpls[i];
		const char *name = name_label(entry >> 12);

		tree_layer(t, "MPLS");
		out_text(&t->out, "label ");
		out_number(&t->out, entry >> 12);
		if (name) {
			out_text(&t->out, " (");
			out_text(&t->out, name);
			out_char(&t->out, ')');
		}
		tree_done(t);
		tree_field(t, PKT_MPLS + i, "entry");
		out_hex(&t->out, entry, 8);
		out_text(&t->out, "  class ");
		out_number(&t->out, entry >> 9 & 7);
		out_text(&t->out, entry & 0x100 ? ", bottom of the stack" : ", more follow");
		out_text(&t->out, ", TTL ");
		out_number(&t->out, entry & 0xff);
		tree_done(t);
	}
}

static void put_pppoe(struct print *t)
{
	const struct packet_other *o = &t->p->other;

	tree_layer(t, "PPPoE");
	out_text(&t->out, "session ");
	out_hex(&t->out, o->pppoe, 4);
	tree_done(t);
	tree_hex(t, PKT_PPPOE, "session", o->pppoe, 4);
	tree_number(t, PKT_PPPLEN, "length", o->ppp_len, " bytes, not what layer 3 implies");
	tree_hex_code(t, PKT_PPP, "PPP protocol", o->ppp, 4, name_ppp(o->ppp));
}

static bool unshown(const struct print *t, unsigned field)
{
	return packet_has(t->p, field) && !(t->shown[field >> 6] >> (field & 63) & 1);
}

static void put_carriers(struct print *t, unsigned s)
{
	unsigned etype = print_has(t->p, s, PKT_ETYPE) ? print_stack(t->p, s)->key.etype
			 : s == INNER && packet_has(t->p, PKT_GRE_PROTO) ? t->p->other.gre_proto
									  : 0;

	if (etype < ETYPE_MIN && unshown(t, PKT_DSAP))
		put_llc(t);
	if (etype == ETYPE_PPPOE && unshown(t, PKT_PPPOE))
		put_pppoe(t);
	if ((etype == ETYPE_MPLS || etype == ETYPE_MPLS_MULTICAST) && unshown(t, PKT_MPLS))
		tree_labels(t);
}

static void put_arp(struct print *t, unsigned s)
{
	const struct packet_stack *st = print_stack(t->p, s);
	bool known = print_has(t->p, s, PKT_LOCAL);

	tree_layer(t, st->arp_op == 3 || st->arp_op == 4 ? "RARP" : "ARP");
	if (known)
		put_pair(t, s, false);
	else
		tree_done(t);
	tree_code(t, AT(s, PKT_ARP_OP), "operation", st->arp_op, name_arp(st->arp_op));
	if (tree_field(t, AT(s, PKT_ASHA), "sender MAC")) {
		out_mac(&t->out, st->sha);
		out_text(&t->out, "  not the frame's source");
		tree_done(t);
	} else if (known) {
		tree_label(t, "sender MAC");
		out_mac(&t->out, st->key.smac);
		tree_done(t);
	}
	if (tree_field(t, AT(s, PKT_ATHA), "target MAC")) {
		out_mac(&t->out, st->tha);
		tree_done(t);
	} else if (known && st->arp_op != 1) {
		tree_label(t, "target MAC");
		out_mac(&t->out, st->key.dmac);
		tree_done(t);
	}
}

static void put_tos(struct print *t, unsigned s, const char *label)
{
	const struct packet_stack *st = print_stack(t->p, s);
	const char *dscp = name_dscp(st->tos >> 2);

	if (!tree_field(t, AT(s, PKT_TOS), label))
		return;
	out_hex(&t->out, st->tos, 2);
	out_text(&t->out, "  DSCP ");
	out_number(&t->out, st->tos >> 2);
	if (dscp) {
		out_text(&t->out, " (");
		out_text(&t->out, dscp);
		out_char(&t->out, ')');
	}
	out_text(&t->out, ", ");
	out_text(&t->out, name_ecn(st->tos & 3));
	tree_done(t);
}

static void put_pad(struct print *t, unsigned s)
{
	const struct packet_stack *st = print_stack(t->p, s);

	if (!tree_field(t, AT(s, PKT_PAD), "padding"))
		return;
	out_signed(&t->out, st->pad);
	out_text(&t->out, st->pad < 0 ? " bytes: what holds the packet ends before it does" : " bytes behind the packet");
	tree_done(t);
}

static void put_ipv4_options(struct print *t, unsigned s)
{
	const struct packet_bytes *b = &print_stack(t->p, s)->ipopts;

	if (!print_has(t->p, s, PKT_IPOPTS))
		return;
	tree_bytes(t, AT(s, PKT_IPOPTS), "options", b);
	for (unsigned i = 0, length; i < b->len; i += length) {
		const char *name = name_ipv4_option(b->at[i]);

		length = b->at[i] < 2 ? 1 : i + 1 < b->len ? b->at[i + 1] : 0;
		if (length == 0 || length > b->len - i || (b->at[i] > 1 && length < 2))
			length = b->len - i;
		if (b->at[i] == 1)
			continue; /* NOP: nothing to say */
		tree_label(t, "");
		out_number(&t->out, b->at[i]);
		out_text(&t->out, "  ");
		out_text(&t->out, name ? name : "option");
		out_text(&t->out, ", ");
		out_number(&t->out, length);
		out_text(&t->out, length == 1 ? " byte" : " bytes");
		tree_done(t);
		if (b->at[i] == 0)
			break;
	}
}

static void put_ipv4(struct print *t, unsigned s)
{
	const struct packet_stack *st = print_stack(t->p, s);

	tree_layer(t, "IPv4");
	put_pair(t, s, false);
	if (s == QUOTE)
		tree_number(t, PKT_QLEN, "total length", t->p->other.quote_len, " bytes, as written in the quote");
	put_tos(t, s, "TOS");
	if (tree_field(t, AT(s, PKT_IPID), "identification")) {
		out_hex(&t->out, st->ipid, 4);
		out_text(&t->out, "  ");
		out_number(&t->out, st->ipid);
		tree_done(t);
	}
	if (tree_field(t, AT(s, PKT_FRAG), "flags, offset")) {
		out_hex(&t->out, st->frag, 4);
		out_text(&t->out, "  ");
		if (st->frag & 0x8000)
			out_text(&t->out, "reserved bit, ");
		if (st->frag & 0x4000)
			out_text(&t->out, "do not fragment, ");
		if (st->frag & 0x2000)
			out_text(&t->out, "more fragments, ");
		out_text(&t->out, "offset ");
		out_number(&t->out, (st->frag & 0x1fff) * 8u);
		tree_done(t);
	}
	tree_number(t, AT(s, PKT_TTL), "TTL", st->ttl, "");
	if (print_has(t->p, s, PKT_NXT))
		tree_code(t, AT(s, PKT_NXT), "next header", st->nxt, name_extension(st->nxt));
	tree_code(t, AT(s, PKT_PROTO), "protocol", st->key.proto, name_protocol(st->key.proto));
	if (tree_field(t, AT(s, PKT_IPCSUM), "checksum")) {
		out_hex(&t->out, st->ipcsum, 4);
		out_painted(&t->out, PAINT_BAD, "  wrong");
		tree_done(t);
	}
	put_ipv4_options(t, s);
	put_pad(t, s);
}

/* Extension headers that were kept as they were: each by its name and length. */
static void put_extensions(struct print *t, unsigned s)
{
	const struct packet_stack *st = print_stack(t->p, s);
	unsigned type = st->nxt, i = 0;

	if (!print_has(t->p, s, PKT_EXT))
		return;
	while (i + 2 <= st->ext.len) {
		const uint8_t *b = st->ext.at + i;
		const char *name = name_extension(type);
		unsigned length = type == PROTO_FRAGMENT ? 8 : type == PROTO_AH ? (b[1] + 2u) * 4 : (b[1] + 1u) * 8;

		if (length > st->ext.len - i)
			length = st->ext.len - i;
		tree_label(t, "extension");
		out_number(&t->out, type);
		out_text(&t->out, "  ");
		out_text(&t->out, name ? name : "header");
		out_text(&t->out, ", ");
		out_number(&t->out, length);
		out_text(&t->out, " bytes");
		tree_done(t);
		type = b[0];
		i += length;
	}
	tree_bytes(t, AT(s, PKT_EXT), "as they were", &st->ext);
}

static void put_ah(struct print *t, unsigned s)
{
	/* without nxt: an AH that is cut off, of which the fields stand alone */
	if (!print_has(t->p, s, PKT_NXT) && print_stack(t->p, s)->key.proto != PROTO_AH)
		return;
	tree_hex(t, PKT_AH_SPI, "AH SPI", t->p->other.ah_spi, 8);
	tree_number(t, PKT_AH_SEQ, "AH sequence", t->p->other.ah_seq, "");
}

static void put_ipv6(struct print *t, unsigned s)
{
	const struct packet_stack *st = print_stack(t->p, s);

	tree_layer(t, "IPv6");
	put_pair(t, s, false);
	if (s == QUOTE)
		tree_number(t, PKT_QLEN, "payload length", t->p->other.quote_len, " bytes, as written in the quote");
	put_tos(t, s, "traffic class");
	tree_hex(t, AT(s, PKT_FLOW), "flow label", st->flow, 5);
	tree_number(t, AT(s, PKT_TTL), "hop limit", st->ttl, "");
	tree_code(t, AT(s, PKT_NXT), "next header", st->nxt, name_extension(st->nxt));
	if (tree_field(t, AT(s, PKT_FRAG), "fragment")) {
		out_hex(&t->out, st->frag, 4);
		out_text(&t->out, "  offset ");
		out_number(&t->out, st->frag & 0xfff8);
		out_text(&t->out, st->frag & 1 ? ", more fragments" : ", the last one");
		tree_done(t);
	}
	tree_hex(t, AT(s, PKT_FRAGID), "identification", st->fragid, 8);
	put_extensions(t, s);
	tree_code(t, AT(s, PKT_PROTO), "protocol", st->key.proto, name_protocol(st->key.proto));
	put_pad(t, s);
}

void tree_stack(struct print *t, unsigned s)
{
	const struct packet_stack *st = print_stack(t->p, s);

	put_ethernet(t, s);
	put_carriers(t, s);
	if (print_has(t->p, s, PKT_ARP_OP)) {
		put_arp(t, s);
		return;
	}
	if (!print_has(t->p, s, PKT_LOCAL))
		return;
	if (st->key.family == 6)
		put_ipv6(t, s);
	else
		put_ipv4(t, s);
	if (st->key.family == 4)
		put_extensions(t, s);
	put_ah(t, s);
	tree_upper(t, s);
}
