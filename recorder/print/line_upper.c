/* SPDX-License-Identifier: GPL-2.0-or-later */
/* line_upper.c - what stands behind "source > destination: ". */
#include "recorder/print/internal.h"

#include "recorder/core/util.h"

/* "frag 0x1234 @1480+": identification, offset in bytes, + where more follow; nothing for a packet that is whole. */
static bool put_fragment(struct print *l, unsigned s)
{
	const struct packet_stack *st = print_stack(l->p, s);
	bool six = st->key.family == 6, more;
	unsigned offset;

	if (!print_has(l->p, s, PKT_FRAG))
		return false;
	more = st->frag & (six ? 1 : 0x2000);
	offset = six ? st->frag & 0xfff8 : (st->frag & 0x1fff) * 8u;
	if (!six && !more && !offset)
		return false;
	out_paint(&l->out, PAINT_FLAG);
	out_text(&l->out, "frag ");
	if (six ? print_has(l->p, s, PKT_FRAGID) : print_has(l->p, s, PKT_IPID))
		out_hex(&l->out, six ? st->fragid : st->ipid, six ? 8 : 4);
	out_text(&l->out, " @");
	out_number(&l->out, offset);
	if (more)
		out_char(&l->out, '+');
	out_paint(&l->out, PAINT_NONE);
	out_char(&l->out, ' ');
	return true;
}

static void put_options(struct print *l, unsigned s)
{
	const struct packet_stack *st = print_stack(l->p, s);
	struct tcp_option option;
	const char *before = " <";

	for (unsigned at = 0; next_tcp_option(l->p, s, &at, &option); before = ",") {
		out_text(&l->out, before);
		put_tcp_option(&l->out, st, &option, " ");
	}
	if (before[0] == ',')
		out_char(&l->out, '>');
}

static void put_tcp(struct print *l, unsigned s)
{
	const struct packet_stack *st = print_stack(l->p, s);
	bool innermost = s == INNER || !l->p->has[INNER];

	out_painted(&l->out, PAINT_PROTO, "TCP");
	if (print_has(l->p, s, PKT_FLAGS)) {
		out_char(&l->out, ' ');
		put_tcp_flags(&l->out, st->flags);
	}
	if (print_has(l->p, s, PKT_SEQ)) {
		line_number(l, "seq", st->seq);
		if (l->data && innermost) {
			out_char(&l->out, ':');
			out_number(&l->out, (uint32_t)(st->seq + l->data));
		}
	}
	if (print_has(l->p, s, PKT_ACK) && (st->flags & TCP_ACK || st->ack))
		line_number(l, "ack", st->ack);
	if (print_has(l->p, s, PKT_WIN))
		line_number(l, "win", st->win);
	if (print_has(l->p, s, PKT_URG) && (st->flags & TCP_URG || st->urg))
		line_number(l, "urg", st->urg);
	put_options(l, s);
}

static void put_sctp(struct print *l)
{
	const struct packet_other *o = &l->p->other;
	const char *name = packet_has(l->p, PKT_CHUNK) ? name_chunk(o->chunk) : NULL;

	out_painted(&l->out, PAINT_PROTO, "SCTP");
	if (name) {
		out_text(&l->out, " [");
		out_text(&l->out, name);
		out_char(&l->out, ']');
	} else if (packet_has(l->p, PKT_CHUNK)) {
		line_number(l, "chunk", o->chunk);
	}
	if (packet_has(l->p, PKT_SCTP_TAG))
		line_hex(l, "tag", o->sctp_tag, 8);
	if (packet_has(l->p, PKT_INIT_TAG))
		line_hex(l, "init tag", o->init_tag, 8);
	if (packet_has(l->p, PKT_TSN))
		line_number(l, "tsn", o->tsn);
	if (packet_has(l->p, PKT_SID))
		line_number(l, "sid", o->sid);
	if (packet_has(l->p, PKT_SSN))
		line_number(l, "ssn", o->ssn);
	if (packet_has(l->p, PKT_PPID))
		line_number(l, "ppid", o->ppid);
	if (packet_has(l->p, PKT_RWND))
		line_number(l, "rwnd", o->rwnd);
	if (packet_has(l->p, PKT_OSTREAMS))
		line_number(l, o->chunk == 3 ? "gaps" : "out", o->ostreams);
	if (packet_has(l->p, PKT_ISTREAMS))
		line_number(l, o->chunk == 3 ? "dups" : "in", o->istreams);
}

static void put_dccp(struct print *l)
{
	const struct packet_other *o = &l->p->other;
	const char *name = packet_has(l->p, PKT_DCCP_TYPE) ? name_dccp(o->dccp_type >> 1 & 15) : NULL;

	out_painted(&l->out, PAINT_PROTO, "DCCP");
	if (name) {
		out_char(&l->out, ' ');
		out_text(&l->out, name);
	}
	if (packet_has(l->p, PKT_DCCP_SEQ))
		line_number(l, "seq", o->dccp_seq);
	if (packet_has(l->p, PKT_DCCP_ACK))
		line_number(l, "ack", o->dccp_ack);
	if (packet_has(l->p, PKT_DCCP_SERVICE))
		line_number(l, "service", o->dccp_service);
	if (packet_has(l->p, PKT_DCCP_RESET))
		line_number(l, "code", o->dccp_reset >> 24);
}

