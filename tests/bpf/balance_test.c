// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Every packet is in exactly one term of the balance, with its bytes, in its second: full rings, hostile indexes, the
 * recorder's own connections, a second producer, a CPU without a ring, new seconds. By BPF_PROG_RUN on the real object.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>
#include <time.h>

#include "tests/bpf/kinds.h"
#include "tests/bpf/lab.h"

#define RING REC_RING_MIN

static struct lab lab;
static struct lab_capture l;
static struct rec_seconds *mine; /* of our CPU and rx, writable: the test plays the kernel's other contexts */
static struct rec_ring *ring;
static int xdp, tc;

struct terms {
	struct rec_count t[REC_TERMS];
};

static struct terms terms(void)
{
	struct terms t;

	for (unsigned i = 0; i < REC_TERMS; i++)
		t.t[i] = lab_term(&l, REC_RX, (enum rec_term)i);
	return t;
}

/* What came since `before`: packets and bytes of a term, and nothing else than SEEN and that. */
static void only(struct terms before, enum rec_term term, uint64_t packets, uint64_t bytes)
{
	struct terms now = terms();

	for (unsigned i = 0; i < REC_TERMS; i++) {
		uint64_t p = now.t[i].packets - before.t[i].packets, b = now.t[i].bytes - before.t[i].bytes;
		int here = i == (unsigned)term || (i == REC_SEEN && term != REC_LOST_CONTENDED);

		if (p != (here ? packets : 0) || b != (here ? bytes : 0))
			fail_msg("term %u: %lu packets, %lu bytes; term %u should have %lu, %lu", i, p, b, term, packets, bytes);
	}
}

static struct frame frame_of(void (*make)(struct frame *))
{
	struct frame f = frame_begin();

	make(&f);
	frame_end(&f);
	return f;
}

static void run(const struct frame *f, unsigned times)
{
	assert_true(lab_run(xdp, f->bytes, f->len, times, NULL) >= 0);
}

static void published(void **state)
{
	struct terms before = terms();
	struct frame f = frame_of(make_udp4);

	(void)state;
	lab_drain(&l);
	run(&f, 100);
	only(before, REC_PUBLISHED, 100, 6400);
	before = terms();
	assert_true(lab_run(tc, f.bytes, f.len, 100, NULL) >= 0);
	only(before, REC_PUBLISHED, 100, 6400);
}

/* Walks the ring from `at` and returns the records; they must be frames of that length. */
static unsigned walk(uint64_t at, unsigned wire)
{
	unsigned n = 0;

	for (uint64_t head = lab_head(ring); at < head; n++) {
		const struct rec_head *h = lab_record(&l, ring, at);

		assert_int_equal(h->wire_len, wire);
		at += REC_RECORD_LEN(h->cap_len);
		assert_true(at <= head);
	}
	return n;
}

static void ring_full(void **state)
{
	struct frame f = frame_of(make_udp4);
	const unsigned length = REC_RECORD_LEN(42), fit = (RING - REC_RECORD_MAX) / length + 1;

	(void)state;
	for (int round = 0; round < 5; round++) { /* from several offsets, over the ring's end */
		struct terms before, after;
		uint64_t from;

		lab_drain(&l);
		run(&f, 7);
		lab_drain(&l);
		before = terms();
		from = lab_head(ring);
		run(&f, fit);
		only(before, REC_PUBLISHED, fit, fit * 64ull);
		before = terms();
		run(&f, 1234);
		only(before, REC_LOST_RING_FULL, 1234, 1234 * 64ull);
		after = terms();
		assert_int_equal(after.t[REC_SEEN].packets,
				 after.t[REC_PUBLISHED].packets + after.t[REC_FILTERED_OWN].packets +
					 after.t[REC_LOST_RING_FULL].packets + after.t[REC_LOST_NO_RING].packets);
		assert_int_equal(walk(from, 64), fit);
		/* control: one record's room, one record more */
		*lab_tail(&l, REC_RX, (unsigned)sched_getcpu()) += length;
		before = terms();
		run(&f, 1);
		only(before, REC_PUBLISHED, 1, 64);
		before = terms();
		run(&f, 1);
		only(before, REC_LOST_RING_FULL, 1, 64);
	}
	lab_drain(&l);
}

