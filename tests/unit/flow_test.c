/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * flow_test.c - every field of a packet stands once in row, key or list, with the value that its document has; and the
 * laws of the order.
 */
#include "recorder/encode/flow.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorder/core/util.h"
#include "recorder/encode/document.h"
#include "recorder/encode/column.h"
#include "recorder/encode/flow_internal.h"
#include "recorder/packet/text.h"
#include "tests/unit/any_packet.h"
#include "tests/unit/frames.h"
#include "tests/unit/packets.h"

static const struct batch_source source = {.capture = {1, 2, 3}, .sensor = "probe-7", .iface = "veth0"};

struct fixture {
	struct rec_slot *slots;
	const struct rec_head **records;
	struct batch batch;
	struct ends_table *ends;
	struct flow_maker *maker, *plain;
	uint64_t random;
	uint32_t checked, rares; /* over all batches */
};

static int setup(void **state)
{
	static const struct ends_network own[] = {{.address = {10, 0, 0, 1}, .family = 4},
						  {.address = {0x20, 0x01, 0x0d, 0xb8, [15] = 1}, .family = 6}};
	static const uint8_t macs[][6] = {{2, 0, 0, 0, 0, 1}};
	struct fixture *f = calloc(1, sizeof(*f));

	f->slots = calloc(FLOW_MOST + 1, sizeof(*f->slots));
	f->records = calloc(FLOW_MOST + 1, sizeof(*f->records));
	for (uint32_t i = 0; i <= FLOW_MOST; i++)
		f->records[i] = &f->slots[i].head;
	f->batch = (struct batch){
		.source = &source,
		.number = 7,
		.version = ENCODE_VERSION,
		.pair = {.boot = 1000000000, .wall = 1700000000123456789},
		.records = f->records,
	};
	f->ends = ends_table_new(own, 2, macs, 1, NULL, 0);
	f->maker = flow_maker_new();
	f->plain = flow_maker_new();
	f->plain->plain = true;
	f->random = 88172645463325252;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	flow_maker_free(f->plain);
	flow_maker_free(f->maker);
	ends_table_free(f->ends);
	free(f->slots);
	free(f->records);
	free(f);
	return 0;
}

static struct rec_slot *add(struct fixture *f, const uint8_t *bytes, unsigned cap, uint32_t wire, unsigned side)
{
	struct rec_slot *s = &f->slots[f->batch.nrecords];

	memset(s, 0, sizeof(*s));
	memcpy(s->bytes, bytes, cap);
	s->head = (struct rec_head){.time = 2000000000 + 1234567ull * f->batch.nrecords,
				    .wire_len = wire,
				    .cap_len = (uint16_t)cap,
				    .side = (uint8_t)side};
	f->batch.nrecords++;
	return s;
}

static struct rec_slot *add_frame(struct fixture *f, const struct frame *frame)
{
	uint8_t bytes[REC_CAP_MAX];
	struct rec_slot *s = add(f, bytes, packets_hex(bytes, REC_CAP_MAX, frame->hex), frame->wire, frame->side);

	s->head.marks = (uint16_t)frame->marks;
	s->head.gso_segs = (uint16_t)frame->segs;
	s->head.gso_size = (uint16_t)frame->gso;
	return s;
}

/* ---- fields ------------------------------------------------------------------------------------------------------ */

/* What row and key say of the outer stack. */
static void packet_of_row(struct packet *p, const struct row *r, const struct packet_key *key, bool out)
{
	const uint64_t has = r->slow.has, icmp = ROW_BIT(ICMP_ID) | ROW_BIT(ICMP_SEQ);
	struct packet_stack *s = &p->outer;

	memset(p, 0, sizeof(*p));
	p->has[0] = has;
	p->len = r->len;
	p->marks = r->marks;
	s->key = *key;
	s->seq = r->seq;
	s->ack = r->ack;
	s->tsval = out ? r->ltsval : r->rtsval;
	s->tsecr = out ? r->rtsval : r->ltsval;
	s->flags = has & icmp ? 0 : r->flags;
	s->win = has & icmp ? 0 : r->win;
	s->icmp_id = has & icmp ? r->icmp_id : 0;
	s->icmp_seq = has & icmp ? r->icmp_seq : 0;
	s->ipid = r->ipid;
	s->csum = r->csum;
	s->opts = r->slow.opts;
	s->flow = has & ROW_BIT(FLOW) ? r->slow.flow : 0;
	s->frag = has & ROW_BIT(FRAG) ? (uint16_t)r->slow.frag : 0;
	s->mss = has & ROW_BIT(MSS) ? r->slow.mss : 0;
	s->icmp_type = has & ROW_BIT(MSS) ? 0 : r->slow.icmp_type;
	s->icmp_code = has & ROW_BIT(MSS) ? 0 : r->slow.icmp_code;
	s->urg = r->slow.urg;
	s->ttl = r->slow.ttl;
	s->tos = r->slow.tos;
	s->ws = r->slow.ws;
}

