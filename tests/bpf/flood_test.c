// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A ring that fills: what is stored, what is counted, and that together they are what was sent, to the packet and to
 * the byte; by the real object and BPF_PROG_RUN. Nothing is drained unless a test does: the ring fills for good.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <time.h>

#include "bpf/flood.h"
#include "recorder/source/native.h"
#include "recorder/source/summary.h"
#include "tests/bpf/kinds.h"
#include "tests/bpf/lab.h"

#define SMALL (1u << 20)
#define LARGE (1u << 25)

static struct lab lab;
static struct lab_capture l;
static int xdp;
static uint64_t state = 88172645463325252ull, sent, sent_bytes;

static uint32_t dice(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16);
}

static void open_capture(uint32_t ring, enum rec_floods floods)
{
	struct capture_spec spec = {.iface = "r0",
				    .sides = CAPTURE_SIDE(REC_RX),
				    .hook = CAPTURE_HOOK_XDP,
				    .ring_bytes = ring,
				    .floods = floods};

	if (lab_capture(&l, &lab, spec))
		fail_msg("%s", l.err.text);
	xdp = lab_program(&l, REC_RX, MODE_XDP);
	assert_true(xdp >= 0);
	sent = sent_bytes = 0;
}

static void close_capture(void)
{
	close(xdp);
	lab_capture_end(&l);
}

static struct frame udp4(uint32_t source, uint32_t dest, uint16_t port)
{
	struct frame f = frame_begin();

	make_udp4(&f);
	frame_end(&f);
	put_be32(f.bytes + 26, source);
	put_be32(f.bytes + 30, dest);
	put_be16(f.bytes + 34, port);
	return f;
}

static void put(const struct frame *f, unsigned times)
{
	assert_true(lab_run(xdp, f->bytes, f->len, times, NULL) >= 0);
	sent += times;
	sent_bytes += (uint64_t)times * f->len;
}

static uint64_t packets(enum rec_term term)
{
	return lab_term(&l, REC_RX, term).packets;
}

static struct summaries read_epoch(uint32_t epoch)
{
	struct summaries s = {0};

	for (unsigned cpu = 0; cpu < l.cpus; cpu++)
		if (l.ring[REC_RX][cpu])
			assert_int_equal(summaries_add(&s, l.ring[REC_RX][cpu], l.ring_size, epoch), 0);
	summaries_merge(&s);
	return s;
}

/* The sums of the epoch's entries, by the term that they belong to. */
static void sums_of(const struct summaries *s, struct rec_count *flow, struct rec_count *prefix)
{
	*flow = *prefix = (struct rec_count){0};
	for (size_t i = 0; i < s->count; i++) {
		struct rec_count *to = s->row[i].key.shape & 0xf0 ? prefix : flow;

		to->packets += s->row[i].packets;
		to->bytes += s->row[i].bytes;
		assert_true(s->row[i].first <= s->row[i].last && s->row[i].len_min <= s->row[i].len_max);
		assert_true(s->row[i].why && !(s->row[i].why & 1));
	}
}

/* Sent = stored + counted, nothing lost; the tables of epochs up to `newest` hold what the terms say. */
static void closes(uint32_t newest)
{
	struct rec_count flow = lab_term(&l, REC_RX, REC_SUMMARISED_FLOW),
			 prefix = lab_term(&l, REC_RX, REC_SUMMARISED_PREFIX),
			 published = lab_term(&l, REC_RX, REC_PUBLISHED), f = {0}, p = {0};

	assert_int_equal(packets(REC_LOST_RING_FULL), 0);
	assert_int_equal(packets(REC_SEEN), sent);
	assert_int_equal(published.packets + flow.packets + prefix.packets, sent);
	assert_int_equal(published.bytes + flow.bytes + prefix.bytes, sent_bytes);
	for (uint32_t epoch = newest ? newest - 1 : 0; epoch <= newest; epoch++) {
		struct rec_count a, b;
		struct summaries s = read_epoch(epoch);

		sums_of(&s, &a, &b);
		f.packets += a.packets;
		f.bytes += a.bytes;
		p.packets += b.packets;
		p.bytes += b.bytes;
		summaries_free(&s);
	}
	assert_int_equal(f.packets, flow.packets);
	assert_int_equal(f.bytes, flow.bytes);
	assert_int_equal(p.packets, prefix.packets);
	assert_int_equal(p.bytes, prefix.bytes);
}

