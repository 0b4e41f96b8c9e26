// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * program.c - what the program costs for each kind of packet, by BPF_PROG_RUN of the real object on the real maps.
 *
 * Everything is measured in one run, interleaved: a round times the recorder with every kind of packet (tests/bpf/kinds.h),
 * between two timings each of an empty program and of one that only reads the clock. A figure is the median of the rounds:
 * the nanoseconds, which belong to the machine, and the multiples of the two, which can be compared. The ring is drained
 * before each timing.
 *
 *   bench_program [ROUNDS [REPEAT]]        a line for each hook and kind; exit 0 only if the aims hold
 *   aims: IPv4 UDP of 64 bytes at most 2.0 times the clock program, TCP in VXLAN 2.3
 */
#include <linux/pkt_cls.h>

#include "tests/bpf/kinds.h"
#include "tests/bpf/lab.h"

#define ROUNDS 101
#define REPEAT 2000 /* records of a run: half a megabyte at most */
#define RING (8u << 20)

static const struct {
	void (*make)(struct frame *);
	double clocks; /* at most so many times the clock program */
} aims[] = { { make_udp4, 2.0 }, { make_vxlan_tcp4, 2.3 } };

static double aim(const struct kind *k)
{
	for (unsigned i = 0; i < ARRAY_SIZE(aims); i++)
		if (aims[i].make == k->make)
			return aims[i].clocks;
	return 0;
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

/* The two programs beside which the recorder's is timed, once right before and once right behind it. */
struct beside {
	int empty, clock;
	double nothing, clocks; /* the newest timings */
};

static void time_beside(struct beside *b, const struct frame *f, unsigned repeat)
{
	b->nothing = run(b->empty, f, repeat);
	b->clocks = run(b->clock, f, repeat);
}

struct figures {
	double *ns, *empties, *clocks; /* of each round */
};

static void one_round(struct lab_capture *l, int prog, struct beside *b, struct figures *of, unsigned r, unsigned repeat)
{
	struct frame f = kind_frame(&kinds_all[0]);

	time_beside(b, &f, repeat);
	for (unsigned i = 0; i < KINDS; i++) {
		struct beside before = *b;

		f = kind_frame(&kinds_all[i]);
		if (f.len <= 14) /* BPF_PROG_RUN wants something behind an skb's Ethernet header */
			continue;
		lab_drain(l);
		of[i].ns[r] = run(prog, &f, repeat);
		time_beside(b, &f, repeat);
		of[i].empties[r] = 2 * of[i].ns[r] / (before.nothing + b->nothing);
		of[i].clocks[r] = 2 * of[i].ns[r] / (before.clocks + b->clocks);
	}
}

/* Returns how many aims were missed. */
static int report(const char *hook, const struct figures *of, unsigned rounds)
{
	int missed = 0;

	printf("%-30s %9s %9s %9s\n", "kind", "ns", "x empty", "x clock");
	for (unsigned i = 0; i < KINDS; i++) {
		double times = median(of[i].clocks, rounds), most = aim(&kinds_all[i]);
		int late = most > 0 && times > most;

		if (!of[i].ns[0])
			continue;
		printf("%s_%-*s %9.0f %9.2f %9.2f%s\n", hook, (int)(29 - strlen(hook)), kinds_all[i].name,
		       median(of[i].ns, rounds), median(of[i].empties, rounds), times, late ? "  aim missed" : "");
		missed += late;
	}
	return missed;
}

static int measure(struct lab_capture *l, const char *hook, enum bpf_prog_type type, enum mode mode, unsigned rounds,
		   unsigned repeat)
{
	int verdict = type == BPF_PROG_TYPE_XDP ? (int)XDP_PASS : TC_ACT_UNSPEC, prog = lab_program(l, REC_RX, mode), missed;
	struct beside b = { .empty = tiny(type, 0, verdict), .clock = tiny(type, BPF_FUNC_ktime_get_boot_ns, verdict) };
	struct figures of[KINDS];

	if (b.empty < 0 || b.clock < 0 || prog < 0) {
		fprintf(stderr, "cannot load: %s\n", l->err.text);
		exit(1);
	}
	for (unsigned i = 0; i < KINDS; i++)
		of[i] = (struct figures){ series(rounds), series(rounds), series(rounds) };
	for (unsigned r = 0; r < rounds; r++)
		one_round(l, prog, &b, of, r, repeat);
	printf("%s: an empty program %.0f ns, one that reads the clock %.0f ns, in the last round\n", hook, b.nothing, b.clocks);
	missed = report(hook, of, rounds);
	for (unsigned i = 0; i < KINDS; i++) {
		free(of[i].ns);
		free(of[i].empties);
		free(of[i].clocks);
	}
	close(b.empty);
	close(b.clock);
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
	lab_pin_cpu((unsigned)sched_getcpu());
	r = measure(&l, "xdp", BPF_PROG_TYPE_XDP, MODE_XDP, rounds, repeat);
	measure(&l, "tc", BPF_PROG_TYPE_SCHED_CLS, MODE_TCX, rounds, repeat);

	struct rec_count seen = lab_term(&l, REC_RX, REC_SEEN), published = lab_term(&l, REC_RX, REC_PUBLISHED);

	printf("program_aims_missed %d of %zu\n", r, ARRAY_SIZE(aims));
	if (seen.packets != published.packets || seen.bytes != published.bytes) {
		fprintf(stderr, "not every packet was recorded: %llu of %llu\n", (unsigned long long)published.packets,
			(unsigned long long)seen.packets);
		r = 1;
	}
	lab_capture_end(&l);
	lab_end(&lab);
	return r != 0;
}