/* Members whose bit is not set are 0: columns and comparisons rely on it. */
static void assert_unset_is_zero(const struct row *r)
{
	const uint64_t has = r->slow.has;

#define ZERO(bits, member) assert_true((has & (bits)) || (member) == 0)
	ZERO(ROW_BIT(MARKS), r->marks);
	ZERO(ROW_BIT(SEQ), r->seq);
	ZERO(ROW_BIT(ACK), r->ack);
	ZERO(ROW_BIT(LTSVAL), r->ltsval);
	ZERO(ROW_BIT(RTSVAL), r->rtsval);
	ZERO(ROW_BIT(FLAGS) | ROW_BIT(ICMP_ID), r->flags);
	ZERO(ROW_BIT(WIN) | ROW_BIT(ICMP_SEQ), r->win);
	ZERO(ROW_BIT(IPID), r->ipid);
	ZERO(ROW_BIT(CSUM), r->csum);
	ZERO(ROW_BIT(OPTS), r->slow.opts);
	ZERO(ROW_BIT(FLOW) | ROW_BIT(FRAG), r->slow.flow);
	ZERO(ROW_BIT(MSS) | ROW_BIT(ICMP_TYPE), r->slow.icmp_type);
	ZERO(ROW_BIT(MSS) | ROW_BIT(ICMP_CODE), r->slow.icmp_code);
	ZERO(ROW_BIT(URG), r->slow.urg);
	ZERO(ROW_BIT(TTL), r->slow.ttl);
	ZERO(ROW_BIT(TOS), r->slow.tos);
	ZERO(ROW_BIT(WS), r->slow.ws);
	/* What shares a place is not there twice. */
#define ONE(a, b) assert_false((has & ROW_BIT(a)) && (has & ROW_BIT(b)))
	ONE(FLOW, FRAG);
	ONE(MSS, ICMP_TYPE);
	ONE(MSS, ICMP_CODE);
	ONE(FLAGS, ICMP_ID);
	ONE(WIN, ICMP_SEQ);
}

static void append_rare(bson_t *d, const struct flow_rare *r)
{
	const char *name = fields[r->field].name;

	switch (fields[r->field].type) {
	case FIELD_INT32:
		bson_append_int32(d, name, -1, (int32_t)r->number);
		break;
	case FIELD_DOUBLE:
		bson_append_double(d, name, -1, (double)r->number);
		break;
	case FIELD_STRING:
		bson_append_utf8(d, name, -1, (const char *)r->bytes, r->len);
		break;
	case FIELD_BINARY:
		bson_append_binary(d, name, -1, BSON_SUBTYPE_BINARY, r->bytes, r->len);
		break;
	default:
		fail_msg("%s in the list of rare fields", name);
	}
}