static void switched_off(void **unused)
{
	struct frame f = udp4(0x0a000001, 0x0a000002, 1000);

	(void)unused;
	open_capture(SMALL, REC_FLOODS_LOST);
	put(&f, 20000);
	assert_int_equal(packets(REC_PUBLISHED) + packets(REC_LOST_RING_FULL), 20000);
	assert_true(packets(REC_LOST_RING_FULL) > 5000);
	close_capture();
}

static void one_source(void **unused)
{
	struct frame f = udp4(0x0a000001, 0x0a000002, 1000);
	struct summaries s;

	(void)unused;
	open_capture(LARGE, REC_FLOODS_COUNTED);
	put(&f, 2000000);
	closes(0);
	s = read_epoch(0);
	assert_int_equal(s.count, 1);
	assert_int_equal(packets(REC_SUMMARISED_PREFIX), 0);
	assert_memory_equal(s.row[0].key.src, f.bytes + 26, 4);
	assert_memory_equal(s.row[0].key.dst, f.bytes + 30, 4);
	assert_int_equal(s.row[0].key.sport, htons(1000));
	assert_int_equal(s.row[0].key.proto, REC_IP_UDP);
	assert_int_equal(s.row[0].key.shape, 4);
	assert_int_equal(s.row[0].len_min, f.len);
	assert_int_equal(s.row[0].len_max, f.len);
	assert_true(s.row[0].why & 1u << REC_WHY_FLOW);
	/* it was stored as far as five eighths, and not much farther */
	assert_in_range(lab_head(lab_ring(&l, REC_RX)), LARGE / 8 * 5, LARGE / 16 * 11);
	summaries_free(&s);
	close_capture();
}

static void many_sources(void **unused)
{
	(void)unused;
	open_capture(LARGE, REC_FLOODS_COUNTED);
	for (unsigned i = 0; i < 800000; i++) {
		struct frame f = udp4(0x0a010000 + dice() % 4096, 0x0a000002, 1000);

		put(&f, 1);
	}
	closes(0);
	assert_int_equal(packets(REC_SUMMARISED_PREFIX), 0);
	assert_true(packets(REC_SUMMARISED_FLOW) > 370000); /* all that the ring does not hold */
	close_capture();
}

/* Conversations that were there before: of sources 192.168.0.0/24 with the victim, and of 192.169.0.0/24 with others.
 */
#define QUIET 100u
static struct frame known[QUIET], other[QUIET];

static void become_known(void)
{
	const struct timespec windows = {.tv_nsec = 300000000};

	for (unsigned i = 0; i < QUIET; i++) {
		known[i] = udp4(0xc0a80000 + i, 0x0a000002, 2000);
		other[i] = udp4(0xc0a90000 + i, 0xac100000 + i, 3000);
	}
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < QUIET; i++)
			put(&known[i], 1);
		nanosleep(&windows, NULL);
	}
}

/* Packets of theirs that are in the rings, not drained. */
static uint64_t quiet_ones_stored(void)
{
	uint64_t found = 0;

	for (unsigned cpu = 0; cpu < l.cpus; cpu++)
		for (uint64_t at = *lab_tail(&l, REC_RX, cpu), head = lab_head(l.ring[REC_RX][cpu]); at < head;) {
			const struct rec_head *h = lab_record(&l, l.ring[REC_RX][cpu], at);
			uint32_t source = get_be32((const uint8_t *)(h + 1) + 26);

			if (source >> 8 == 0xc0a800 || source >> 8 == 0xc0a900) {
				assert_int_equal(h->wire_len, known[0].len);
				found++;
			}
			at += REC_RECORD_LEN(h->cap_len);
		}
	return found;
}

