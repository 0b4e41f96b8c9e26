/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tree_upper.c - layer 4 of the tree, and what it carries: a tunnel's packet, the packet that an ICMP error quotes. */
#include "recorder/print/internal.h"

#include "recorder/core/util.h"

#define AT(s, field) ((field) + 64 * (s))

static void put_port(struct print *t, unsigned s, bool source)
{
	const struct packet_key *k = &print_stack(t->p, s)->key;
	uint16_t port = source ? k->sport : k->dport;
	const char *name = t->style->numeric ? NULL : name_service(k->proto, port);

	if (!tree_field(t, AT(s, source ? PKT_LPORT : PKT_RPORT), source ? "source port" : "destination port"))
		return;
	out_number(&t->out, port);
	if (name) {
		out_text(&t->out, "  ");
		out_name(&t->out, name);
	}
	tree_done(t);
}

/* A layer's line with its two ports, and a line for each. */
static void put_layer(struct print *t, unsigned s, const char *name)
{
	const struct packet_key *k = &print_stack(t->p, s)->key;

	tree_layer(t, name);
	if (print_has(t->p, s, PKT_LPORT)) {
		out_paint(&t->out, PAINT_SOURCE);
		out_number(&t->out, k->sport);
		out_paint(&t->out, PAINT_NONE);
		out_text(&t->out, " > ");
		out_paint(&t->out, PAINT_DEST);
		out_number(&t->out, k->dport);
		out_paint(&t->out, PAINT_NONE);
	}
	tree_done(t);
	put_port(t, s, true);
	put_port(t, s, false);
}

static void put_checksum(struct print *t, unsigned s)
{
	const struct packet_stack *st = print_stack(t->p, s);

	if (!tree_field(t, AT(s, PKT_CSUM), "checksum"))
		return;
	out_hex(&t->out, st->csum, 4);
	if (s == OUTER && packet_has(t->p, PKT_MARKS) && t->p->marks & REC_MARK_CSUM_NONE)
		out_text(&t->out, "  left to hardware");
	else if (st->key.proto == PROTO_UDP && !st->csum)
		out_text(&t->out, "  none");
	tree_done(t);
}

static void show_tcp_option_fields(struct print *t, unsigned s, uint8_t kind)
{
	switch (kind) {
	case 2:
		tree_shown(t, AT(s, PKT_MSS));
		break;
	case 3:
		tree_shown(t, AT(s, PKT_WS));
		break;
	case 4:
		tree_shown(t, AT(s, PKT_SACK));
		break;
	case 5:
		for (unsigned i = 0; i < 2u * print_stack(t->p, s)->sacks && i < 2 * PACKET_SACKS; i++)
			tree_shown(t, AT(s, PKT_SL1 + i));
		break;
	case 8:
		tree_shown(t, AT(s, PKT_LTSVAL));
		tree_shown(t, AT(s, PKT_RTSVAL));
		break;
	}
}

/* The digits of stack.def. */
static void put_octal(struct out *o, uint32_t value)
{
	if (value >> 3)
		put_octal(o, value >> 3);
	out_char(o, (char)('0' + (value & 7)));
}

static void put_tcp_options(struct print *t, unsigned s)
{
	const struct packet_stack *st = print_stack(t->p, s);
	struct tcp_option option;
	const char *label = "options";
	bool begun = false;

	for (unsigned at = 0; next_tcp_option(t->p, s, &at, &option);) {
		if (begun)
			out_char(&t->out, ' ');
		else
			tree_label(t, label);
		begun = option.kind == TCPOPT_NOP; /* stands in front of the one that it aligns */
		label = "";
		put_tcp_option(&t->out, st, &option, ", echoes ");
		if (option.kind == 3 && option.known && st->ws <= 14) {
			out_text(&t->out, "  window x ");
			out_number(&t->out, 1u << st->ws);
		}
		if (!begun)
			tree_done(t);
		if (tcp_option_is_field(st, &option))
			show_tcp_option_fields(t, s, option.kind);
	}
	if (begun)
		tree_done(t);
	if (tree_field(t, AT(s, PKT_OPTS), "option order")) {
		out_signed(&t->out, st->opts);
		out_text(&t->out, "  octal ");
		put_octal(&t->out, (uint32_t)st->opts);
		tree_done(t);
	}
	tree_bytes(t, AT(s, PKT_TOPTS), "as they were", &st->topts);
}