static void hostile_tail(void **state)
{
	struct frame f = frame_of(make_vxlan_tcp6);
	unsigned cpu = (unsigned)sched_getcpu();
	uint64_t head;
	const uint64_t ahead[] = { 1, 8, 80, 4096, RING, 1ull << 40, 1ull << 63, ~0ull };

	(void)state;
	lab_drain(&l);
	run(&f, 1000); /* full by what it remembers: the program must look at the tail */
	head = lab_head(ring);
	for (unsigned i = 0; i < ARRAY_SIZE(ahead); i++) {
		struct terms before = terms();

		*lab_tail(&l, REC_RX, cpu) = head + ahead[i];
		run(&f, 10);
		if (ahead[i] == ~0ull) { /* one byte behind the head: not hostile at all */
			only(before, REC_PUBLISHED, 10, 10ull * f.len);
			continue;
		}
		assert_int_equal(lab_head(ring), head);
		only(before, REC_LOST_RING_FULL, 10, 10ull * f.len);
	}
	lab_drain(&l);
}

static struct rec_own_key key_of(const struct frame *f, unsigned l4)
{
	struct rec_own_key k = { .proto = 6 };

	if (f->bytes[14] >> 4 == 4) {
		k.src[10] = k.src[11] = k.dst[10] = k.dst[11] = 0xff;
		memcpy(k.src + 12, f->bytes + 26, 4);
		memcpy(k.dst + 12, f->bytes + 30, 4);
	} else {
		memcpy(k.src, f->bytes + 22, 16);
		memcpy(k.dst, f->bytes + 38, 16);
	}
	memcpy(&k.sport, f->bytes + l4, 2);
	memcpy(&k.dport, f->bytes + l4 + 2, 2);
	return k;
}

static void make_tcp6(struct frame *f)
{
	frame_eth(f, 0x86dd), frame_ip6(f, 6), frame_tcp(f, 40000, 27017, 12), frame_payload(f, 200);
}

static void own_connection(void (*make)(struct frame *), unsigned l4)
{
	struct frame f = frame_of(make), back = f, other = f;
	struct rec_own_key key = key_of(&f, l4);
	struct terms before = terms();

	frame_reverse(&back, 14, l4);
	lab_drain(&l);
	run(&f, 5); /* control: without the entry it is recorded */
	only(before, REC_PUBLISHED, 5, 5ull * f.len);

	assert_int_equal(capture_own_add(l.c, &key), 0);
	assert_int_equal(capture_own_add(l.c, &key), 0);
	before = terms();
	run(&f, 5);
	only(before, REC_FILTERED_OWN, 5, 5ull * f.len);
	before = terms();
	run(&back, 5);
	only(before, REC_FILTERED_OWN, 5, 5ull * f.len);

	other.bytes[l4 + 1] ^= 1; /* the neighbour's port */
	before = terms();
	run(&other, 5);
	only(before, REC_PUBLISHED, 5, 5ull * f.len);
	other = f;
	other.bytes[l4 - 1] ^= 1; /* another database */
	before = terms();
	run(&other, 5);
	only(before, REC_PUBLISHED, 5, 5ull * f.len);
	other = f;
	other.bytes[l4 == 34 ? 23 : 20] = 17; /* the same numbers, but UDP */
	before = terms();
	run(&other, 5);
	only(before, REC_PUBLISHED, 5, 5ull * f.len);

	/* full, and still told apart */
	run(&other, 1000);
	before = terms();
	run(&f, 5);
	only(before, REC_FILTERED_OWN, 5, 5ull * f.len);
	before = terms();
	run(&other, 5);
	only(before, REC_LOST_RING_FULL, 5, 5ull * f.len);
	lab_drain(&l);

	assert_int_equal(capture_own_del(l.c, &key), 0);
	assert_int_equal(capture_own_del(l.c, &key), 0);
	before = terms();
	run(&f, 5);
	only(before, REC_PUBLISHED, 5, 5ull * f.len);
}