#define ROW_INT32(name, value) bson_append_int32(d, #name, -1, (int32_t)(value))
#define ROW_DOUBLE(name, value) bson_append_double(d, #name, -1, (double)(value))
#define ROW_DATE(name, value) (void)0 /* in front of meta */
#define ROW_STRING(name, value)                                                                                        \
	do {                                                                                                           \
		char at[FIELD_TEXT_MAX];                                                                               \
		unsigned size = (value);                                                                               \
		bson_append_utf8(d, #name, -1, at, (int)size);                                                         \
	} while (0)
#define ROW_BINARY(name, value) fail_msg(#name " in a row")

/* The document of packet i, from the flow alone. */
static void document_of_flow(bson_t *d, const struct flow *flow, const struct batch *batch, uint32_t i)
{
	const struct row *r = &flow->row[i];
	const bool out = flow->out[r->key];
	const int64_t wall = r->wall;
	uint32_t next = r->slow.rare ? flow->first_rare[i] : flow->rares;
	uint8_t id[PACKET_ID_LEN];
	struct packet packet, *p = &packet;
	bson_t meta;

	packet_of_row(p, r, &flow->key[r->key], out);
	packet_id(id, batch, i);
	bson_append_binary(d, "_id", -1, BSON_SUBTYPE_BINARY, id, sizeof(id));
	bson_append_date_time(d, "ts", -1, clock_ms(wall));
	bson_append_document_begin(d, "meta", -1, &meta);
	bson_append_utf8(&meta, "iface", -1, "veth0", -1);
	bson_append_utf8(&meta, "sensor", -1, "probe-7", -1);
	bson_append_document_end(d, &meta);
	if (r->slow.rare)
		assert_true(next < flow->rares && flow->rare[next].row == i);
	for (unsigned field = 0; field < PKT_FIELDS; field++) {
		bool rare = next < flow->rares && flow->rare[next].row == i && flow->rare[next].field == field;

		assert_false(rare && field < 64 && r->slow.has >> field & 1);
		if (rare) {
			append_rare(d, &flow->rare[next++]);
			continue;
		}
		if (field >= 64 || !(r->slow.has >> field & 1))
			continue;
		switch (field) {
#define F(field_id, name, bson, where, tshark, description)                                                            \
	case PKT_##field_id:                                                                                           \
		ROW_##bson(name, where);                                                                               \
		break;
#include "recorder/packet/fields.def"
#undef F
		}
	}
	/* All of this row were taken: a field out of order would be left. */
	assert_true(!r->slow.rare || next == flow->rares || flow->rare[next].row > i);
}

/* Ends of inner and quoted stacks, by a decode of our own. */
static uint32_t check_addresses(const struct flow *flow, const struct batch *batch, uint32_t i, uint32_t next)
{
	const struct packet_stack *stacks[2];
	struct packet p;

	packet_decode(&p, batch->records[i], record_bytes(batch->records[i]));
	stacks[0] = packet_has(&p, PKT_ILOCAL) ? &p.inner : NULL;
	stacks[1] = packet_has(&p, PKT_QLOCAL) ? &p.quote : NULL;
	for (unsigned s = 0; s < 2; s++) {
		if (!stacks[s])
			continue;
		for (unsigned end = 0; end < 2; end++, next++) {
			assert_true(next < flow->addresses);
			assert_int_equal(flow->address[next].row, i);
			assert_int_equal(flow->address[next].family, stacks[s]->key.family);
			assert_memory_equal(flow->address[next].address, end ? stacks[s]->key.dst : stacks[s]->key.src,
					    16);
		}
	}
	return next;
}

static void check_fields(struct fixture *f, const struct flow *flow)
{
	uint32_t addresses = 0, with_rare = 0;

	assert_int_equal(flow->rows, f->batch.nrecords);
	for (uint32_t i = 0; i < flow->rows; i++) {
		bson_t got = BSON_INITIALIZER, expected = BSON_INITIALIZER;

		assert_unset_is_zero(&flow->row[i]);
		assert_int_equal(flow->row[i].slow.has & ~ROW_FIELDS, 0);
		document_of_flow(&got, flow, &f->batch, i);
		assert_int_equal(document_encode(&expected, &f->batch, f->ends, i), 0);
		if (!bson_equal(&got, &expected)) {
			char *x = bson_as_canonical_extended_json(&got, NULL);
			char *y = bson_as_canonical_extended_json(&expected, NULL);

			fail_msg("record %u\nflow     %s\ndocument %s", i, x, y);
		}
		bson_destroy(&got);
		bson_destroy(&expected);
		addresses = check_addresses(flow, &f->batch, i, addresses);
		with_rare += flow->row[i].slow.rare;
	}
	assert_int_equal(addresses, flow->addresses);
	for (uint32_t i = 1; i < flow->rares; i++)
		with_rare -= flow->rare[i].row != flow->rare[i - 1].row;
	assert_int_equal(with_rare, flow->rares != 0);
	f->checked += flow->rows;
	f->rares += flow->rares;
}

/* ---- order ------------------------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b, size_t n)
{
	int c = memcmp(a, b, n);

	return (c > 0) - (c < 0);
}

/* What must not fall from one run to the next; < 0: a is before b. 0: the same conversation. */
static int compare_conversations(const struct packet_key *a, bool aout, const struct packet_key *b, bool bout)
{
	unsigned aports[2] = {aout ? a->sport : a->dport, aout ? a->dport : a->sport};
	unsigned bports[2] = {bout ? b->sport : b->dport, bout ? b->dport : b->sport};
	int c = a->family - b->family;

	if (!c && a->family)
		c = compare(aout ? a->src : a->dst, bout ? b->src : b->dst, 16);
	if (!c && a->family)
		c = compare(aout ? a->dst : a->src, bout ? b->dst : b->src, 16);
	if (!c && !a->family)
		c = compare(aout ? a->smac : a->dmac, bout ? b->smac : b->dmac, 6);
	if (!c && !a->family)
		c = compare(aout ? a->dmac : a->smac, bout ? b->dmac : b->smac, 6);
	if (!c)
		c = a->proto - b->proto;
	for (unsigned i = 0; !c && i < 2; i++)
		c = (int)aports[i] - (int)bports[i];
	return c;
}

static void check_order(const struct fixture *f, const struct flow *flow)
{
	uint8_t *seen = calloc(flow->rows + 1, 1), *ended = calloc(flow->keys + 1, 1);

	for (uint32_t i = 0; i < flow->rows; i++) {
		uint32_t at = flow->order[i], key, before;
		int c;

		assert_true(at < flow->rows && !seen[at]);
		seen[at] = 1;
		key = flow->row[at].key;
		assert_true(key < flow->keys && !ended[key]);
		if (!i)
			continue;
		before = flow->row[flow->order[i - 1]].key;
		if (key == before) { /* a run, in the order of the batch */
			assert_true(at > flow->order[i - 1]);
			continue;
		}
		ended[before] = 1;
		assert_true(memcmp(&flow->key[key], &flow->key[before], sizeof(*flow->key)) != 0);
		c = compare_conversations(&flow->key[before], flow->out[before], &flow->key[key], flow->out[key]);
		assert_true(c <= 0);
		assert_true(c < 0 || flow->out[before] >= flow->out[key]); /* first what left */
	}
	for (uint32_t k = 0; k < flow->keys; k++) {
		struct packet p = {.outer.key = flow->key[k]};

		assert_int_equal((uintptr_t)&flow->key[k] % 64, 0);
		assert_int_equal(flow->out[k], ends_source_is_local(f->ends, &p));
	}
	free(seen);
	free(ended);
}

static struct flow make(struct fixture *f)
{
	struct flow flow;

	assert_int_equal(flow_make(f->maker, &f->batch, f->ends, &flow), 0);
	return flow;
}

/* The short way of flow_fast.h gives the very bytes that packet_decode's does, on each level of machine code. */
static void check_plain(struct fixture *f, const struct flow *flow)
{
	struct flow plain;

	assert_int_equal(flow_make(f->plain, &f->batch, f->ends, &plain), 0);
	assert_int_equal(flow->keys, plain.keys);
	assert_int_equal(flow->rares, plain.rares);
	for (uint32_t i = 0; i < flow->rows; i++)
		assert_memory_equal(&flow->row[i], &plain.row[i], sizeof(*plain.row));
	for (uint32_t k = 0; k < flow->keys; k++)
		assert_memory_equal(&flow->key[k], &plain.key[k], sizeof(*plain.key));
	assert_memory_equal(flow->order, plain.order, flow->rows * sizeof(*plain.order));
}

static void check(struct fixture *f)
{
	struct flow flow = make(f);

	check_fields(f, &flow);
	check_order(f, &flow);
	if (flow.rows) {
		check_plain(f, &flow);
		for (int level = COLUMN_SSE2; level <= COLUMN_BEST; level++) {
			if ((int)column_use((enum column_level)level) != level)
				continue;
			flow = make(f);
			check_plain(f, &flow);
		}
		column_use(COLUMN_BEST);
	}
	f->batch.nrecords = 0;
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void frames_by_hand(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(frames); i++)
		add_frame(f, &frames[i]);
	check(f);
	assert_true(f->rares > 100);
}

/* The same with bytes changed, cut short, sides turned: fields in combinations that no sender makes. */
static void damaged_frames(void **state)
{
	struct fixture *f = *state;

	for (unsigned round = 0; round < 200; round++) {
		for (unsigned i = 0; i < ARRAY_SIZE(frames); i++) {
			struct rec_slot *s = add_frame(f, &frames[i]);
			uint64_t random = packets_random(&f->random);

			s->head.side = random & 1;
			if (random & 2)
				s->head.cap_len = (uint16_t)(random >> 32) % (s->head.cap_len + 1u);
			for (unsigned n = random >> 2 & 3; n && s->head.cap_len; n--)
				s->bytes[packets_random(&f->random) % s->head.cap_len] =
					(uint8_t)packets_random(&f->random);
			if (f->batch.nrecords == 4096)
				check(f);
		}
	}
	check(f);
	assert_true(f->checked > 20000);
}

/* Each frame several times in a row, sometimes with one bit of it changed: a train that is none. */
static void trains(void **state)
{
	struct fixture *f = *state;

	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < ARRAY_SIZE(frames); i++) {
			for (unsigned n = 8; n; n--) {
				struct rec_slot *s = add_frame(f, &frames[i]);
				uint64_t random = packets_random(&f->random);

				if (random & 1 && s->head.cap_len)
					s->bytes[(random >> 8) % s->head.cap_len] ^= (uint8_t)(1u << (random >> 1 & 7));
				s->head.side = (random >> 4 & 7) == 0 ? !s->head.side : s->head.side;
			}
			if (f->batch.nrecords >= 4000)
				check(f);
		}
	}
	check(f);
	assert_true(f->checked > 10000);
}

