/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rebuild_l4.c - TCP, UDP, ICMP, SCTP, DCCP, ESP, and the first 8 bytes of them in a quote. */
#include "recorder/packet/builder.h"

/* ---- TCP --------------------------------------------------------------------------------------------------- */

/* Writes one option; `room` bytes are left. Its length, 0: it does not fit, or its fields are not there. */
static unsigned rebuild_option(struct builder *b, unsigned w, unsigned digit, uint8_t *o, unsigned room)
{
	static const uint8_t lengths[8] = {0, 1, 4, 3, 2, 2, 10, 0};
	static const uint8_t kinds[8] = {0,
					 WIRE_TCPOPT_NOP,
					 WIRE_TCPOPT_MSS,
					 WIRE_TCPOPT_WS,
					 WIRE_TCPOPT_SACKPERM,
					 WIRE_TCPOPT_SACK,
					 WIRE_TCPOPT_TS,
					 WIRE_TCPOPT_END};
	static const uint64_t fields[8] = {
		[2] = BIT(PKT_MSS), [3] = BIT(PKT_WS), [4] = BIT(PKT_SACK), [6] = BIT(PKT_LTSVAL) | BIT(PKT_RTSVAL)};
	const struct packet_stack *s = stack_of(b->p, w);
	unsigned length = lengths[digit];

	if (digit == 5) {
		if (!s->sacks || s->sacks > PACKET_SACKS)
			return 0;
		length += 8u * s->sacks;
	}
	if (!length || length > room || !uses(b, w, fields[digit]))
		return 0;
	o[0] = kinds[digit];
	if (length > 1)
		o[1] = (uint8_t)length;
	switch (digit) {
	case 2:
		put_be16(o + 2, s->mss);
		break;
	case 3:
		o[2] = s->ws;
		break;
	case 5:
		for (unsigned i = 0; i < s->sacks; i++) {
			if (!uses(b, w, BIT(PKT_SL1 + 2 * i) | BIT(PKT_SR1 + 2 * i)))
				return 0;
			put_be32(o + 2 + 8 * i, s->sack_left[i]);
			put_be32(o + 6 + 8 * i, s->sack_right[i]);
		}
		break;
	case 6:
		put_be32(o + 2, s->tsval);
		put_be32(o + 6, s->tsecr);
		break;
	}
	return length;
}

/* Writes the options by the digits of `opts` to out; their length (a multiple of 4), or -EINVAL. */
static int rebuild_options(struct builder *b, unsigned w, uint8_t out[40])
{
	unsigned n = 0, code = (unsigned)stack_of(b->p, w)->opts;
	int shift = 27;

	if (!code || code >> 30)
		return -EINVAL;
	while (!(code >> shift & 7))
		shift -= 3;
	for (; shift >= 0; shift -= 3) {
		unsigned digit = code >> shift & 7, length;

		if (digit == 7) { /* the last one; all zeros */
			length = 4 - n % 4;
			if (shift || n + length > 40)
				return -EINVAL;
			memset(out + n, WIRE_TCPOPT_END, length);
		} else {
			length = rebuild_option(b, w, digit, out + n, 40 - n);
			if (!length)
				return -EINVAL;
		}
		n += length;
	}
	return n % 4 ? -EINVAL : (int)n;
}

static int rebuild_tcp(struct builder *b, unsigned w)
{
	/* What topts holds may also be read from them. */
	const uint64_t read =
		BIT(PKT_MSS) | BIT(PKT_WS) | BIT(PKT_SACK) | BIT(PKT_LTSVAL) | BIT(PKT_RTSVAL) | 0xffull << PKT_SL1;
	const struct packet_stack *s = stack_of(b->p, w);
	uint8_t *h = give(b, WIRE_TCP_LEN), *o;
	uint8_t options[40];
	int n = 0;

	if (!h || s->flags > 0xfff ||
	    !uses(b, w,
		  BIT(PKT_LPORT) | BIT(PKT_RPORT) | BIT(PKT_SEQ) | BIT(PKT_ACK) | BIT(PKT_FLAGS) | BIT(PKT_WIN) |
			  BIT(PKT_CSUM) | BIT(PKT_URG)))
		return -EINVAL;
	if (uses(b, w, BIT(PKT_OPTS))) {
		n = rebuild_options(b, w, options);
		o = n < 0 ? NULL : give(b, (unsigned)n);
		if (!o)
			return -EINVAL;
		memcpy(o, options, (size_t)n);
	} else if (uses(b, w, BIT(PKT_TOPTS))) {
		n = s->topts.len;
		b->used[w] |= read;
		if (!n || n > 40 || n % 4 || !give_bytes(b, &s->topts))
			return -EINVAL;
	}
	put_be16(h, s->key.sport);
	put_be16(h + 2, s->key.dport);
	put_be32(h + 4, s->seq);
	put_be32(h + 8, s->ack);
	put_be16(h + 12, (uint16_t)(((unsigned)n / 4 + 5) << 12 | s->flags));
	put_be16(h + 14, s->win);
	put_be16(h + 16, s->csum);
	put_be16(h + 18, s->urg);
	return 0;
}
_Static_assert(PKT_SR4 == PKT_SL1 + 7, "the SACK edges stand in a row");