/* Sources that never come twice, to one victim; among them conversations that were there before, and new ones of
 * others. */
static void random_sources(void **unused)
{
	uint64_t quiet = 0;

	(void)unused;
	open_capture(SMALL << 2, REC_FLOODS_COUNTED);
	become_known();
	for (unsigned i = 0; i < 600000; i++) {
		struct frame f = udp4(dice(), 0x0a000002, (uint16_t)dice());

		put(&f, 1);
		if (i % 1000 == 0) {
			put(&known[i / 1000 % QUIET], 1);
			put(&other[i / 1000 % QUIET], 1);
			quiet += 2;
		}
	}
	closes(0);
	assert_true(packets(REC_SUMMARISED_FLOW) > 1000);
	assert_true(packets(REC_SUMMARISED_PREFIX) > 100000);
	assert_int_equal(quiet_ones_stored(), 3 * QUIET + quiet);
	close_capture();
}

/* So many conversations, to one victim, whose packets come in bursts; between them they are light again. */
static void bursts(uint32_t ring, unsigned sources, unsigned burst, int drained)
{
	const struct timespec windows = {.tv_nsec = 600000000};
	uint64_t quiet = 0, stored = 0;

	open_capture(ring, REC_FLOODS_COUNTED);
	become_known();
	for (unsigned n = 0; n < 4; n++) {
		for (unsigned i = 0; i < burst; i++) {
			struct frame f = udp4(0x0a010000 + i % sources, 0x0a000002, 1000);

			put(&f, 1);
			if (i % 2000 == 0) {
				put(&known[quiet / 2 % QUIET], 1);
				put(&other[quiet / 2 % QUIET], 1);
				quiet += 2;
			}
		}
		if (drained) {
			stored += quiet_ones_stored();
			lab_drain(&l);
		}
		nanosleep(&windows, NULL);
	}
	closes(0);
	assert_int_equal(stored + quiet_ones_stored(), 3 * QUIET + quiet);
	close_capture();
}

static void pauses(void **unused)
{
	(void)unused;
	bursts(SMALL << 4, 4096, 200000, 0);
}

/* As if random, but the same each time: conversations which their first burst has made known. */
static void once_a_burst(void **unused)
{
	(void)unused;
	bursts(SMALL << 2, 200000, 200000, 0);
}

/* Half a ring of them comes again each time before the ring is watched. */
static void drained_between(void **unused)
{
	(void)unused;
	bursts(SMALL << 2, 50000, 100000, 1);
}

/* An eighth of what the ring has room for, each as well known as the quiet ones; they come at random. */
static void many_known(void **unused)
{
	const struct timespec windows = {.tv_nsec = 300000000};
	const unsigned sources = 3300;
	uint64_t quiet = 0;

	(void)unused;
	open_capture(SMALL << 1, REC_FLOODS_COUNTED);
	become_known();
	for (unsigned i = 0; i < 4 * sources; i++) {
		struct frame f = udp4(0x0a010000 + i % sources, 0x0a000002, 1000);

		put(&f, 1);
		if (i % 1100 == 0) {
			nanosleep(&windows, NULL);
			lab_drain(&l);
		}
	}
	lab_drain(&l);
	for (unsigned i = 0; i < 600000; i++) {
		struct frame f = udp4(0x0a010000 + dice() % sources, 0x0a000002, 1000);

		put(&f, 1);
		if (i % 4000 == 0)
			put(&known[quiet++ % QUIET], 1); /* the ring is so full that no new one is stored */
	}
	closes(0);
	assert_int_equal(quiet_ones_stored(), quiet);
	close_capture();
}

/* Full to the last byte: everything is counted, whatever it is. */
static void nobody_drains(void **unused)
{
	(void)unused;
	open_capture(SMALL, REC_FLOODS_COUNTED);
	for (unsigned i = 0; i < 100000; i++) {
		struct frame f = udp4(dice(), dice(), (uint16_t)dice());

		put(&f, 1);
	}
	closes(0);
	close_capture();
}

