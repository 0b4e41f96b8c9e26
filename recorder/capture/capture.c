// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * capture.c - the life of a capture: made, opened again, removed; and what is asked of it.
 *
 * Everything that must be known to take a capture up again, or to undo it, stands in the pinned `meta`; its magic is
 * written last, so a half-made capture is recognised and thrown away.
 */
#include "recorder/capture/internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_arp.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "recorder/core/clock.h"

static const char *const pin_name[MAPS] = MAP_PIN_NAMES;

static struct capture *make(const char *pin_dir)
{
	struct capture *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	for (int i = 0; i < MAPS; i++)
		c->map[i] = -1;
	c->link[REC_RX] = c->link[REC_TX] = c->prog[REC_RX] = c->prog[REC_TX] = c->promisc = -1;
	c->pin_dir = pin_dir ? strdup(pin_dir) : NULL;
	if (c->pin_dir || !pin_dir)
		return c;
	free(c);
	return NULL;
}

static int make_ring_table(struct capture *c, unsigned cpus)
{
	for (int side = 0; side < REC_SIDES; side++) {
		c->ring[side] = malloc(cpus * sizeof(int));
		if (!c->ring[side])
			return -ENOMEM;
		for (unsigned i = 0; i < cpus; i++)
			c->ring[side][i] = -1;
	}
	return 0;
}

void capture_close(struct capture *c)
{
	if (!c)
		return;
	for (int side = 0; side < REC_SIDES; side++) {
		for (unsigned i = 0; c->ring[side] && i < c->meta->cpus; i++)
			if (c->ring[side][i] >= 0)
				close(c->ring[side][i]);
		free(c->ring[side]);
		if (c->link[side] >= 0)
			close(c->link[side]);
		if (c->prog[side] >= 0)
			close(c->prog[side]);
	}
	if (c->promisc >= 0)
		close(c->promisc);
	meta_unmap(c->meta);
	for (int i = 0; i < MAPS; i++)
		if (c->map[i] >= 0)
			close(c->map[i]);
	free(c->pin_dir);
	free(c);
}

static int check_spec(const struct capture_spec *spec, struct link_facts *f, uint32_t *ring, struct capture_error *err)
{
	unsigned sides = spec->sides;
	uint64_t bytes = spec->ring_bytes;
	char caps[96];
	int r;

	if (!spec->iface || !sides || sides >= 1u << REC_SIDES)
		return capture_fail(err, -EINVAL, "a capture needs an interface and a side");
	if (capture_missing_caps(caps, sizeof(caps)) > 0)
		return capture_fail(err, -EPERM, "missing %s: capture needs root, or these capabilities", caps);
	r = link_facts(f, spec->iface, 0);
	if (r == -ENODEV)
		return capture_fail(err, r, "interface %s does not exist in this network namespace (ip link shows them)",
				    spec->iface);
	if (r)
		return capture_fail(err, r, "cannot ask the kernel for interface %s: %s", spec->iface, strerror(-r));
	if (spec->ifindex && spec->ifindex != f->index)
		return capture_fail(err, -ENODEV, "interface %s has index %u, not %u: it was made anew", spec->iface, f->index,
				    spec->ifindex);
	if (f->type != ARPHRD_ETHER && f->type != ARPHRD_LOOPBACK)
		return capture_fail(err, -EOPNOTSUPP, "interface %s has no Ethernet headers (link type %u): not supported",
				    spec->iface, f->type);
	if (!bytes)
		bytes = capture_ring_default(capture_online_cpus() * (sides == 3 ? 2 : 1));
	if (bytes < REC_RING_MIN || bytes > REC_RING_MAX || bytes & (bytes - 1))
		return capture_fail(err, -EINVAL, "ring size %llu: a power of two from %u to %u bytes is needed",
				    (unsigned long long)bytes, REC_RING_MIN, REC_RING_MAX);
	*ring = (uint32_t)bytes;
	return 0;
}

static enum mode intended(const struct capture_spec *spec, enum rec_side side, const struct link_facts *f)
{
	if (!(spec->sides & CAPTURE_SIDE(side)))
		return MODE_NONE;
	if (side == REC_RX && (spec->hook == CAPTURE_HOOK_XDP || (spec->hook == CAPTURE_HOOK_AUTO && f->physical)))
		return spec->force_generic ? MODE_XDP_GENERIC : MODE_XDP;
	return spec->force_clsact ? MODE_CLSACT : MODE_TCX;
}

