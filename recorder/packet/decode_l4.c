/* SPDX-License-Identifier: GPL-2.0-or-later */
/* decode_l4.c - TCP's options, ICMP, SCTP, DCCP, ESP, and the first 8 bytes of them all in a quote. */
#include "recorder/packet/layers.h"

static void decode_ports(struct packet *p, unsigned w, const uint8_t *b)
{
	struct packet_stack *s = stack_of(p, w);

	s->key.sport = get_be16(b);
	s->key.dport = get_be16(b + 2);
	set(p, w, PKT_LPORT);
	set(p, w, PKT_RPORT);
}

/* ---- TCP --------------------------------------------------------------------------------------------------- */

/* A header cut short: as far as it goes. */
void decode_tcp_cut(struct packet *p, unsigned w, struct cursor *c)
{
	struct packet_stack *s = stack_of(p, w);
	const uint8_t *b = c->at;

	if (c->left >= 4)
		decode_ports(p, w, b);
	if (c->left >= 8) {
		s->seq = get_be32(b + 4);
		set(p, w, PKT_SEQ);
	}
	if (c->left >= 12) {
		s->ack = get_be32(b + 8);
		set(p, w, PKT_ACK);
	}
	if (c->left >= 14) {
		s->flags = get_be16(b + 12) & 0xfff;
		set(p, w, PKT_FLAGS);
	}
	if (c->left >= 16) {
		s->win = get_be16(b + 14);
		set(p, w, PKT_WIN);
	}
	if (c->left >= 18) {
		s->csum = get_be16(b + 16);
		set(p, w, PKT_CSUM);
	}
}

/* The digit of `opts` for the option of `kind` that is `length` bytes long; 0: none. */
static unsigned option_digit(unsigned kind, unsigned length)
{
	switch (kind) {
	case WIRE_TCPOPT_MSS:
		return length == 4 ? 2 : 0;
	case WIRE_TCPOPT_WS:
		return length == 3 ? 3 : 0;
	case WIRE_TCPOPT_SACKPERM:
		return length == 2 ? 4 : 0;
	case WIRE_TCPOPT_SACK:
		return length >= 10 && length <= 34 && length % 8 == 2 ? 5 : 0;
	case WIRE_TCPOPT_TS:
		return length == 10 ? 6 : 0;
	}
	return 0;
}

static void decode_option(struct packet *p, unsigned w, unsigned digit, const uint8_t *o, unsigned length)
{
	struct packet_stack *s = stack_of(p, w);

	switch (digit) {
	case 2:
		s->mss = get_be16(o + 2);
		set(p, w, PKT_MSS);
		break;
	case 3:
		s->ws = o[2];
		set(p, w, PKT_WS);
		break;
	case 4:
		set(p, w, PKT_SACK);
		break;
	case 5:
		s->sacks = (uint8_t)((length - 2) / 8);
		for (unsigned i = 0; i < s->sacks; i++) {
			s->sack_left[i] = get_be32(o + 2 + 8 * i);
			s->sack_right[i] = get_be32(o + 6 + 8 * i);
			set(p, w, PKT_SL1 + 2 * i);
			set(p, w, PKT_SR1 + 2 * i);
		}
		break;
	case 6:
		s->tsval = get_be32(o + 2);
		s->tsecr = get_be32(o + 6);
		set(p, w, PKT_LTSVAL);
		set(p, w, PKT_RTSVAL);
		break;
	}
}
_Static_assert(PKT_SR4 == PKT_SL1 + 7, "the SACK edges stand in a row");

/*
 * TCP options into fields. `opts` is their order as octal digits, the first option being the highest digit: 1 NOP, 2
 * MSS, 3 window scale, 4 SACK permitted, 5 SACK, 6 time stamps, 7 end of list and zeros up to the next multiple of 4.
 * Ten digits fit. False where that does not give the bytes back; what was read stays.
 */
bool decode_options(struct packet *p, unsigned w, const uint8_t *o, unsigned n)
{
	bool exact = true;
	unsigned digits = 0, seen = 0;
	uint32_t code = 0;

	for (unsigned i = 0, length; i < n; i += length) {
		unsigned digit;

		if (o[i] == WIRE_TCPOPT_END) {
			digit = 7;
			length = n - i;
			for (unsigned j = i; j < n; j++)
				exact &= o[j] == 0;
			exact &= length <= 4;
		} else if (o[i] == WIRE_TCPOPT_NOP) {
			digit = 1;
			length = 1;
		} else {
			length = i + 1 < n ? o[i + 1] : 0;
			if (length < 2 || length > n - i)
				return false;
			digit = option_digit(o[i], length);
			/* A second one of a kind has no field. */
			if (seen >> digit & 1)
				digit = 0;
			seen |= 1u << digit;
			decode_option(p, w, digit, o + i, length);
		}
		if (digit && digits++ < 10)
			code = code << 3 | digit;
		else
			exact = false;
	}
	if (exact && n) {
		stack_of(p, w)->opts = (int32_t)code;
		set(p, w, PKT_OPTS);
	}
	return exact;
}

/* ---- ICMP -------------------------------------------------------------------------------------------------- */

