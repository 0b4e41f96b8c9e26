// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * parse.h compiled natively says what it says in the kernel: on a frame of every kind, on every frame of real captures, and
 * on all of them with bytes changed and ends cut off. Each frame goes through the real object by BPF_PROG_RUN, as the
 * live XDP program and as import's; both records are compared with native_record's, head and bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bpf/flood.h"
#include "recorder/capture/run.h"
#include "recorder/source/native.h"
#include "tests/bpf/kinds.h"
#include "tests/bpf/lab.h"
#include "tests/bpf/pcaps.h"

static struct lab lab;
static struct lab_capture l;
static struct rec_ring *ring;
static struct capture_run *run;
static int xdp;
static uint32_t seed;
static unsigned long compared, differ, glanced;
static uint64_t state = 88172645463325252ull;

static uint32_t dice(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16) % below;
}

/* All of a record but its time, which the caller chose or the clock gave. */
static bool equal(const struct rec_head *a, const struct rec_head *b)
{
	return a->wire_len == b->wire_len && a->hash == b->hash && a->cap_len == b->cap_len && a->marks == b->marks &&
	       a->gso_segs == b->gso_segs && a->gso_size == b->gso_size && !memcmp(a->off, b->off, REC_OFFS) &&
	       a->side == b->side && a->proto == b->proto && !memcmp(a->reserved, b->reserved, sizeof(a->reserved)) &&
	       !memcmp(a + 1, b + 1, a->cap_len);
}

/* rec_glance says of a frame what the parser and rec_flood_key do, or nothing. */
static bool glance_agrees(const struct rec_head *n, const uint8_t *bytes, uint32_t have, uint32_t wire)
{
	struct rec_flood_id at_a_glance, id;
	struct rec_slot slot;

	if (have != wire || !rec_glance(&at_a_glance, bytes, bytes + have, have, seed))
		return true;
	glanced++;
	memset(&slot, 0x5a, sizeof(slot));
	memcpy(&slot, n, sizeof(*n) + n->cap_len);
	rec_flood_key(&id, &slot, n->cap_len, seed);
	at_a_glance.reserved = id.reserved = 0;
	return !memcmp(&at_a_glance, &id, offsetof(struct rec_flood_id, cut));
}

/* A frame of a file, of which `have` bytes of `wire` are there: import's program against native code. */
static void compare_file(const uint8_t *bytes, uint32_t have, uint32_t wire)
{
	const struct rec_head *h, *n;
	struct native_slot slot;
	enum rec_term term;

	assert_int_equal(capture_run(run, bytes, have, wire, 4711, &term, &h), 0);
	assert_int_equal(term, REC_PUBLISHED);
	memset(&slot, 0x5a, sizeof(slot));
	n = native_record(&slot, bytes, have, wire, 4711, seed);
	compared++;
	if (!equal(h, n) || h->time != n->time || !glance_agrees(n, bytes, have, wire))
		differ++;
}

/* A frame on the wire: the live program too. */
static void compare(const uint8_t *bytes, uint32_t len)
{
	const struct rec_head *h;
	struct native_slot slot;
	uint64_t before;

	compare_file(bytes, len, len);
	if (len < 14 || len > 3000) /* what BPF_PROG_RUN takes */
		return;
	lab_drain(&l);
	before = lab_head(ring);
	assert_true(lab_run(xdp, bytes, len, 1, NULL) >= 0);
	assert_true(lab_head(ring) > before);
	h = lab_record(&l, ring, before);
	compared++;
	if (!equal(h, native_record(&slot, bytes, len, len, 0, seed)))
		differ++;
}

