/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rebuild_tunnel.c - decode_tunnel.c read backwards: VXLAN, Geneve, GRE. */
#include "recorder/packet/builder.h"

static int rebuild_vxlan(struct builder *b)
{
	const struct packet_other *o = &b->p->other;
	uint8_t *h = give(b, WIRE_VNI_LEN);
	unsigned flags = uses(b, OTHER, BIT(PKT_VXFLAGS)) ? o->vx_flags : WIRE_VXLAN_I;

	if (!h || !uses(b, OTHER, BIT(PKT_VNI)) || o->vni > 0xffffff || !(flags & WIRE_VXLAN_I))
		return -EINVAL;
	put_be16(h, (uint16_t)flags);
	put_be16(h + 2, uses(b, OTHER, BIT(PKT_VXGROUP)) ? o->vx_group : 0);
	put_be32(h + 4, o->vni << 8 | (uses(b, OTHER, BIT(PKT_VNIRES)) ? o->vni_reserved : 0));
	return rebuild_stack(b, INNER, WIRE_ETYPE_TEB);
}

static int rebuild_geneve(struct builder *b)
{
	const struct packet_other *o = &b->p->other;
	uint8_t *h = give(b, WIRE_VNI_LEN);
	unsigned options = (o->geneve >> 8 & 0x3fu) * 4;

	if (!h || !uses(b, OTHER, BIT(PKT_VNI) | BIT(PKT_GENEVE) | BIT(PKT_GPROTO)) || o->vni > 0xffffff ||
	    o->geneve >> 14)
		return -EINVAL;
	put_be16(h, o->geneve);
	put_be16(h + 2, o->geneve_proto);
	put_be32(h + 4, o->vni << 8 | (uses(b, OTHER, BIT(PKT_VNIRES)) ? o->vni_reserved : 0));
	if (options &&
	    (!uses(b, OTHER, BIT(PKT_GOPTS)) || o->geneve_opts.len != options || !give_bytes(b, &o->geneve_opts)))
		return -EINVAL;
	switch (o->geneve_proto) {
	case WIRE_ETYPE_TEB:
	case WIRE_ETYPE_IPV4:
	case WIRE_ETYPE_IPV6:
		return rebuild_stack(b, INNER, o->geneve_proto);
	}
	return -EINVAL;
}

int rebuild_udp_tunnel(struct builder *b)
{
	if (!waits(b, OTHER, BIT(PKT_VNI)))
		return 0;
	switch (b->p->outer.key.dport) {
	case WIRE_PORT_VXLAN:
		return rebuild_vxlan(b);
	case WIRE_PORT_GENEVE:
		return rebuild_geneve(b);
	}
	return -EINVAL;
}

/* One of the optional words of 4 bytes. */
static bool gre_word(struct builder *b, unsigned flag, unsigned field, uint32_t value)
{
	uint8_t *h;

	if (!flag)
		return true;
	h = give(b, 4);
	if (!h || !uses(b, OTHER, BIT(field)))
		return false;
	put_be32(h, value);
	return true;
}

int rebuild_gre(struct builder *b)
{
	const struct packet_other *o = &b->p->other;
	uint8_t *h;

	if (!waits(b, OTHER, BIT(PKT_GRE)))
		return 0;
	h = give(b, 4);
	if (!h || !uses(b, OTHER, BIT(PKT_GRE) | BIT(PKT_GRE_PROTO)) || !wire_gre_length(o->gre))
		return -EINVAL;
	put_be16(h, o->gre);
	put_be16(h + 2, o->gre_proto);
	if (!gre_word(b, o->gre & WIRE_GRE_SUM, PKT_GRE_SUM, o->gre_sum) ||
	    !gre_word(b, o->gre & WIRE_GRE_KEY, PKT_GRE_KEY, o->gre_key) ||
	    !gre_word(b, o->gre & WIRE_GRE_SEQ, PKT_GRE_SEQ, o->gre_seq) ||
	    !gre_word(b, o->gre & WIRE_GRE_ACK && o->gre & 1, PKT_GRE_ACK, o->gre_ack))
		return -EINVAL;
	switch (o->gre_proto) {
	case WIRE_ETYPE_IPV4:
	case WIRE_ETYPE_IPV6:
	case WIRE_ETYPE_TEB:
	case WIRE_ETYPE_MPLS:
	case WIRE_ETYPE_MPLS_MC:
		return rebuild_stack(b, INNER, o->gre_proto);
	}
	return 0;
}
