/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lab.h - a place of its own for a test of the kernel side: network and mount namespaces of this process, a bpffs in a
 * directory of its own, a capture on a dummy or veth interface, and its programs and rings at hand. All of it goes
 * with the process; lab_end unmounts and removes the directory.
 */
#ifndef XDP_RECORDER_TESTS_LAB_H
#define XDP_RECORDER_TESTS_LAB_H

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "bpf/parse.h"
#include "recorder/capture/internal.h"

#define LAB_SKIP 77 /* ctest's SKIP_RETURN_CODE */

struct lab {
	char dir[64]; /* the bpffs */
};

/* What one program of a capture sees and writes, mapped. */
struct lab_capture {
	struct capture *c;
	struct capture_error err;
	struct rec_seconds *seconds;
	union rec_desk *desk;
	unsigned cpus;
	uint32_t ring_size;
	struct rec_ring *ring[REC_SIDES][256];
};

static inline int lab_sh(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline int lab_sh(const char *format, ...)
{
	char line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	return system(line);
}

/* 0, or LAB_SKIP after a line that says why. */
static inline int lab_begin(struct lab *lab)
{
	char caps[96];

	if (geteuid() || capture_missing_caps(caps, sizeof(caps)) > 0) {
		fprintf(stderr, "skip: needs root\n");
		return LAB_SKIP;
	}
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
		fprintf(stderr, "skip: no namespaces: %s\n", strerror(errno));
		return LAB_SKIP;
	}
	snprintf(lab->dir, sizeof(lab->dir), "/tmp/recorder-lab-XXXXXX");
	if (!mkdtemp(lab->dir) || mount("bpf", lab->dir, "bpf", 0, NULL)) {
		fprintf(stderr, "skip: cannot mount a bpf filesystem: %s\n", strerror(errno));
		return LAB_SKIP;
	}
	/* ip(8) reads names from here; its own /sys goes with the namespace */
	lab_sh("mount -t sysfs sysfs /sys 2>/dev/null; ip link set lo up");
	return 0;
}

static inline void lab_end(struct lab *lab)
{
	umount2(lab->dir, MNT_DETACH);
	rmdir(lab->dir);
}

/* Two ends of a veth, both in our namespace, without an address and without IPv6's own chatter. */
static inline int lab_veth(const char *a, const char *b)
{
	return lab_sh("ip link add %s type veth peer name %s && "
		      "sysctl -qw net.ipv6.conf.%s.disable_ipv6=1 net.ipv6.conf.%s.disable_ipv6=1 && "
		      "ip link set %s up && ip link set %s up",
		      a, b, a, b, a, b);
}

static inline int lab_map(struct lab_capture *l)
{
	size_t n;

	l->cpus = capture_cpus(l->c);
	l->ring_size = capture_ring_size(l->c);
	n = REC_SIDES * (size_t)l->cpus;
	l->seconds = mmap(NULL, n * sizeof(*l->seconds), PROT_READ, MAP_SHARED, capture_map_fd(l->c, CAPTURE_SECONDS), 0);
	l->desk = mmap(NULL, (1 + n) * sizeof(*l->desk), PROT_READ | PROT_WRITE, MAP_SHARED,
		       capture_map_fd(l->c, CAPTURE_DESK), 0);
	if (l->seconds == MAP_FAILED || l->desk == MAP_FAILED)
		return -errno;
	for (enum rec_side side = 0; side < REC_SIDES; side++)
		for (unsigned cpu = 0; cpu < l->cpus; cpu++) {
			int fd = capture_ring_fd(l->c, side, cpu);

			l->ring[side][cpu] = NULL;
			if (fd < 0)
				continue;
			l->ring[side][cpu] = mmap(NULL, REC_RING_VALUE((size_t)l->ring_size), PROT_READ, MAP_SHARED, fd, 0);
			if (l->ring[side][cpu] == MAP_FAILED)
				return -errno;
		}
	return 0;
}

static inline void lab_unmap(struct lab_capture *l)
{
	size_t n = REC_SIDES * (size_t)l->cpus;

	munmap(l->seconds, n * sizeof(*l->seconds));
	munmap(l->desk, (1 + n) * sizeof(*l->desk));
	for (enum rec_side side = 0; side < REC_SIDES; side++)
		for (unsigned cpu = 0; cpu < l->cpus; cpu++)
			if (l->ring[side][cpu])
				munmap(l->ring[side][cpu], REC_RING_VALUE((size_t)l->ring_size));
}

