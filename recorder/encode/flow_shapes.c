/* SPDX-License-Identifier: GPL-2.0-or-later */
/* flow_shapes.c - the shapes of flow_fast.h, made once at the start from the forms of layer 4 and of layer 3. */
#include "recorder/encode/flow_fast.h"

#define PORTS (ROW_BIT(LPORT) | ROW_BIT(RPORT))
#define TCP (PORTS | ROW_BIT(SEQ) | ROW_BIT(ACK) | ROW_BIT(FLAGS) | ROW_BIT(WIN) | ROW_BIT(CSUM) | ROW_BIT(URG))
#define CLOCKS (ROW_BIT(LTSVAL) | ROW_BIT(RTSVAL) | ROW_BIT(OPTS))
#define SYN (ROW_BIT(MSS) | ROW_BIT(SACK) | ROW_BIT(WS) | ROW_BIT(OPTS))
#define ECHO (ROW_BIT(ICMP_TYPE) | ROW_BIT(ICMP_CODE) | ROW_BIT(ICMP_ID) | ROW_BIT(ICMP_SEQ) | ROW_BIT(CSUM))

struct flow_shape flow_shapes[2][2][FLOW_SHAPES_L4];
static struct flow_shape windows[2][2]; /* those that have the size of another one */

/* Layer 4: offsets within it; 0: not there. */
static const struct form {
	uint8_t proto, left, clocks, mss, window, option, tail;
	uint32_t opts; /* as packet_decode writes their form */
	uint64_t has, option_is, option_mask;
	uint32_t tail_is, tail_mask;
} forms[] = {
	{.proto = WIRE_TCP, .left = 20, .has = TCP},
	/* NOP NOP, time stamps */
	{.proto = WIRE_TCP,
	 .left = 32,
	 .has = TCP | CLOCKS,
	 .opts = 0116,
	 .clocks = 24,
	 .option = 20,
	 .option_is = 0x0a080101,
	 .option_mask = 0xffffffff},
	/* MSS, NOP, window scale, NOP NOP, SACK permitted */
	{.proto = WIRE_TCP,
	 .left = 32,
	 .has = TCP | SYN,
	 .opts = 0213114,
	 .mss = 22,
	 .window = 27,
	 .option = 20,
	 .option_is = 0x00030301ull << 32 | 0x0402,
	 .option_mask = 0x00ffffffull << 32 | 0xffff,
	 .tail = 28,
	 .tail_is = 0x02040101,
	 .tail_mask = 0xffffffff},
	/* MSS, SACK permitted, time stamps, NOP, window scale */
	{.proto = WIRE_TCP,
	 .left = 40,
	 .has = TCP | CLOCKS | SYN,
	 .opts = 024613,
	 .clocks = 28,
	 .mss = 22,
	 .window = 39,
	 .option = 20,
	 .option_is = 0x0a080204ull << 32 | 0x0402,
	 .option_mask = 0xffffffffull << 32 | 0xffff,
	 .tail = 36,
	 .tail_is = 0x030301,
	 .tail_mask = 0xffffff},
	{.proto = WIRE_UDP, .left = 8, .has = PORTS | ROW_BIT(CSUM)},
	{.proto = WIRE_ICMP, .left = 8, .has = ECHO, .option_is = 0, .option_mask = 0xf7},     /* 0, 8 */
	{.proto = WIRE_ICMPV6, .left = 8, .has = ECHO, .option_is = 128, .option_mask = 0xfe}, /* 128, 129 */
};

