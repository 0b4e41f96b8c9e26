// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * run.c - frames of capture files through the recorder's own program, by BPF_PROG_RUN.
 *
 * An object of its own with rec_xdp_import alone and the maps as recorder.bpf.c sizes them: one ring, one element of
 * `seconds`, since this program takes every frame for CPU 0. A frame is one system call; behind it the counters say
 * what became of it and the ring holds its record, which is given back to the program with the next frame.
 *
 * The metadata stands in front of the frame in data_in; ctx_in says how much of it that is (Linux 5.14, 47316f4a3053
 * "bpf: Support input xdp_md context in BPF_PROG_TEST_RUN").
 */
#include "recorder/capture/run.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <sys/mman.h>

#include "recorder.skel.h"
#include "recorder/capture/filter_internal.h"
#include "recorder/capture/internal.h"
#include "recorder/source/native.h"

#define DESK_ELEMENTS (REC_DESK_TAIL(REC_RX, 1, 0) + 1)

struct capture_run {
	struct recorder_bpf *object;
	int prog; /* of the object */
	const struct filter *filter;
	const struct rec_ring *ring;
	const struct rec_seconds *seconds;
	union rec_desk *desk;
	struct rec_count last[REC_TERMS]; /* the counters behind the frame before */
	uint32_t hash_seed;
	uint64_t native;
	struct native_slot slot;
	struct {
		struct rec_import_meta meta;
		uint8_t frame[REC_CAP_MAX];
	} in;
};
_Static_assert(sizeof(((struct capture_run *)0)->in) == sizeof(struct rec_import_meta) + REC_CAP_MAX, "they touch");

/* The object with its settings and the one program that is wanted, not yet loaded. */
static int prepare(struct capture_run *run, struct splice *splice)
{
	struct recorder_bpf *o = run->object;
	struct rec_settings *s = (struct rec_settings *)&o->rodata->settings;
	struct bpf_program *p;

	bpf_object__for_each_program(p, o->obj)
		bpf_program__set_autoload(p, p == o->progs.rec_xdp_import);
	s->side = REC_RX;
	s->cpus = 1;
	s->ring_size = REC_RING_MIN;
	s->hash_seed = run->hash_seed;
	splice_settings(splice, o->obj, s);
	return bpf_map__set_max_entries(o->maps.desk, DESK_ELEMENTS);
}

/* 0 or -errno; -ENOEXEC with text: without the capture filter, so it is not to be used. */
static int load(struct capture_run *run, struct capture_error *text)
{
	struct splice *splice;
	int r = splice_begin(&splice, run->filter, text);

	if (r)
		return r;
	run->object = recorder_bpf__open();
	r = run->object ? prepare(run, splice) : -errno;
	if (!r)
		r = recorder_bpf__load(run->object);
	r = splice_end(splice, r, text);
	if (!r)
		run->prog = bpf_program__fd(run->object->progs.rec_xdp_import);
	return r;
}

