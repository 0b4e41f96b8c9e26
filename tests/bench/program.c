// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * program.c - what the program costs for each packet, by BPF_PROG_RUN of the real object on the real maps.
 *
 * Everything is measured in one run, interleaved: a round times the empty program and the recorder with every kind of
 * packet, between two timings of a program that only reads the clock. A figure is the median of the rounds: the
 * nanoseconds, which belong to the machine, and the multiple of the clock program, which can be compared. The ring is
 * drained before each timing.
 *
 *   bench_program [ROUNDS [REPEAT]]        lines `NAME figure unit`; exit 0 only if the aims hold
 *   aims: IPv4 UDP of 64 bytes at most 2.0 times the clock program, TCP in VXLAN 2.3
 */
#include <linux/pkt_cls.h>

#include "tests/bpf/frames.h"
#include "tests/bpf/lab.h"

#define ROUNDS 101
#define REPEAT 5000 /* records of a run: half a megabyte at 104 bytes each */
#define RING (8u << 20)

static struct {
	const char *name;
	struct frame f;
	double aim; /* multiple of the clock program, 0: none */
} kind[32];
static unsigned kinds;

static struct frame *add(const char *name, double aim)
{
	kind[kinds].name = name;
	kind[kinds].f = frame_begin();
	kind[kinds].aim = aim;
	return &kind[kinds++].f;
}

static void make_frames(void)
{
	struct frame *f;

	f = add("udp4_64", 2.0);
	frame_eth(f, 0x0800), frame_ip4(f, 17, 0), frame_udp(f, 1000, 53), frame_fill(f, 64);
	f = add("tcp4_timestamps_66", 0);
	frame_eth(f, 0x0800), frame_ip4(f, 6, 0), frame_tcp(f, 40000, 443, 12);
	f = add("tcp4_1514", 0);
	frame_eth(f, 0x0800), frame_ip4(f, 6, 0), frame_tcp(f, 40000, 443, 12), frame_fill(f, 1514);
	f = add("tcp6_qinq", 0);
	frame_eth(f, 0x88a8), frame_vlan(f, 100, 0x8100), frame_vlan(f, 200, 0x86dd), frame_ip6(f, 6);
	frame_tcp(f, 40000, 443, 12), frame_fill(f, 128);
	f = add("tcp4_vxlan", 2.3);
	frame_eth(f, 0x0800), frame_ip4(f, 17, 0), frame_udp(f, 50000, 4789), frame_32(f, 0x08000000), frame_32(f, 77 << 8);
	frame_eth(f, 0x0800), frame_ip4(f, 6, 0), frame_tcp(f, 40000, 443, 12), frame_fill(f, 200);
	f = add("udp6_2ext", 0);
	frame_eth(f, 0x86dd), frame_ip6(f, 0), frame_ext(f, 0, 60, 8), frame_ext(f, 60, 17, 8), frame_udp(f, 1000, 53);
	frame_fill(f, 128);
	f = add("icmp4_echo_98", 0);
	frame_eth(f, 0x0800), frame_ip4(f, 1, 0), frame_icmp(f, 8, 0), frame_fill(f, 98);
	f = add("arp_60", 0);
	frame_eth(f, 0x0806), frame_arp(f, 1), frame_fill(f, 60);
	f = add("unknown_1514", 0);
	frame_eth(f, 0x88b5), frame_fill(f, 1514);
	f = add("tcp6_vxlan_reload", 0);
	frame_eth(f, 0x0800), frame_ip4(f, 17, 0), frame_udp(f, 50000, 4789), frame_32(f, 0x08000000), frame_32(f, 77 << 8);
	frame_eth(f, 0x86dd), frame_ip6(f, 6), frame_tcp(f, 40000, 443, 12), frame_fill(f, 300);
	for (unsigned i = 0; i < kinds; i++)
		frame_end(&kind[i].f);
}

/* A program of a few instructions: `call helper` unless 0, then return the verdict. */
static int tiny(enum bpf_prog_type type, int helper, int verdict)
{
	struct bpf_insn code[4];
	unsigned n = 0;

	if (helper)
		code[n++] = (struct bpf_insn){ .code = BPF_JMP | BPF_CALL, .imm = helper };
	code[n++] = (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = verdict };
	code[n++] = (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT };
	return bpf_prog_load(type, "tiny", "GPL", code, n, NULL);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_value);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static double run(int prog, const struct frame *f, unsigned repeat)
{
	long ns = lab_run(prog, f->bytes, f->len, repeat, NULL);

	if (ns < 0) {
		fprintf(stderr, "BPF_PROG_RUN: %s\n", strerror((int)-ns));
		exit(1);
	}
	return (double)ns;
}