static void put_gre(struct print *l)
{
	const struct packet_other *o = &l->p->other;
	const char *name = packet_has(l->p, PKT_GRE_PROTO) ? name_etype(o->gre_proto) : NULL;

	out_painted(&l->out, PAINT_PROTO, "GRE");
	if (packet_has(l->p, PKT_GRE) && o->gre & 7)
		line_number(l, "version", o->gre & 7);
	if (packet_has(l->p, PKT_GRE_KEY)) {
		if (packet_has(l->p, PKT_GRE) && o->gre & 7)
			line_number(l, "call", o->gre_key & 0xffff);
		else
			line_hex(l, "key", o->gre_key, 1);
	}
	if (packet_has(l->p, PKT_GRE_SEQ))
		line_number(l, "seq", o->gre_seq);
	if (packet_has(l->p, PKT_GRE_ACK))
		line_number(l, "ack", o->gre_ack);
	if (!l->p->has[INNER] && packet_has(l->p, PKT_GRE_PROTO)) {
		out_char(&l->out, ' ');
		if (name)
			out_text(&l->out, name);
		else
			out_hex(&l->out, o->gre_proto, 4);
	}
}

static void put_udp(struct print *l, unsigned s)
{
	const struct packet_other *o = &l->p->other;
	const struct packet_stack *st = print_stack(l->p, s);
	bool tunnel = s == OUTER && packet_has(l->p, PKT_VNI), geneve = packet_has(l->p, PKT_GENEVE);

	out_painted(&l->out, PAINT_PROTO, !tunnel ? "UDP" : geneve ? "Geneve" : "VXLAN");
	if (tunnel)
		line_number(l, "vni", o->vni);
	if (tunnel && packet_has(l->p, PKT_VXGROUP))
		line_number(l, "group", o->vx_group);
	if (print_has(l->p, s, PKT_ULEN)) {
		out_char(&l->out, ' ');
		out_paint(&l->out, PAINT_BAD);
		out_text(&l->out, "[UDP length ");
		out_number(&l->out, st->ulen);
		out_char(&l->out, ']');
		out_paint(&l->out, PAINT_NONE);
	}
}

static void put_layer4(struct print *l, unsigned s)
{
	const struct packet_other *o = &l->p->other;

	switch (print_stack(l->p, s)->key.proto) {
	case PROTO_TCP:
		put_tcp(l, s);
		break;
	case PROTO_UDP:
		put_udp(l, s);
		break;
	case PROTO_ICMP:
	case PROTO_ICMPV6:
		line_icmp(l, s);
		break;
	case PROTO_SCTP:
		put_sctp(l);
		break;
	case PROTO_DCCP:
		put_dccp(l);
		break;
	case PROTO_GRE:
		put_gre(l);
		break;
	case PROTO_ESP:
		out_painted(&l->out, PAINT_PROTO, "ESP");
		if (packet_has(l->p, PKT_SPI))
			line_hex(l, "spi", o->spi, 8);
		if (packet_has(l->p, PKT_ESP_SEQ))
			line_number(l, "seq", o->esp_seq);
		break;
	case PROTO_IPV4:
		out_painted(&l->out, PAINT_PROTO, "IPIP");
		break;
	case PROTO_IPV6:
		out_painted(&l->out, PAINT_PROTO, print_stack(l->p, s)->key.family == 4 ? "6in4" : "6in6");
		break;
	default:
		line_proto(l, print_stack(l->p, s)->key.proto);
		break;
	}
}

/* Extension headers by name, but for a fragment header alone, which put_fragment shows. */
static void put_extensions(struct print *l, unsigned s)
{
	const struct packet_stack *st = print_stack(l->p, s);
	bool ah = packet_has(l->p, PKT_AH_SPI) && print_has(l->p, s, PKT_NXT);
	const char *name;

	if (!print_has(l->p, s, PKT_NXT) || (st->nxt == PROTO_FRAGMENT && !print_has(l->p, s, PKT_EXT)))
		return;
	name = name_extension(st->nxt);
	if (st->nxt != PROTO_AH) {
		if (name)
			out_text(&l->out, name);
		else
			out_number(&l->out, st->nxt);
		out_text(&l->out, ", ");
	}
	if (ah) {
		out_text(&l->out, "AH spi ");
		out_hex(&l->out, l->p->other.ah_spi, 8);
		if (packet_has(l->p, PKT_AH_SEQ))
			line_number(l, "seq", l->p->other.ah_seq);
		out_char(&l->out, ' ');
	}
}

void line_upper(struct print *l, unsigned s)
{
	if (!print_has(l->p, s, PKT_PROTO))
		return;
	put_extensions(l, s);
	put_fragment(l, s);
	if (print_later_fragment(l->p, s))
		line_proto(l, print_stack(l->p, s)->key.proto);
	else
		put_layer4(l, s);
	if (s == OUTER && l->p->has[INNER]) {
		out_painted(&l->out, PAINT_DIM, " | ");
		line_stack(l, INNER);
	}
}