static int make_meta(struct capture *c, const struct capture_spec *spec, const struct link_facts *f, uint32_t ring,
		     struct capture_error *err)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "meta", 4, sizeof(struct meta), 1, &opts), cpus = libbpf_num_possible_cpus();
	struct meta *m;

	if (fd < 0)
		return capture_fail(err, fd, "cannot make a map: %s", strerror(-fd));
	c->map[MAP_META] = fd;
	if (cpus < 0)
		return capture_fail(err, cpus, "cannot tell the number of CPUs: %s", strerror(-cpus));
	m = c->meta = meta_map(fd);
	if (!m)
		return capture_fail(err, -errno, "cannot map a map: %s", strerror(errno));
	if (getrandom(m->id, sizeof(m->id), 0) != sizeof(m->id) ||
	    getrandom(&m->hash_seed, sizeof(m->hash_seed), 0) != sizeof(m->hash_seed))
		return capture_fail(err, -errno, "cannot make a random id: %s", strerror(errno));
	m->abi = REC_ABI;
	program_sign(m);
	m->seen.created = m->seen.looked = clock_boot_ns();
	m->ifindex = f->index;
	snprintf(m->iface, sizeof(m->iface), "%s", f->name);
	m->sides = spec->sides;
	m->hook = spec->hook;
	m->force_clsact = spec->force_clsact;
	m->force_generic = spec->force_generic;
	m->tap = spec->tap;
	m->promisc = spec->promisc;
	m->cpus = (uint32_t)cpus;
	m->ring_size = ring;
	m->floods = spec->floods;
	m->journal_bytes = spec->journal_bytes ? spec->journal_bytes : JOURNAL_DEFAULT;
	snprintf(m->filter, sizeof(m->filter), "%s", filter_text(spec->filter));
	c->filter = spec->filter;
	for (enum rec_side side = 0; side < REC_SIDES; side++)
		m->side[side].mode = intended(spec, side, f);
	cpus = netns_cookie(&m->netns);
	if (cpus)
		return capture_fail(err, cpus, "cannot tell the network namespace: %s", strerror(-cpus));
	return make_ring_table(c, m->cpus);
}

static int pin_all(struct capture *c, struct capture_error *err)
{
	char name[32];
	int r = 0;

	for (int i = 0; !r && i < MAPS; i++)
		if (c->map[i] >= 0)
			r = pin_fd(c->pin_dir, pin_name[i], c->map[i], err);
	for (enum rec_side side = 0; side < REC_SIDES; side++)
		for (unsigned cpu = 0; !r && cpu < c->meta->cpus; cpu++) {
			if (c->ring[side][cpu] < 0)
				continue;
			pin_ring_name(name, side, cpu);
			r = pin_fd(c->pin_dir, name, c->ring[side][cpu], err);
		}
	return r;
}

/* 0: free (an unfinished one was removed), -EEXIST: a capture is there. */
static int check_place(const char *dir, struct capture_error *err)
{
	struct stat st;
	int fd = pin_get(dir, "meta"), whole;
	struct meta *m;

	if (fd < 0 && lstat(dir, &st))
		return 0;
	m = fd < 0 ? NULL : meta_map(fd);
	whole = m && m->magic == META_MAGIC;
	meta_unmap(m);
	if (fd >= 0)
		close(fd);
	if (whole)
		return capture_fail(err, -EEXIST, "%s holds a capture already: open it, or remove it", dir);
	pin_dir_remove(dir);
	return 0;
}

/* Loads the programs before anything is promised: their errors belong to create, not to attach. */
static int load_programs(struct capture *c, struct capture_error *err)
{
	int r = 0;

	for (enum rec_side side = 0; !r && side < REC_SIDES; side++) {
		struct meta_hook *h = &c->meta->side[side];

		c->prog_vlan[side] = 1;
		if (c->meta->sides & CAPTURE_SIDE(side))
			r = program_load(c, side, (enum mode)h->mode, &c->prog_vlan[side], &c->prog[side], &h->prog_id, err);
	}
	return r;
}

int capture_create(struct capture **out, const struct capture_spec *spec, struct capture_error *err)
{
	char other[512];
	struct link_facts f;
	struct capture *c;
	uint32_t ring = 0;
	int r;

	libbpf_log_init();
	r = check_spec(spec, &f, &ring, err);
	if (!r && spec->pin_dir)
		r = check_place(spec->pin_dir, err);
	if (r)
		return r;
	c = make(spec->pin_dir);
	if (!c)
		return capture_fail(err, -ENOMEM, "out of memory");
	r = make_meta(c, spec, &f, ring, err);
	if (r)
		goto close;
	if (c->pin_dir && pin_find_other(c->pin_dir, f.index, c->meta->netns, other, sizeof(other))) {
		r = capture_fail(err, -EBUSY, "%s is captured already: %s", f.name, other);
		goto close;
	}
	r = attach_conflict(c, err);
	if (r)
		goto close;
	r = maps_create(c, err);
	if (r)
		goto close;
	r = load_programs(c, err);
	if (r)
		goto close;
	if (c->pin_dir) {
		r = pin_dir_make(c->pin_dir, err);
		if (r)
			goto close;
		r = pin_all(c, err);
		if (r)
			goto unpin;
	}
	__atomic_store_n(&c->meta->magic, META_MAGIC, __ATOMIC_RELEASE);
	*out = c;
	return 0;
unpin:
	pin_dir_remove(c->pin_dir);
close:
	capture_close(c);
	return r;
}