/* What is behind the 8 bytes. */
static void decode_icmp_more(struct packet *p, unsigned w, struct cursor *c)
{
	struct packet_stack *s = stack_of(p, w);
	const uint8_t *b = c->at;

	switch (wire_icmp(s->key.proto, s->icmp_type)) {
	case WIRE_ICMP_NOTHING:
		break;
	case WIRE_ICMP_QUOTE:
		if (c->left)
			decode_stack(p, QUOTE, c, s->key.proto == WIRE_ICMP ? WIRE_ETYPE_IPV4 : WIRE_ETYPE_IPV6);
		break;
	case WIRE_ICMP_TIMES:
		if (c->left < 12)
			break;
		for (unsigned i = 0; i < 3; i++) {
			other_of(p)->icmp_time[i] = get_be32(b + 4 * i);
			packet_set(p, PKT_ICMP_OTIME + i);
		}
		take(c, 12);
		break;
	case WIRE_ICMP_MASK:
		if (c->left < 4)
			break;
		other_of(p)->icmp_mask = get_be32(b);
		packet_set(p, PKT_ICMP_MASK);
		take(c, 4);
		break;
	case WIRE_ICMP_ROUTER:
		if (c->left < 8)
			break;
		other_of(p)->ra_reach = get_be32(b);
		packet_set(p, PKT_RA_REACH);
		p->other.ra_retrans = get_be32(b + 4);
		packet_set(p, PKT_RA_RETRANS);
		take(c, 8);
		break;
	case WIRE_ICMP_TARGET:
	case WIRE_ICMP_REDIRECT:
		if (c->left < 16)
			break;
		memcpy(s->target, b, 16);
		set(p, w, PKT_TARGET);
		if (wire_icmp(s->key.proto, s->icmp_type) == WIRE_ICMP_TARGET) {
			take(c, 16);
		} else if (c->left >= 32) {
			memcpy(other_of(p)->redirect, b + 16, 16);
			packet_set(p, PKT_RDEST);
			take(c, 32);
		}
		break;
	}
}
_Static_assert(PKT_ICMP_TTIME == PKT_ICMP_OTIME + 2, "the three times stand in a row");

void decode_icmp(struct packet *p, unsigned w, struct cursor *c)
{
	struct packet_stack *s = stack_of(p, w);
	const uint8_t *b = c->at;

	if (c->left >= 1) {
		s->icmp_type = b[0];
		set(p, w, PKT_ICMP_TYPE);
	}
	if (c->left >= 2) {
		s->icmp_code = b[1];
		set(p, w, PKT_ICMP_CODE);
	}
	if (c->left >= 4) {
		s->csum = get_be16(b + 2);
		set(p, w, PKT_CSUM);
	}
	if (c->left < WIRE_ICMP_LEN)
		return;
	if (wire_icmp_has_id(s->key.proto, b[0])) {
		s->icmp_id = get_be16(b + 4);
		s->icmp_seq = get_be16(b + 6);
		set(p, w, PKT_ICMP_ID);
		set(p, w, PKT_ICMP_SEQ);
	} else {
		s->icmp_rest = get_be32(b + 4);
		set(p, w, PKT_ICMP_REST);
	}
	take(c, WIRE_ICMP_LEN);
	if (w != QUOTE)
		decode_icmp_more(p, w, c);
}

/* ---- SCTP, DCCP, ESP --------------------------------------------------------------------------------------- */

/* A chunk's fixed part, of the bytes that wire_chunk_length says. */
static void decode_chunk(struct packet *p, const uint8_t *b)
{
	struct packet_other *o = &p->other;

	packet_set(p, PKT_TSN);
	o->tsn = get_be32(b);
	switch (o->chunk) {
	case WIRE_CHUNK_DATA:
		o->sid = get_be16(b + 4);
		o->ssn = get_be16(b + 6);
		o->ppid = get_be32(b + 8);
		packet_set(p, PKT_SID);
		packet_set(p, PKT_SSN);
		packet_set(p, PKT_PPID);
		return;
	case WIRE_CHUNK_INIT:
	case WIRE_CHUNK_INIT_ACK:
		o->init_tag = get_be32(b);
		o->tsn = get_be32(b + 12);
		packet_set(p, PKT_INIT_TAG);
		break;
	case WIRE_CHUNK_SACK:
		break;
	default:
		return;
	}
	o->rwnd = get_be32(b + 4);
	o->ostreams = get_be16(b + 8);
	o->istreams = get_be16(b + 10);
	packet_set(p, PKT_RWND);
	packet_set(p, PKT_OSTREAMS);
	packet_set(p, PKT_ISTREAMS);
}