static void put_tcp(struct print *t, unsigned s)
{
	const struct packet_stack *st = print_stack(t->p, s);

	put_layer(t, s, "TCP");
	if (tree_field(t, AT(s, PKT_FLAGS), "flags")) {
		out_hex(&t->out, st->flags, 3);
		out_text(&t->out, "  ");
		out_paint(&t->out, st->flags & 4 ? PAINT_BAD : st->flags & 3 ? PAINT_FLAG : PAINT_NONE);
		put_tcp_flag_names(&t->out, st->flags);
		out_paint(&t->out, PAINT_NONE);
		tree_done(t);
	}
	tree_number(t, AT(s, PKT_SEQ), "sequence", st->seq, "");
	tree_number(t, AT(s, PKT_ACK), "acknowledgement", st->ack,
		    print_has(t->p, s, PKT_FLAGS) && !(st->flags & TCP_ACK) ? "  not valid: no ACK flag" : "");
	tree_number(t, AT(s, PKT_WIN), "window", st->win, "  as written, not scaled");
	put_checksum(t, s);
	tree_number(t, AT(s, PKT_URG), "urgent pointer", st->urg, "");
	put_tcp_options(t, s);
}

static void put_sctp(struct print *t, unsigned s)
{
	const struct packet_other *o = &t->p->other;
	bool sack = packet_has(t->p, PKT_CHUNK) && o->chunk == 3;

	put_layer(t, s, "SCTP");
	tree_hex(t, PKT_SCTP_TAG, "verification tag", o->sctp_tag, 8);
	tree_hex(t, PKT_SCTP_SUM, "checksum (CRC32c)", o->sctp_sum, 8);
	tree_code(t, PKT_CHUNK, "chunk", o->chunk, name_chunk(o->chunk));
	tree_hex(t, PKT_CHUNK_FLAGS, "chunk flags", o->chunk_flags, 2);
	tree_number(t, PKT_CHUNK_LEN, "chunk length", o->chunk_len, " bytes");
	tree_hex(t, PKT_INIT_TAG, "initiate tag", o->init_tag, 8);
	tree_number(t, PKT_RWND, "receiver window", o->rwnd, " bytes");
	tree_number(t, PKT_TSN, sack ? "cumulative TSN" : "TSN", o->tsn, "");
	tree_number(t, PKT_SID, "stream", o->sid, "");
	tree_number(t, PKT_SSN, "stream sequence", o->ssn, "");
	tree_code(t, PKT_PPID, "payload protocol", o->ppid, name_ppid(o->ppid));
	tree_number(t, PKT_OSTREAMS, sack ? "gap blocks" : "outbound streams", o->ostreams, "");
	tree_number(t, PKT_ISTREAMS, sack ? "duplicate TSNs" : "inbound streams", o->istreams, "");
}

static void put_dccp(struct print *t, unsigned s)
{
	const struct packet_other *o = &t->p->other;

	put_layer(t, s, "DCCP");
	if (tree_field(t, PKT_DCCP_TYPE, "type")) {
		const char *name = name_dccp(o->dccp_type >> 1 & 15);

		out_hex(&t->out, o->dccp_type, 2);
		out_text(&t->out, "  ");
		out_text(&t->out, name ? name : "reserved");
		out_text(&t->out, o->dccp_type & 1 ? ", 48-bit sequence numbers" : ", 24-bit sequence numbers");
		tree_done(t);
	}
	if (tree_field(t, PKT_DCCP_CC, "CCVal, coverage")) {
		out_hex(&t->out, o->dccp_cc, 2);
		out_text(&t->out, "  CCVal ");
		out_number(&t->out, o->dccp_cc >> 4);
		out_text(&t->out, ", checksum coverage ");
		out_number(&t->out, o->dccp_cc & 15);
		tree_done(t);
	}
	tree_number(t, PKT_DCCP_SEQ, "sequence", o->dccp_seq, "");
	tree_hex(t, PKT_DCCP_RES, "reserved", o->dccp_reserved, 2);
	tree_number(t, PKT_DCCP_ACK, "acknowledgement", o->dccp_ack, "");
	tree_number(t, PKT_DCCP_SERVICE, "service code", o->dccp_service, "");
	if (tree_field(t, PKT_DCCP_RESET, "reset")) {
		out_hex(&t->out, o->dccp_reset, 8);
		out_text(&t->out, "  code ");
		out_number(&t->out, o->dccp_reset >> 24);
		tree_done(t);
	}
	put_checksum(t, s);
	tree_bytes(t, AT(s, PKT_TOPTS), "options", &print_stack(t->p, s)->topts);
}