static int open_meta(struct capture *c, struct capture_error *err)
{
	int fd = pin_get(c->pin_dir, "meta");

	if (fd == -ENOENT)
		return capture_fail(err, fd, "no capture in %s", c->pin_dir);
	if (fd < 0)
		return capture_fail(err, fd, "cannot open %s/meta: %s", c->pin_dir, strerror(-fd));
	c->map[MAP_META] = fd;
	c->meta = meta_map(fd);
	if (!c->meta || c->meta->magic != META_MAGIC)
		return capture_fail(err, -ESTALE, "the capture in %s was never finished: discard it", c->pin_dir);
	if (c->meta->abi != REC_ABI)
		return capture_fail(err, -ESTALE, "the capture in %s is of layout %u, this program knows %u", c->pin_dir,
				    c->meta->abi, REC_ABI);
	return 0;
}

/*
 * The interface and namespace that it was made for. A capture whose interface is gone opens all the same: what its rings hold
 * can still be drained.
 */
static int check_place_of(struct capture *c, struct capture_error *err)
{
	struct link_facts f;
	uint64_t netns;
	int r = netns_cookie(&netns);

	if (r)
		return capture_fail(err, r, "cannot tell the network namespace: %s", strerror(-r));
	if (netns != c->meta->netns)
		return capture_fail(err, -EBUSY, "%s is captured in another network namespace (%s): go on there, or `stop` it there",
				    c->meta->iface, c->pin_dir);
	r = link_facts(&f, NULL, c->meta->ifindex);
	c->gone = r == -ENODEV;
	return 0;
}

static int check_map(const struct capture *c, int which, uint32_t value, uint32_t entries, struct capture_error *err)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);

	if (!bpf_obj_get_info_by_fd(c->map[which], &info, &size) && info.value_size == value && info.max_entries == entries)
		return 0;
	return capture_fail(err, -ESTALE, "%s/%s has %u x %u bytes, not %u x %u", c->pin_dir, pin_name[which], info.max_entries,
			    info.value_size, entries, value);
}

static int open_maps(struct capture *c, struct capture_error *err)
{
	const struct meta *m = c->meta;
	uint32_t all = REC_SIDES * m->cpus;
	char name[32];
	int r = 0;

	for (int i = 0; i < MAPS; i++) {
		if (i == MAP_META || (i == MAP_RINGS_RX && !(m->sides & CAPTURE_SIDE(REC_RX))) ||
		    (i == MAP_RINGS_TX && !(m->sides & CAPTURE_SIDE(REC_TX))))
			continue;
		c->map[i] = pin_get(c->pin_dir, pin_name[i]);
		if (c->map[i] < 0)
			return capture_fail(err, -ESTALE, "cannot open %s/%s: %s", c->pin_dir, pin_name[i], strerror(-c->map[i]));
	}
	const struct {
		int which;
		uint32_t value, entries;
	} expected[] = {
		{ CAPTURE_SECONDS, sizeof(struct rec_seconds), all }, { CAPTURE_DESK, sizeof(union rec_desk), 1 + all },
		{ CAPTURE_POLICY, sizeof(struct rec_policy), 1 },     { CAPTURE_OWN, 4, REC_OWN_FLOWS },
		{ CAPTURE_JOURNAL, m->journal_bytes, 1 },	      { MAP_KNOWN, REC_KNOWN_VALUE(m->ring_size), 1 },
		{ MAP_BLOCKS, sizeof(struct rec_blocks), 1 },	      { MAP_BLOCK_ENTRIES, 4, REC_BLOCK_ENTRIES },
		{ MAP_BLOCK_COUNTS, sizeof(struct rec_count), REC_BLOCK_ENTRIES },
	};
	for (unsigned i = 0; !r && i < ARRAY_SIZE(expected); i++)
		r = check_map(c, expected[i].which, expected[i].value, expected[i].entries, err);
	for (enum rec_side side = 0; !r && side < REC_SIDES; side++) {
		unsigned found = 0;

		if (!(m->sides & CAPTURE_SIDE(side)))
			continue;
		for (unsigned cpu = 0; cpu < m->cpus; cpu++) {
			pin_ring_name(name, side, cpu);
			c->ring[side][cpu] = pin_get(c->pin_dir, name);
			found += c->ring[side][cpu] >= 0;
		}
		if (!found)
			r = capture_fail(err, -ESTALE, "the capture in %s has no rings", c->pin_dir);
		c->link[side] = pin_get(c->pin_dir, pin_link_name(side));
	}
	return r;
}