static void own_4(void **state)
{
	(void)state;
	own_connection(make_tcp4_timestamps, 34);
}

static void own_6(void **state)
{
	(void)state;
	own_connection(make_tcp6, 54);
}

/* As many as there is room for, of several ports; one is not told from the others by its place. */
static void own_many(void **state)
{
	struct frame f = frame_of(make_tcp4_timestamps);
	struct rec_own_key key = key_of(&f, 34);
	struct terms before;
	unsigned n;

	(void)state;
	for (n = 0; n < REC_OWN_FLOWS / 2; n++) {
		key.sport = (uint16_t)__builtin_bswap16((uint16_t)(30000 + n));
		key.dport = (uint16_t)__builtin_bswap16((uint16_t)(27017 + n % REC_OWN_PORTS));
		assert_int_equal(capture_own_add(l.c, &key), 0);
	}
	key.sport = (uint16_t)__builtin_bswap16((uint16_t)(30000 + n));
	assert_int_equal(capture_own_add(l.c, &key), -ENOSPC);
	for (n = 0; n < REC_OWN_FLOWS / 2; n += 13) {
		put_be16(f.bytes + 34, (uint16_t)(30000 + n));
		put_be16(f.bytes + 36, (uint16_t)(27017 + n % REC_OWN_PORTS));
		before = terms();
		run(&f, 1);
		only(before, REC_FILTERED_OWN, 1, f.len);
	}
	assert_int_equal(capture_own_clear(l.c), 0);
	before = terms();
	run(&f, 1);
	only(before, REC_PUBLISHED, 1, f.len);
	/* a ninth port, while eight are in use */
	for (n = 0; n <= REC_OWN_PORTS; n++) {
		key.sport = 1;
		key.dport = (uint16_t)(n + 1);
		assert_int_equal(capture_own_add(l.c, &key), n < REC_OWN_PORTS ? 0 : -ENOSPC);
	}
	/* and when one of them has gone */
	key.dport = 3;
	assert_int_equal(capture_own_del(l.c, &key), 0);
	key.dport = 9;
	assert_int_equal(capture_own_add(l.c, &key), 0);
	assert_int_equal(capture_own_clear(l.c), 0);
}

static void contended(void **state)
{
	struct frame f = frame_of(make_udp4);
	struct terms before = terms();
	uint64_t head = lab_head(ring);

	(void)state;
	mine->busy = 1;
	run(&f, 9);
	mine->busy = 0;
	only(before, REC_LOST_CONTENDED, 9, 9 * 64);
	assert_int_equal(lab_head(ring), head);
	before = terms();
	run(&f, 9); /* control: free again */
	only(before, REC_PUBLISHED, 9, 9 * 64);
}