static void put_value(struct print *t, const char *label, uint32_t value)
{
	out_text(&t->out, label);
	out_number(&t->out, value);
}

static void put_icmp_rest(struct print *t, unsigned s)
{
	const struct packet_stack *st = print_stack(t->p, s);
	uint8_t b[4];

	if (!tree_field(t, AT(s, PKT_ICMP_REST), "bytes 4 to 7"))
		return;
	put_be32(b, st->icmp_rest);
	out_hex(&t->out, st->icmp_rest, 8);
	if (st->key.proto == PROTO_ICMPV6) {
		if (st->icmp_type == 2)
			put_value(t, "  MTU ", st->icmp_rest);
		else if (st->icmp_type == 4)
			put_value(t, "  pointer ", st->icmp_rest);
		else if (st->icmp_type == 130)
			put_value(t, "  maximum delay ", st->icmp_rest >> 16);
		else if (st->icmp_type == 143)
			put_value(t, "  group records: ", st->icmp_rest & 0xffff);
		else if (st->icmp_type == 134) {
			out_text(&t->out, "  hop limit ");
			out_number(&t->out, b[0]);
			out_text(&t->out, b[1] & 0x80 ? ", managed" : "");
			out_text(&t->out, b[1] & 0x40 ? ", other" : "");
			out_text(&t->out, ", router lifetime ");
			out_number(&t->out, st->icmp_rest & 0xffff);
			out_text(&t->out, " s");
		} else if (st->icmp_type == 136) {
			out_text(&t->out, b[0] & 0x80 ? "  router" : "");
			out_text(&t->out, b[0] & 0x40 ? "  solicited" : "");
			out_text(&t->out, b[0] & 0x20 ? "  override" : "");
		}
	} else if (st->icmp_type == 3 && st->icmp_code == 4) {
		put_value(t, "  MTU ", st->icmp_rest & 0xffff);
	} else if (st->icmp_type == 5) {
		out_text(&t->out, "  gateway ");
		out_address(&t->out, b, 4);
	} else if (st->icmp_type == 12) {
		put_value(t, "  pointer ", b[0]);
	}
	tree_done(t);
}

static void put_time(struct print *t, unsigned field, const char *label, uint32_t ms)
{
	tree_number(t, field, label, ms, ms < 86400000 ? " ms since midnight UTC" : "  not milliseconds since midnight");
}

