// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * filter.c - what a capture filter costs for each packet, by BPF_PROG_RUN of the real XDP object, beside the same object
 * without one. Rounds are interleaved; a figure is the median of the rounds. For each filter a packet that it keeps, which
 * costs the filter on top of the record, and one that it rejects, which saves the parse and the record.
 *
 *   bench_filter [--smoke | ROUNDS [REPEAT]]       lines `filter_NAME figure ns`; exit 0 if every packet was decided rightly
 */
#include "tests/bpf/frames.h"
#include "tests/bpf/lab.h"

#define ROUNDS 51
#define REPEAT 5000
#define RING (8u << 20)

static struct {
	const char *name, *expression;
	int prog;
	const struct frame *keeps, *rejects;
	double *kept, *rejected;
} filters[] = {
	{ .name = "none", .expression = "" },
	{ .name = "tcp_port_443", .expression = "tcp port 443" },
	{ .name = "host_and_not_port", .expression = "host 10.0.0.1 and not port 22" },
	{ .name = "two_nets", .expression = "net 10.0.0.0/8 or net 192.168.0.0/16" },
	{ .name = "20_hosts" },
	{ .name = "vlan_5_and_tcp", .expression = "vlan 5 and tcp" },
	{ .name = "tcp_syn", .expression = "tcp[tcpflags] & tcp-syn = 0 and ip[2:2] > 20" },
};

static struct frame tcp, vlan, other;

static void make_frames(void)
{
	tcp = frame_begin();
	frame_eth(&tcp, 0x0800), frame_ip4(&tcp, 6, 0), frame_tcp(&tcp, 40000, 443, 12), frame_fill(&tcp, 200), frame_end(&tcp);
	memset(tcp.bytes + 47, 0x10, 1); /* ACK */
	vlan = frame_begin();
	frame_eth(&vlan, 0x8100), frame_vlan(&vlan, 5, 0x0800), frame_ip4(&vlan, 6, 0), frame_tcp(&vlan, 40000, 443, 12);
	frame_fill(&vlan, 200), frame_end(&vlan);
	other = frame_begin();
	frame_eth(&other, 0x86dd), frame_ip6(&other, 17), frame_udp(&other, 1000, 53), frame_fill(&other, 200), frame_end(&other);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double run(struct lab_capture *l, int prog, const struct frame *f, unsigned repeat, enum rec_term term)
{
	uint64_t before;
	long ns;

	lab_drain(l);
	before = lab_term(l, REC_RX, term).packets;
	ns = lab_run(prog, f->bytes, f->len, repeat, NULL);
	if (ns < 0 || lab_term(l, REC_RX, term).packets != before + repeat) {
		fprintf(stderr, "a packet was not decided as it should be, or not run (%ld)\n", ns);
		exit(1);
	}
	return (double)ns;
}

static int load(struct lab_capture *l, unsigned i)
{
	static char hosts[1024];
	struct filter_error error = { "" };
	struct filter *f = NULL;

	if (!filters[i].expression) {
		for (unsigned n = 0, used = 0; n < 20; n++) /* the last is the packet's */
			used += (unsigned)snprintf(hosts + used, sizeof(hosts) - used, "%shost 10.0.0.%u", n ? " or " : "", 20 - n);
		filters[i].expression = hosts;
	}
	if (filter_compile(&f, filters[i].expression, &error)) {
		fprintf(stderr, "%s\n", error.text);
		return -1;
	}
	l->c->filter = f;
	filters[i].prog = lab_program(l, REC_RX, MODE_XDP);
	l->c->filter = NULL;
	filters[i].keeps = strstr(filters[i].name, "vlan") ? &vlan : &tcp;
	filters[i].rejects = f ? &other : NULL;
	printf("filter_%s_instructions %u\n", filters[i].name, filter_length(f));
	filter_free(f);
	if (filters[i].prog < 0)
		fprintf(stderr, "%s\n", l->err.text);
	return filters[i].prog;
}

static void measure(struct lab_capture *l, unsigned rounds, unsigned repeat)
{
	for (unsigned r = 0; r < rounds; r++)
		for (unsigned i = 0; i < ARRAY_SIZE(filters); i++) {
			filters[i].kept[r] = run(l, filters[i].prog, filters[i].keeps, repeat, REC_PUBLISHED);
			if (filters[i].rejects)
				filters[i].rejected[r] = run(l, filters[i].prog, filters[i].rejects, repeat, REC_FILTERED_EXPR);
		}
	for (unsigned i = 0; i < ARRAY_SIZE(filters); i++) {
		qsort(filters[i].kept, rounds, sizeof(double), by_value);
		qsort(filters[i].rejected, rounds, sizeof(double), by_value);
		if (filters[i].rejects)
			printf("filter_%s_rejected %.0f ns\n", filters[i].name, filters[i].rejected[rounds / 2]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(filters); i++)
		printf("filter_%s %.0f ns\n", filters[i].name, filters[i].kept[rounds / 2]);
}

int main(int argc, char **argv)
{
	bool smoke = argc > 1 && !strcmp(argv[1], "--smoke");
	unsigned rounds = smoke ? 5 : argc > 1 ? (unsigned)atoi(argv[1]) : ROUNDS;
	unsigned repeat = argc > 2 ? (unsigned)atoi(argv[2]) : REPEAT;
	struct capture_spec spec = { .iface = "r0", .sides = CAPTURE_SIDE(REC_RX), .hook = CAPTURE_HOOK_XDP, .ring_bytes = RING };
	struct lab_capture l;
	struct lab lab;
	int r;

	if (!rounds || !repeat || (uint64_t)repeat * REC_RECORD_MAX > RING) {
		fprintf(stderr, "usage: bench_filter [--smoke | ROUNDS [REPEAT]], at most %zu repetitions\n",
			(size_t)RING / REC_RECORD_MAX);
		return 2;
	}
	r = lab_begin(&lab);
	if (r)
		return r;
	lab_veth("r0", "r1");
	make_frames();
	lab_pin_cpu((unsigned)sched_getcpu());
	r = lab_capture(&l, &lab, spec);
	if (r) {
		fprintf(stderr, "%s\n", l.err.text);
		lab_end(&lab);
		return 1;
	}
	for (unsigned i = 0; !r && i < ARRAY_SIZE(filters); i++) {
		filters[i].kept = calloc(rounds, sizeof(double));
		filters[i].rejected = calloc(rounds, sizeof(double));
		r = !filters[i].kept || !filters[i].rejected || load(&l, i) < 0;
	}
	if (!r)
		measure(&l, rounds, repeat);
	for (unsigned i = 0; i < ARRAY_SIZE(filters); i++) {
		free(filters[i].kept);
		free(filters[i].rejected);
	}
	lab_capture_end(&l);
	lab_end(&lab);
	return r;
}