static void no_ring(void **state)
{
	struct frame f = frame_of(make_udp4);
	unsigned cpu = (unsigned)sched_getcpu();
	struct terms before = terms();
	int fd = capture_ring_fd(l.c, REC_RX, cpu);

	(void)state;
	assert_int_equal(bpf_map_delete_elem(l.c->map[MAP_RINGS_RX], &cpu), 0);
	run(&f, 3);
	only(before, REC_LOST_NO_RING, 3, 3 * 64);
	assert_int_equal(bpf_map_update_elem(l.c->map[MAP_RINGS_RX], &cpu, &fd, BPF_ANY), 0);
	before = terms();
	run(&f, 3);
	only(before, REC_PUBLISHED, 3, 3 * 64);
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Each second has its slot, with its own clock readings; what is between two slots' totals came in that second. */
static void seconds_roll(void **state)
{
	struct frame f = frame_of(make_udp4);
	uint64_t first, sum = 0, start, end = clock_ns(CLOCK_BOOTTIME) + 3200000000ull, ran = 0;
	unsigned slots = 0;

	(void)state;
	mine->newest = REC_SECONDS - 2; /* so that it goes over the end of the array */
	memset(&mine->slot[REC_SECONDS - 2], 0, sizeof(mine->slot[0]));
	mine->until = 0; /* the next packet opens a slot */
	start = 0;
	first = 0;
	while (clock_ns(CLOCK_BOOTTIME) < end) {
		lab_drain(&l);
		run(&f, 100);
		ran += 100;
		if (!first)
			first = mine->newest;
		usleep(20000);
	}
	for (uint64_t i = first;; i = (i + 1) & (REC_SECONDS - 1)) {
		const struct rec_second *s = &mine->slot[i], *p = &mine->slot[(i - 1) & (REC_SECONDS - 1)];
		uint64_t tai = clock_ns(CLOCK_TAI) - clock_ns(CLOCK_BOOTTIME), since = slots ? p->total[REC_SEEN].packets : start;

		if (slots) {
			assert_int_equal(s->sec, p->sec + 1);
			assert_int_equal(s->boot_ns / 1000000000, s->sec);
			/* TAI and boot time run alike; the two calls are some microseconds apart */
			assert_true(s->tai_ns - s->boot_ns - tai + 1000000 < 2000000);
		}
		assert_true(s->total[REC_SEEN].packets >= since);
		assert_int_equal(s->total[REC_SEEN].packets, s->total[REC_PUBLISHED].packets);
		assert_int_equal(s->total[REC_SEEN].bytes, s->total[REC_SEEN].packets * 64);
		sum += s->total[REC_SEEN].packets - since;
		slots++;
		if (i == mine->newest)
			break;
	}
	assert_true(slots >= 4);
	assert_int_equal(sum, ran);
}

/* A record belongs to the second that counted it. */
static void records_and_seconds(void **state)
{
	struct frame f = frame_of(make_udp4);
	uint64_t from, in[2] = { 0 }, sec, ran = 0;

	(void)state;
	lab_drain(&l);
	from = lab_head(ring);
	while (clock_ns(CLOCK_BOOTTIME) % 1000000000 < 900000000)
		usleep(1000);
	sec = clock_ns(CLOCK_BOOTTIME) / 1000000000;
	while (clock_ns(CLOCK_BOOTTIME) < (sec + 1) * 1000000000 + 50000000 && ran < 600) {
		run(&f, 5);
		ran += 5;
		usleep(2000);
	}
	for (uint64_t at = from; at < lab_head(ring);) {
		const struct rec_head *h = lab_record(&l, ring, at);

		assert_in_range(h->time / 1000000000, sec, sec + 1);
		in[h->time / 1000000000 - sec]++;
		at += REC_RECORD_LEN(h->cap_len);
	}
	assert_true(in[0] && in[1]);
	assert_int_equal(in[0] + in[1], ran);
	assert_int_equal(mine->slot[mine->newest].sec, sec + 1);
	assert_int_equal(mine->slot[mine->newest].total[REC_SEEN].packets -
				 mine->slot[(mine->newest - 1) & (REC_SECONDS - 1)].total[REC_SEEN].packets,
			 in[1]);
}

static int rung(void *ctx, void *data, size_t size)
{
	(void)data;
	assert_int_equal(size, 8);
	++*(int *)ctx;
	return 0;
}

static void bell(void **state)
{
	struct frame f = frame_of(make_udp4);
	int rings = 0;
	struct ring_buffer *b = ring_buffer__new(capture_map_fd(l.c, CAPTURE_BELL), rung, &rings, NULL);

	(void)state;
	assert_non_null(b);
	lab_drain(&l);
	run(&f, 100);
	assert_int_equal(ring_buffer__poll(b, 0), 0); /* not armed */
	l.desk[REC_DESK_CONTROL].control.armed = 1;
	run(&f, 100);
	assert_int_equal(ring_buffer__poll(b, 100), 1);
	assert_int_equal(rings, 1);
	assert_int_equal(l.desk[REC_DESK_CONTROL].control.armed, 0);
	run(&f, 100);
	assert_int_equal(ring_buffer__poll(b, 0), 0);
	ring_buffer__free(b);
}

static void verdicts(void **state)
{
	struct capture_spec spec = { .iface = "t0", .sides = CAPTURE_SIDE(REC_RX), .hook = CAPTURE_HOOK_XDP, .tap = true };
	struct frame f = frame_of(make_tcp4_timestamps);
	struct rec_own_key key = key_of(&f, 34);
	int verdict, tap_xdp, tap_tc;
	struct lab_capture tap;

	(void)state;
	assert_true(lab_run(xdp, f.bytes, f.len, 1, &verdict) >= 0);
	assert_int_equal(verdict, XDP_PASS);
	assert_true(lab_run(tc, f.bytes, f.len, 1, &verdict) >= 0);
	assert_int_equal(verdict, TC_ACT_UNSPEC);

	assert_int_equal(lab_capture(&tap, &lab, spec), 0);
	tap_xdp = lab_program(&tap, REC_RX, MODE_XDP);
	tap_tc = lab_program(&tap, REC_RX, MODE_TCX);
	assert_true(lab_run(tap_xdp, f.bytes, f.len, 1, &verdict) >= 0);
	assert_int_equal(verdict, XDP_DROP);
	assert_true(lab_run(tap_tc, f.bytes, f.len, 1, &verdict) >= 0);
	assert_int_equal(verdict, TC_ACT_SHOT);
	assert_int_equal(capture_own_add(tap.c, &key), 0); /* the database goes on being reached */
	assert_true(lab_run(tap_xdp, f.bytes, f.len, 1, &verdict) >= 0);
	assert_int_equal(verdict, XDP_PASS);
	close(tap_xdp);
	close(tap_tc);
	lab_capture_end(&tap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published), cmocka_unit_test(ring_full),    cmocka_unit_test(hostile_tail),
		cmocka_unit_test(own_4),     cmocka_unit_test(own_6),	     cmocka_unit_test(own_many),
		cmocka_unit_test(contended), cmocka_unit_test(no_ring),	     cmocka_unit_test(records_and_seconds),
		cmocka_unit_test(bell),	     cmocka_unit_test(verdicts),     cmocka_unit_test(seconds_roll),
	};
	struct capture_spec spec = { .iface = "r0", .sides = CAPTURE_SIDE(REC_RX), .hook = CAPTURE_HOOK_XDP,
				     .ring_bytes = RING };
	struct rec_seconds *all;
	int r = lab_begin(&lab);

	if (r)
		return r;
	lab_pin_cpu((unsigned)sched_getcpu());
	lab_veth("r0", "r1");
	lab_veth("t0", "t1");
	r = lab_capture(&l, &lab, spec);
	if (!r) {
		xdp = lab_program(&l, REC_RX, MODE_XDP);
		tc = lab_program(&l, REC_RX, MODE_TCX);
	}
	if (r || xdp < 0 || tc < 0) {
		fprintf(stderr, "%s\n", l.err.text);
		return 1;
	}
	ring = lab_ring(&l, REC_RX);
	all = mmap(NULL, 2 * l.cpus * sizeof(*all), PROT_READ | PROT_WRITE, MAP_SHARED, capture_map_fd(l.c, CAPTURE_SECONDS), 0);
	if (all == MAP_FAILED)
		return 1;
	mine = &all[sched_getcpu()];
	r = cmocka_run_group_tests(tests, NULL, NULL);
	lab_capture_end(&l);
	lab_end(&lab);
	return r;
}
