// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * parse.h compiled natively says what it says in the kernel: on a frame of every kind, on real captures, and on all of
 * them with bytes changed and ends cut off. Each frame goes through the real object by BPF_PROG_RUN; head and bytes
 * of its record are compared with the native parser's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/bpf/kinds.h"
#include "tests/bpf/lab.h"
#include "tests/bpf/pcaps.h"

#define FRAMES 65536u /* of captures, at most: each costs some microseconds of system calls */

static struct lab lab;
static struct lab_capture l;
static struct rec_ring *ring;
static int xdp;
static uint32_t seed;
static unsigned long compared, differ;
static uint64_t state = 88172645463325252ull;

static uint32_t dice(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16) % below;
}

/* What the kernel must have written: first pass on 128 bytes, second on 256. */
static void native(struct rec_slot *s, const uint8_t *bytes, uint32_t len)
{
	uint32_t avail = len < REC_CAP_FAST ? len : REC_CAP_FAST, want;

	memset(s, 0x5a, sizeof(*s));
	memcpy(s->bytes, bytes, avail);
	want = rec_parse(s, avail, len, seed);
	if (rec_short(want, avail, len)) {
		avail = len < REC_CAP_MAX ? len : REC_CAP_MAX;
		memcpy(s->bytes, bytes, avail);
		want = rec_parse(s, avail, len, seed);
	}
	rec_trim(s, want, avail);
}

static void compare(const uint8_t *bytes, uint32_t len)
{
	const struct rec_head *h;
	struct rec_slot s;
	uint64_t before;

	if (len < 14 || len > 3000)
		return;
	lab_drain(&l);
	before = lab_head(ring);
	assert_true(lab_run(xdp, bytes, len, 1, NULL) >= 0);
	assert_true(lab_head(ring) > before);
	h = lab_record(&l, ring, before);
	native(&s, bytes, len);
	compared++;
	if (h->cap_len != s.head.cap_len || h->marks != s.head.marks || h->proto != s.head.proto || h->hash != s.head.hash ||
	    memcmp(h->off, s.head.off, REC_OFFS) || memcmp(h + 1, s.bytes, h->cap_len))
		differ++;
}

static void mutate(const uint8_t *bytes, uint32_t len, unsigned times)
{
	uint8_t copy[FRAME_MAX];

	if (len > sizeof(copy))
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
	print_message("%lu frames compared, %lu differ\n", compared, differ);
	assert_true(compared > 10000);
	assert_int_equal(differ, 0);
}

static unsigned long taken, stride, seen;

static void captured(const uint8_t *bytes, uint32_t caplen, uint32_t wire, void *arg)
{
	(void)wire;
	(void)arg;
	if (seen++ % stride || taken >= FRAMES || caplen < 14)
		return;
	taken++;
	compare(bytes, caplen);
	mutate(bytes, caplen, 1);
}

static void count_only(const uint8_t *bytes, uint32_t caplen, uint32_t wire, void *arg)
{
	(void)bytes;
	(void)caplen;
	(void)wire;
	(void)arg;
}

static void captures(void **unused)
{
	unsigned all = pcaps_all(count_only, NULL);

	(void)unused;
	if (!all) {
		print_message("skip: no captures (XDP_RECORDER_PCAPS)\n");
		skip();
	}
	stride = all / FRAMES + 1;
	compared = differ = 0;
	pcaps_all(captured, NULL);
	print_message("%lu frames of captures compared, %lu differ\n", compared, differ);
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
	assert_int_equal(differ, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds_mutated),
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
	r = cmocka_run_group_tests(tests, NULL, NULL);
	lab_capture_end(&l);
	lab_end(&lab);
	return r;
}
