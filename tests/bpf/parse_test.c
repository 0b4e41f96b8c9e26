// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The program, by BPF_PROG_RUN, on a frame of every kind: what the record says, byte for byte; every frame cut at
 * every length; frames in fragments; and that a hash is the same both ways.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/bpf/kinds.h"
#include "tests/bpf/lab.h"

static struct lab lab;
static struct lab_capture l;
static int xdp, tc;

/* Runs once and returns the record that this made: exactly one. */
static const struct rec_head *one(int prog, const uint8_t *bytes, unsigned len)
{
	struct rec_ring *r = lab_ring(&l, REC_RX);
	const struct rec_head *h;
	uint64_t before;

	lab_drain(&l);
	before = lab_head(r);
	assert_true(lab_run(prog, bytes, len, 1, NULL) >= 0);
	h = lab_record(&l, r, before);
	assert_int_equal(lab_head(r), before + REC_RECORD_LEN(h->cap_len));
	return h;
}

static void check(const struct kind *k, const struct rec_head *h, const struct frame *f)
{
	if (h->cap_len != k->cap || memcmp(h->off, k->off, REC_OFFS) || h->marks != k->marks || h->proto != k->proto)
		fail_msg("%s: cap %u off %u %u %u %u proto %u marks %x", k->name, h->cap_len, h->off[0], h->off[1], h->off[2],
			 h->off[3], h->proto, h->marks);
	assert_int_equal(h->wire_len, f->len);
	assert_int_equal(h->side, REC_RX);
	assert_int_equal(h->gso_segs, 0);
	assert_int_equal(h->gso_size, 0);
	assert_int_equal(h->reserved[0] | h->reserved[1], 0);
	assert_memory_equal(h + 1, f->bytes, h->cap_len);
}

static void every_kind(void **state)
{
	(void)state;
	for (unsigned i = 0; i < KINDS; i++) {
		struct frame f = kind_frame(&kinds_all[i]);

		check(&kinds_all[i], one(xdp, f.bytes, f.len), &f);
		if (f.len > 14) /* BPF_PROG_RUN wants something behind the Ethernet header of an skb */
			check(&kinds_all[i], one(tc, f.bytes, f.len), &f);
	}
}

/* The comparison can fail: one wrong byte, one wrong number. */
static void control(void **state)
{
	struct frame f = kind_frame(&kinds_all[0]);
	const struct rec_head *h;

	(void)state;
	h = one(xdp, f.bytes, f.len);
	f.bytes[41] ^= 1;
	assert_memory_not_equal(h + 1, f.bytes, h->cap_len);
	f.bytes[41] ^= 1;
	f.bytes[14] = 0x46;
	h = one(xdp, f.bytes, f.len);
	assert_int_not_equal(h->cap_len, kinds_all[0].cap);
}

/* A frame that may end there and is whole: what it quotes or carries is less, and nothing had announced it. */
static bool whole_when_cut(const struct kind *k, unsigned n)
{
	static void (*const make[])(struct frame *) = {
		make_icmp4_unreachable, make_icmp4_unreachable_short, make_icmp6_too_big, make_vxlan_tcp4,
		make_vxlan_tcp6,	make_vxlan_tcp6_short,	      make_vxlan_in_vxlan, make_vxlan_sctp,
		make_geneve_udp4,	make_geneve_ip6,	      make_vxlan_udp_ends,
	};

	for (unsigned i = 0; i < ARRAY_SIZE(make); i++)
		if (make[i] == k->make)
			return true;
	/* SCTP without a chunk */
	return k->proto == 132 && n == k->off[REC_L4] + 12u;
}