/* RFC 9260 */
void decode_sctp(struct packet *p, unsigned w, struct cursor *c)
{
	const uint8_t *b = c->at;
	struct packet_other *o = other_of(p);
	unsigned fixed;

	if (c->left >= 4)
		decode_ports(p, w, b);
	if (c->left >= 8) {
		o->sctp_tag = get_be32(b + 4);
		packet_set(p, PKT_SCTP_TAG);
	}
	if (c->left < WIRE_SCTP_LEN)
		return;
	o->sctp_sum = get_be32(b + 8);
	packet_set(p, PKT_SCTP_SUM);
	take(c, WIRE_SCTP_LEN);
	if (c->left < WIRE_CHUNK_LEN)
		return;
	b = c->at;
	o->chunk = b[0];
	o->chunk_flags = b[1];
	o->chunk_len = get_be16(b + 2);
	packet_set(p, PKT_CHUNK);
	packet_set(p, PKT_CHUNK_FLAGS);
	packet_set(p, PKT_CHUNK_LEN);
	take(c, WIRE_CHUNK_LEN);
	fixed = wire_chunk_length(o->chunk, o->chunk_len);
	if (!fixed || c->left < fixed)
		return;
	decode_chunk(p, c->at);
	take(c, fixed);
}

/* The parts behind DCCP's generic header; `exact` becomes false where reserved bytes are not 0. */
static void decode_dccp_parts(struct packet *p, struct cursor *c, const struct wire_dccp *d, const uint8_t *b)
{
	struct packet_other *o = &p->other;

	if (d->ack == 8) {
		o->dccp_ack = get_be64(b) & 0xffffffffffffull;
		c->exact &= get_be16(b) == 0;
	} else if (d->ack) {
		o->dccp_ack = get_be32(b) & 0xffffff;
		c->exact &= b[0] == 0;
	}
	if (d->ack)
		packet_set(p, PKT_DCCP_ACK);
	b += d->ack;
	if (d->service) {
		o->dccp_service = get_be32(b);
		packet_set(p, PKT_DCCP_SERVICE);
	}
	if (d->reset) {
		o->dccp_reset = get_be32(b);
		packet_set(p, PKT_DCCP_RESET);
	}
}

/* RFC 4340 */
void decode_dccp(struct packet *p, unsigned w, struct cursor *c)
{
	struct packet_stack *s = stack_of(p, w);
	const uint8_t *b = c->at;
	struct packet_other *o = other_of(p);
	struct wire_dccp d;
	unsigned header, fixed;

	if (c->left >= 4)
		decode_ports(p, w, b);
	if (c->left < 12)
		return;
	d = wire_dccp(b[8]);
	fixed = d.generic + d.ack + d.service + d.reset;
	header = b[4] * 4u;
	o->dccp_cc = b[5];
	s->csum = get_be16(b + 6);
	o->dccp_type = b[8];
	packet_set(p, PKT_DCCP_CC);
	set(p, w, PKT_CSUM);
	packet_set(p, PKT_DCCP_TYPE);
	if (header < fixed || c->left < fixed) /* left: its bytes remain */
		return;
	if (d.generic == 16) {
		o->dccp_reserved = b[9];
		o->dccp_seq = get_be64(b + 8) & 0xffffffffffffull;
		if (o->dccp_reserved)
			packet_set(p, PKT_DCCP_RES);
	} else {
		o->dccp_seq = get_be32(b + 8) & 0xffffff;
	}
	packet_set(p, PKT_DCCP_SEQ);
	decode_dccp_parts(p, c, &d, b + d.generic);
	if (c->left < header)
		return;
	if (header > fixed) {
		s->topts = (struct packet_bytes){b + fixed, (uint16_t)(header - fixed)};
		set(p, w, PKT_TOPTS);
	}
	take(c, header);
}

/* RFC 4303 */
void decode_esp(struct packet *p, struct cursor *c)
{
	struct packet_other *o = other_of(p);

	if (c->left < WIRE_ESP_LEN)
		return;
	o->spi = get_be32(c->at);
	o->esp_seq = get_be32(c->at + 4);
	packet_set(p, PKT_SPI);
	packet_set(p, PKT_ESP_SEQ);
	take(c, WIRE_ESP_LEN);
}

/* ---- in a quote -------------------------------------------------------------------------------------------- */

void decode_quoted(struct packet *p, struct cursor *c)
{
	struct packet_stack *s = &p->quote;
	const uint8_t *b = c->at;

	switch (s->key.proto) {
	case WIRE_ICMP:
	case WIRE_ICMPV6:
		decode_icmp(p, QUOTE, c);
		return;
	case WIRE_ESP:
		decode_esp(p, c);
		return;
	case WIRE_TCP:
	case WIRE_UDP:
	case WIRE_SCTP:
		break;
	default:
		return;
	}
	if (c->left >= 4)
		decode_ports(p, QUOTE, b);
	if (c->left < WIRE_QUOTED_LEN)
		return;
	if (s->key.proto == WIRE_TCP) {
		s->seq = get_be32(b + 4);
		set(p, QUOTE, PKT_SEQ);
	} else if (s->key.proto == WIRE_UDP) {
		s->ulen = get_be16(b + 4);
		s->csum = get_be16(b + 6);
		set(p, QUOTE, PKT_ULEN);
		set(p, QUOTE, PKT_CSUM);
	} else {
		other_of(p)->sctp_tag = get_be32(b + 4);
		packet_set(p, PKT_SCTP_TAG);
	}
	take(c, WIRE_QUOTED_LEN);
}