static void fill_layer3(struct flow_shape *t, unsigned tags, bool six)
{
	t->tags = (uint8_t)tags;
	t->family = six ? 6 : 4;
	t->l3 = (uint8_t)(WIRE_ETH_LEN + WIRE_TAG_LEN * tags);
	t->l4 = (uint8_t)(t->l3 + (six ? WIRE_IPV6_LEN : WIRE_IPV4_LEN));
	t->etype = __builtin_bswap16(six ? WIRE_ETYPE_IPV6 : WIRE_ETYPE_IPV4);
	t->vlan_mask = tags ? 0xffff : 0;
	t->has = ROW_BIT(TS) | ROW_BIT(NS) | ROW_BIT(DIR) | ROW_BIT(LEN) | ROW_BIT(ETYPE) | ROW_BIT(LMAC) |
		 ROW_BIT(RMAC) | ROW_BIT(TOS) | ROW_BIT(TTL) | ROW_BIT(PROTO) | ROW_BIT(LOCAL) | ROW_BIT(REMOTE);
	t->has |= tags ? ROW_BIT(VLAN) : 0;
	memset(t->same, 0xff, t->l3);
	if (six) {
		t->has |= ROW_BIT(FLOW);
		t->first_is = 6ull << 60;
		t->first_mask = 15ull << 60;
		t->length_shift = 16;
		t->tos_shift = 52;
		t->ttl_in = 7;
		t->flow_shift = 32;
		t->flow_mask = 0xfffff;
		memcpy(t->src_in, (uint8_t[]){8, 16}, 2);
		memcpy(t->dst_in, (uint8_t[]){24, 32}, 2);
		t->address_mask[0] = t->address_mask[1] = UINT64_MAX;
		t->same[t->l3] = 0xf0;
		t->same[t->l3 + 6] = 0xff;
		memset(t->same + t->l3 + 8, 0xff, 32);
		return;
	}
	/* Version and length of the header; not a later fragment */
	t->has |= ROW_BIT(IPID) | ROW_BIT(FRAG);
	t->has_sum = 1;
	t->first_is = 0x45ull << 56;
	t->first_mask = 0xffull << 56 | WIRE_FRAG_OFFSET;
	t->length_shift = 32;
	t->length_less = WIRE_IPV4_LEN;
	t->tos_shift = 48;
	t->ttl_in = 8;
	t->id_mask = 0xffff0000;
	t->flow_mask = 0xffff;
	memcpy(t->src_in, (uint8_t[]){12, 0}, 2);
	memcpy(t->dst_in, (uint8_t[]){16, 0}, 2);
	t->address_mask[0] = UINT32_MAX;
	t->same[t->l3] = 0xff;
	t->same[t->l3 + 6] = WIRE_FRAG_OFFSET >> 8;
	t->same[t->l3 + 7] = WIRE_FRAG_OFFSET & 0xff;
	t->same[t->l3 + 9] = 0xff;
	memset(t->same + t->l3 + 12, 0xff, 8);
}

static void fill_options(struct flow_shape *t, const struct form *f)
{
	t->opts = f->opts;
	if (f->clocks) {
		t->clocks_at = t->l4 + f->clocks;
		t->clocks_mask = UINT64_MAX;
	}
	if (f->mss) {
		t->short_at = t->l4 + f->mss;
		t->short_turn = 8;
		t->short_mask = 0xffff;
		t->window_at = t->l4 + f->window;
		t->window_mask = 0xff;
	}
	t->option_at = t->l4 + f->option;
	t->option_is = f->option_is;
	t->option_mask = f->option_mask;
	t->tail_at = t->l4 + f->tail;
	t->tail_is = f->tail_is;
	t->tail_mask = f->tail_mask;
	memcpy(t->same + t->option_at, &f->option_mask, 8);
	for (unsigned i = 0; i < 4; i++)
		t->same[t->tail_at + i] |= (uint8_t)(f->tail_mask >> 8 * i);
}

static void fill_layer4(struct flow_shape *t, const struct form *f)
{
	t->proto = f->proto;
	t->cap = (uint16_t)(t->l4 + f->left);
	t->has |= f->has;
	fill_options(t, f);
	if (f->has & PORTS) {
		t->summed = 1;
		t->ports_mask = UINT32_MAX;
		memset(t->same + t->l4, 0xff, 4);
	}
	if (f->proto == WIRE_TCP) {
		t->seq_at = t->l4 + 4;
		t->seq_mask = UINT64_MAX;
		t->pair_at = t->l4 + 12; /* flags, window */
		t->pair_mask = 0xffff0fff;
		t->csum_at = t->l4 + 16;
		t->urg_mask = 0xffff;
		t->data_offset_at = t->l4 + 12;
		t->data_offset_is = (uint8_t)(f->left << 2);
		t->data_offset_mask = t->same[t->data_offset_at] = 0xf0;
	} else if (f->proto == WIRE_UDP) {
		t->csum_at = t->l4 + 6; /* two bytes more are read: a record is padded */
		t->ulen_at = t->l4 + 4;
		t->ulen_mask = 0xffff;
	} else {
		t->pair_at = t->l4 + 4; /* id, seq */
		t->pair_mask = UINT32_MAX;
		t->csum_at = t->l4 + 2;
		t->short_at = t->l4; /* type, code */
		t->short_mask = 0xffff;
	}
}