/* Packets of any values that can be written as bytes. */
static void packets_of_any_values(void **state)
{
	struct fixture *f = *state;
	uint8_t bytes[REC_CAP_MAX];

	for (unsigned round = 0; round < 40000; round++) {
		struct packet p;
		int length = any_packet_bytes(&p, &f->random, bytes);

		if (length < 0)
			continue;
		add(f, bytes, (unsigned)length, p.len, p.outer.key.side);
		if (f->batch.nrecords == 4096)
			check(f);
	}
	check(f);
	assert_true(f->checked > 1000);
}

static void capture_frame(void *arg, const uint8_t *frame, uint32_t cap, uint32_t wire)
{
	struct fixture *f = arg;

	packets_record(&f->slots[f->batch.nrecords], frame, cap, wire, f->batch.nrecords & 1);
	f->slots[f->batch.nrecords].head.time = 2000000000 + f->batch.nrecords;
	if (++f->batch.nrecords == 20000)
		check(f);
}

static void captures(void **state)
{
	struct fixture *f = *state;

	if (!packets_captures()) {
		print_message("no captures: set XDP_RECORDER_PCAPS\n");
		skip();
	}
	packets_directory(packets_captures(), capture_frame, f);
	check(f);
	print_message("%u packets of captures, %u rare fields\n", f->checked, f->rares);
	assert_true(f->checked > 0);
}

