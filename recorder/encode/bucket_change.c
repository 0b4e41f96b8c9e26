/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bucket_change.c - rows that are not as the one in front of them, to lists of events. gather_bucket has found them:
 * those whose seldom changing members differ (gather_slow), and those of another key (gather_keys). Whether a field of
 * a key is another one than before is a coin's throw for many of them, so their events are written in any case, and
 * counted if they are.
 */
#include "recorder/core/util.h"
#include "recorder/encode/bucket_internal.h"

static void push_text(struct gather *g, unsigned field, uint32_t at, const char *text, uint32_t len)
{
	*g->end[field].text++ = (struct column_text){at, len, (const uint8_t *)text};
}

static void push_no_text(struct gather *g, unsigned field, uint32_t at)
{
	*g->end[field].text++ = (struct column_text){at, COLUMN_TEXT_MISSING, NULL};
}

/* ---- members of row_slow --------------------------------------------------------------------------------------------
 */

/* Where a member is in row_slow, and its bits; SACK, which has none, is always 1. All are read as INT32. */
#define SLOW(id, member, mask) [PKT_##id] = {offsetof(struct row_slow, member), mask, 0}
static const struct {
	uint32_t at, mask, always;
} slow_member[64] = {
	SLOW(OPTS, opts, UINT32_MAX),
	SLOW(FLOW, flow, UINT32_MAX),
	SLOW(FRAG, frag, UINT32_MAX),
	SLOW(MSS, mss, 0xffff),
	SLOW(ICMP_TYPE, icmp_type, 0xff),
	SLOW(ICMP_CODE, icmp_code, 0xff),
	SLOW(URG, urg, 0xffff),
	SLOW(TTL, ttl, 0xff),
	SLOW(TOS, tos, 0xff),
	SLOW(WS, ws, 0xff),
	[PKT_SACK] = {0, 0, 1},
};
#define SLOW_AT(member) (8 * ((unsigned)offsetof(struct row_slow, member) - 16))
_Static_assert(offsetof(struct row_slow, opts) == 8 && offsetof(struct row_slow, flow) == 12 && SLOW_AT(mss) == 0 &&
		       SLOW_AT(icmp_code) == 8 && SLOW_AT(urg) == 16 && SLOW_AT(ttl) == 32 && SLOW_AT(tos) == 40 &&
		       SLOW_AT(ws) == 48,
	       "push_slow says where they are");

/* Members that differ and are there, and those that come or go. */
static inline void push_slow(struct gather *g, uint32_t at, const struct row_slow *s, const struct row_slow *before,
			     uint64_t changed)
{
	uint64_t is[4] = {0}, was[3], second, third, list = 0;
	const uint64_t has = s->has;

	memcpy(is, s, sizeof(*s));
	memcpy(was, before, sizeof(*before));
	second = is[1] ^ was[1];
	third = is[2] ^ was[2];

	list |= (uint32_t)second ? ROW_BIT(OPTS) : 0;
	list |= second >> 32 ? ROW_BIT(FLOW) | ROW_BIT(FRAG) : 0;
	list |= (uint32_t)third ? ROW_BIT(MSS) | ROW_BIT(ICMP_TYPE) | ROW_BIT(ICMP_CODE) | ROW_BIT(URG) : 0;
	list |= third >> 32 & 0xff ? ROW_BIT(TTL) : 0;
	list |= third >> 40 & 0xff ? ROW_BIT(TOS) : 0;
	list |= third >> 48 & 0xff ? ROW_BIT(WS) : 0;
	for (list = ((list & has) | changed) & ROW_SLOW; list; list &= list - 1) {
		const unsigned f = (unsigned)__builtin_ctzll(list);
		uint32_t value;

		memcpy(&value, (const uint8_t *)is + slow_member[f].at, 4);
		value = (value & slow_member[f].mask) | slow_member[f].always;
		*g->end[f].number++ = (struct column_event){at, !(has >> f & 1), (int32_t)value};
	}
}