/* Makes a capture of the interface; 0 or -errno with l->err. */
static inline int lab_capture(struct lab_capture *l, const struct lab *lab, struct capture_spec spec)
{
	char path[256];
	int r = capture_pin_path(path, sizeof(path), lab->dir, "lab", spec.iface);

	memset(l, 0, sizeof(*l));
	spec.pin_dir = path;
	if (!spec.ring_bytes)
		spec.ring_bytes = 1 << 20;
	if (!r)
		r = capture_create(&l->c, &spec, &l->err);
	return r ? r : lab_map(l);
}

static inline void lab_capture_end(struct lab_capture *l)
{
	lab_unmap(l);
	capture_remove(l->c, NULL);
	capture_close(l->c);
}

/* A program of the capture, loaded once more: for BPF_PROG_RUN. */
static inline int lab_program(struct lab_capture *l, enum rec_side side, enum mode mode)
{
	uint32_t vlan = 0, id;
	int fd = -1, r = program_load(l->c, side, mode, &vlan, &fd, &id, &l->err);

	return r ? r : fd;
}

static inline struct rec_ring *lab_ring(struct lab_capture *l, enum rec_side side)
{
	return l->ring[side][sched_getcpu()];
}

static inline uint64_t lab_head(const struct rec_ring *r)
{
	return __atomic_load_n(&r->head, __ATOMIC_ACQUIRE);
}

static inline __u64 *lab_tail(struct lab_capture *l, enum rec_side side, unsigned cpu)
{
	return &l->desk[REC_DESK_TAIL(side, l->cpus, cpu)].ring.tail;
}

static inline const struct rec_head *lab_record(const struct lab_capture *l, const struct rec_ring *r, uint64_t at)
{
	return (const struct rec_head *)(r->data + (at & (l->ring_size - 1)));
}

/* Everything in the rings is consumed. */
static inline void lab_drain(struct lab_capture *l)
{
	for (enum rec_side side = 0; side < REC_SIDES; side++)
		for (unsigned cpu = 0; cpu < l->cpus; cpu++)
			if (l->ring[side][cpu])
				*lab_tail(l, side, cpu) = lab_head(l->ring[side][cpu]);
}

/* A term of the balance, now, over all CPUs. */
static inline struct rec_count lab_term(const struct lab_capture *l, enum rec_side side, enum rec_term term)
{
	struct rec_count sum = { 0 };

	for (unsigned cpu = 0; cpu < l->cpus; cpu++) {
		const struct rec_seconds *s = &l->seconds[side * l->cpus + cpu];
		const struct rec_count *n = term == REC_LOST_CONTENDED ? &s->contended :
									  &s->slot[s->newest & (REC_SECONDS - 1)].total[term];

		sum.packets += n->packets;
		sum.bytes += n->bytes;
	}
	return sum;
}

/* BPF_PROG_RUN of a frame, `repeat` times. ns per run, or -errno. */
static inline long lab_run(int prog, const void *frame, unsigned len, unsigned repeat, int *verdict)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = len, .repeat = (int)repeat);
	int r = bpf_prog_test_run_opts(prog, &o);

	if (r)
		return r;
	if (verdict)
		*verdict = (int)o.retval;
	return (long)o.duration;
}

static inline void lab_pin_cpu(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Setup and teardown of a test that has the veth r0, r1 to itself; `lab` is the program's one. */
#define LAB_VETH_OF_EACH_TEST(lab)                                                                                     \
	static int veth(void **state)                                                                                  \
	{                                                                                                              \
		(void)state;                                                                                           \
		return lab_veth("r0", "r1");                                                                           \
	}                                                                                                              \
	static int no_veth(void **state)                                                                               \
	{                                                                                                              \
		char path[256];                                                                                        \
		(void)state;                                                                                           \
		capture_pin_path(path, sizeof(path), (lab).dir, "lab", "r0");                                          \
		capture_discard(path, NULL); /* of a test that failed */                                               \
		lab_sh("ip link del r0 2>/dev/null");                                                                  \
		return 0;                                                                                              \
	}

#endif