static void put_icmp(struct print *t, unsigned s)
{
	const struct packet_stack *st = print_stack(t->p, s);
	const struct packet_other *o = &t->p->other;
	bool six = st->key.proto == PROTO_ICMPV6;

	tree_layer(t, six ? "ICMPv6" : "ICMP");
	if (print_has(t->p, s, PKT_ICMP_TYPE)) {
		const char *name = six ? name_icmp6(st->icmp_type) : name_icmp(st->icmp_type);

		out_text(&t->out, name ? name : "");
	}
	tree_done(t);
	tree_code(t, AT(s, PKT_ICMP_TYPE), "type", st->icmp_type, six ? name_icmp6(st->icmp_type) : name_icmp(st->icmp_type));
	tree_code(t, AT(s, PKT_ICMP_CODE), "code", st->icmp_code,
		  six ? name_icmp6_code(st->icmp_type, st->icmp_code) : name_icmp_code(st->icmp_type, st->icmp_code));
	put_checksum(t, s);
	tree_number(t, AT(s, PKT_ICMP_ID), "identifier", st->icmp_id, "");
	tree_number(t, AT(s, PKT_ICMP_SEQ), "sequence", st->icmp_seq, "");
	put_icmp_rest(t, s);
	if (tree_field(t, AT(s, PKT_TARGET), six && st->icmp_type < 133 ? "group" : "target")) {
		out_address(&t->out, st->target, 6);
		tree_done(t);
	}
	if (s != QUOTE && tree_field(t, PKT_RDEST, "destination")) {
		out_address(&t->out, o->redirect, 6);
		tree_done(t);
	}
	if (s == QUOTE)
		return;
	put_time(t, PKT_ICMP_OTIME, "originate time", o->icmp_time[0]);
	put_time(t, PKT_ICMP_RTIME, "receive time", o->icmp_time[1]);
	put_time(t, PKT_ICMP_TTIME, "transmit time", o->icmp_time[2]);
	tree_hex(t, PKT_ICMP_MASK, "address mask", o->icmp_mask, 8);
	tree_number(t, PKT_RA_REACH, "reachable time", o->ra_reach, " ms");
	tree_number(t, PKT_RA_RETRANS, "retransmit timer", o->ra_retrans, " ms");
}

static void put_gre(struct print *t)
{
	const struct packet_other *o = &t->p->other;

	tree_layer(t, "GRE");
	tree_done(t);
	if (tree_field(t, PKT_GRE, "flags, version")) {
		out_hex(&t->out, o->gre, 4);
		out_text(&t->out, "  version ");
		out_number(&t->out, o->gre & 7);
		out_text(&t->out, o->gre & 0x8000 ? ", checksum" : "");
		out_text(&t->out, o->gre & 0x4000 ? ", routing" : "");
		out_text(&t->out, o->gre & 0x2000 ? ", key" : "");
		out_text(&t->out, o->gre & 0x1000 ? ", sequence" : "");
		out_text(&t->out, o->gre & 0x0080 ? ", acknowledgement" : "");
		tree_done(t);
	}
	tree_hex_code(t, PKT_GRE_PROTO, "protocol", o->gre_proto, 4, name_etype(o->gre_proto));
	tree_hex(t, PKT_GRE_SUM, "checksum", o->gre_sum, 8);
	if (packet_has(t->p, PKT_GRE) && o->gre & 7) {
		if (tree_field(t, PKT_GRE_KEY, "length, call id")) {
			out_hex(&t->out, o->gre_key, 8);
			out_text(&t->out, "  length ");
			out_number(&t->out, o->gre_key >> 16);
			out_text(&t->out, ", call ");
			out_number(&t->out, o->gre_key & 0xffff);
			tree_done(t);
		}
	} else if (tree_field(t, PKT_GRE_KEY, "key")) {
		out_hex(&t->out, o->gre_key, 8);
		out_text(&t->out, "  ");
		out_number(&t->out, o->gre_key);
		tree_done(t);
	}
	tree_number(t, PKT_GRE_SEQ, "sequence", o->gre_seq, "");
	tree_number(t, PKT_GRE_ACK, "acknowledgement", o->gre_ack, "");
	if (!t->p->has[INNER]) /* else they stand in front of the inner packet */
		tree_labels(t);
}

static void put_geneve_options(struct print *t)
{
	const struct packet_bytes *b = &t->p->other.geneve_opts;

	if (!packet_has(t->p, PKT_GOPTS))
		return;
	tree_bytes(t, PKT_GOPTS, "options", b);
	for (unsigned i = 0; i + 4 <= b->len; i += 4 + (b->at[i + 3] & 31) * 4u) {
		tree_label(t, "");
		out_text(&t->out, "class ");
		out_hex(&t->out, get_be16(b->at + i), 4);
		out_text(&t->out, ", type ");
		out_hex(&t->out, b->at[i + 2], 2);
		out_text(&t->out, b->at[i + 2] & 0x80 ? ", critical, " : ", ");
		out_number(&t->out, (b->at[i + 3] & 31) * 4u);
		out_text(&t->out, i + 4 + (b->at[i + 3] & 31) * 4u > b->len ? " bytes, more than there are" : " bytes");
		tree_done(t);
	}
}

