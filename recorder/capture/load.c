// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * load.c - a capture's maps and rings, and the programs loaded onto them.
 *
 * The maps are made here and given to every object by reuse; an object of its own is opened for each hook, so that
 * its settings are constants to the verifier and the driver-bound program is an ordinary case.
 */
#include "recorder/capture/internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "bpf/compat.h"
#include "recorder.skel.h"
#include "recorder/capture/filter_internal.h"

/* Calls back for each online CPU below `limit`; returns their number. The file reads like "0-3,6". */
static unsigned online(unsigned limit, void (*each)(unsigned cpu, void *arg), void *arg)
{
	char text[4096], *p = text, *end;
	unsigned n = 0;
	FILE *f = fopen("/sys/devices/system/cpu/online", "re");

	if (!f || !fgets(text, sizeof(text), f))
		snprintf(text, sizeof(text), "0-%ld", sysconf(_SC_NPROCESSORS_CONF) - 1);
	if (f)
		fclose(f);
	while (*p >= '0' && *p <= '9') {
		unsigned long a = strtoul(p, &end, 10), b = a;

		if (*end == '-')
			b = strtoul(end + 1, &end, 10);
		for (; a <= b && a < limit; a++, n++)
			if (each)
				each((unsigned)a, arg);
		p = *end == ',' ? end + 1 : end;
	}
	return n;
}

unsigned capture_online_cpus(void)
{
	return online(~0u, NULL, NULL);
}

struct ringless {
	const struct capture *c;
	char *out;
	size_t size, used;
};

static void add_ringless(unsigned cpu, void *arg)
{
	struct ringless *r = arg;
	bool has = true;
	int n;

	for (enum rec_side side = 0; side < REC_SIDES; side++)
		has &= !(r->c->meta->sides & CAPTURE_SIDE(side)) || r->c->ring[side][cpu] >= 0;
	if (has || r->used + 12 > r->size)
		return;
	n = snprintf(r->out + r->used, r->size - r->used, "%s%u", r->used ? "," : "", cpu);
	r->used += n > 0 ? (size_t)n : 0;
}

void capture_ringless(const struct capture *c, char *out, size_t size)
{
	struct ringless r = { c, out, size, 0 };

	out[0] = 0;
	online(c->meta->cpus, add_ringless, &r);
}

uint64_t capture_ring_default(unsigned nrings)
{
	struct sysinfo info = { 0 };
	uint64_t all = 1ull << 30, each, floor = 80ull << 20;

	if (!sysinfo(&info)) {
		uint64_t share = (uint64_t)info.totalram * info.mem_unit / 20;

		if (share < all)
			all = share;
	}
	if (all < floor)
		all = floor;
	if (!nrings)
		nrings = 1;
	for (each = REC_RING_MIN; each < REC_RING_MAX && each * 2 * nrings <= all;)
		each *= 2;
	while (each * nrings < floor && each < REC_RING_MAX)
		each *= 2;
	return each;
}

static int make_map(struct capture *c, int which, enum bpf_map_type type, const char *name, uint32_t key, uint64_t value,
		    uint32_t entries, uint32_t flags, int inner, struct capture_error *err)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = flags, .inner_map_fd = inner > 0 ? (uint32_t)inner : 0);
	int fd = bpf_map_create(type, name, key, (uint32_t)value, entries, &opts);

	if (fd < 0)
		return capture_fail(err, fd, "cannot make the map %s (%u x %llu bytes): %s", name, entries,
				    (unsigned long long)value, strerror(-fd));
	c->map[which] = fd;
	return 0;
}

struct ring_maker {
	struct capture *c;
	enum rec_side side;
	int err;
	struct capture_error *text;
};

static void make_ring(unsigned cpu, void *arg)
{
	struct ring_maker *m = arg;
	uint64_t value = REC_RING_VALUE((uint64_t)m->c->meta->ring_size);
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int fd;

	if (m->err)
		return;
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "ring", 4, (uint32_t)value, 1, &opts);
	if (fd < 0)
		m->err = capture_fail(m->text, fd, "cannot make a ring of %u MiB for CPU %u: %s (smaller rings, or more memory)",
				      m->c->meta->ring_size >> 20, cpu, strerror(-fd));
	else
		m->c->ring[m->side][cpu] = fd;
}

/* The map of maps of one side, filled with its rings. */
static int make_rings(struct capture *c, enum rec_side side, struct capture_error *err)
{
	struct ring_maker m = { .c = c, .side = side, .text = err };
	int which = side == REC_RX ? MAP_RINGS_RX : MAP_RINGS_TX, template = -1, r;
	unsigned cpus = c->meta->cpus;

	online(cpus, make_ring, &m);
	if (m.err)
		return m.err;
	for (unsigned cpu = 0; cpu < cpus && template < 0; cpu++)
		template = c->ring[side][cpu];
	r = make_map(c, which, BPF_MAP_TYPE_ARRAY_OF_MAPS, side == REC_RX ? "rings_rx" : "rings_tx", 4, 4, cpus, 0, template,
		     err);
	for (unsigned cpu = 0; cpu < cpus && !r; cpu++) {
		if (c->ring[side][cpu] < 0)
			continue;
		r = bpf_map_update_elem(c->map[which], &cpu, &c->ring[side][cpu], BPF_ANY);
		if (r)
			capture_fail(err, r, "cannot enter the ring of CPU %u: %s", cpu, strerror(-r));
	}
	return r;
}

