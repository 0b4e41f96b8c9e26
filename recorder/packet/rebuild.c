/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * rebuild.c - struct packet -> header bytes: decode.c read backwards, layer by layer (builder.h), whatever the fields
 * are: they may come from a damaged document.
 */
#include "recorder/packet/builder.h"

/* The length that layer 3 announces: of a packet that begins at `at`, but for its first `fixed` bytes; or -EINVAL. */
static int announced(struct builder *b, unsigned w, unsigned at, unsigned fixed)
{
	const struct packet_stack *s = stack_of(b->p, w);
	uint32_t length = b->end - at - fixed;

	if (w == QUOTE) /* without pad: that would be left over */
		return uses(b, OTHER, BIT(PKT_QLEN)) ? b->p->other.quote_len : -EINVAL;
	if (uses(b, w, BIT(PKT_PAD)))
		length -= (uint32_t)s->pad;
	if (length > UINT16_MAX)
		return -EINVAL;
	if (length)
		b->end = at + fixed + length;
	return (int)length;
}

/* The extension headers; their length, or -EINVAL. *later as in decode_chain. */
static int rebuild_chain(struct builder *b, unsigned w, bool *later)
{
	const struct packet_stack *s = stack_of(b->p, w);
	const uint8_t *at = b->out + b->n;
	struct wire_chain chain;
	unsigned length;

	*later = false;
	if (!uses(b, w, BIT(PKT_NXT)))
		return 0;
	if (s->key.family == 4 && s->nxt != WIRE_AH)
		return -EINVAL;
	if (uses(b, w, BIT(PKT_EXT))) {
		if (!give_bytes(b, &s->ext))
			return -EINVAL;
	} else {
		uint8_t *fragment = give(b, 8);

		if (!fragment || s->nxt != WIRE_FRAGMENT || !uses(b, w, BIT(PKT_FRAG) | BIT(PKT_FRAGID)))
			return -EINVAL;
		fragment[0] = s->key.proto;
		fragment[1] = 0;
		put_be16(fragment + 2, s->frag);
		put_be32(fragment + 4, s->fragid);
	}
	length = (unsigned)(b->out + b->n - at);
	chain = wire_chain(at, length, s->nxt);
	if (!length || chain.length != length || chain.next != s->key.proto)
		return -EINVAL;
	*later = chain.later;
	if (chain.auth)
		uses(b, OTHER, BIT(PKT_AH_SPI) | BIT(PKT_AH_SEQ));
	if (chain.fragment && s->key.family == 6 && !uses(b, w, BIT(PKT_FRAG) | BIT(PKT_FRAGID)))
		return -EINVAL;
	return (int)length;
}

static int rebuild_ipv4(struct builder *b, unsigned w)
{
	const struct packet_stack *s = stack_of(b->p, w);
	unsigned at = b->n, header = WIRE_IPV4_LEN;
	uint8_t *h = give(b, WIRE_IPV4_LEN);
	int total, chain;
	bool later;

	if (!h || s->key.family != 4 ||
	    !uses(b, w,
		  BIT(PKT_LOCAL) | BIT(PKT_REMOTE) | BIT(PKT_TOS) | BIT(PKT_IPID) | BIT(PKT_FRAG) | BIT(PKT_TTL) |
			  BIT(PKT_PROTO)))
		return -EINVAL;
	if (uses(b, w, BIT(PKT_IPOPTS))) {
		if (!s->ipopts.len || s->ipopts.len > 40 || s->ipopts.len % 4 || !give_bytes(b, &s->ipopts))
			return -EINVAL;
		header += s->ipopts.len;
	}
	total = announced(b, w, at, 0);
	if (total < 0)
		return total;
	h[0] = (uint8_t)(4 << 4 | header / 4);
	h[1] = s->tos;
	put_be16(h + 2, (uint16_t)total);
	put_be16(h + 4, s->ipid);
	put_be16(h + 6, s->frag);
	h[8] = s->ttl;
	h[9] = b->p->has[w] & BIT(PKT_NXT) ? s->nxt : s->key.proto;
	memset(h + 10, 0, 2);
	memcpy(h + 12, s->key.src, 4);
	memcpy(h + 16, s->key.dst, 4);
	put_be16(h + 10, uses(b, w, BIT(PKT_IPCSUM)) ? s->ipcsum : wire_ipv4_sum(h, header));
	if (s->frag & WIRE_FRAG_OFFSET)
		return 0;
	chain = rebuild_chain(b, w, &later);
	if (chain < 0 || later)
		return chain < 0 ? chain : 0;
	return rebuild_l4(b, w, total ? (uint32_t)total - header - (unsigned)chain : 0);
}