/* Calls what follows for each row `at` whose bit is set. */
#define EACH_ROW(bits, n, at)                                                                                          \
	for (uint32_t word_ = 0; word_ < ((n) + 63) / 64; word_++)                                                     \
		for (uint64_t left_ = (bits)[word_];                                                                   \
		     left_ && ((at) = 64 * word_ + (uint32_t)__builtin_ctzll(left_), (at) < (n)); left_ &= left_ - 1)

/* A row whose bits of a key's fields differ is looked at by gather_keys too. */
void gather_slow(struct gather *g, const struct row *row, const uint32_t *position)
{
	static const struct row_slow none;
	uint32_t at;

	EACH_ROW(g->slow_differs, g->n, at)
	{
		const struct row_slow *s = &row[position[at]].slow, *before = at ? &row[position[at - 1]].slow : &none;
		const uint64_t changed = at ? s->has ^ before->has : ~0ull;

		g->run[g->runs] = (struct gather_has){at, s->has};
		g->runs += changed != 0;
		g->any |= s->has;
		g->all &= s->has;
		g->key_differs[at / 64] |= (uint64_t)((changed & ROW_KEY) != 0) << at % 64;
		push_slow(g, at, s, before, changed);
	}
}

/* ---- keys -----------------------------------------------------------------------------------------------------------
 */

/* Makes the text of an IPv4 address; where it is in letters. */
uint32_t gather_text_cell(struct gather *g, const uint8_t address[4])
{
	size_t at = g->texts_len;

	g->letters[at + TEXT_CELL - 1] = (char)text_ipv4(g->letters + at, address);
	g->texts_len = at + TEXT_CELL;
	return (uint32_t)at;
}

void gather_host4(struct bucket_maker *m, const uint8_t address[4], uint32_t cell)
{
	m->host4[m->nhost4++] = (uint64_t)get_be32(address) << 32 | cell;
}

void gather_host6(struct bucket_maker *m, const uint8_t address[16])
{
	m->host6[m->nhost6++] = (host_number)get_be64(address) << 64 | get_be64(address + 8);
}

/* LOCAL or REMOTE, of another key than the row before or there otherwise than there; `host`: it is not yet one. */
static void gather_address(struct bucket_maker *m, unsigned field, uint32_t at, uint64_t has, const uint8_t *address,
			   unsigned family, bool host)
{
	struct gather *g = m->gather;
	char *text = g->letters + g->texts_len;
	const bool there = has >> field & 1;
	unsigned len = 0;

	if (family == 4) {
		uint32_t cell = gather_text_cell(g, address);

		len = (uint8_t)text[TEXT_CELL - 1];
		if (host)
			gather_host4(m, address, cell);
	} else if (family == 6) {
		if (host)
			gather_host6(m, address);
		if (there)
			g->texts_len += len = text_ipv6(text, address);
	}
	if (there)
		push_text(g, field, at, text, len);
	else
		push_no_text(g, field, at);
}

static void gather_mac(struct gather *g, unsigned field, uint32_t at, uint64_t has, const uint8_t *mac)
{
	char *text = g->letters + g->texts_len;

	if (!(has >> field & 1)) {
		push_no_text(g, field, at);
		return;
	}
	push_text(g, field, at, text, text_mac(text, mac));
	g->texts_len += TEXT_MAC_LEN;
}

/* Tags, EtherType and MAC addresses, which seldom change from one conversation to the next: asked for as one. */
#define ROW_LINK                                                                                                       \
	(ROW_BIT(VLAN) | ROW_BIT(TPID) | ROW_BIT(VLAN2) | ROW_BIT(TPID2) | ROW_BIT(ETYPE) | ROW_BIT(LMAC) |            \
	 ROW_BIT(RMAC))

/* Two times four bytes that overlap. */
static inline uint32_t mac_differs(const uint8_t *a, const uint8_t *b)
{
	uint32_t first[2], last[2];

	memcpy(&first[0], a, 4);
	memcpy(&first[1], b, 4);
	memcpy(&last[0], a + 2, 4);
	memcpy(&last[1], b + 2, 4);
	return (first[0] ^ first[1]) | (last[0] ^ last[1]);
}