/* Maps `size` bytes of a map. NULL with errno. */
static void *map(int fd, size_t size, int prot)
{
	void *p = mmap(NULL, size, prot, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int maps_make(struct capture_run *run)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	CLEANUP_CLOSE int ring = bpf_map_create(BPF_MAP_TYPE_ARRAY, "ring", 4, REC_RING_VALUE(REC_RING_MIN), 1, &opts);
	const struct recorder_bpf *o = run->object;
	uint32_t zero = 0;

	if (ring < 0)
		return ring;
	if (bpf_map_update_elem(bpf_map__fd(o->maps.rings), &zero, &ring, BPF_ANY))
		return -errno;
	run->ring = map(ring, REC_RING_VALUE(REC_RING_MIN), PROT_READ);
	run->seconds = map(bpf_map__fd(o->maps.seconds), sizeof(*run->seconds), PROT_READ);
	run->desk = map(bpf_map__fd(o->maps.desk), DESK_ELEMENTS * sizeof(*run->desk), PROT_READ | PROT_WRITE);
	return run->ring && run->seconds && run->desk ? 0 : -errno;
}

int capture_run_open(struct capture_run **out, const struct filter *filter, uint32_t hash_seed,
		     struct capture_error *err)
{
	struct capture_run *run = calloc(1, sizeof(*run));
	char caps[96];
	int r;

	if (!run)
		return capture_fail(err, -ENOMEM, "cannot make the import program: no memory");
	run->hash_seed = hash_seed;
	run->filter = filter;
	if (err)
		err->text[0] = 0;
	libbpf_log_init();
	libbpf_log_begin();
	r = load(run, err);
	if (!r)
		r = maps_make(run);
	if (!r) {
		libbpf_log_end(0);
		*out = run;
		return 0;
	}
	capture_run_close(run);
	if ((r == -EPERM || r == -EACCES) && capture_missing_caps(caps, sizeof(caps)) > 0) {
		libbpf_log_end(0);
		return capture_fail(err, r, "cannot load the import program: missing %s (run as root)", caps);
	}
	libbpf_log_end(1);
	if (err && err->text[0]) /* the filter's part in it */
		return r;
	return capture_fail(err, r, "cannot load the import program: %s (Linux 6.1 or newer is needed)", strerror(-r));
}

/*
 * The term that grew by one packet since the frame before; SEEN grows beside it. REC_TERMS when not one did: the program
 * did not run to its end.
 */
static enum rec_term counted(struct capture_run *run)
{
	const struct rec_count *now = run->seconds->slot[run->seconds->newest & (REC_SECONDS - 1)].total;
	enum rec_term term = REC_TERMS;

	for (unsigned i = REC_SEEN + 1; i < REC_TERMS; i++)
		if (now[i].packets != run->last[i].packets)
			term = (enum rec_term)i;
	memcpy(run->last, now, sizeof(run->last));
	return term;
}

static void run_native(struct capture_run *run, const uint8_t *bytes, uint32_t have, uint32_t wire, uint64_t time,
		       enum rec_term *term, const struct rec_head **record)
{
	run->native++;
	if (!filter_match(run->filter, bytes, have, wire > have ? wire : have)) {
		*term = REC_FILTERED_EXPR;
		return;
	}
	*record = native_record(&run->slot, bytes, have, wire, time, run->hash_seed);
	*term = REC_PUBLISHED;
}

int capture_run(struct capture_run *run, const uint8_t *bytes, uint32_t have, uint32_t wire, uint64_t time,
		enum rec_term *term, const struct rec_head **record)
{
	uint32_t n = have < REC_CAP_MAX ? have : REC_CAP_MAX;
	uint32_t size = (uint32_t)sizeof(run->in.meta) + n;
	struct xdp_md ctx = { .data = sizeof(run->in.meta), .data_end = size };
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = &run->in, .data_size_in = size, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = 1);
	enum rec_term t;
	uint64_t head;
	int r;

	if (have < CAPTURE_RUN_MIN) {
		run_native(run, bytes, have, wire, time, term, record);
		return 0;
	}
	run->in.meta.time = time;
	run->in.meta.wire_len = wire > have ? wire : have;
	memcpy(run->in.frame, bytes, n);
	head = __atomic_load_n(&run->ring->head, __ATOMIC_ACQUIRE);
	__atomic_store_n(&run->desk[REC_DESK_TAIL(REC_RX, 1, 0)].ring.tail, head, __ATOMIC_RELEASE);
	r = bpf_prog_test_run_opts(run->prog, &o);
	if (r)
		return r;
	t = counted(run);
	if (t == REC_TERMS)
		return -EIO;
	if (t == REC_PUBLISHED)
		*record = (const struct rec_head *)(run->ring->data + (head & (REC_RING_MIN - 1)));
	*term = t;
	return 0;
}

uint64_t capture_run_native(const struct capture_run *run)
{
	return run->native;
}

void capture_run_close(struct capture_run *run)
{
	if (!run)
		return;
	if (run->ring)
		munmap((void *)run->ring, REC_RING_VALUE(REC_RING_MIN));
	if (run->seconds)
		munmap((void *)run->seconds, sizeof(*run->seconds));
	if (run->desk)
		munmap(run->desk, DESK_ELEMENTS * sizeof(*run->desk));
	recorder_bpf__destroy(run->object);
	free(run);
}
