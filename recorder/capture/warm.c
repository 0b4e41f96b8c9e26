// SPDX-License-Identifier: GPL-2.0-or-later
/* warm.c - bpf/warm.bpf.c, loaded onto the rings of each side. */
#include "recorder/capture/warm.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>

#include "recorder/capture/internal.h"
#include "warm.skel.h"

struct capture_warm {
	struct warm_bpf *side[REC_SIDES]; /* NULL: not captured */
	struct place {
		enum rec_side side;
		uint32_t cpu;
	} *ring; /* those that there are */
	unsigned rings, at; /* at: whose turn it is, with `page` */
	uint32_t page;
	uint64_t pages; /* that were read */
};

static int load(struct capture_warm *w, const struct capture *c, enum rec_side side)
{
	struct warm_bpf *o = warm_bpf__open();
	int r = o ? 0 : -errno;

	if (!r) {
		*(uint32_t *)&o->rodata->value_len = REC_RING_VALUE(c->meta->ring_size);
		r = bpf_map__reuse_fd(o->maps.rings, c->map[side == REC_RX ? MAP_RINGS_RX : MAP_RINGS_TX]);
	}
	if (!r) {
		libbpf_log_begin();
		r = warm_bpf__load(o);
		libbpf_log_end(r != 0);
	}
	if (r) {
		warm_bpf__destroy(o);
		return r;
	}
	w->side[side] = o;
	for (uint32_t cpu = 0; cpu < c->meta->cpus; cpu++)
		if (c->ring[side][cpu] >= 0)
			w->ring[w->rings++] = (struct place){side, cpu};
	return 0;
}

int capture_warm_open(struct capture_warm **out, const struct capture *c, struct capture_error *err)
{
	struct capture_warm *w = calloc(1, sizeof(*w));
	int r = w && (w->ring = calloc(REC_SIDES * c->meta->cpus, sizeof(*w->ring))) ? 0 : -ENOMEM;

	for (enum rec_side side = 0; !r && side < REC_SIDES; side++)
		if (c->meta->sides & CAPTURE_SIDE(side))
			r = load(w, c, side);
	if (r) {
		capture_warm_close(w);
		return capture_fail(err, r, "cannot load the program that reads the rings of %s: %s", c->meta->iface, strerror(-r));
	}
	*out = w;
	return 0;
}

/* The program's answer, or -errno. */
static int run(struct warm_bpf *o, uint32_t cpu, uint32_t page)
{
	uint8_t frame[64] = {0}; /* BPF_PROG_RUN wants one */
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame), .repeat = 1);

	o->bss->cpu = cpu;
	o->bss->page = page;
	return bpf_prog_test_run_opts(bpf_program__fd(o->progs.rec_warm), &opts) ? -errno : (int)opts.retval;
}

int capture_warm_step(struct capture_warm *w)
{
	const struct place *ring = &w->ring[w->at];
	int n = w->rings ? run(w->side[ring->side], ring->cpu, w->page) : 0;

	if (n < 0)
		return n;
	w->pages += (uint32_t)n;
	if (++w->at < w->rings)
		return 1;
	w->at = 0;
	w->page += (uint32_t)n; /* they are all of one size: each has read as many */
	return n > 0;
}

uint64_t capture_warm_pages(const struct capture_warm *w)
{
	return w->pages;
}

void capture_warm_close(struct capture_warm *w)
{
	if (!w)
		return;
	for (enum rec_side side = 0; side < REC_SIDES; side++)
		warm_bpf__destroy(w->side[side]);
	free(w->ring);
	free(w);
}
