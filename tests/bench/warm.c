// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * warm.c - what a packet costs that is stored in pages of a ring which nobody has used (bpf/warm.bpf.c), by BPF_PROG_RUN: two captures by turns,
 * one whose pages were read before (recorder/capture/warm.h), each ring filled twice.
 *
 *   bench_warm [MB]       of a ring, a power of two; default 64
 */
#include <time.h>

#include "recorder/capture/warm.h"
#include "tests/bpf/kinds.h"
#include "tests/bpf/lab.h"

#define PARTS 16u /* of a ring at a time, so that it is never watched */

struct place {
	struct lab_capture l;
	int prog;
	double ns[2]; /* a packet, first and second time around */
};

static int reach(struct place *p, const struct lab *lab, const char *iface, unsigned long mb)
{
	struct capture_spec spec = { .sides = CAPTURE_SIDE(REC_RX), .hook = CAPTURE_HOOK_XDP, .ring_bytes = mb << 20, .iface = iface };

	lab_sh("ip link add %s type veth peer name %sp && ip link set %s up && ip link set %sp up", iface, iface, iface, iface);
	if (lab_capture(&p->l, lab, spec))
		return -1;
	p->prog = lab_program(&p->l, REC_RX, MODE_XDP);
	return p->prog < 0 ? -1 : 0;
}

/* ns for all pages of all rings, or -1. */
static double warm(struct place *p, uint64_t *pages)
{
	struct capture_warm *w;
	struct timespec begin, end;
	int more = 1;

	if (capture_warm_open(&w, p->l.c, &p->l.err))
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	while (more == 1)
		more = capture_warm_step(w);
	clock_gettime(CLOCK_MONOTONIC, &end);
	*pages = capture_warm_pages(w);
	capture_warm_close(w);
	return more < 0 ? -1 : (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
}

int main(int argc, char **argv)
{
	unsigned long mb = argc > 1 && strcmp(argv[1], "--smoke") != 0 ? strtoul(argv[1], NULL, 10) : argc > 1 ? 4 : 64;
	struct place places[2] = { 0 };
	struct frame f = frame_begin();
	struct lab lab;
	uint64_t pages = 0;
	double took;
	int r = lab_begin(&lab);

	if (r)
		return r;
	make_udp4(&f);
	frame_end(&f);
	lab_pin_cpu((unsigned)sched_getcpu());
	if (reach(&places[0], &lab, "r0", mb) || reach(&places[1], &lab, "r1", mb) || (took = warm(&places[1], &pages)) < 0) {
		fprintf(stderr, "bench_warm: %s%s\n", places[0].l.err.text, places[1].l.err.text);
		lab_end(&lab);
		return 1;
	}
	printf("warm.page %.0f ns to read one of %llu for the first time\n", took / (double)pages, (unsigned long long)pages);
	for (unsigned part = 0; part < 2 * PARTS; part++)
		for (unsigned i = 0; i < 2; i++) {
			struct place *p = &places[i];
			unsigned n = (unsigned)((mb << 20) / PARTS / (sizeof(struct rec_head) + 48));
			long ns;

			lab_drain(&p->l);
			ns = lab_run(p->prog, f.bytes, f.len, n, NULL);
			if (ns < 0) {
				fprintf(stderr, "BPF_PROG_RUN: %s\n", strerror((int)-ns));
				lab_end(&lab);
				return 1;
			}
			p->ns[part / PARTS] += (double)ns / PARTS;
		}
	printf("warm.unread %.0f ns a packet the first time around, %.0f the second\n", places[0].ns[0], places[0].ns[1]);
	printf("warm.read %.0f ns a packet the first time around, %.0f the second: %.1f times as fast as unread\n", places[1].ns[0],
	       places[1].ns[1], places[0].ns[0] / places[1].ns[0]);
	for (unsigned i = 0; i < 2; i++) {
		close(places[i].prog);
		lab_capture_end(&places[i].l);
	}
	lab_end(&lab);
	return 0;
}