static int rebuild_ipv6(struct builder *b, unsigned w)
{
	const struct packet_stack *s = stack_of(b->p, w);
	unsigned at = b->n;
	uint8_t *h = give(b, WIRE_IPV6_LEN);
	int payload, chain;
	bool later;

	if (!h || s->key.family != 6 || s->flow > 0xfffff ||
	    !uses(b, w,
		  BIT(PKT_LOCAL) | BIT(PKT_REMOTE) | BIT(PKT_TOS) | BIT(PKT_FLOW) | BIT(PKT_TTL) | BIT(PKT_PROTO)))
		return -EINVAL;
	payload = announced(b, w, at, WIRE_IPV6_LEN);
	if (payload < 0)
		return payload;
	put_be32(h, 6u << 28 | (uint32_t)s->tos << 20 | s->flow);
	put_be16(h + 4, (uint16_t)payload);
	h[6] = b->p->has[w] & BIT(PKT_NXT) ? s->nxt : s->key.proto;
	h[7] = s->ttl;
	memcpy(h + 8, s->key.src, 16);
	memcpy(h + 24, s->key.dst, 16);
	chain = rebuild_chain(b, w, &later);
	if (chain < 0 || later)
		return chain < 0 ? chain : 0;
	return rebuild_l4(b, w, payload ? (uint32_t)payload - (unsigned)chain : 0);
}

static int rebuild_network(struct builder *b, unsigned w, unsigned etype)
{
	uint8_t *pppoe = NULL;
	int r = rebuild_between(b, w, etype, &pppoe);

	if (r < 0)
		return r;
	etype = (unsigned)r;
	r = 0;
	if (waits(b, w, BIT(PKT_LOCAL))) {
		if (etype == WIRE_ETYPE_IPV4)
			r = rebuild_ipv4(b, w);
		else if (etype == WIRE_ETYPE_IPV6)
			r = rebuild_ipv6(b, w);
		else if (etype == WIRE_ETYPE_ARP || etype == WIRE_ETYPE_RARP)
			r = rebuild_arp(b, w);
	}
	if (r < 0 || !pppoe)
		return r;
	return rebuild_pppoe_length(b, pppoe);
}

static int rebuild_ethernet(struct builder *b, unsigned w)
{
	static const uint64_t tag[2] = {BIT(PKT_VLAN), BIT(PKT_VLAN2)}, type[2] = {BIT(PKT_TPID), BIT(PKT_TPID2)};
	const struct packet_key *k = &stack_of(b->p, w)->key;
	unsigned tags;
	uint8_t *h;

	if (!waits(b, w, BIT(PKT_ETYPE)))
		return 0;
	tags = k->tags & 3;
	h = tags > 2 ? NULL : give(b, WIRE_ETH_LEN + WIRE_TAG_LEN * tags);
	if (!h || !uses(b, w, BIT(PKT_LMAC) | BIT(PKT_RMAC) | BIT(PKT_ETYPE)))
		return -EINVAL;
	memcpy(h, k->dmac, 6);
	memcpy(h + 6, k->smac, 6);
	h += 12;
	for (unsigned i = 0; i < tags; i++, h += WIRE_TAG_LEN) {
		if (!uses(b, w, tag[i]) || uses(b, w, type[i]) != (packet_tpid(k->tags, i) != PACKET_TPID))
			return -EINVAL;
		put_be16(h, (uint16_t)packet_tpid(k->tags, i));
		put_be16(h + 2, i ? k->vlan2 : k->vlan);
	}
	put_be16(h, k->etype);
	return rebuild_network(b, w, k->etype);
}

int rebuild_stack(struct builder *b, unsigned w, unsigned etype)
{
	return etype == WIRE_ETYPE_TEB ? rebuild_ethernet(b, w) : rebuild_network(b, w, etype);
}

int packet_rebuild(const struct packet *p, uint8_t out[REC_CAP_MAX])
{
	/* What stands beside the headers. */
	struct builder b = {.p = p,
			    .out = out,
			    .end = p->len,
			    .used[0] = BIT(PKT_TS) | BIT(PKT_NS) | BIT(PKT_DIR) | BIT(PKT_SIDE) | BIT(PKT_LEN) |
				       BIT(PKT_SEGS) | BIT(PKT_GSO) | BIT(PKT_MARKS)};
	int r;

	if (packet_has(p, PKT_RAW)) {
		if (p->raw_len > REC_CAP_MAX)
			return -EINVAL;
		if (p->raw_len)
			memcpy(out, p->raw, p->raw_len);
		return p->raw_len;
	}
	r = rebuild_ethernet(&b, OUTER);
	if (r < 0)
		return r;
	for (unsigned w = 0; w < PACKET_WORDS; w++)
		if (p->has[w] & ~b.used[w])
			return -EINVAL;
	return b.n ? (int)b.n : -EINVAL;
}