int maps_create(struct capture *c, struct capture_error *err)
{
	const uint32_t mapped = BPF_F_MMAPABLE;
	struct meta *m = c->meta;
	uint32_t all = REC_SIDES * m->cpus;
	const struct {
		int which;
		enum bpf_map_type type;
		const char *name;
		uint32_t key, value, entries, flags;
	} maps[] = {
		{ CAPTURE_SECONDS, BPF_MAP_TYPE_ARRAY, "seconds", 4, sizeof(struct rec_seconds), all, mapped },
		{ CAPTURE_DESK, BPF_MAP_TYPE_ARRAY, "desk", 4, sizeof(union rec_desk), 1 + all, mapped },
		{ CAPTURE_POLICY, BPF_MAP_TYPE_ARRAY, "policy", 4, sizeof(struct rec_policy), 1, mapped },
		{ CAPTURE_OWN, BPF_MAP_TYPE_HASH, "own", sizeof(struct rec_own_key), 4, REC_OWN_FLOWS, 0 },
		{ MAP_KNOWN, BPF_MAP_TYPE_ARRAY, "known", 4, REC_KNOWN_VALUE(m->ring_size), 1, 0 },
		{ MAP_BLOCKS, BPF_MAP_TYPE_ARRAY, "blocks", 4, sizeof(struct rec_blocks), 1, mapped },
		{ MAP_BLOCK_ENTRIES, BPF_MAP_TYPE_HASH, "block_entries", sizeof(struct rec_block_key), 4, REC_BLOCK_ENTRIES,
		  BPF_F_NO_PREALLOC },
		{ MAP_BLOCK_COUNTS, BPF_MAP_TYPE_PERCPU_HASH, "block_counts", sizeof(struct rec_block_key),
		  sizeof(struct rec_count), REC_BLOCK_ENTRIES, BPF_F_NO_PREALLOC },
		{ CAPTURE_BELL, BPF_MAP_TYPE_RINGBUF, c->pin_dir ? "bell" : BELL_UNPINNED, 0, 0, 4096, 0 },
		{ CAPTURE_JOURNAL, BPF_MAP_TYPE_ARRAY, "journal", 4, m->journal_bytes, 1, mapped },
	};
	int r = 0;

	for (unsigned i = 0; !r && i < ARRAY_SIZE(maps); i++)
		r = make_map(c, maps[i].which, maps[i].type, maps[i].name, maps[i].key, maps[i].value, maps[i].entries,
			     maps[i].flags, -1, err);
	for (enum rec_side side = 0; !r && side < REC_SIDES; side++)
		if (m->sides & CAPTURE_SIDE(side))
			r = make_rings(c, side, err);
	return r;
}

/* The object with its settings, maps and the one program that is wanted, not yet loaded. 0 or -errno. */
/* On a kernel with PREEMPT_RT what runs our programs is a thread like others. */
static bool producers_take_turns(void)
{
	struct utsname name;

	return uname(&name) || strstr(name.version, "PREEMPT_RT");
}

static int prepare(struct capture *c, struct recorder_bpf *o, enum rec_side side, enum mode mode, bool vlan,
		   struct splice *splice, struct bpf_program **program)
{
	bool xdp = mode == MODE_XDP || mode == MODE_XDP_GENERIC;
	struct rec_settings *s = (struct rec_settings *)&o->rodata->settings;
	struct bpf_program *p;
	int err = 0;

	p = !xdp ? o->progs.rec_tc : vlan ? o->progs.rec_xdp_vlan : o->progs.rec_xdp;
	bpf_program__set_autoload(o->progs.rec_tc, p == o->progs.rec_tc);
	bpf_program__set_autoload(o->progs.rec_xdp, p == o->progs.rec_xdp);
	bpf_program__set_autoload(o->progs.rec_xdp_vlan, p == o->progs.rec_xdp_vlan);
	if (vlan) {
		bpf_program__set_ifindex(p, c->meta->ifindex);
		bpf_program__set_flags(p, bpf_program__flags(p) | REC_BPF_F_XDP_DEV_BOUND_ONLY);
	}
	s->side = side;
	s->cpus = c->meta->cpus;
	s->ring_size = c->meta->ring_size;
	s->tap = c->meta->tap;
	s->vlan_kfunc = vlan;
	s->hash_seed = c->meta->hash_seed;
	s->floods = c->meta->floods;
	s->in_turns = producers_take_turns();
	splice_settings(splice, o->obj, s);