static int rebuild_udp(struct builder *b, unsigned w, uint32_t implied)
{
	const struct packet_stack *s = stack_of(b->p, w);
	bool written = uses(b, w, BIT(PKT_ULEN));
	uint8_t *h = give(b, WIRE_UDP_LEN);

	if (!h || (w == QUOTE && !written) || !uses(b, w, BIT(PKT_LPORT) | BIT(PKT_RPORT) | BIT(PKT_CSUM)))
		return -EINVAL;
	put_be16(h, s->key.sport);
	put_be16(h + 2, s->key.dport);
	put_be16(h + 4, written ? s->ulen : (uint16_t)implied);
	put_be16(h + 6, s->csum);
	return w == OUTER ? rebuild_udp_tunnel(b) : 0;
}

/* ---- ICMP -------------------------------------------------------------------------------------------------- */

/* What is behind the 8 bytes: it is there when its first field is. */
static int rebuild_icmp_more(struct builder *b, unsigned w)
{
	const struct packet_stack *s = stack_of(b->p, w);
	const struct packet_other *o = &b->p->other;
	uint8_t *h;

	switch (wire_icmp(s->key.proto, s->icmp_type)) {
	case WIRE_ICMP_NOTHING:
		break;
	case WIRE_ICMP_QUOTE:
		return rebuild_stack(b, QUOTE, s->key.proto == WIRE_ICMP ? WIRE_ETYPE_IPV4 : WIRE_ETYPE_IPV6);
	case WIRE_ICMP_TIMES:
		if (!waits(b, OTHER, BIT(PKT_ICMP_OTIME)))
			break;
		h = give(b, 12);
		if (!h || !uses(b, OTHER, 7 * BIT(PKT_ICMP_OTIME)))
			return -EINVAL;
		for (unsigned i = 0; i < 3; i++)
			put_be32(h + 4 * i, o->icmp_time[i]);
		break;
	case WIRE_ICMP_MASK:
		if (!waits(b, OTHER, BIT(PKT_ICMP_MASK)))
			break;
		h = give(b, 4);
		if (!h || !uses(b, OTHER, BIT(PKT_ICMP_MASK)))
			return -EINVAL;
		put_be32(h, o->icmp_mask);
		break;
	case WIRE_ICMP_ROUTER:
		if (!waits(b, OTHER, BIT(PKT_RA_REACH)))
			break;
		h = give(b, 8);
		if (!h || !uses(b, OTHER, BIT(PKT_RA_REACH) | BIT(PKT_RA_RETRANS)))
			return -EINVAL;
		put_be32(h, o->ra_reach);
		put_be32(h + 4, o->ra_retrans);
		break;
	case WIRE_ICMP_TARGET:
		if (!waits(b, w, BIT(PKT_TARGET)))
			break;
		h = give(b, 16);
		if (!h || !uses(b, w, BIT(PKT_TARGET)))
			return -EINVAL;
		memcpy(h, s->target, 16);
		break;
	case WIRE_ICMP_REDIRECT:
		if (!waits(b, w, BIT(PKT_TARGET)))
			break;
		h = give(b, 32);
		if (!h || !uses(b, w, BIT(PKT_TARGET)) || !uses(b, OTHER, BIT(PKT_RDEST)))
			return -EINVAL;
		memcpy(h, s->target, 16);
		memcpy(h + 16, o->redirect, 16);
		break;
	}
	return 0;
}
_Static_assert(PKT_ICMP_TTIME == PKT_ICMP_OTIME + 2, "the three times stand in a row");