/* Packet `i` of FLOW_MOST UDP conversations. With one_pair only ports tell them apart. */
static void add_udp(struct fixture *f, uint32_t i, bool one_pair, bool back)
{
	static const uint8_t head[] = {2, 0,	0, 0, 0,  2, 2, 0, 0, 0,  0,  1, 8,
				       0, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0};
	uint8_t b[42] = {0}, *local, *remote;
	const uint32_t mixed = i * 2654435761u >> 16; /* all numbers of 16 bits, in disorder */

	memcpy(b, head, sizeof(head));
	local = b + (back ? 30 : 26);
	remote = b + (back ? 26 : 30);
	put_be32(local, 0x0a000001);
	put_be32(remote, one_pair ? 0x0a000002 : 0x0b000000 + (i << 8 & 0xff0000) + (i >> 8 & 0xff00) + (i & 255));
	put_be16(b + (back ? 36 : 34), one_pair ? (uint16_t)mixed : 53);
	put_be16(b + (back ? 34 : 36), 53);
	put_be16(b + 38, 8);
	add(f, b, sizeof(b), 60, back ? REC_RX : REC_TX);
}

static void many_conversations(void **state)
{
	struct fixture *f = *state;

	for (unsigned one_pair = 0; one_pair < 2; one_pair++) {
		uint8_t *seen = calloc(FLOW_MOST, 1);
		uint32_t ports = 0;
		struct flow flow;

		for (uint32_t i = 0; i < FLOW_MOST; i++) {
			add_udp(f, i, one_pair, false);
			if (one_pair)
				ports += !seen[i * 2654435761u >> 16]++;
		}
		free(seen);
		flow = make(f);
		assert_int_equal(flow.rows, FLOW_MOST);
		assert_int_equal(flow.keys, one_pair ? ports : FLOW_MOST);
		check_order(f, &flow);
		check_fields(f, &flow);
		f->batch.nrecords = 0;
	}
	/* Each key twice: the way there and the way back. */
	for (uint32_t i = 0; i < FLOW_MOST; i++)
		add_udp(f, i / 2, false, i % 2 == 0);
	struct flow flow = make(f);
	assert_int_equal(flow.keys, FLOW_MOST);
	check_order(f, &flow);
	for (uint32_t i = 0; i < FLOW_MOST; i += 2) {
		const struct packet_key *a = &flow.key[flow.row[flow.order[i]].key];
		const struct packet_key *b = &flow.key[flow.row[flow.order[i + 1]].key];

		assert_int_equal(a->side, REC_TX);
		assert_int_equal(b->side, REC_RX);
		assert_memory_equal(a->dst, b->src, 16);
	}
}