/* A row and which of its bits the row before had otherwise. */
struct change {
	uint64_t has, changed;
	uint32_t at;
};

/* A key and its ends, as the columns have them. */
struct ends {
	const struct packet_key *key;
	const uint8_t *local, *remote, *lmac, *rmac;
	uint32_t ports; /* the local one in the lower half */
	bool out;
};

static inline struct ends ends_of(const struct packet_key *k, bool out)
{
	const uint8_t *bytes = (const uint8_t *)k;
	const unsigned turn = out ? 0 : 16;
	uint32_t ports;

	memcpy(&ports, &k->sport, 4);
	return (struct ends){
		.key = k,
		.local = bytes + offsetof(struct packet_key, src) + 16 * !out,
		.remote = bytes + offsetof(struct packet_key, src) + 16 * out,
		.lmac = bytes + offsetof(struct packet_key, smac) + 6 * !out,
		.rmac = bytes + offsetof(struct packet_key, smac) + 6 * out,
		.ports = ports << turn | ports >> (-turn & 31),
		.out = out,
	};
}
_Static_assert(offsetof(struct packet_key, dst) == 16 && offsetof(struct packet_key, dmac) == 38 &&
		       offsetof(struct packet_key, dport) == offsetof(struct packet_key, sport) + 2,
	       "both ends lie side by side");

static inline bool other_address(const uint8_t *a, const uint8_t *b)
{
	uint64_t x[2], y[2];

	memcpy(x, a, 16);
	memcpy(y, b, 16);
	return ((x[0] ^ y[0]) | (x[1] ^ y[1])) != 0;
}

static inline bool link_differs(const struct ends *e, const struct ends *was)
{
	const struct packet_key *k = e->key, *k_was = was->key;

	return (mac_differs(e->lmac, was->lmac) | mac_differs(e->rmac, was->rmac) |
		(uint32_t)(k->etype ^ k_was->etype) | (uint32_t)(k->vlan ^ k_was->vlan) |
		(uint32_t)(k->vlan2 ^ k_was->vlan2) | (uint32_t)(k->tags ^ k_was->tags)) != 0;
}