	const struct {
		struct bpf_map *map;
		int fd;
	} maps[] = {
		{ o->maps.rings, c->map[side == REC_RX ? MAP_RINGS_RX : MAP_RINGS_TX] },
		{ o->maps.seconds, c->map[CAPTURE_SECONDS] },
		{ o->maps.desk, c->map[CAPTURE_DESK] },
		{ o->maps.policy, c->map[CAPTURE_POLICY] },
		{ o->maps.own, c->map[CAPTURE_OWN] },
		{ o->maps.known, c->map[MAP_KNOWN] },
		{ o->maps.blocks, c->map[MAP_BLOCKS] },
		{ o->maps.block_entries, c->map[MAP_BLOCK_ENTRIES] },
		{ o->maps.block_counts, c->map[MAP_BLOCK_COUNTS] },
		{ o->maps.bell, c->map[CAPTURE_BELL] },
	};

	for (unsigned i = 0; !err && i < ARRAY_SIZE(maps); i++)
		err = bpf_map__reuse_fd(maps[i].map, maps[i].fd);
	*program = p;
	return err;
}

/* FNV-1a over the object file as it is linked in: another build of the programs has another one. */
static void build_of(uint8_t out[CAPTURE_BUILD_LEN])
{
	uint64_t hash = 0xcbf29ce484222325ull;
	size_t size;
	const uint8_t *elf = recorder_bpf__elf_bytes(&size);

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ elf[i]) * 0x100000001b3ull;
	put_be64(out, hash);
}

void program_sign(struct meta *m)
{
	ssize_t n = readlink("/proc/self/exe", m->program, sizeof(m->program) - 1);

	m->program[n > 0 && (size_t)n < sizeof(m->program) - 1 ? n : 0] = 0;
	snprintf(m->version, sizeof(m->version), "%s", RECORDER_VERSION);
	build_of(m->build);
}

static void build_name(const char *version, const uint8_t build[CAPTURE_BUILD_LEN], char out[64])
{
	char hex[2 * CAPTURE_BUILD_LEN + 1];

	*put_hex(hex, build, CAPTURE_BUILD_LEN) = 0;
	snprintf(out, 64, "%.31s (%s)", version, hex);
}

bool capture_other_build(const struct capture *c)
{
	uint8_t own[CAPTURE_BUILD_LEN];

	build_of(own);
	return memcmp(own, c->meta->build, sizeof(own)) != 0;
}

void capture_build_name(const struct capture *c, char out[64])
{
	build_name(c->meta->version, c->meta->build, out);
}

void capture_build_name_own(char out[64])
{
	uint8_t own[CAPTURE_BUILD_LEN];

	build_of(own);
	build_name(RECORDER_VERSION, own, out);
}

/* One try. Gives a descriptor, or -errno; -ENOEXEC with text: without the capture filter, so it is not to be used. */
static int load(struct capture *c, enum rec_side side, enum mode mode, bool vlan, struct capture_error *text)
{
	struct recorder_bpf *o = NULL;
	struct bpf_program *p = NULL;
	struct splice *splice;
	int fd = -1, err = splice_begin(&splice, c->filter, text);

	if (err)
		return err;
	o = recorder_bpf__open();
	err = o ? prepare(c, o, side, mode, vlan, splice, &p) : -errno;
	if (!err)
		err = recorder_bpf__load(o);
	err = splice_end(splice, err, text);
	if (!err) {
		fd = dup(bpf_program__fd(p));
		err = fd < 0 ? -errno : fd;
	}
	recorder_bpf__destroy(o);
	return err;
}

int program_load(struct capture *c, enum rec_side side, enum mode mode, uint32_t *vlan, int *prog_fd, uint32_t *prog_id,
		 struct capture_error *err)
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);
	char caps[96];
	int fd = -1;

	if (mode != MODE_XDP)
		*vlan = 0;
	if (*vlan) {
		/* Needs Linux 6.8 and a driver that can: without them it is an ordinary program. */
		libbpf_log_begin();
		fd = load(c, side, mode, true, err);
		libbpf_log_end(0);
		*vlan = fd >= 0;
	}
	if (fd < 0) {
		libbpf_log_begin();
		fd = load(c, side, mode, false, err);
		libbpf_log_end(fd < 0);
	}
	if (fd == -ENOEXEC)
		return fd;
	if (fd < 0 && c->filter && fd != -EPERM && fd != -ENOMEM)
		return capture_fail(err, fd, "cannot load the program with its capture filter of %u instructions for %s: %s",
				    filter_length(c->filter), c->meta->iface, strerror(-fd));
	if (fd < 0) {
		if ((fd == -EPERM || fd == -EACCES) && capture_missing_caps(caps, sizeof(caps)) > 0)
			return capture_fail(err, fd, "cannot load the program for %s: missing %s (run as root)", c->meta->iface,
					    caps);
		return capture_fail(err, fd, "cannot load the program for %s: %s (Linux 6.1 or newer is needed)", c->meta->iface,
				    strerror(-fd));
	}
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		info.id = 0;
	*prog_fd = fd;
	*prog_id = info.id;
	return 0;
}