static void none_one_and_too_many(void **state)
{
	struct fixture *f = *state;
	struct flow flow = make(f);

	assert_int_equal(flow.rows | flow.keys | flow.rares | flow.addresses, 0);
	add_frame(f, &frames[0]);
	flow = make(f);
	assert_int_equal(flow.rows, 1);
	assert_int_equal(flow.keys, 1);
	assert_int_equal(flow.order[0], 0);
	f->batch.nrecords = FLOW_MOST + 1;
	assert_int_equal(flow_make(f->maker, &f->batch, f->ends, &flow), -E2BIG);
}

/* Neither what the maker did before nor its seed shows. */
static void the_same_again(void **state)
{
	struct fixture *f = *state;
	uint32_t *order = calloc(FLOW_MOST, sizeof(*order));
	uint32_t *key = calloc(FLOW_MOST, sizeof(*key));
	struct flow flow;

	for (uint32_t i = 0; i < FLOW_MOST; i++)
		add_udp(f, (uint32_t)(packets_random(&f->random) >> 40) % 5000, i & 1, i & 2);
	flow = make(f);
	memcpy(order, flow.order, FLOW_MOST * sizeof(*order));
	for (uint32_t i = 0; i < FLOW_MOST; i++)
		key[i] = flow.row[i].key;
	for (unsigned round = 0; round < 3; round++) {
		if (round == 1) {
			f->batch.nrecords = 3;
			make(f);
		} else if (round == 2) {
			flow_maker_free(f->maker);
			f->maker = flow_maker_new();
		}
		f->batch.nrecords = FLOW_MOST;
		flow = make(f);
		assert_memory_equal(order, flow.order, FLOW_MOST * sizeof(*order));
		for (uint32_t i = 0; i < FLOW_MOST; i++)
			assert_int_equal(key[i], flow.row[i].key);
	}
	free(order);
	free(key);
}

/* The memory of a large batch is kept for the next ones, and given back when only small ones come. */
static void memory_is_given_back(void **state)
{
	struct fixture *f = *state;
	struct flow flow;

	for (uint32_t i = 0; i < FLOW_MOST; i++)
		add_udp(f, i, false, false);
	flow = make(f);
	assert_int_equal(flow.keys, FLOW_MOST);
	assert_int_equal(f->maker->cap, FLOW_MOST);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 15; i++) {
			f->batch.nrecords = 1000;
			make(f);
			assert_int_equal(f->maker->cap, FLOW_MOST);
		}
		f->batch.nrecords = round < 2 ? FLOW_MOST : 1000;
		flow = make(f);
		assert_int_equal(flow.keys, f->batch.nrecords);
		check_order(f, &flow);
	}
	assert_in_range(f->maker->cap, 1000, 4096);
	assert_in_range(f->maker->table_cap, 2000, 4096);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(frames_by_hand),	     TEST(damaged_frames), TEST(trains),
		TEST(packets_of_any_values), TEST(captures),	   TEST(many_conversations),
		TEST(none_one_and_too_many), TEST(the_same_again), TEST(memory_is_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
