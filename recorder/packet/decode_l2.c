/* SPDX-License-Identifier: GPL-2.0-or-later */
/* decode_l2.c - what stands between Ethernet and layer 3 (LLC, SNAP, PPPoE, MPLS), and ARP. */
#include "recorder/packet/layers.h"

/* IEEE 802.2 behind an 802.3 length, and SNAP (RFC 1042). Gives the EtherType of what follows, 0: nothing. */
static unsigned decode_llc(struct packet *p, struct cursor *c)
{
	const uint8_t *b = c->at;
	unsigned n = c->left >= 3 && (b[2] & 3) == 3 ? 3 : 4;
	bool first = !packet_has(p, PKT_DSAP);
	struct packet_other *o = other_of(p);

	if (c->left < n || (b[0] == 0xff && b[1] == 0xff)) /* raw IPX has no LLC */
		return 0;
	if (first) {
		o->dsap = b[0];
		o->ssap = b[1];
		o->llc_control = n == 3 ? b[2] : (uint16_t)(b[3] << 8 | b[2]);
		packet_set(p, PKT_DSAP);
		packet_set(p, PKT_SSAP);
		packet_set(p, PKT_LLCCTL);
	}
	c->exact &= first;
	take(c, n);
	if (b[0] != 0xaa || b[1] != 0xaa || b[2] != 3 || c->left < WIRE_SNAP_LEN)
		return 0;
	b = c->at;
	if (first) {
		o->oui = get_be32(b) >> 8;
		o->pid = get_be16(b + 3);
		packet_set(p, PKT_OUI);
		packet_set(p, PKT_PID);
	}
	take(c, WIRE_SNAP_LEN);
	return get_be32(b) >> 8 ? 0 : get_be16(b + 3);
}

static unsigned decode_pppoe(struct packet *p, struct cursor *c)
{
	const uint8_t *b = c->at;
	bool first = !packet_has(p, PKT_PPPOE);
	struct packet_other *o = other_of(p);
	bool compressed;
	unsigned ppp;

	if (c->left < WIRE_PPPOE_LEN || get_be16(b) != 0x1100) /* version 1, type 1, code 0: a session's packet */
		return 0;
	/* RFC 1661, 6.5: an odd first byte is all of the protocol. Not to be met here (RFC 2516, 7): not followed. */
	compressed = b[6] & 1;
	ppp = compressed ? b[6] : get_be16(b + 6);
	take(c, WIRE_PPPOE_LEN);
	if (first) {
		o->pppoe = get_be16(b + 2);
		o->ppp = (uint16_t)ppp;
		packet_set(p, PKT_PPPOE);
		packet_set(p, PKT_PPP);
		if (compressed || wire_pppoe_length(ppp, c->at, c->left) != get_be16(b + 4)) {
			o->ppp_len = get_be16(b + 4);
			packet_set(p, PKT_PPPLEN);
		}
	}
	c->exact &= first && !compressed;
	if (compressed)
		return 0;
	return ppp == WIRE_PPP_IPV4 ? WIRE_ETYPE_IPV4 : ppp == WIRE_PPP_IPV6 ? WIRE_ETYPE_IPV6 : 0;
}

/* RFC 3032; what follows says its first nibble (RFC 4928). */
static unsigned decode_mpls(struct packet *p, struct cursor *c)
{
	bool first = !packet_has(p, PKT_MPLS), bottom = false;

	for (unsigned i = 0; i < WIRE_LABELS && c->left >= WIRE_LABEL_LEN && !bottom; i++) {
		if (first && i < PACKET_LABELS) {
			other_of(p)->mpls[i] = get_be32(c->at);
			packet_set(p, PKT_MPLS + i);
		} else {
			c->exact = false;
		}
		bottom = c->at[2] & 1;
		take(c, WIRE_LABEL_LEN);
	}
	if (!bottom || !c->left)
		return 0;
	return c->at[0] >> 4 == 4 ? WIRE_ETYPE_IPV4 : c->at[0] >> 4 == 6 ? WIRE_ETYPE_IPV6 : 0;
}
_Static_assert(PKT_MPLS4 == PKT_MPLS + PACKET_LABELS - 1, "the labels stand in a row");

unsigned decode_between(struct packet *p, struct cursor *c, unsigned etype)
{
	if (etype < WIRE_ETYPE_MIN)
		etype = decode_llc(p, c);
	switch (etype) {
	case WIRE_ETYPE_PPPOE:
		return decode_pppoe(p, c);
	case WIRE_ETYPE_MPLS:
	case WIRE_ETYPE_MPLS_MC:
		return decode_mpls(p, c);
	}
	return etype;
}

void decode_arp(struct packet *p, unsigned w, struct cursor *c)
{
	static const uint8_t ethernet_ipv4[6] = {0, 1, 8, 0, 6, 4}, zero[6];
	struct packet_stack *s = stack_of(p, w);
	const uint8_t *b = c->at, *implied = s->key.dmac;

	if (c->left >= 8) {
		s->arp_op = get_be16(b + 6);
		set(p, w, PKT_ARP_OP);
	}
	if (c->left < WIRE_ARP_LEN || memcmp(b, ethernet_ipv4, sizeof(ethernet_ipv4)))
		return;
	s->key.family = 4;
	memcpy(s->key.src, b + 14, 4);
	memcpy(s->key.dst, b + 24, 4);
	set(p, w, PKT_LOCAL);
	set(p, w, PKT_REMOTE);
	if (memcmp(b + 8, s->key.smac, 6)) {
		memcpy(s->sha, b + 8, 6);
		set(p, w, PKT_ASHA);
	}
	if (s->arp_op == WIRE_ARP_REQUEST)
		implied = zero;
	if (memcmp(b + 18, implied, 6)) {
		memcpy(s->tha, b + 18, 6);
		set(p, w, PKT_ATHA);
	}
	take(c, WIRE_ARP_LEN);
}
