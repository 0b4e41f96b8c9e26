// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The block list in the programs: who is dropped, and by which entry, of every kind of frame, on XDP and on tc, in and out; that what
 * is dropped is recorded, or counted, once. By the real object and BPF_PROG_RUN; entries come as user space enters them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/pkt_cls.h>
#include <time.h>

#include "recorder/capture/block.h"
#include "tests/bpf/kinds.h"
#include "tests/bpf/lab.h"

#define RING (1u << 20)

static struct lab lab;
static struct lab_capture l;
static struct block_maps maps;
static struct block_list list;
static int prog[2]; /* XDP, tc */
static const int dropped[2] = { XDP_DROP, TC_ACT_SHOT }, passed[2] = { XDP_PASS, TC_ACT_UNSPEC };

static void open_with(struct capture_spec spec)
{
	spec.iface = "r0";
	spec.hook = CAPTURE_HOOK_XDP;
	spec.ring_bytes = RING;
	spec.sides = spec.sides ? spec.sides : CAPTURE_SIDE(REC_RX);
	if (lab_capture(&l, &lab, spec) || block_maps_of(&maps, l.c, &l.err))
		fail_msg("%s", l.err.text);
	prog[0] = lab_program(&l, REC_RX, MODE_XDP);
	prog[1] = lab_program(&l, REC_RX, MODE_TCX);
	if (prog[0] < 0 || prog[1] < 0)
		fail_msg("%s", l.err.text);
}

static void end(void)
{
	close(prog[0]);
	close(prog[1]);
	block_maps_close(&maps);
	lab_capture_end(&l);
	block_list_free(&list);
}

/* "10.0.0.0/8", "source 10.0.0.0/8" */
static struct block_entry entry(const char *text)
{
	struct block_problem problem;
	struct block_entry e;
	unsigned by = BLOCK_EITHER;
	char word[32] = "";
	int n = 0;

	if (sscanf(text, "%31[a-z] %n", word, &n) == 1 && n && block_by_read(word)) {
		by = block_by_read(word);
		text += n;
	}
	if (block_entry_read(&e, text, &problem))
		fail_msg("%s", problem.text);
	e.by = (uint8_t)by;
	return e;
}

static void in_force(void)
{
	if (block_maps_add(&maps, &list, &l.err) || block_maps_trim(&maps, &list, NULL, NULL, &l.err))
		fail_msg("%s", l.err.text);
}

static void add(const char *text)
{
	struct block_entry e = entry(text);

	assert_int_equal(block_list_append(&list, &e), 0);
	block_list_sort(&list);
	in_force();
}

static void none(void)
{
	list.count = 0;
	in_force();
}

static struct rec_count counted(const char *text)
{
	struct block_entry e = entry(text);
	struct rec_count count;

	assert_int_equal(block_maps_count(&maps, &e, &count), 0);
	return count;
}

static bool drops(int kind, const struct frame *f)
{
	int verdict = -1000;

	assert_true(lab_run(prog[kind], f->bytes, f->len, 1, &verdict) >= 0);
	assert_true(verdict == dropped[kind] || verdict == passed[kind]);
	return verdict == dropped[kind];
}

static struct frame frame_of(void (*make)(struct frame *))
{
	struct frame f = frame_begin();

	make(&f);
	frame_end(&f);
	return f;
}

static struct frame from_to(uint32_t source, uint32_t dest)
{
	struct frame f = frame_of(make_udp4);

	put_be32(f.bytes + 26, source);
	put_be32(f.bytes + 30, dest);
	return f;
}

static struct rec_count term(enum rec_term t)
{
	return lab_term(&l, REC_RX, t);
}

/* The version of the outermost IP header that the parser finds; 0: none. */
static unsigned version_of(const struct kind *k, const struct frame *f)
{
	unsigned version = k->off[REC_L3] ? f->bytes[k->off[REC_L3]] >> 4 : 0;

	return (version == 4 && f->len >= k->off[REC_L3] + 20u) || (version == 6 && f->len >= k->off[REC_L3] + 40u) ? version : 0;
}