static void epochs(void **unused)
{
	struct frame f = udp4(0x0a000001, 0x0a000002, 1000), g = udp4(0x0a000003, 0x0a000002, 1000);
	const struct timespec second = {.tv_sec = 1, .tv_nsec = 100000000};
	struct timespec now;
	struct summaries s;

	(void)unused;
	open_capture(SMALL, REC_FLOODS_COUNTED);
	for (uint32_t epoch = 1; epoch <= 3; epoch++) {
		uint64_t before = packets(REC_SUMMARISED_FLOW);

		put(&f, 20000);
		clock_gettime(CLOCK_BOOTTIME, &now);
		l.desk[REC_DESK_CONTROL].control.epoch = REC_EPOCH(epoch, now.tv_sec + 1);
		nanosleep(&second, NULL);
		s = read_epoch(epoch - 1);
		assert_int_equal(s.count, 1);
		assert_int_equal(s.row[0].packets, packets(REC_SUMMARISED_FLOW) - before);
		summaries_free(&s);
		put(&g, 1); /* opens the second; the other table has nothing of it */
		s = read_epoch(epoch - 1);
		assert_int_equal(s.count, 1);
		summaries_free(&s);
		lab_drain(&l);
		put(&g, 1);
	}
	close_capture();
}

/* Counting only: each frame in its protocol's entry, whether the parser was asked or not; nothing in the ring. */
static void all_counted(void **unused)
{
	uint64_t want[REC_PROTOCOLS] = {0};
	struct summaries s;

	(void)unused;
	open_capture(REC_RING_MIN, REC_FLOODS_ALL);
	for (unsigned i = 0; i < KINDS; i++) {
		struct frame f = kind_frame(&kinds_all[i]);
		struct native_slot slot;
		const struct rec_head *h = native_record(&slot, f.bytes, f.len, f.len, 0, 1);
		const uint8_t *l3 = (const uint8_t *)(h + 1) + h->off[REC_L3];
		unsigned version;

		if (f.len <= 14)
			continue;
		put(&f, 3);
		version = h->off[REC_L3] ? l3[0] >> 4 : 0;
		want[REC_PROTOCOL_INDEX(version == 4 || version == 6 ? version : 0, h->proto)] += 3;
	}
	assert_int_equal(packets(REC_SUMMARISED_PREFIX), sent);
	assert_int_equal(lab_head(lab_ring(&l, REC_RX)), 0);
	s = read_epoch(0);
	for (size_t i = 0; i < s.count; i++) {
		const struct rec_flood_key *key = &s.row[i].key;

		assert_int_equal(s.row[i].why, 1u << REC_WHY_ALL);
		assert_int_equal(s.row[i].packets, want[REC_PROTOCOL_INDEX(key->shape, key->proto)]);
		sent -= s.row[i].packets;
		sent_bytes -= s.row[i].bytes;
	}
	assert_true(s.count > 8);
	assert_int_equal(sent, 0);
	assert_int_equal(sent_bytes, 0);
	summaries_free(&s);
	close_capture();
}

static int veth(void **unused)
{
	(void)unused;
	lab_veth("r0", "r1");
	lab_pin_cpu((unsigned)sched_getcpu());
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(switched_off),	   cmocka_unit_test(one_source),  cmocka_unit_test(many_sources),
		cmocka_unit_test(random_sources),  cmocka_unit_test(pauses),	  cmocka_unit_test(once_a_burst),
		cmocka_unit_test(drained_between), cmocka_unit_test(many_known),  cmocka_unit_test(nobody_drains),
		cmocka_unit_test(epochs),	   cmocka_unit_test(all_counted),
	};
	int r = lab_begin(&lab);

	if (r)
		return r;
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	r = cmocka_run_group_tests(tests, veth, NULL);
	lab_end(&lab);
	return r;
}
