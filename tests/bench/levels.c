// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * levels.c - what the program costs a packet at each level of pressure, by BPF_PROG_RUN of the real object on real maps: stored,
 * watched, counted by 5-tuple, counted by network, counting only. One packet again and again, so everything is in the caches:
 * `bench/run flood cost` has the same by live frames of many sources.
 *
 * Each round times all of them, between two timings of an empty program. A line for each: the median, and as a multiple of the empty one.
 *
 *   bench_levels [ROUNDS]       exit 0 only if what is counted at level 2 and 3 costs 60 ns or less beyond the empty program
 */
#include "tests/bpf/kinds.h"
#include "tests/bpf/lab.h"

#define REPEAT 5000u
#define RING (4u << 20)
#define AIM_NS 60.0

enum level { STORED, WATCHED, BY_FLOW, BY_NETWORK, ONLY, LEVELS };
static const char *const names[LEVELS] = {"0.stored", "0.watched", "2.flow", "3.network", "count"};

static uint64_t state = 88172645463325252ull;

static uint32_t dice(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16);
}

static struct frame udp4(uint32_t source)
{
	struct frame f = frame_begin();

	make_udp4(&f);
	frame_end(&f);
	put_be32(f.bytes + 26, source);
	return f;
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

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

/* A capture of its own for each level, brought to where that level is. */
struct place {
	struct lab_capture l;
	int prog;
	struct frame frame;
	struct rec_count stored, flow, prefix; /* when it was there */
};

static int reach(struct place *p, const struct lab *lab, enum level level)
{
	char name[8];
	struct capture_spec spec = {.sides = CAPTURE_SIDE(REC_RX), .hook = CAPTURE_HOOK_XDP, .ring_bytes = RING,
				    .floods = level == ONLY ? REC_FLOODS_ALL : REC_FLOODS_COUNTED};

	snprintf(name, sizeof(name), "r%d", level);
	spec.iface = name;
	lab_sh("ip link add %s type veth peer name s%d && ip link set %s up && ip link set s%d up", name, level, name, level);
	if (lab_capture(&p->l, lab, spec))
		return -1;
	p->prog = lab_program(&p->l, REC_RX, MODE_XDP);
	if (p->prog < 0)
		return -1;
	p->frame = udp4(0x0a000001);
	if (level == BY_FLOW)
		run(p->prog, &p->frame, 300000);
	for (unsigned i = 0; level == BY_NETWORK && i < 300000; i++) {
		p->frame = udp4(0x0a000000 | (dice() & 0xffffff));
		run(p->prog, &p->frame, 1);
	}
	p->stored = lab_term(&p->l, REC_RX, REC_PUBLISHED);
	p->flow = lab_term(&p->l, REC_RX, REC_SUMMARISED_FLOW);
	p->prefix = lab_term(&p->l, REC_RX, REC_SUMMARISED_PREFIX);
	return 0;
}

static double timed(struct place *p, enum level level)
{
	if (level == STORED || level == WATCHED) {
		lab_drain(&p->l);
		/* 9/16: the addresses are counted, the packet is stored */
		if (level == WATCHED)
			run(p->prog, &p->frame, RING / 16 * 9 / (sizeof(struct rec_head) + 48));
		return run(p->prog, &p->frame, 2000);
	}
	return run(p->prog, &p->frame, REPEAT);
}

int main(int argc, char **argv)
{
	const struct bpf_insn code[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = XDP_PASS}, {.code = BPF_JMP | BPF_EXIT}};
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 101;
	int empty = bpf_prog_load(BPF_PROG_TYPE_XDP, "tiny", "GPL", code, 2, NULL), missed = 0;
	double *ns[LEVELS], *nothing = calloc(rounds, sizeof(double));
	struct place places[LEVELS];
	struct lab lab;
	int r = lab_begin(&lab);

	if (r)
		return r;
	lab_pin_cpu((unsigned)sched_getcpu());
	for (enum level i = 0; i < LEVELS; i++) {
		ns[i] = calloc(rounds, sizeof(double));
		if (!rounds || !ns[i] || !nothing || empty < 0 || reach(&places[i], &lab, i)) {
			fprintf(stderr, "%s: %s\n", names[i], places[i].l.err.text);
			lab_end(&lab);
			return 1;
		}
	}
	for (unsigned k = 0; k < rounds; k++) {
		nothing[k] = run(empty, &places[0].frame, REPEAT);
		for (enum level i = 0; i < LEVELS; i++)
			ns[i][k] = timed(&places[i], i);
	}
	double base = median(nothing, rounds);

	for (enum level i = 0; i < LEVELS; i++) {
		double cost = median(ns[i], rounds);
		uint64_t stored = lab_term(&places[i].l, REC_RX, REC_PUBLISHED).packets - places[i].stored.packets,
			 flow = lab_term(&places[i].l, REC_RX, REC_SUMMARISED_FLOW).packets - places[i].flow.packets,
			 prefix = lab_term(&places[i].l, REC_RX, REC_SUMMARISED_PREFIX).packets - places[i].prefix.packets,
			 mine = i == BY_FLOW ? flow : i < BY_FLOW ? stored : prefix;
		bool there = mine >= (stored + flow + prefix) / 100 * 99; /* the rest: the ring was not as full as that yet */

		printf("levels.%s %.0f ns, %.1f times an empty program\n", names[i], cost, cost / base);
		if (!there) {
			fprintf(stderr, "levels.%s: %llu stored, %llu counted by 5-tuple, %llu otherwise: it was not at that level\n", names[i],
				(unsigned long long)stored, (unsigned long long)flow, (unsigned long long)prefix);
			missed++;
		}
		missed += (i == BY_FLOW || i == BY_NETWORK) && cost - base > AIM_NS;
		close(places[i].prog);
		lab_capture_end(&places[i].l);
	}
	printf("levels_aims_missed %d\n", missed);
	lab_end(&lab);
	return missed != 0;
}