static void every_length(void **state)
{
	(void)state;
	for (unsigned i = 0; i < KINDS; i++) {
		const struct kind *k = &kinds_all[i];
		struct frame f = kind_frame(k);

		for (unsigned n = 14; n <= f.len && n <= 420; n++) {
			const struct rec_head *h = one(xdp, f.bytes, n);

			assert_true(h->cap_len <= n);
			assert_true(h->cap_len <= REC_CAP_MAX);
			assert_int_equal(h->wire_len, n);
			assert_memory_equal(h + 1, f.bytes, h->cap_len);
			for (int o = 0; o < REC_OFFS; o++)
				assert_true(h->off[o] < h->cap_len);
			/* what ends before the headers do says so, and keeps all there is */
			if (n < k->cap && !(k->marks & (UNKNOWN | MALFORMED)) && !whole_when_cut(k, n)) {
				assert_int_equal(h->cap_len, n);
				assert_int_equal(h->marks & TRUNCATED, TRUNCATED);
			}
		}
	}
}

/* 9,000 bytes: BPF_PROG_RUN makes fragments of what does not fit a page. */
static void fragments(void **state)
{
	struct frame f = frame_begin();
	const struct rec_head *h;

	(void)state;
	frame_eth(&f, 0x0800), frame_ip4(&f, 6, 0), frame_tcp(&f, 1, 2, 12), frame_fill(&f, 9014), frame_end(&f);
	h = one(xdp, f.bytes, f.len);
	assert_int_equal(h->wire_len, 9014);
	assert_int_equal(h->cap_len, 66);
	assert_memory_equal(h + 1, f.bytes, 66);
	assert_int_equal(lab_term(&l, REC_RX, REC_LOST_UNREADABLE).packets, 0);
}

static void both_ways(void **state)
{
	static void (*const make[])(struct frame *) = {
		make_udp4, make_tcp4, make_udp6, make_sctp_data, make_sctp6_data, make_dccp_ack, make_dccp_request,
	};
	static const unsigned l4[] = { 34, 34, 54, 34, 54, 34, 34 };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(make); i++) {
		struct frame f = frame_begin(), other;
		uint32_t there, back;

		make[i](&f);
		frame_end(&f);
		other = f;
		there = one(xdp, f.bytes, f.len)->hash;
		assert_int_equal(one(tc, f.bytes, f.len)->hash, there);
		frame_reverse(&f, 14, l4[i]);
		assert_memory_not_equal(f.bytes, other.bytes, f.len);
		back = one(xdp, f.bytes, f.len)->hash;
		assert_int_equal(there, back);
		other.bytes[l4[i] + 1] ^= 1; /* another port: another conversation */
		assert_int_not_equal(one(xdp, other.bytes, other.len)->hash, there);
		other.bytes[l4[i] + 1] ^= 1;
		other.bytes[l4[i] - 1] ^= 1; /* another address */
		assert_int_not_equal(one(xdp, other.bytes, other.len)->hash, there);
	}
}

/* The verifier gives up at a million; other kernels need more than this one. */
static void verifier_effort(void **state)
{
	int prog[] = { xdp, tc };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct bpf_prog_info info = { 0 };
		uint32_t size = sizeof(info);

		assert_int_equal(bpf_obj_get_info_by_fd(prog[i], &info, &size), 0);
		print_message("%s: %u instructions, %u verified\n", info.name, info.xlated_prog_len / 8, info.verified_insns);
		assert_in_range(info.verified_insns, 1000, 300000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind), cmocka_unit_test(control),   cmocka_unit_test(every_length),
		cmocka_unit_test(fragments),  cmocka_unit_test(both_ways), cmocka_unit_test(verifier_effort),
	};
	struct capture_spec spec = { .iface = "r0", .sides = CAPTURE_SIDE(REC_RX), .hook = CAPTURE_HOOK_XDP };
	int r = lab_begin(&lab);

	if (r)
		return r;
	lab_pin_cpu((unsigned)sched_getcpu());
	lab_veth("r0", "r1");
	r = lab_capture(&l, &lab, spec);
	if (!r) {
		xdp = lab_program(&l, REC_RX, MODE_XDP);
		tc = lab_program(&l, REC_RX, MODE_TCX);
	}
	if (r || xdp < 0 || tc < 0) {
		fprintf(stderr, "%s\n", l.err.text);
		return 1;
	}
	r = cmocka_run_group_tests(tests, NULL, NULL);
	lab_capture_end(&l);
	lab_end(&lab);
	return r;
}