static double *series(unsigned rounds)
{
	double *v = calloc(rounds, sizeof(double));

	if (!v)
		exit(1);
	return v;
}

static int measure(struct lab_capture *l, const char *hook, enum bpf_prog_type type, enum mode mode, unsigned rounds,
		   unsigned repeat)
{
	int xdp = type == BPF_PROG_TYPE_XDP, verdict = xdp ? (int)XDP_PASS : TC_ACT_UNSPEC, missed = 0;
	int empty = tiny(type, 0, verdict), clock = tiny(type, BPF_FUNC_ktime_get_boot_ns, verdict);
	int prog = lab_program(l, REC_RX, mode);
	double *nothing = series(rounds), *clocks = series(rounds), *ns[ARRAY_SIZE(kind)], *ratio[ARRAY_SIZE(kind)];

	if (empty < 0 || clock < 0 || prog < 0) {
		fprintf(stderr, "cannot load: %s\n", l->err.text);
		return 1;
	}
	for (unsigned i = 0; i < kinds; i++) {
		ns[i] = series(rounds);
		ratio[i] = series(rounds);
	}
	for (unsigned r = 0; r < rounds; r++) {
		nothing[r] = run(empty, &kind[0].f, repeat);
		/* the clock program right before and behind each: a neighbour's load meets both */
		clocks[r] = run(clock, &kind[0].f, repeat);
		for (unsigned i = 0; i < kinds; i++) {
			double before = clocks[r];

			lab_drain(l);
			ns[i][r] = run(prog, &kind[i].f, repeat);
			clocks[r] = run(clock, &kind[0].f, repeat);
			ratio[i][r] = 2 * ns[i][r] / (before + clocks[r]);
		}
	}
	printf("%s_empty %.0f ns\n%s_clock %.0f ns\n", hook, median(nothing, rounds), hook, median(clocks, rounds));
	for (unsigned i = 0; i < kinds; i++) {
		double times = median(ratio[i], rounds);
		int late = kind[i].aim && times > kind[i].aim;

		printf("%s_%s %.0f ns\n", hook, kind[i].name, median(ns[i], rounds));
		printf("%s_%s_multiple %.2f clocks%s\n", hook, kind[i].name, times, late ? " (aim missed)" : "");
		missed += late;
		free(ns[i]);
		free(ratio[i]);
	}
	free(nothing);
	free(clocks);
	close(empty);
	close(clock);
	close(prog);
	return missed;
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : ROUNDS, repeat = argc > 2 ? (unsigned)atoi(argv[2]) : REPEAT;
	struct capture_spec spec = { .iface = "r0", .sides = CAPTURE_SIDE(REC_RX), .hook = CAPTURE_HOOK_XDP, .ring_bytes = RING };
	struct lab_capture l;
	struct lab lab;
	int r = lab_begin(&lab);

	if (r)
		return r;
	if (!rounds || !repeat || (uint64_t)repeat * REC_RECORD_MAX > RING) {
		fprintf(stderr, "usage: bench_program [ROUNDS [REPEAT]], at most %zu repetitions\n", (size_t)RING / REC_RECORD_MAX);
		return 2;
	}
	lab_veth("r0", "r1");
	r = lab_capture(&l, &lab, spec);
	if (r) {
		fprintf(stderr, "%s\n", l.err.text);
		lab_end(&lab);
		return 1;
	}
	make_frames();
	lab_pin_cpu((unsigned)sched_getcpu());
	r = measure(&l, "xdp", BPF_PROG_TYPE_XDP, MODE_XDP, rounds, repeat);
	measure(&l, "tc", BPF_PROG_TYPE_SCHED_CLS, MODE_TCX, rounds, repeat);

	struct rec_count seen = lab_term(&l, REC_RX, REC_SEEN), published = lab_term(&l, REC_RX, REC_PUBLISHED);

	printf("program_aims_missed %d of 2\n", r);
	if (seen.packets != published.packets || seen.bytes != published.bytes) {
		fprintf(stderr, "not every packet was recorded: %llu of %llu\n", (unsigned long long)published.packets,
			(unsigned long long)seen.packets);
		r = 1;
	}
	lab_capture_end(&l);
	lab_end(&lab);
	return r != 0;
}