static void mutate(const uint8_t *bytes, uint32_t len, unsigned times)
{
	uint8_t copy[FRAME_MAX];

	if (!len || len > sizeof(copy))
		return;
	while (times--) {
		uint32_t n = len;

		memcpy(copy, bytes, len);
		for (uint32_t i = 1 + dice(4); i--;)
			copy[dice(n < 160 ? n : 160)] = (uint8_t)dice(256);
		/* fields that steer: EtherType, version and IHL, lengths, protocol */
		if (n > 40 && !dice(3))
			copy[12 + dice(12)] = (uint8_t)dice(256);
		if (!dice(3) && n > 15)
			n = 14 + dice(n - 14);
		compare(copy, n);
	}
}

static void kinds_mutated(void **unused)
{
	(void)unused;
	for (unsigned i = 0; i < KINDS; i++) {
		struct frame f = kind_frame(&kinds_all[i]);

		compare(f.bytes, f.len);
		mutate(f.bytes, f.len, 300);
	}
	print_message("%lu frames compared, %lu of them known at a glance, %lu differ\n", compared, glanced, differ);
	assert_true(compared > 10000);
	assert_in_range(glanced, 1000, compared / 2);
	assert_int_equal(differ, 0);
}

/* Every frame of a capture file that has only its first n bytes, n = 0..256. */
static void every_length(void **unused)
{
	(void)unused;
	compared = differ = 0;
	for (unsigned i = 0; i < KINDS; i++) {
		struct frame f = kind_frame(&kinds_all[i]);

		for (uint32_t n = 0; n <= f.len && n <= REC_CAP_MAX; n++)
			compare_file(f.bytes, n, f.len);
	}
	print_message("%lu frames in part compared, %lu differ\n", compared, differ);
	assert_true(compared > 2000);
	assert_int_equal(differ, 0);
}

#define MUTATED 8 /* each so many frames of the captures also once with changes */
static unsigned long taken;

static void captured(const uint8_t *bytes, uint32_t caplen, uint32_t wire, void *arg)
{
	(void)arg;
	compare_file(bytes, caplen, wire);
	if (taken++ % MUTATED == 0) {
		compare(bytes, caplen);
		mutate(bytes, caplen, 1);
	}
}

static void captures(void **unused)
{
	unsigned all;

	(void)unused;
	compared = differ = 0;
	all = pcaps_all(captured, NULL);
	if (!all) {
		print_message("skip: no captures (XDP_RECORDER_PCAPS)\n");
		skip();
	}
	print_message("%u frames of captures, with changed ones %lu comparisons, %lu differ\n", all, compared, differ);
	assert_int_equal(taken, all);
	assert_true(compared > taken);
	assert_int_equal(differ, 0);
}

/* The comparison finds a difference: another seed gives other hashes. */
static void control(void **unused)
{
	struct frame f = kind_frame(&kinds_all[0]);

	(void)unused;
	differ = 0;
	seed++;
	compare(f.bytes, f.len);
	seed--;
	assert_int_equal(differ, 2);
	assert_false(glance_agrees(&(struct rec_head){.wire_len = f.len}, f.bytes, f.len, f.len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds_mutated),
		cmocka_unit_test(every_length),
		cmocka_unit_test(captures),
		cmocka_unit_test(control),
	};
	struct capture_spec spec = { .iface = "r0", .sides = CAPTURE_SIDE(REC_RX), .hook = CAPTURE_HOOK_XDP };
	int r = lab_begin(&lab);

	if (r)
		return r;
	lab_pin_cpu((unsigned)sched_getcpu());
	lab_veth("r0", "r1");
	r = lab_capture(&l, &lab, spec);
	if (!r)
		xdp = lab_program(&l, REC_RX, MODE_XDP);
	if (r || xdp < 0) {
		fprintf(stderr, "%s\n", l.err.text);
		return 1;
	}
	ring = lab_ring(&l, REC_RX);
	seed = l.c->meta->hash_seed;
	r = capture_run_open(&run, NULL, seed, &l.err);
	if (r) {
		fprintf(stderr, "%s\n", l.err.text);
		return 1;
	}
	r = cmocka_run_group_tests(tests, NULL, NULL);
	capture_run_close(run);
	lab_capture_end(&l);
	lab_end(&lab);
	return r;
}