static int rebuild_icmp(struct builder *b, unsigned w)
{
	const struct packet_stack *s = stack_of(b->p, w);
	bool has_id = wire_icmp_has_id(s->key.proto, s->icmp_type);
	uint8_t *h;

	if (!waits(b, w, BIT(PKT_ICMP_TYPE)))
		return 0;
	h = give(b, WIRE_ICMP_LEN);
	if (!h || !uses(b, w, BIT(PKT_ICMP_TYPE) | BIT(PKT_ICMP_CODE) | BIT(PKT_CSUM)) ||
	    !uses(b, w, has_id ? BIT(PKT_ICMP_ID) | BIT(PKT_ICMP_SEQ) : BIT(PKT_ICMP_REST)))
		return -EINVAL;
	h[0] = s->icmp_type;
	h[1] = s->icmp_code;
	put_be16(h + 2, s->csum);
	if (has_id) {
		put_be16(h + 4, s->icmp_id);
		put_be16(h + 6, s->icmp_seq);
	} else {
		put_be32(h + 4, s->icmp_rest);
	}
	return w == QUOTE ? 0 : rebuild_icmp_more(b, w);
}

/* ---- SCTP, DCCP, ESP --------------------------------------------------------------------------------------- */

static int rebuild_chunk(struct builder *b)
{
	const struct packet_other *o = &b->p->other;
	unsigned fixed = wire_chunk_length(o->chunk, o->chunk_len);
	uint64_t needed = BIT(PKT_TSN);
	uint8_t *h;

	if (!waits(b, OTHER, BIT(PKT_TSN)))
		return 0;
	h = fixed ? give(b, fixed) : NULL;
	if (o->chunk == WIRE_CHUNK_DATA)
		needed |= BIT(PKT_SID) | BIT(PKT_SSN) | BIT(PKT_PPID);
	else if (o->chunk != WIRE_CHUNK_SHUTDOWN)
		needed |= BIT(PKT_RWND) | BIT(PKT_OSTREAMS) | BIT(PKT_ISTREAMS);
	if (fixed == 16)
		needed |= BIT(PKT_INIT_TAG);
	if (!h || !uses(b, OTHER, needed))
		return -EINVAL;
	put_be32(h, fixed == 16 ? o->init_tag : o->tsn);
	if (o->chunk == WIRE_CHUNK_DATA) {
		put_be16(h + 4, o->sid);
		put_be16(h + 6, o->ssn);
		put_be32(h + 8, o->ppid);
	} else if (fixed > 4) {
		put_be32(h + 4, o->rwnd);
		put_be16(h + 8, o->ostreams);
		put_be16(h + 10, o->istreams);
	}
	if (fixed == 16)
		put_be32(h + 12, o->tsn);
	return 0;
}

static int rebuild_sctp(struct builder *b, unsigned w)
{
	const struct packet_stack *s = stack_of(b->p, w);
	const struct packet_other *o = &b->p->other;
	uint8_t *h = give(b, w == QUOTE ? WIRE_QUOTED_LEN : WIRE_SCTP_LEN);

	if (!h || !uses(b, w, BIT(PKT_LPORT) | BIT(PKT_RPORT)) || !uses(b, OTHER, BIT(PKT_SCTP_TAG)))
		return -EINVAL;
	put_be16(h, s->key.sport);
	put_be16(h + 2, s->key.dport);
	put_be32(h + 4, o->sctp_tag);
	if (w == QUOTE)
		return 0;
	if (!uses(b, OTHER, BIT(PKT_SCTP_SUM)))
		return -EINVAL;
	put_be32(h + 8, o->sctp_sum);
	if (!waits(b, OTHER, BIT(PKT_CHUNK)))
		return 0;
	h = give(b, WIRE_CHUNK_LEN);
	if (!h || !uses(b, OTHER, BIT(PKT_CHUNK) | BIT(PKT_CHUNK_FLAGS) | BIT(PKT_CHUNK_LEN)))
		return -EINVAL;
	h[0] = o->chunk;
	h[1] = o->chunk_flags;
	put_be16(h + 2, o->chunk_len);
	return rebuild_chunk(b);
}

/* The parts behind DCCP's generic header, at h. */
static int rebuild_dccp_parts(struct builder *b, const struct wire_dccp *d, uint8_t *h)
{
	const struct packet_other *o = &b->p->other;

	if (d->ack) {
		if (!uses(b, OTHER, BIT(PKT_DCCP_ACK)) || o->dccp_ack >> (d->ack == 8 ? 48 : 24))
			return -EINVAL;
		if (d->ack == 8)
			put_be64(h, o->dccp_ack);
		else
			put_be32(h, (uint32_t)o->dccp_ack);
		h += d->ack;
	}
	if (d->service) {
		if (!uses(b, OTHER, BIT(PKT_DCCP_SERVICE)))
			return -EINVAL;
		put_be32(h, o->dccp_service);
	}
	if (d->reset) {
		if (!uses(b, OTHER, BIT(PKT_DCCP_RESET)))
			return -EINVAL;
		put_be32(h, o->dccp_reset);
	}
	return 0;
}

