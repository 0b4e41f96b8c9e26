// SPDX-License-Identifier: GPL-2.0-or-later
/* The rings' pages are all read, each once, and nothing else happens: no byte of a ring changes, and packets can come meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorder/capture/warm.h"
#include "tests/bpf/kinds.h"
#include "tests/bpf/lab.h"

#define RING (1u << 20)

static struct lab lab;
static struct lab_capture l;
static struct capture_warm *warm;

static void open_with(unsigned sides)
{
	struct capture_spec spec = { .sides = sides, .hook = CAPTURE_HOOK_XDP, .ring_bytes = RING, .iface = "r0" };

	if (lab_capture(&l, &lab, spec) || capture_warm_open(&warm, l.c, &l.err))
		fail_msg("%s", l.err.text);
}

static void end(void)
{
	capture_warm_close(warm);
	lab_capture_end(&l);
}

static unsigned rings(void)
{
	unsigned n = 0;

	for (enum rec_side side = 0; side < REC_SIDES; side++)
		for (unsigned cpu = 0; cpu < l.cpus; cpu++)
			n += l.ring[side][cpu] != NULL;
	return n;
}

static void all_pages(unsigned sides)
{
	const uint64_t pages = (REC_RING_VALUE((uint64_t)RING) + REC_RING_PAGE - 1) / REC_RING_PAGE;
	uint64_t steps = 0;
	int more;

	open_with(sides);
	while ((more = capture_warm_step(warm)) == 1)
		if (++steps > (pages + 2) * rings())
			fail_msg("it does not end");
	assert_int_equal(more, 0);
	assert_true(rings() > 0);
	assert_int_equal(capture_warm_pages(warm), pages * rings());
	end();
}

static void every_page_of_both_sides(void **state)
{
	(void)state;
	all_pages(CAPTURE_SIDE(REC_RX) | CAPTURE_SIDE(REC_TX));
}

static void every_page_of_one_side(void **state)
{
	(void)state;
	all_pages(CAPTURE_SIDE(REC_TX));
}

static void beside_packets(void **state)
{
	struct frame f = frame_begin();
	struct rec_ring *ring;
	uint64_t packets = 0;
	uint8_t *before;
	int prog;

	(void)state;
	make_udp4(&f);
	frame_end(&f);
	open_with(CAPTURE_SIDE(REC_RX));
	prog = lab_program(&l, REC_RX, MODE_XDP);
	assert_true(prog >= 0);
	for (int more = 1; more == 1; packets += 10) {
		lab_drain(&l);
		assert_true(lab_run(prog, f.bytes, f.len, 10, NULL) >= 0);
		more = capture_warm_step(warm);
		assert_true(more >= 0);
	}
	assert_int_equal(lab_term(&l, REC_RX, REC_PUBLISHED).packets, packets);

	ring = lab_ring(&l, REC_RX);
	before = malloc(REC_RING_VALUE(RING));
	assert_non_null(before);
	memcpy(before, ring, REC_RING_VALUE(RING));
	capture_warm_close(warm);
	assert_int_equal(capture_warm_open(&warm, l.c, &l.err), 0);
	while (capture_warm_step(warm) == 1)
		;
	assert_memory_equal(before, ring, REC_RING_VALUE(RING));
	free(before);
	close(prog);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_page_of_both_sides),
		cmocka_unit_test(every_page_of_one_side),
		cmocka_unit_test(beside_packets),
	};
	int r = lab_begin(&lab);

	if (r)
		return r;
	lab_pin_cpu((unsigned)sched_getcpu());
	lab_sh("ip link add r0 type veth peer name s0 && ip link set r0 up && ip link set s0 up");
	r = cmocka_run_group_tests(tests, NULL, NULL);
	lab_end(&lab);
	return r;
}
