/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bucket_gather.c - the rows of a bucket to what the column writers take, in one pass. Each row's dense members are
 * copied without a question, also where they are missing (columns know where: the runs of equal `has`). The key and the
 * 24 bytes of row_slow are compared with the row before; only where they differ the fields are looked at one by one. So
 * a packet in the middle of its conversation costs some eight loads and stores, one comparison and one branch.
 */
#include "recorder/core/util.h"
#include "recorder/encode/bucket_internal.h"

#define AHEAD 64u /* rows to prefetch: they lie in the order of time */

static void push_number(struct gather *g, unsigned field, uint32_t at, uint64_t has, int64_t value)
{
	g->number[field][g->count[field]++] = (struct column_event){at, !(has >> field & 1), value};
}

static void push_text(struct gather *g, unsigned field, uint32_t at, const char *text, uint32_t len)
{
	g->text[field][g->count[field]++] = (struct column_text){at, len, (const uint8_t *)text};
	g->bytes[field] += len;
}

static void push_no_text(struct gather *g, unsigned field, uint32_t at)
{
	g->text[field][g->count[field]++] = (struct column_text){at, COLUMN_TEXT_MISSING, NULL};
}

/* What the row before had; `changed` are the bits of has that it had otherwise, all of them for the first row. */
struct before {
	struct row_slow slow;
	const struct packet_key *key;
	struct gather_ends ends;
	uint32_t number; /* of the key */
	uint16_t marks;
	uint64_t changed;
};