/* The row's bytes from `to` on are those of the frame from `at` on, the last one first where the number is one in
 * network order. */
static void take(struct flow_shuffle *s, unsigned piece, size_t to, unsigned at, unsigned bytes, bool number)
{
	for (unsigned i = 0; i < bytes; i++)
		s->from[piece][to + i] = (uint8_t)(at - s->piece_at[piece] + (number ? bytes - 1 - i : i));
}

#define TAKE(piece, member, at, bytes) take(s, piece, IN_ROW(member), at, bytes, true)
#define IN_ROW(member) (offsetof(struct row, member) - 16)
#define MASK(member, bits) memcpy(s->mask + IN_ROW(member), &(uint32_t){bits}, sizeof(uint32_t))

/* What fast_members does without them, as vectors. */
static void fill_shuffle(struct flow_shape *t)
{
	struct flow_shuffle *s = &t->shuffle;
	const bool tcp = t->proto == WIRE_TCP;

	memset(s->from, 0x80, sizeof(s->from));
	memset(s->mask, 0xff, sizeof(s->mask));
	s->piece_at[0] = t->l3;
	s->piece_at[1] = tcp ? t->l4 + 4 : (uint8_t)(t->cap - 16);
	s->piece_at[2] = t->clocks_mask && t->short_mask ? t->l4 + 20 : (uint8_t)(t->cap - 16);
	TAKE(0, slow.ttl, t->l3 + t->ttl_in, 1);
	if (t->family == 4) {
		TAKE(0, ipid, t->l3 + 4, 2);
		TAKE(0, slow.frag, t->l3 + 6, 2);
	} else {
		TAKE(0, slow.flow, t->l3 + 1, 3);
		MASK(slow.flow, t->flow_mask);
	}
	TAKE(1, csum, t->csum_at, 2);
	if (tcp) {
		TAKE(1, seq, t->seq_at, 4);
		TAKE(1, ack, t->seq_at + 4, 4);
		TAKE(1, slow.urg, t->csum_at + 2, 2);
	}
	if (t->pair_mask) {
		TAKE(1, flags, t->pair_at, 2);
		TAKE(1, win, t->pair_at + 2, 2);
		MASK(flags, t->pair_mask);
	}
	if (t->clocks_mask) {
		TAKE(2, ltsval, t->clocks_at, 4);
		TAKE(2, rtsval, t->clocks_at + 4, 4);
	}
	if (t->short_mask) /* type and code are bytes */
		take(s, tcp ? 2 : 1, IN_ROW(slow.mss), t->short_at, 2, t->short_turn);
	memcpy(s->is + IN_ROW(slow.has), &t->has, 8);
	memcpy(s->is + IN_ROW(slow.opts), &t->opts, 4);
}

/* Bits that must be so at a place of the frame. */
static void demand(struct flow_wide *w, unsigned at, const void *is, const void *mask, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++) {
		w->is[at + i] |= ((const uint8_t *)is)[i] & ((const uint8_t *)mask)[i];
		w->mask[at + i] |= ((const uint8_t *)mask)[i];
	}
}