static int rebuild_dccp(struct builder *b, unsigned w)
{
	const struct packet_stack *s = stack_of(b->p, w);
	const struct packet_other *o = &b->p->other;
	struct wire_dccp d;
	unsigned header;
	uint8_t *h;

	if (!uses(b, w, BIT(PKT_LPORT) | BIT(PKT_RPORT) | BIT(PKT_CSUM)) ||
	    !uses(b, OTHER, BIT(PKT_DCCP_TYPE) | BIT(PKT_DCCP_CC) | BIT(PKT_DCCP_SEQ)))
		return -EINVAL;
	d = wire_dccp(o->dccp_type);
	header = d.generic + d.ack + d.service + d.reset;
	h = give(b, header);
	if (!h || o->dccp_seq >> (d.generic == 16 ? 48 : 24))
		return -EINVAL;
	if (uses(b, w, BIT(PKT_TOPTS))) {
		if (!s->topts.len || s->topts.len % 4 || header + s->topts.len > 255 * 4 || !give_bytes(b, &s->topts))
			return -EINVAL;
		header += s->topts.len;
	}
	put_be16(h, s->key.sport);
	put_be16(h + 2, s->key.dport);
	h[4] = (uint8_t)(header / 4);
	h[5] = o->dccp_cc;
	put_be16(h + 6, s->csum);
	if (d.generic == 16) {
		put_be64(h + 8, o->dccp_seq);
		h[9] = uses(b, OTHER, BIT(PKT_DCCP_RES)) ? o->dccp_reserved : 0;
	} else {
		put_be32(h + 8, (uint32_t)o->dccp_seq);
	}
	h[8] = o->dccp_type;
	return rebuild_dccp_parts(b, &d, h + d.generic);
}

static int rebuild_esp(struct builder *b)
{
	uint8_t *h;

	if (!waits(b, OTHER, BIT(PKT_SPI)))
		return 0;
	h = give(b, WIRE_ESP_LEN);
	if (!h || !uses(b, OTHER, BIT(PKT_SPI) | BIT(PKT_ESP_SEQ)))
		return -EINVAL;
	put_be32(h, b->p->other.spi);
	put_be32(h + 4, b->p->other.esp_seq);
	return 0;
}

/* Its first 8 bytes. */
static int rebuild_quoted_tcp(struct builder *b)
{
	const struct packet_stack *s = &b->p->quote;
	uint8_t *h = give(b, WIRE_QUOTED_LEN);

	if (!h || !uses(b, QUOTE, BIT(PKT_LPORT) | BIT(PKT_RPORT) | BIT(PKT_SEQ)))
		return -EINVAL;
	put_be16(h, s->key.sport);
	put_be16(h + 2, s->key.dport);
	put_be32(h + 4, s->seq);
	return 0;
}

int rebuild_l4(struct builder *b, unsigned w, uint32_t implied)
{
	unsigned proto = stack_of(b->p, w)->key.proto;
	bool ports = waits(b, w, BIT(PKT_LPORT));

	switch (proto) {
	case WIRE_TCP:
		return !ports ? 0 : w == QUOTE ? rebuild_quoted_tcp(b) : rebuild_tcp(b, w);
	case WIRE_UDP:
		return ports ? rebuild_udp(b, w, implied) : 0;
	case WIRE_ICMP:
	case WIRE_ICMPV6:
		return rebuild_icmp(b, w);
	case WIRE_SCTP:
		return ports ? rebuild_sctp(b, w) : 0;
	case WIRE_DCCP:
		return ports && w != QUOTE ? rebuild_dccp(b, w) : 0;
	case WIRE_ESP:
		return rebuild_esp(b);
	case WIRE_GRE:
		return w == OUTER ? rebuild_gre(b) : 0;
	case WIRE_IPIP:
	case WIRE_6IN4:
		if (w == OUTER)
			return rebuild_stack(b, INNER, proto == WIRE_IPIP ? WIRE_ETYPE_IPV4 : WIRE_ETYPE_IPV6);
	}
	return 0;
}