/* VXLAN and Geneve, behind their UDP header. */
static void put_overlay(struct print *t)
{
	const struct packet_other *o = &t->p->other;
	bool geneve = packet_has(t->p, PKT_GENEVE);

	tree_layer(t, geneve ? "Geneve" : "VXLAN");
	out_text(&t->out, "network ");
	out_number(&t->out, o->vni);
	tree_done(t);
	if (tree_field(t, PKT_GENEVE, "version, flags")) {
		out_hex(&t->out, o->geneve, 4);
		out_text(&t->out, "  version ");
		out_number(&t->out, o->geneve >> 14);
		out_text(&t->out, ", options ");
		out_number(&t->out, (o->geneve >> 8 & 63) * 4u);
		out_text(&t->out, o->geneve & 0x80 ? " bytes, control" : " bytes");
		out_text(&t->out, o->geneve & 0x40 ? ", critical options" : "");
		tree_done(t);
	}
	tree_hex_code(t, PKT_GPROTO, "protocol", o->geneve_proto, 4, name_etype(o->geneve_proto));
	tree_hex(t, PKT_VXFLAGS, "flags", o->vx_flags, 4);
	tree_number(t, PKT_VXGROUP, "group policy", o->vx_group, "");
	tree_number(t, PKT_VNI, "VNI", o->vni, "");
	tree_hex(t, PKT_VNIRES, "reserved", o->vni_reserved, 2);
	put_geneve_options(t);
}

static void put_udp(struct print *t, unsigned s)
{
	const struct packet_stack *st = print_stack(t->p, s);

	put_layer(t, s, "UDP");
	tree_number(t, AT(s, PKT_ULEN), "length", st->ulen, s == QUOTE ? " bytes" : " bytes, not what layer 3 implies");
	put_checksum(t, s);
	if (s == OUTER && packet_has(t->p, PKT_VNI))
		put_overlay(t);
}

static void put_esp(struct print *t)
{
	tree_layer(t, "ESP");
	tree_done(t);
	tree_hex(t, PKT_SPI, "SPI", t->p->other.spi, 8);
	tree_number(t, PKT_ESP_SEQ, "sequence", t->p->other.esp_seq, "");
}

static void put_layer4(struct print *t, unsigned s)
{
	unsigned proto = print_stack(t->p, s)->key.proto;
	const char *name;

	switch (proto) {
	case PROTO_TCP:
		put_tcp(t, s);
		break;
	case PROTO_UDP:
		put_udp(t, s);
		break;
	case PROTO_ICMP:
	case PROTO_ICMPV6:
		put_icmp(t, s);
		break;
	case PROTO_SCTP:
		put_sctp(t, s);
		break;
	case PROTO_DCCP:
		put_dccp(t, s);
		break;
	case PROTO_GRE:
		put_gre(t);
		break;
	case PROTO_ESP:
		put_esp(t);
		break;
	case PROTO_IPV4:
	case PROTO_IPV6:
		break; /* the inner packet says it all */
	default:
		name = name_protocol(proto);
		if (!name || print_has(t->p, s, PKT_LPORT))
			break;
		tree_layer(t, name);
		out_text(&t->out, "not taken apart");
		tree_done(t);
		break;
	}
}

/* A packet in a packet: one step further to the right. */
static void put_packet(struct print *t, unsigned s, const char *what)
{
	unsigned depth = t->depth;

	tree_heading(t, what);
	t->depth += 2;
	tree_stack(t, s);
	t->depth = depth;
}

void tree_upper(struct print *t, unsigned s)
{
	bool carries = print_stack(t->p, s)->key.proto == PROTO_ICMP || print_stack(t->p, s)->key.proto == PROTO_ICMPV6;

	if (print_has(t->p, s, PKT_PROTO) && !print_later_fragment(t->p, s))
		put_layer4(t, s);
	if (s == OUTER && t->p->has[INNER])
		put_packet(t, INNER, "inside:");
	if (s != QUOTE && carries && t->p->has[QUOTE] && !print_later_fragment(t->p, s))
		put_packet(t, QUOTE, "quoted:");
}