/* Without an entry nothing is ever dropped; with one that fits nobody neither; with one that fits, what has such an address. */
static void every_kind(void **state)
{
	(void)state;
	open_with((struct capture_spec){ 0 });
	for (unsigned pass = 0; pass < 3; pass++) {
		struct rec_count want4 = { 0 }, want6 = { 0 };

		none();
		if (pass == 1) {
			add("192.0.2.0/24"), add("destination 10.0.0.1"), add("source 10.0.0.2"), add("2001:db8:1::/48");
		}
		if (pass == 2)
			add("source 10.0.0.1"), add("source 2001:db8::1");
		for (unsigned i = 0; i < ARRAY_SIZE(kinds_all); i++) {
			struct frame f = frame_of(kinds_all[i].make);
			unsigned version = version_of(&kinds_all[i], &f);

			if (f.len < 14)
				continue;
			for (int kind = 0; kind < 2; kind++) {
				/* BPF_PROG_RUN makes no skb that has an EtherType of IP and no IP header */
				if (kind == 1 && f.len < 54 && !version)
					continue;
				if (drops(kind, &f) != (pass == 2 && version))
					fail_msg("%s on %s, round %u", kinds_all[i].name, kind ? "tc" : "xdp", pass);
				if (version == 4)
					want4.packets++, want4.bytes += f.len;
				if (version == 6)
					want6.packets++, want6.bytes += f.len;
			}
			lab_drain(&l);
		}
		if (pass < 2)
			continue;
		assert_true(want4.packets > 100 && want6.packets > 30);
		assert_int_equal(counted("10.0.0.1").packets, want4.packets);
		assert_int_equal(counted("10.0.0.1").bytes, want4.bytes);
		assert_int_equal(counted("2001:db8::1").packets, want6.packets);
		assert_int_equal(counted("2001:db8::1").bytes, want6.bytes);
		assert_int_equal(term(REC_BLOCKED_STORED).packets, want4.packets + want6.packets);
		assert_int_equal(term(REC_BLOCKED_STORED).bytes, want4.bytes + want6.bytes);
		assert_int_equal(term(REC_SEEN).packets, term(REC_PUBLISHED).packets);
		assert_int_equal(term(REC_BLOCKED).packets, 0);
	}
	end();
}

static void by_end(void **state)
{
	struct frame there = from_to(0x0a000001, 0x0a000002), back = from_to(0x0a000002, 0x0a000001);

	(void)state;
	open_with((struct capture_spec){ 0 });
	for (int kind = 0; kind < 2; kind++) {
		none(), add("source 10.0.0.1");
		assert_true(drops(kind, &there) && !drops(kind, &back));
		none(), add("destination 10.0.0.1");
		assert_true(!drops(kind, &there) && drops(kind, &back));
		none(), add("10.0.0.1");
		assert_true(drops(kind, &there) && drops(kind, &back));
		/* the same entry by another end: its counters stay */
		assert_int_equal(counted("10.0.0.1").packets, 2);
		list.count = 0, add("source 10.0.0.1");
		assert_true(drops(kind, &there) && !drops(kind, &back));
		assert_int_equal(counted("10.0.0.1").packets, 3);
		/* one that went and came has none */
		none(), add("10.0.0.1");
		assert_int_equal(counted("10.0.0.1").packets, 0);
	}
	end();
}

static void longest(void **state)
{
	struct frame f = from_to(0x0a010203, 0xc0000201);

	(void)state;
	open_with((struct capture_spec){ 0 });
	add("0.0.0.0/0"), add("10.0.0.0/8"), add("10.1.0.0/16"), add("10.1.2.0/24"), add("10.1.2.3"), add("192.0.2.1");
	assert_true(drops(0, &f));
	assert_int_equal(counted("10.1.2.3").packets, 1);
	/* one that does not count this end is passed over */
	add("destination 10.1.2.3");
	assert_true(drops(0, &f));
	assert_int_equal(counted("10.1.2.3").packets, 1);
	assert_int_equal(counted("10.1.2.0/24").packets, 1);
	put_be32(f.bytes + 26, 0x0a01ffff);
	assert_true(drops(0, &f));
	assert_int_equal(counted("10.1.0.0/16").packets, 1);
	put_be32(f.bytes + 26, 0x0affffff);
	assert_true(drops(0, &f));
	assert_int_equal(counted("10.0.0.0/8").packets, 1);
	put_be32(f.bytes + 26, 0x0b000000); /* everybody, as its source: before the destination, although that is listed by itself */
	assert_true(drops(0, &f));
	assert_int_equal(counted("0.0.0.0/0").packets, 1);
	assert_int_equal(counted("192.0.2.1").packets, 0);
	end();
}