/* Writes the event, and keeps it where the field comes, goes or is another one. */
#define CHANGED(id, is, was) (((c->changed >> PKT_##id & 1) | ((is) != (was))) != 0)
#define NUMBER(id, is, was)                                                                                            \
	do {                                                                                                           \
		struct column_event *event_ = g->end[PKT_##id].number;                                                 \
		*event_ = (struct column_event){c->at, !(c->has >> PKT_##id & 1), (is)};                               \
		g->end[PKT_##id].number = event_ + CHANGED(id, is, was);                                               \
	} while (0)

static void push_link(struct gather *g, const struct change *c, const struct ends *e, const struct ends *was)
{
	const struct packet_key *k = e->key, *k_was = was->key;

	NUMBER(VLAN, k->vlan, k_was->vlan);
	NUMBER(TPID, packet_tpid(k->tags, 0), packet_tpid(k_was->tags, 0));
	NUMBER(VLAN2, k->vlan2, k_was->vlan2);
	NUMBER(TPID2, packet_tpid(k->tags, 1), packet_tpid(k_was->tags, 1));
	NUMBER(ETYPE, k->etype, k_was->etype);
	if (CHANGED(LMAC, memcmp(e->lmac, was->lmac, 6), 0))
		gather_mac(g, PKT_LMAC, c->at, c->has, e->lmac);
	if (CHANGED(RMAC, memcmp(e->rmac, was->rmac, 6), 0))
		gather_mac(g, PKT_RMAC, c->at, c->has, e->rmac);
}

/* `hosts`: the key's ends may be hosts that are not there yet. */
static inline void push_key(struct bucket_maker *m, const struct change *c, const struct ends *e,
			    const struct ends *was, bool hosts)
{
	const struct packet_key *k = e->key;
	struct gather *g = m->gather;
	const bool family = k->family != was->key->family;
	bool other;

	NUMBER(DIR, e->out ? COLUMN_WORD3('o', 'u', 't') : COLUMN_WORD2('i', 'n'),
	       was->out ? COLUMN_WORD3('o', 'u', 't') : COLUMN_WORD2('i', 'n'));
	NUMBER(SIDE, k->side ? COLUMN_WORD2('t', 'x') : COLUMN_WORD2('r', 'x'),
	       was->key->side ? COLUMN_WORD2('t', 'x') : COLUMN_WORD2('r', 'x'));
	other = family | other_address(e->local, was->local);
	if (CHANGED(LOCAL, other, 0))
		gather_address(m, PKT_LOCAL, c->at, c->has, e->local, k->family, hosts && other);
	other = family | other_address(e->remote, was->remote);
	if (CHANGED(REMOTE, other, 0))
		gather_address(m, PKT_REMOTE, c->at, c->has, e->remote, k->family, hosts && other);
	NUMBER(LPORT, e->ports & 0xffff, was->ports & 0xffff);
	NUMBER(RPORT, e->ports >> 16, was->ports >> 16);
	NUMBER(PROTO, k->proto, was->key->proto);
	if ((c->changed & ROW_LINK) != 0 || link_differs(e, was))
		push_link(g, c, e, was);
}

static void push_marks(struct gather *g, const struct change *c, unsigned marks, unsigned was)
{
	char *text = g->letters + g->texts_len;
	unsigned len;

	if (!CHANGED(MARKS, marks, was))
		return;
	if (!(c->has & ROW_MARKS)) {
		push_no_text(g, PKT_MARKS, c->at);
		return;
	}
	len = fields_marks(text, (uint16_t)marks);
	push_text(g, PKT_MARKS, c->at, text, len);
	g->texts_len += len;
}

/* Whether this key may bring hosts: in version 2 a key comes again and again, and brought them the first time. */
static bool new_hosts(struct bucket_maker *m, uint32_t bucket, uint32_t number)
{
	if (m->form.version != 2)
		return true;
	if (m->key_seen[number] == bucket + 1)
		return false;
	m->key_seen[number] = bucket + 1;
	return true;
}

#define KEY_NUMBER(key_marks) ((key_marks) & ((1u << FLOW_KEY_BITS) - 1))

/* The rows that gather_keys looks at; their keys, which lie in the order in which they came, are under way. */
static uint32_t list_keys(const struct bucket_maker *m, uint16_t *list)
{
	struct gather *g = m->gather;
	const uint32_t *key_marks = gather_key_marks(g);
	uint32_t count = 0, at;

	EACH_ROW(g->key_differs, g->n, at)
	{
		__builtin_prefetch(&m->flow.key[KEY_NUMBER(key_marks[at])]);
		list[count++] = (uint16_t)at;
	}
	return count;
}

void gather_keys(struct bucket_maker *m, uint32_t bucket, const uint32_t *position)
{
	static const struct packet_key none;
	struct gather *g = m->gather;
	const struct row *row = m->flow.row;
	struct ends was = ends_of(&none, true);
	uint32_t before = UINT32_MAX;
	uint16_t list[GATHER_ROOM];
	const uint32_t *const marks = gather_key_marks(g), count = list_keys(m, list);

	for (uint32_t i = 0; i < count; i++) {
		const uint32_t at = list[i];
		const uint64_t has = row[position[at]].slow.has;
		const struct change c = {has, at ? has ^ row[position[at - 1]].slow.has : ~0ull, at};
		const uint32_t key_marks = marks[at], number = KEY_NUMBER(key_marks);
		const bool same = number == before;

		push_marks(g, &c, key_marks >> FLOW_KEY_BITS, at ? marks[at - 1] >> FLOW_KEY_BITS : 0);
		if (!same || c.changed & ROW_KEY) {
			struct ends e = ends_of(&m->flow.key[number], m->flow.out[number]);

			push_key(m, &c, &e, &was, !same && new_hosts(m, bucket, number));
			was = e;
			before = number;
		}
	}
}
