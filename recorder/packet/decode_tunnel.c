/* SPDX-License-Identifier: GPL-2.0-or-later */
/* decode_tunnel.c - VXLAN, Geneve and GRE of the outer stack: what leads to the inner one. */
#include "recorder/packet/layers.h"

/* RFC 7348, with the group policy's flag and identifier where it has them. */
static void decode_vxlan(struct packet *p, struct cursor *c)
{
	const uint8_t *b = c->at;
	struct packet_other *o = other_of(p);

	if (c->left < WIRE_VNI_LEN || !(get_be16(b) & WIRE_VXLAN_I))
		return;
	o->vni = get_be32(b + 4) >> 8;
	packet_set(p, PKT_VNI);
	o->vni_reserved = b[7];
	if (o->vni_reserved)
		packet_set(p, PKT_VNIRES);
	if (get_be16(b) != WIRE_VXLAN_I) {
		o->vx_flags = get_be16(b);
		packet_set(p, PKT_VXFLAGS);
	}
	o->vx_group = get_be16(b + 2);
	if (o->vx_group)
		packet_set(p, PKT_VXGROUP);
	take(c, WIRE_VNI_LEN);
	if (c->left)
		decode_stack(p, INNER, c, WIRE_ETYPE_TEB);
}

/* Where GRE and Geneve go on: an EtherType of decode_stack, 0: nowhere. */
static unsigned inner_etype(unsigned proto, bool mpls)
{
	if (proto == WIRE_ETYPE_IPV4 || proto == WIRE_ETYPE_IPV6 || proto == WIRE_ETYPE_TEB)
		return proto;
	return mpls && (proto == WIRE_ETYPE_MPLS || proto == WIRE_ETYPE_MPLS_MC) ? proto : 0;
}

/* RFC 8926 */
static void decode_geneve(struct packet *p, struct cursor *c)
{
	const uint8_t *b = c->at;
	unsigned options, etype;
	struct packet_other *o = other_of(p);

	if (c->left < WIRE_VNI_LEN)
		return;
	options = (b[0] & 0x3fu) * 4;
	etype = b[0] >> 6 ? 0 : inner_etype(get_be16(b + 2), false);
	if (!etype || c->left < WIRE_VNI_LEN + options)
		return;
	o->geneve = get_be16(b);
	o->geneve_proto = get_be16(b + 2);
	o->vni = get_be32(b + 4) >> 8;
	packet_set(p, PKT_GENEVE);
	packet_set(p, PKT_GPROTO);
	packet_set(p, PKT_VNI);
	o->vni_reserved = b[7];
	if (o->vni_reserved)
		packet_set(p, PKT_VNIRES);
	if (options) {
		o->geneve_opts = (struct packet_bytes){b + WIRE_VNI_LEN, (uint16_t)options};
		packet_set(p, PKT_GOPTS);
	}
	take(c, WIRE_VNI_LEN + options);
	if (c->left)
		decode_stack(p, INNER, c, etype);
}

void decode_udp_tunnel(struct packet *p, struct cursor *c)
{
	if (p->outer.key.dport == WIRE_PORT_VXLAN)
		decode_vxlan(p, c);
	else if (p->outer.key.dport == WIRE_PORT_GENEVE)
		decode_geneve(p, c);
}

/* RFC 2784, RFC 2890; version 1: RFC 2637. */
void decode_gre(struct packet *p, struct cursor *c)
{
	const uint8_t *b = c->at;
	struct packet_other *o = other_of(p);
	unsigned n, etype;

	if (c->left < 4)
		return;
	o->gre = get_be16(b);
	o->gre_proto = get_be16(b + 2);
	packet_set(p, PKT_GRE);
	packet_set(p, PKT_GRE_PROTO);
	n = wire_gre_length(o->gre);
	if (!n || c->left < n)
		return;
	b += 4;
	if (o->gre & WIRE_GRE_SUM) {
		o->gre_sum = get_be32(b);
		packet_set(p, PKT_GRE_SUM);
		b += 4;
	}
	if (o->gre & WIRE_GRE_KEY) {
		o->gre_key = get_be32(b);
		packet_set(p, PKT_GRE_KEY);
		b += 4;
	}
	if (o->gre & WIRE_GRE_SEQ) {
		o->gre_seq = get_be32(b);
		packet_set(p, PKT_GRE_SEQ);
		b += 4;
	}
	if (o->gre & WIRE_GRE_ACK && o->gre & 1) {
		o->gre_ack = get_be32(b);
		packet_set(p, PKT_GRE_ACK);
	}
	take(c, n);
	etype = inner_etype(o->gre_proto, true);
	if (etype && c->left)
		decode_stack(p, INNER, c, etype);
}
