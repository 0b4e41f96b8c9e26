/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rebuild_l2.c - decode_l2.c read backwards: LLC, SNAP, PPPoE, MPLS, ARP. What a packet has fields for once is in the
 * first stack that can have it.
 */
#include "recorder/packet/builder.h"

static int rebuild_llc(struct builder *b)
{
	const struct packet_other *o = &b->p->other;
	bool unnumbered;
	uint8_t *h;

	if (!waits(b, OTHER, BIT(PKT_DSAP)))
		return 0;
	unnumbered = (o->llc_control & 3) == 3;
	h = give(b, unnumbered ? 3 : 4);
	if (!h || !uses(b, OTHER, BIT(PKT_DSAP) | BIT(PKT_SSAP) | BIT(PKT_LLCCTL)) ||
	    (unnumbered && o->llc_control > UINT8_MAX) || (o->dsap == 0xff && o->ssap == 0xff))
		return -EINVAL;
	h[0] = o->dsap;
	h[1] = o->ssap;
	h[2] = (uint8_t)o->llc_control;
	if (!unnumbered)
		h[3] = (uint8_t)(o->llc_control >> 8);
	if (o->dsap != 0xaa || o->ssap != 0xaa || o->llc_control != 3 || !waits(b, OTHER, BIT(PKT_OUI)))
		return 0;
	h = give(b, WIRE_SNAP_LEN);
	if (!h || !uses(b, OTHER, BIT(PKT_OUI) | BIT(PKT_PID)) || o->oui > 0xffffff)
		return -EINVAL;
	h[0] = (uint8_t)(o->oui >> 16);
	put_be16(h + 1, (uint16_t)o->oui);
	put_be16(h + 3, o->pid);
	return o->oui ? 0 : o->pid;
}

static int rebuild_pppoe(struct builder *b, uint8_t **pppoe)
{
	const struct packet_other *o = &b->p->other;
	uint8_t *h;

	if (!waits(b, OTHER, BIT(PKT_PPPOE)))
		return 0;
	h = give(b, WIRE_PPPOE_LEN);
	if (!h || !uses(b, OTHER, BIT(PKT_PPPOE) | BIT(PKT_PPP)))
		return -EINVAL;
	put_be16(h, 0x1100);
	put_be16(h + 2, o->pppoe);
	put_be16(h + 6, o->ppp);
	*pppoe = h;
	return o->ppp == WIRE_PPP_IPV4 ? WIRE_ETYPE_IPV4 : o->ppp == WIRE_PPP_IPV6 ? WIRE_ETYPE_IPV6 : 0;
}

int rebuild_pppoe_length(struct builder *b, uint8_t *pppoe)
{
	const uint8_t *behind = pppoe + WIRE_PPPOE_LEN;
	int length = uses(b, OTHER, BIT(PKT_PPPLEN))
			     ? b->p->other.ppp_len
			     : wire_pppoe_length(b->p->other.ppp, behind, (unsigned)(b->out + b->n - behind));

	if (length < 0)
		return -EINVAL;
	put_be16(pppoe + 4, (uint16_t)length);
	return 0;
}

static int rebuild_mpls(struct builder *b, unsigned w)
{
	bool bottom = false;

	for (unsigned i = 0; i < PACKET_LABELS && waits(b, OTHER, BIT(PKT_MPLS + i)); i++) {
		uint8_t *h = give(b, WIRE_LABEL_LEN);

		if (!h || bottom || !uses(b, OTHER, BIT(PKT_MPLS + i)))
			return -EINVAL;
		put_be32(h, b->p->other.mpls[i]);
		bottom = h[2] & 1;
	}
	if (!bottom || !waits(b, w, BIT(PKT_LOCAL)))
		return 0;
	return stack_of(b->p, w)->key.family == 6 ? WIRE_ETYPE_IPV6 : WIRE_ETYPE_IPV4;
}

int rebuild_between(struct builder *b, unsigned w, unsigned etype, uint8_t **pppoe)
{
	if (etype < WIRE_ETYPE_MIN) {
		int r = rebuild_llc(b);

		if (r < 0)
			return r;
		etype = (unsigned)r;
	}
	switch (etype) {
	case WIRE_ETYPE_PPPOE:
		return rebuild_pppoe(b, pppoe);
	case WIRE_ETYPE_MPLS:
	case WIRE_ETYPE_MPLS_MC:
		return rebuild_mpls(b, w);
	}
	return (int)etype;
}

int rebuild_arp(struct builder *b, unsigned w)
{
	const struct packet_stack *s = stack_of(b->p, w);
	uint8_t *h = give(b, WIRE_ARP_LEN);

	if (!h || s->key.family != 4 || !uses(b, w, BIT(PKT_LOCAL) | BIT(PKT_REMOTE) | BIT(PKT_ARP_OP)))
		return -EINVAL;
	memcpy(h, "\0\1\10\0\6\4", 6);
	put_be16(h + 6, s->arp_op);
	memcpy(h + 8, uses(b, w, BIT(PKT_ASHA)) ? s->sha : s->key.smac, 6);
	memcpy(h + 14, s->key.src, 4);
	if (uses(b, w, BIT(PKT_ATHA)))
		memcpy(h + 18, s->tha, 6);
	else if (s->arp_op == WIRE_ARP_REQUEST)
		memset(h + 18, 0, 6);
	else
		memcpy(h + 18, s->key.dmac, 6);
	memcpy(h + 24, s->key.dst, 4);
	return 0;
}