#define CHANGED(id, is, was) (((b->changed >> PKT_##id & 1) | ((is) != (was))) != 0)
#define NUMBER(id, is, was)                                                                                            \
	if (CHANGED(id, is, was))                                                                                      \
	push_number(g, PKT_##id, at, has, (is))

/* Where a member is in row_slow behind `has`: word, place, bits. All are read as INT32. */
#define SLOW(id, word, shift, mask) [PKT_##id] = {word, shift, mask}
static const struct {
	uint8_t word, shift;
	uint32_t mask;
} slow_member[64] = {
	SLOW(SACK, 0, 0, 1), /* word 0 is 1 */
	SLOW(OPTS, 1, 0, UINT32_MAX), SLOW(FLOW, 1, 32, UINT32_MAX), SLOW(FRAG, 1, 32, UINT32_MAX),
	SLOW(MSS, 2, 0, 0xffff),      SLOW(ICMP_TYPE, 2, 0, 0xff),   SLOW(ICMP_CODE, 2, 8, 0xff),
	SLOW(URG, 2, 16, 0xffff),     SLOW(TTL, 2, 32, 0xff),	     SLOW(TOS, 2, 40, 0xff),
	SLOW(WS, 2, 48, 0xff),
};
#define SLOW_AT(member) (8 * ((unsigned)offsetof(struct row_slow, member) - 16))
_Static_assert(offsetof(struct row_slow, opts) == 8 && offsetof(struct row_slow, flow) == 12 && SLOW_AT(mss) == 0 &&
		       SLOW_AT(icmp_code) == 8 && SLOW_AT(urg) == 16 && SLOW_AT(ttl) == 32 && SLOW_AT(tos) == 40 &&
		       SLOW_AT(ws) == 48,
	       "slow_member says where they are");

/* Members that differ and are there, and those that come or go. */
static void gather_slow(struct gather *g, const struct before *b, uint32_t at, const struct row_slow *s)
{
	uint64_t words[3] = {1}, was[3], list = 0, second, third;

	memcpy(words + 1, (const uint8_t *)s + 8, 16);
	memcpy(was + 1, (const uint8_t *)&b->slow + 8, 16);
	second = words[1] ^ was[1];
	third = words[2] ^ was[2];
	if (second)
		list = ((uint32_t)second ? ROW_BIT(OPTS) : 0) | (second >> 32 ? ROW_BIT(FLOW) | ROW_BIT(FRAG) : 0);
	if ((uint32_t)third)
		list |= ROW_BIT(MSS) | ROW_BIT(ICMP_TYPE) | ROW_BIT(ICMP_CODE) | ROW_BIT(URG);
	if (third >> 32)
		list |= ((third >> 32 & 0xff) ? ROW_BIT(TTL) : 0) | ((third >> 40 & 0xff) ? ROW_BIT(TOS) : 0) |
			((third >> 48 & 0xff) ? ROW_BIT(WS) : 0);
	list = ((list & s->has) | b->changed) & ROW_SLOW;
	for (; list; list &= list - 1) {
		unsigned f = (unsigned)__builtin_ctzll(list);
		uint32_t value = (uint32_t)(words[slow_member[f].word] >> slow_member[f].shift) & slow_member[f].mask;

		push_number(g, f, at, s->has, (int32_t)value);
	}
}

static void gather_marks(struct gather *g, const struct before *b, uint32_t at, const struct row *r)
{
	char *text = g->letters + g->texts_len;
	unsigned len;

	if (!CHANGED(MARKS, r->marks, b->marks))
		return;
	if (!(r->slow.has & ROW_MARKS)) {
		push_no_text(g, PKT_MARKS, at);
		return;
	}
	len = fields_marks(text, r->marks);
	push_text(g, PKT_MARKS, at, text, len);
	g->texts_len += len;
}

static inline struct gather_ends ends_of(const struct packet_key *k, bool out)
{
	return (struct gather_ends){
		.local = out ? k->src : k->dst,
		.remote = out ? k->dst : k->src,
		.lmac = out ? k->smac : k->dmac,
		.rmac = out ? k->dmac : k->smac,
		.lport = out ? k->sport : k->dport,
		.rport = out ? k->dport : k->sport,
		.out = out,
	};
}

/* Makes the text of an IPv4 address; where it is in letters. */
static inline uint32_t text_cell(struct gather *g, const uint8_t address[4])
{
	size_t at = g->texts_len;

	g->letters[at + TEXT_CELL - 1] = (char)text_ipv4(g->letters + at, address);
	g->texts_len = at + TEXT_CELL;
	return (uint32_t)at;
}

static inline void add_host4(struct bucket_maker *m, const uint8_t address[4], uint32_t cell)
{
	m->host4[m->nhost4++] = (uint64_t)get_be32(address) << 32 | cell;
}

static inline void add_host6(struct bucket_maker *m, const uint8_t address[16])
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
		uint32_t cell = text_cell(g, address);

		len = (uint8_t)text[TEXT_CELL - 1];
		if (host)
			add_host4(m, address, cell);
	} else if (family == 6) {
		if (host)
			add_host6(m, address);
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

static inline bool link_differs(const struct packet_key *k, const struct gather_ends *e, const struct packet_key *was,
				const struct gather_ends *was_ends)
{
	return mac_differs(e->lmac, was_ends->lmac) | mac_differs(e->rmac, was_ends->rmac) |
	       (uint32_t)(k->etype ^ was->etype) | (uint32_t)(k->vlan ^ was->vlan) | (uint32_t)(k->vlan2 ^ was->vlan2) |
	       (uint32_t)(k->tags ^ was->tags);
}

static void gather_link(struct gather *g, const struct before *b, uint32_t at, uint64_t has, const struct packet_key *k,
			const struct gather_ends *e)
{
	const struct packet_key *was = b->key;

	NUMBER(VLAN, k->vlan, was->vlan);
	NUMBER(TPID, packet_tpid(k->tags, 0), packet_tpid(was->tags, 0));
	NUMBER(VLAN2, k->vlan2, was->vlan2);
	NUMBER(TPID2, packet_tpid(k->tags, 1), packet_tpid(was->tags, 1));
	NUMBER(ETYPE, k->etype, was->etype);
	if (CHANGED(LMAC, memcmp(e->lmac, b->ends.lmac, 6), 0))
		gather_mac(g, PKT_LMAC, at, has, e->lmac);
	if (CHANGED(RMAC, memcmp(e->rmac, b->ends.rmac, 6), 0))
		gather_mac(g, PKT_RMAC, at, has, e->rmac);
}

/* `hosts`: the key's ends may be hosts that are not there yet. */
static void gather_key(struct bucket_maker *m, const struct before *b, uint32_t at, uint64_t has,
		       const struct packet_key *k, const struct gather_ends *e, bool hosts)
{
	struct gather *g = m->gather;
	const struct packet_key *was = b->key;
	const bool family = k->family != was->family;
	bool other;

	if (CHANGED(DIR, e->out, b->ends.out))
		push_text(g, PKT_DIR, at, e->out ? "out" : "in", e->out ? 3 : 2);
	if (CHANGED(SIDE, k->side, was->side)) {
		if (has >> PKT_SIDE & 1)
			push_text(g, PKT_SIDE, at, k->side ? "tx" : "rx", 2);
		else
			push_no_text(g, PKT_SIDE, at);
	}
	other = family || memcmp(e->local, b->ends.local, 16);
	if (CHANGED(LOCAL, other, 0))
		gather_address(m, PKT_LOCAL, at, has, e->local, k->family, hosts && other);
	other = family || memcmp(e->remote, b->ends.remote, 16);
	if (CHANGED(REMOTE, other, 0))
		gather_address(m, PKT_REMOTE, at, has, e->remote, k->family, hosts && other);
	NUMBER(LPORT, e->lport, b->ends.lport);
	NUMBER(RPORT, e->rport, b->ends.rport);
	NUMBER(PROTO, k->proto, was->proto);
	if (b->changed & ROW_LINK || link_differs(k, e, was, &b->ends))
		gather_link(g, b, at, has, k, e);
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

/* Row `r` is not as the one before it. */
static __attribute__((noinline)) void gather_change(struct bucket_maker *m, uint32_t bucket, struct before *b,
						    uint32_t at, const struct row *r)
{
	static const struct packet_key none;
	const struct packet_key *k = &m->flow.key[r->key];
	struct gather *g = m->gather;
	const uint64_t has = r->slow.has;

	b->changed = at ? has ^ b->slow.has : ~0ull;
	if (b->changed) {
		g->run[g->runs++] = (struct gather_has){at, has};
		g->any |= has;
		g->all &= has;
	}
	gather_slow(g, b, at, &r->slow);
	gather_marks(g, b, at, r);
	if (!at || r->key != b->number || b->changed & ROW_KEY) {
		struct gather_ends e = ends_of(k, m->flow.out[r->key]);
		bool hosts = (!at || r->key != b->number) && new_hosts(m, bucket, r->key);

		if (!at) {
			b->key = &none;
			b->ends = ends_of(&none, true);
		}
		gather_key(m, b, at, has, k, &e, hosts);
		b->ends = e;
		b->key = k;
		b->number = r->key;
	}
	b->slow = r->slow;
	b->marks = r->marks;
}

/* Addresses of the row's inner and quoted packets: few rows have any, so they are looked for. */
static void gather_addresses(struct bucket_maker *m, uint32_t row)
{
	const struct flow_address *a = m->flow.address;
	uint32_t n = m->flow.addresses, from = 0;

	while (n) {
		uint32_t half = n / 2;

		if (a[from + half].row < row) {
			from += half + 1;
			n -= half + 1;
		} else {
			n = half;
		}
	}
	for (; from < m->flow.addresses && a[from].row == row; from++)
		if (a[from].family == 6)
			add_host6(m, a[from].address);
		else if (a[from].family == 4)
			add_host4(m, a[from].address, text_cell(m->gather, a[from].address));
}

static __attribute__((noinline)) void gather_rare(struct bucket_maker *m, uint32_t at, uint32_t row)
{
	struct gather *g = m->gather;

	for (uint32_t i = m->flow.first_rare[row]; i < m->flow.rares && m->flow.rare[i].row == row; i++) {
		unsigned field = m->flow.rare[i].field;

		m->rare[g->rares] = (struct gather_rare){at, i};
		m->rare_field[g->rares++] = (uint16_t)field;
		g->rare[field >> 6] |= 1ull << (field & 63);
		g->rare_count[field]++;
	}
	if (m->flow.addresses)
		gather_addresses(m, row);
}

/* Rare fields by field, each one's by place. */
static void sort_rare(struct bucket_maker *m)
{
	struct gather *g = m->gather;
	uint32_t next[PKT_FIELDS], sum = 0;

	for (unsigned f = 0; f < PKT_FIELDS; f++) {
		g->rare_first[f] = next[f] = sum;
		sum += g->rare_count[f];
	}
	for (uint32_t i = 0; i < g->rares; i++)
		m->rare_sorted[next[m->rare_field[i]]++] = m->rare[i];
}

static void gather_begin(struct bucket_maker *m, uint32_t n)
{
	struct gather *g = m->gather;

	g->n = n;
	g->any = g->gaps_of = 0;
	g->all = ~0ull;
	if (g->rares)
		memset(g->rare_count, 0, sizeof(g->rare_count));
	memset(g->rare, 0, sizeof(g->rare));
	memset(g->count, 0, sizeof(g->count));
	memset(g->bytes, 0, sizeof(g->bytes));
	g->rares = g->runs = g->ranges = 0;
	g->texts_len = 0;
	m->nhost4 = m->nhost6 = 0;
}

/* The three words of row_slow, and key and marks in one. */
struct glance {
	uint64_t has, second, third;
	uint32_t key_marks;
};

static inline struct glance glance_at(const struct row *r)
{
	struct glance s;

	memcpy(&s, &r->slow, 24);
	s.key_marks = r->key_marks;
	return s;
}

static inline void gather_dense(struct gather *g, uint32_t i, const struct row *r)
{
	uint64_t wall = (uint64_t)r->wall, ms = wall / 1000000;

	g->ms[i] = (int64_t)ms;
	g->ns[i] = (int32_t)(wall - ms * 1000000);
	g->len[i] = (int32_t)r->len;
	g->seq[i] = r->seq;
	g->ack[i] = r->ack;
	g->ltsval[i] = r->ltsval;
	g->rtsval[i] = r->rtsval;
	memcpy(&g->flags_win[i], &r->flags, 4);
	memcpy(&g->ipid_csum[i], &r->ipid, 4);
}

/* Whether ms is ascending: no difference below 0. */
static bool by_time(const struct gather *g)
{
	typedef int64_t four __attribute__((vector_size(32), aligned(8), may_alias));
	four sum = {0};
	int64_t below;
	uint32_t i = 1;

	for (; i + 4 <= g->n; i += 4)
		sum |= *(const four *)(g->ms + i) - *(const four *)(g->ms + i - 1);
	below = sum[0] | sum[1] | sum[2] | sum[3];
	for (; i < g->n; i++)
		below |= g->ms[i] - g->ms[i - 1];
	return below >= 0;
}

void gather_bucket(struct bucket_maker *m, uint32_t bucket)
{
	uint32_t first, n = bucket_cut(m, bucket, &first), left = m->flow.rows - first;
	const uint32_t *position = m->positions + first;
	const struct row *row = m->flow.row;
	struct gather *g = m->gather;
	struct glance was = {0};
	struct before before;

	memset(&before, 0, sizeof(before));
	gather_begin(m, n);
	for (uint32_t i = 0; i < n; i++) {
		const struct row *r = &row[position[i]];
		struct glance is = glance_at(r);

		if (i + AHEAD < left)
			__builtin_prefetch(&row[position[i + AHEAD]]);
		gather_dense(g, i, r);
		if (((is.has ^ was.has) | (is.second ^ was.second) | (is.third ^ was.third) |
		     (is.key_marks ^ was.key_marks)) != 0 ||
		    !i)
			gather_change(m, bucket, &before, i, r);
		if (__builtin_expect(r->slow.rare, 0))
			gather_rare(m, i, position[i]);
		was = is;
	}
	g->version = by_time(g) ? 2 : m->form.version;
	if (g->rares)
		sort_rare(m);
}