static void set_bits(uint8_t *p, unsigned from, unsigned to)
{
	for (unsigned bit = from; bit < to; bit++)
		p[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
}

/* Of each length: the last address that is in it, and, one bit off, the nearest that is not. */
static void every_length(void **state)
{
	char text[64];

	(void)state;
	open_with((struct capture_spec){ 0 });
	for (unsigned version = 4; version <= 6; version += 2)
		for (unsigned length = 0; length <= (version == 4 ? 32u : 128u); length++) {
			struct frame f = frame_of(version == 4 ? make_udp4 : make_udp6);
			uint8_t *source = f.bytes + (version == 4 ? 26 : 22);
			struct block_entry e = { .version = (uint8_t)version, .length = (uint8_t)length, .by = REC_BLOCK_SOURCE };
			unsigned bits = version == 4 ? 32 : 128;

			memset(source, 0xa5, bits / 8);
			memcpy(e.address, source, bits / 8);
			for (unsigned bit = length; bit < bits; bit++)
				e.address[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
			block_entry_text(text, &e);
			none();
			assert_int_equal(block_list_append(&list, &e), 0);
			in_force();
			if (!drops(0, &f))
				fail_msg("%s does not drop", text);
			set_bits(source, length, bits);
			if (!drops(0, &f))
				fail_msg("%s does not drop its other end", text);
			if (length)
				set_bits(source, length - 1, length);
			if (length && drops(0, &f))
				fail_msg("%s drops what is beside it", text);
			assert_int_equal(counted(text).packets, 2);
			lab_drain(&l);
		}
	end();
}

/* All lengths at once, one inside the other: each takes what the longer ones leave. */
static void nested(void **state)
{
	struct frame f6 = frame_of(make_udp6), f4 = frame_of(make_udp4);

	(void)state;
	open_with((struct capture_spec){ 0 });
	for (unsigned version = 4; version <= 6; version += 2)
		for (unsigned length = 0; length <= (version == 4 ? 32u : 128u); length++) {
			struct block_entry e = { .version = (uint8_t)version, .length = (uint8_t)length, .by = REC_BLOCK_SOURCE };

			assert_int_equal(block_list_append(&list, &e), 0);
		}
	block_list_sort(&list);
	in_force();
	for (unsigned length = 0; length <= 128; length++) {
		memset(f6.bytes + 22, 0, 16);
		if (length < 128)
			set_bits(f6.bytes + 22, length, length + 1);
		assert_true(drops(0, &f6));
		memset(f4.bytes + 26, 0, 4);
		if (length < 32)
			set_bits(f4.bytes + 26, length, length + 1);
		if (length <= 32)
			assert_true(drops(1, &f4));
	}
	for (unsigned i = 0; i < list.count; i++) {
		struct rec_count count;

		assert_int_equal(block_maps_count(&maps, &list.entries[i], &count), 0);
		assert_int_equal(count.packets, 1);
	}
	end();
}

static void marks_of(unsigned want_blocked, unsigned want_others)
{
	const struct rec_ring *ring = lab_ring(&l, REC_RX);
	unsigned blocked = 0, others = 0;

	for (uint64_t at = *lab_tail(&l, REC_RX, (unsigned)sched_getcpu()); at < lab_head(ring);) {
		const struct rec_head *h = lab_record(&l, ring, at);

		blocked += !!(h->marks & REC_MARK_BLOCKED);
		others += !(h->marks & REC_MARK_BLOCKED);
		at += REC_RECORD_LEN(h->cap_len);
	}
	assert_int_equal(blocked, want_blocked);
	assert_int_equal(others, want_others);
}

static void is_marked(void **state)
{
	struct frame listed = from_to(0x0a000001, 2), other = from_to(0x0a000002, 2);

	(void)state;
	open_with((struct capture_spec){ .floods = REC_FLOODS_COUNTED });
	add("10.0.0.1");
	assert_true(drops(0, &listed) && !drops(0, &other) && drops(1, &listed) && !drops(1, &other) && !drops(0, &other));
	marks_of(2, 3);
	none();
	assert_true(!drops(0, &listed) && !drops(1, &listed));
	marks_of(2, 5);
	end();
}

/* The ring is full for good: what is blocked is stored up to five eighths, then counted, and never in a flood's tables. */
static void ring_fills(void **state)
{
	static const enum rec_floods floods[] = { REC_FLOODS_COUNTED, REC_FLOODS_LOST };
	struct frame listed = from_to(0x0a000001, 2), other = from_to(0x0a000002, 2), tagged = frame_of(make_vlan_tcp4);
	const unsigned times = 40000;

	(void)state;
	put_be32(tagged.bytes + 30, 0x0a000001);
	for (unsigned i = 0; i < ARRAY_SIZE(floods); i++) {
		open_with((struct capture_spec){ .floods = floods[i] });
		add("10.0.0.1");
		assert_true(lab_run(prog[0], listed.bytes, listed.len, times, NULL) >= 0);
		assert_true(lab_run(prog[1], tagged.bytes, tagged.len, times, NULL) >= 0);
		assert_int_equal(term(REC_SEEN).packets, 2 * times);
		assert_int_equal(term(REC_PUBLISHED).packets, term(REC_BLOCKED_STORED).packets);
		assert_int_equal(term(REC_PUBLISHED).packets + term(REC_BLOCKED).packets, 2 * times);
		assert_int_equal(term(REC_PUBLISHED).bytes + term(REC_BLOCKED).bytes,
				 (uint64_t)times * (listed.len + tagged.len));
		assert_in_range(lab_head(lab_ring(&l, REC_RX)), RING / 16 * 10, RING / 16 * 10 + 64 * 96 + RING / 1000);
		assert_int_equal(counted("10.0.0.1").packets, 2 * times);
		assert_int_equal(counted("10.0.0.1").bytes, (uint64_t)times * (listed.len + tagged.len));
		/* There is room for the others, and each is in one term. */
		assert_true(lab_run(prog[0], other.bytes, other.len, 100, NULL) >= 0);
		assert_int_equal(term(REC_PUBLISHED).packets - term(REC_BLOCKED_STORED).packets, 100);
		assert_true(lab_run(prog[0], other.bytes, other.len, times, NULL) >= 0);
		assert_true(drops(0, &listed) && drops(1, &listed) && drops(0, &tagged) && drops(1, &tagged) && !drops(0, &other));
		assert_int_equal(term(REC_SEEN).packets, term(REC_PUBLISHED).packets + term(REC_BLOCKED).packets +
								 term(REC_SUMMARISED_FLOW).packets + term(REC_SUMMARISED_PREFIX).packets +
								 term(REC_LOST_RING_FULL).packets);
		assert_int_equal(term(floods[i] ? REC_LOST_RING_FULL : REC_SUMMARISED_FLOW).packets, 0);
		assert_true(term(floods[i] ? REC_SUMMARISED_FLOW : REC_LOST_RING_FULL).packets > 0);
		assert_int_equal(counted("10.0.0.1").packets, 2 * times + 4);
		end();
	}
}

static void counting_only(void **state)
{
	struct frame listed = from_to(0x0a000001, 2), other = from_to(0x0a000002, 2), tagged = frame_of(make_vlan_tcp4);

	(void)state;
	open_with((struct capture_spec){ .floods = REC_FLOODS_ALL });
	add("10.0.0.1");
	assert_true(drops(0, &listed) && drops(1, &listed) && drops(0, &tagged) && !drops(0, &other));
	assert_int_equal(term(REC_BLOCKED).packets, 3);
	assert_int_equal(term(REC_SUMMARISED_PREFIX).packets, 1);
	assert_int_equal(term(REC_PUBLISHED).packets, 0);
	end();
}

/* What the filter rejects is dropped all the same, and so is what is the recorder's own: counted, without a record. */
static void rejected_and_own(void **state)
{
	struct frame udp = from_to(0x0a000001, 2), arp = frame_of(make_arp), tcp = frame_of(make_tcp4), tagged = frame_of(make_vlan_tcp4);
	struct rec_own_key key = { .sport = *(uint16_t *)(tcp.bytes + 34), .dport = *(uint16_t *)(tcp.bytes + 36), .proto = 6 };
	struct filter_error error;
	struct filter *filter;

	(void)state;
	assert_int_equal(filter_compile(&filter, "tcp port 443", &error), 0);
	open_with((struct capture_spec){ .filter = filter });
	add("10.0.0.1");
	assert_true(drops(0, &udp) && drops(1, &udp) && drops(0, &tagged) && !drops(0, &arp));
	assert_int_equal(term(REC_BLOCKED).packets, 3);
	assert_int_equal(term(REC_FILTERED_EXPR).packets, 1);
	key.src[10] = key.src[11] = key.dst[10] = key.dst[11] = 0xff;
	memcpy(key.src + 12, tcp.bytes + 26, 4);
	memcpy(key.dst + 12, tcp.bytes + 30, 4);
	assert_int_equal(capture_own_add(l.c, &key), 0);
	assert_true(drops(0, &tcp));
	assert_int_equal(term(REC_BLOCKED).packets, 4);
	none();
	assert_true(!drops(0, &tcp));
	assert_int_equal(term(REC_FILTERED_OWN).packets, 1);
	assert_int_equal(term(REC_PUBLISHED).packets, 0);
	end();
	filter_free(filter);
}

/* Another program holds the counters of this CPU, or there is no ring: dropped all the same. */
static void without_ring(void **state)
{
	struct frame listed = from_to(0x0a000001, 2), other = from_to(0x0a000002, 2);
	size_t size = 2 * sizeof(struct rec_seconds);
	struct rec_seconds *mine;
	uint32_t cpu = (uint32_t)sched_getcpu();

	(void)state;
	open_with((struct capture_spec){ 0 });
	add("10.0.0.1");
	mine = mmap(NULL, size * l.cpus, PROT_READ | PROT_WRITE, MAP_SHARED, capture_map_fd(l.c, CAPTURE_SECONDS), 0);
	assert_true(mine != MAP_FAILED);
	mine[cpu].busy = 1;
	assert_true(drops(0, &listed) && !drops(0, &other));
	mine[cpu].busy = 0;
	assert_int_equal(term(REC_LOST_CONTENDED).packets, 2);
	assert_int_equal(counted("10.0.0.1").packets, 1);
	munmap(mine, size * l.cpus);
	assert_int_equal(bpf_map_delete_elem(l.c->map[MAP_RINGS_RX], &cpu), 0);
	assert_true(drops(0, &listed) && !drops(0, &other));
	assert_int_equal(term(REC_BLOCKED).packets, 1);
	assert_int_equal(term(REC_LOST_NO_RING).packets, 1);
	end();
}

static void tx_and_tap(void **state)
{
	struct frame listed = from_to(2, 0x0a000001), other = from_to(2, 0x0a000002);
	int tx;

	(void)state;
	open_with((struct capture_spec){ .sides = CAPTURE_SIDE(REC_RX) | CAPTURE_SIDE(REC_TX) });
	add("destination 10.0.0.1");
	tx = lab_program(&l, REC_TX, MODE_CLSACT);
	assert_true(tx >= 0);
	close(prog[1]);
	prog[1] = tx;
	assert_true(drops(1, &listed) && !drops(1, &other) && drops(0, &listed));
	assert_int_equal(lab_term(&l, REC_TX, REC_BLOCKED_STORED).packets, 1);
	assert_int_equal(term(REC_BLOCKED_STORED).packets, 1);
	assert_int_equal(counted("10.0.0.1").packets, 2); /* one list for both sides */
	end();
}

/* 100,000 entries: entered, each found, counted, and taken away again. */
static void many(void **state)
{
	struct timespec a, b;
	struct rec_count count;
	double seconds;

	(void)state;
	open_with((struct capture_spec){ .floods = REC_FLOODS_ALL });
	for (uint32_t i = 0; i < 100000; i++) {
		struct block_entry e = { .version = i % 10 ? 4 : 6, .length = i % 10 ? (i % 3 ? 32 : 24) : 64, .by = REC_BLOCK_SOURCE };

		put_be32(e.address, 0x0b000000 + (i << 8));
		assert_int_equal(block_list_append(&list, &e), 0);
	}
	block_list_sort(&list);
	assert_int_equal(list.count, 100000);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a); /* others may be on this CPU */
	in_force();
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	seconds = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
	print_message("100,000 entries in %.3f s of CPU\n", seconds);
	assert_true(seconds < 2);
	for (size_t i = 0; i < list.count; i++) {
		struct frame f = frame_of(list.entries[i].version == 4 ? make_udp4 : make_udp6);

		memcpy(f.bytes + (list.entries[i].version == 4 ? 26 : 22), list.entries[i].address, list.entries[i].version == 4 ? 4 : 16);
		if (i % 7)
			continue;
		if (!drops(0, &f))
			fail_msg("entry %zu does not drop", i);
		assert_int_equal(block_maps_count(&maps, &list.entries[i], &count), 0);
		assert_int_equal(count.packets, 1);
		assert_int_equal(count.bytes, f.len);
	}
	none();
	assert_int_equal(block_maps_entries(l.c), 0);
	end();
}

LAB_VETH_OF_EACH_TEST(lab)

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, veth, no_veth)
	const struct CMUnitTest tests[] = { T(every_kind), T(by_end),	     T(longest),	 T(every_length), T(nested),	 T(is_marked),
					    T(ring_fills), T(counting_only), T(rejected_and_own), T(without_ring), T(tx_and_tap), T(many) };
	int r = lab_begin(&lab);

	if (r)
		return r;
	lab_pin_cpu((unsigned)sched_getcpu());
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	lab_end(&lab);
	return r;
}