/* What fast_has_shape looks at without them, and layer 3's protocol. */
static void fill_demands(struct flow_shape *t)
{
	const uint64_t first_is = __builtin_bswap64(t->first_is), first_mask = __builtin_bswap64(t->first_mask);
	const uint16_t all = UINT16_MAX;
	struct flow_wide *w = &t->wide;

	demand(w, t->l3, &first_is, &first_mask, 8);
	demand(w, t->option_at, &t->option_is, &t->option_mask, 8);
	demand(w, t->tail_at, &t->tail_is, &t->tail_mask, 4);
	demand(w, t->data_offset_at, &t->data_offset_is, &t->data_offset_mask, 1);
	demand(w, t->l3 - 2u, &t->etype, &all, 2);
	demand(w, t->l3 + (t->family == 6 ? 6 : 9), &t->proto, &all, 1);
}

/* Bytes of a line are those of the frame from `at` on, where the mask has bits. */
static void line_from(struct flow_line *line, size_t to, unsigned at, uint64_t mask, unsigned bytes, bool number)
{
	for (unsigned i = 0; i < bytes; i++) {
		line->from[to + i] = (uint8_t)(at + (number ? bytes - 1 - i : i));
		line->mask[to + i] = (uint8_t)(mask >> 8 * i);
	}
}

#define IN_KEY(member) offsetof(struct packet_key, member)

/* As flow_fast_key puts it together. */
static void fill_key(struct flow_shape *t)
{
	struct flow_line *key = &t->wide.key;
	const uint16_t etype = __builtin_bswap16(t->etype);

	for (unsigned i = 0; i < 2; i++) {
		line_from(key, IN_KEY(src) + 8 * i, t->l3 + t->src_in[i], t->address_mask[i], 8, false);
		line_from(key, IN_KEY(dst) + 8 * i, t->l3 + t->dst_in[i], t->address_mask[i], 8, false);
	}
	line_from(key, IN_KEY(dmac), 0, UINT64_MAX, 6, false);
	line_from(key, IN_KEY(smac), 6, UINT64_MAX, 6, false);
	line_from(key, IN_KEY(sport), t->l4, t->ports_mask, 2, true);
	line_from(key, IN_KEY(dport), t->l4 + 2u, t->ports_mask, 2, true);
	line_from(key, IN_KEY(vlan), WIRE_ETH_LEN, t->vlan_mask, 2, true);
	memcpy(key->is + IN_KEY(etype), &etype, 2);
	key->is[IN_KEY(proto)] = t->proto;
	key->is[IN_KEY(family)] = t->family;
	key->is[IN_KEY(tags)] = t->tags;
}

/* The shape's vectors of 64 bytes, from what is there. */
static void fill_wide(struct flow_shape *t)
{
	const struct flow_shuffle *s = &t->shuffle;
	struct flow_wide *w = &t->wide;

	for (unsigned i = 0; i < 48; i++) {
		for (unsigned piece = 0; piece < FLOW_PIECES; piece++)
			if (s->from[piece][i] != 0x80)
				line_from(&w->row, 16 + i, s->piece_at[piece] + s->from[piece][i], s->mask[i], 1,
					  false);
		w->row.is[16 + i] = s->is[i];
	}
	line_from(&w->row, offsetof(struct row, slow.ws), t->window_at, t->window_mask, 1, false);
	fill_key(t);
	fill_demands(t);
	memcpy(w->same, t->same, sizeof(t->same));
	for (unsigned i = 0; i < t->cap; i++)
		w->read[i / 64] |= 1ull << i % 64;
}

static struct flow_shape *place_of(unsigned tags, bool six, const struct form *f)
{
	struct flow_shape *t = &flow_shapes[tags][six][f->left / 4 + (f->proto == WIRE_UDP)];

	if (!t->cap)
		return t;
	t->other = &windows[tags][six];
	return &windows[tags][six];
}

__attribute__((constructor)) static void make_shapes(void)
{
	for (unsigned tags = 0; tags < 2; tags++)
		for (unsigned six = 0; six < 2; six++)
			for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
				struct flow_shape *t;

				if (forms[i].proto == (six ? WIRE_ICMP : WIRE_ICMPV6))
					continue;
				t = place_of(tags, six, &forms[i]);
				fill_layer3(t, tags, six);
				fill_layer4(t, &forms[i]);
				fill_shuffle(t);
				fill_wide(t);
			}
}