int capture_open(struct capture **out, const char *pin_dir, struct capture_error *err)
{
	struct capture *c = make(pin_dir);
	int r;

	if (!c)
		return capture_fail(err, -ENOMEM, "out of memory");
	libbpf_log_init();
	r = open_meta(c, err);
	if (!r)
		r = check_place_of(c, err);
	if (!r)
		r = make_ring_table(c, c->meta->cpus);
	if (!r)
		r = open_maps(c, err);
	if (r)
		capture_close(c);
	else
		*out = c;
	return r;
}

bool capture_gone(const struct capture *c)
{
	return c->gone;
}

uint64_t capture_netns(const struct capture *c)
{
	return c->meta->netns;
}

int capture_remove(struct capture *c, struct capture_error *err)
{
	int r = capture_detach(c, err), s;

	c->meta->magic = 0; /* from here on it is half a capture */
	if (!c->pin_dir)
		return r;
	s = pin_dir_remove(c->pin_dir);
	if (s && s != -ENOENT)
		return capture_fail(err, s, "cannot remove %s: %s", c->pin_dir, strerror(-s));
	return r;
}

/* The interface of a capture of whatever layout, 0 when it is not one of this network namespace. */
static unsigned ifindex_of(const char *pin_dir)
{
	CLEANUP_CLOSE int fd = pin_get(pin_dir, "meta");
	struct meta m;
	uint64_t netns;

	return fd >= 0 && !pin_meta(fd, &m, offsetof(struct meta, sides)) && !netns_cookie(&netns) && netns == m.netns ?
		       m.ifindex :
		       0;
}

int capture_discard(const char *pin_dir, struct capture_error *err)
{
	struct capture *c;
	struct stat st;
	int r;

	if (lstat(pin_dir, &st))
		return capture_fail(err, -errno, "%s: %s", pin_dir, strerror(errno));
	if (!capture_open(&c, pin_dir, NULL)) {
		r = capture_remove(c, err);
		capture_close(c);
		return r;
	}
	for (enum rec_side side = 0; side < REC_SIDES; side++) {
		CLEANUP_CLOSE int link = pin_get(pin_dir, pin_link_name(side));

		if (link >= 0)
			bpf_link_detach(link);
	}
	clsact_discard(ifindex_of(pin_dir));
	r = pin_dir_remove(pin_dir);
	return r ? capture_fail(err, r, "cannot remove %s: %s", pin_dir, strerror(-r)) : 0;
}

/* ---- what is there ----------------------------------------------------------------------------------------------- */

int capture_map_fd(const struct capture *c, enum capture_map map)
{
	return map < CAPTURE_MAPS ? c->map[map] : -1;
}

int capture_ring_fd(const struct capture *c, enum rec_side side, unsigned cpu)
{
	return side < REC_SIDES && cpu < c->meta->cpus ? c->ring[side][cpu] : -1;
}

const uint8_t *capture_id(const struct capture *c)
{
	return c->meta->id;
}

const char *capture_iface(const struct capture *c)
{
	return c->meta->iface;
}

unsigned capture_ifindex(const struct capture *c)
{
	return c->meta->ifindex;
}

const char *capture_pin_dir(const struct capture *c)
{
	return c->pin_dir;
}

unsigned capture_sides(const struct capture *c)
{
	return c->meta->sides;
}

unsigned capture_cpus(const struct capture *c)
{
	return c->meta->cpus;
}

enum rec_floods capture_floods(const struct capture *c)
{
	return c->meta->floods;
}

uint32_t capture_ring_size(const struct capture *c)
{
	return c->meta->ring_size;
}

uint32_t capture_journal_bytes(const struct capture *c)
{
	return c->meta->journal_bytes;
}

const char *capture_mode(const struct capture *c, enum rec_side side)
{
	static const char *const name[] = { [MODE_NONE] = "", [MODE_XDP] = "xdp native", [MODE_XDP_GENERIC] = "xdp generic",
					    [MODE_TCX] = "tcx", [MODE_CLSACT] = "clsact" };
	uint32_t mode = c->meta->side[side].mode;

	return mode < ARRAY_SIZE(name) ? name[mode] : "";
}

const char *capture_filter(const struct capture *c)
{
	return c->meta->filter_changing ? "(unknown: its change was interrupted)" : c->meta->filter;
}

const char *capture_note(const struct capture *c, enum rec_side side)
{
	return c->meta->side[side].note;
}

int capture_sees_vlan(const struct capture *c, enum rec_side side)
{
	return c->meta->side[side].vlan != 0;
}
