// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * attach.c - hooks on, off, and swapped in place.
 *
 * XDP and tcx hooks are links, pinned beside the maps: the pin is what keeps capture on. A clsact filter has no link:
 * the qdisc holds the program, and what names the filter is noted in meta before and after it is made.
 */
#include "recorder/capture/internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdarg.h>
#include <stdio.h>

#include "bpf/compat.h"
#include "recorder/core/log.h"

static int tcx_point(enum rec_side side)
{
	return side == REC_RX ? REC_BPF_TCX_INGRESS : REC_BPF_TCX_EGRESS;
}

static void note(struct capture *c, enum rec_side side, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void note(struct capture *c, enum rec_side side, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(c->meta->side[side].note, sizeof(c->meta->side[side].note), format, args);
	va_end(args);
}

/* ---- who is there already ---------------------------------------------------------------------------------- */

#define PROGRAM_MAPS 16u

/* A capture that is not pinned (`print`) is in nobody's way; it is known by the name of one of its maps. */
static bool not_pinned(const uint32_t *map_ids, uint32_t n)
{
	bool found = false;

	for (uint32_t i = 0; i < n && i < PROGRAM_MAPS && !found; i++) {
		struct bpf_map_info info = { 0 };
		uint32_t size = sizeof(info);
		CLEANUP_CLOSE int fd = bpf_map_get_fd_by_id(map_ids[i]);

		found = fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size) && !strcmp(info.name, BELL_UNPINNED);
	}
	return found;
}

/* The name of a program, "" when we may not ask (that takes CAP_SYS_ADMIN). True: it is that of a pinned capture. */
static bool program_name(uint32_t id, char out[BPF_OBJ_NAME_LEN])
{
	uint32_t map_ids[PROGRAM_MAPS] = { 0 }, size;
	struct bpf_prog_info info = { .nr_map_ids = PROGRAM_MAPS, .map_ids = (uint64_t)(uintptr_t)map_ids };
	CLEANUP_CLOSE int fd = bpf_prog_get_fd_by_id(id);

	out[0] = 0;
	size = sizeof(info);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size))
		return false;
	memcpy(out, info.name, BPF_OBJ_NAME_LEN);
	return (!strncmp(out, "rec_xdp", 7) || !strcmp(out, "rec_tc")) && !not_pinned(map_ids, info.nr_map_ids);
}

/* Not pinned, and free to choose: it goes where there is room. */
static bool yields(const struct capture *c)
{
	return !c->pin_dir && c->meta->hook == CAPTURE_HOOK_AUTO;
}

int attach_conflict(const struct capture *c, struct capture_error *err)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, q);
	char name[BPF_OBJ_NAME_LEN];
	const struct meta *m = c->meta;
	enum mode rx = m->sides & CAPTURE_SIDE(REC_RX) ? m->side[REC_RX].mode : MODE_NONE;

	if (!bpf_xdp_query((int)m->ifindex, 0, &q) && q.attach_mode != XDP_ATTACHED_NONE) {
		uint32_t id = q.prog_id ? q.prog_id : q.drv_prog_id ? q.drv_prog_id : q.skb_prog_id;

		if (program_name(id, name) && c->pin_dir && id != m->side[REC_RX].prog_id)
			return capture_fail(err, -EBUSY, "%s is captured already: XDP program %u is a recorder's", m->iface, id);
		if ((rx == MODE_XDP || rx == MODE_XDP_GENERIC) && id != m->side[REC_RX].prog_id && !yields(c))
			return capture_fail(err, -EBUSY,
					    "%s has another XDP program (id %u%s%s), and XDP takes one: use --hook tc, or take it off",
					    m->iface, id, name[0] ? ", " : "", name);
	}
	for (enum rec_side side = 0; side < REC_SIDES && c->pin_dir; side++) {
		uint32_t ids[64], n = ARRAY_SIZE(ids);

		if (bpf_prog_query((int)m->ifindex, (enum bpf_attach_type)tcx_point(side), 0, NULL, ids, &n))
			continue;
		for (uint32_t i = 0; i < n; i++) {
			if (program_name(ids[i], name) && ids[i] != m->side[side].prog_id)
				return capture_fail(err, -EBUSY, "%s is captured already: tc program %u is a recorder's", m->iface,
						    ids[i]);
		}
	}
	return 0;
}

/* ---- one hook on ------------------------------------------------------------------------------------------- */

static int link_and_pin(struct capture *c, enum rec_side side, int prog, int point, uint32_t flags, struct capture_error *err)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = flags);
	int link = bpf_link_create(prog, (int)c->meta->ifindex, (enum bpf_attach_type)point, &opts), r;

	if (link < 0)
		return link;
	if (c->pin_dir)
		pin_unlink(c->pin_dir, pin_link_name(side)); /* a link that came off with its interface, or was detached */
	r = c->pin_dir ? pin_fd(c->pin_dir, pin_link_name(side), link, err) : 0;
	if (r) {
		close(link); /* takes it off */
		return r;
	}
	if (c->link[side] >= 0)
		close(c->link[side]);
	c->link[side] = link;
	return 0;
}

static struct bpf_tc_hook tc_hook(const struct capture *c, enum bpf_tc_attach_point point)
{
	return (struct bpf_tc_hook){ .sz = sizeof(struct bpf_tc_hook), .ifindex = (int)c->meta->ifindex, .attach_point = point };
}

static enum bpf_tc_attach_point tc_point(enum rec_side side)
{
	return side == REC_RX ? BPF_TC_INGRESS : BPF_TC_EGRESS;
}

#define CLSACT_HANDLE 0x7265 /* with the priority it names our filter */

static int clsact_on(struct capture *c, enum rec_side side, int prog, bool replace)
{
	struct meta_hook *h = &c->meta->side[side];
	/* On the way in before all others, on the way out behind them. */
	const uint32_t wish[] = { side == REC_RX ? 1 : 0xfff0, side == REC_RX ? 0 : 0xffef };
	struct bpf_tc_hook hook = tc_hook(c, BPF_TC_INGRESS | BPF_TC_EGRESS);
	uint32_t before;
	int r;

	if (replace) {
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = h->tc_handle, .priority = h->tc_priority, .prog_fd = prog,
			    .flags = BPF_TC_F_REPLACE);

		hook.attach_point = tc_point(side);
		return bpf_tc_attach(&hook, &opts);
	}
	before = c->meta->clsact_ours;
	c->meta->clsact_ours = 1;
	r = bpf_tc_hook_create(&hook);
	if (r)
		c->meta->clsact_ours = before;
	if (r && r != -EEXIST)
		return r;
	hook.attach_point = tc_point(side);
	for (unsigned i = 0; i < ARRAY_SIZE(wish); i++) {
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = wish[i] ? CLSACT_HANDLE : 0, .priority = wish[i], .prog_fd = prog);

		h->tc_handle = opts.handle;
		h->tc_priority = opts.priority;
		r = bpf_tc_attach(&hook, &opts);
		if (!r) {
			h->tc_handle = opts.handle;
			h->tc_priority = opts.priority;
			return 0;
		}
	}
	return r;
}

static int clsact_query(const struct capture *c, enum rec_side side, uint32_t *prog_id)
{
	const struct meta_hook *h = &c->meta->side[side];
	struct bpf_tc_hook hook = tc_hook(c, tc_point(side));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = h->tc_handle, .priority = h->tc_priority);
	int r;

	if (!h->tc_handle)
		return -ENOENT;
	libbpf_log_begin(); /* it warns where there is none */
	r = bpf_tc_query(&hook, &opts);
	libbpf_log_end(0);
	*prog_id = opts.prog_id;
	return r;
}

static void clsact_off(struct capture *c, enum rec_side side)
{
	struct meta_hook *h = &c->meta->side[side];
	struct bpf_tc_hook hook = tc_hook(c, tc_point(side));
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = h->tc_handle, .priority = h->tc_priority);
	uint32_t id;

	/* The handle is our own; one that the kernel chose may be another's by now. */
	if (!clsact_query(c, side, &id) && (h->tc_handle == CLSACT_HANDLE || id == h->prog_id))
		bpf_tc_detach(&hook, &opts);
	h->tc_handle = h->tc_priority = 0;
}

void clsact_discard(unsigned ifindex)
{
	const struct {
		enum bpf_tc_attach_point point;
		uint32_t priority;
	} ours[] = { { BPF_TC_INGRESS, 1 }, { BPF_TC_EGRESS, 0xfff0 }, { BPF_TC_EGRESS, 0xffef } };
	char name[BPF_OBJ_NAME_LEN];

	for (unsigned i = 0; ifindex && i < ARRAY_SIZE(ours); i++) {
		struct bpf_tc_hook hook = { .sz = sizeof(hook), .ifindex = (int)ifindex, .attach_point = ours[i].point };
		LIBBPF_OPTS(bpf_tc_opts, opts, .handle = CLSACT_HANDLE, .priority = ours[i].priority);
		LIBBPF_OPTS(bpf_tc_opts, off, .handle = CLSACT_HANDLE, .priority = ours[i].priority);

		libbpf_log_begin(); /* it warns where there is none */
		if (!bpf_tc_query(&hook, &opts) && program_name(opts.prog_id, name))
			bpf_tc_detach(&hook, &off);
		libbpf_log_end(0);
	}
}

/* The qdisc goes when we made it and nobody else has put a filter there. */
static void clsact_qdisc_off(struct capture *c)
{
	struct bpf_tc_hook hook = tc_hook(c, BPF_TC_INGRESS | BPF_TC_EGRESS);

	if (!c->meta->clsact_ours || c->meta->side[REC_RX].tc_handle || c->meta->side[REC_TX].tc_handle)
		return;
	if (clsact_filters(c->meta->ifindex) == 0)
		bpf_tc_hook_destroy(&hook);
	c->meta->clsact_ours = 0;
}

/* Why an XDP attachment failed, as far as errno tells. */
static int xdp_failed(const struct capture *c, int r, struct capture_error *err)
{
	const char *iface = c->meta->iface;
	struct link_facts f = { 0 };

	link_facts(&f, NULL, c->meta->ifindex);
	if (r == -EBUSY || r == -EEXIST)
		return capture_fail(err, -EBUSY, "%s has another XDP program: use --hook tc, or take it off", iface);
	if (r == -EPERM)
		return capture_fail(err, r, "not allowed to attach XDP to %s: CAP_NET_ADMIN is missing", iface);
	return capture_fail(err, r, "cannot attach XDP to %s (MTU %u): %s: use --hook tc", iface, f.mtu, strerror(-r));
}

static int hook_on(struct capture *c, enum rec_side side, struct capture_error *err)
{
	struct meta_hook *h = &c->meta->side[side];
	enum mode mode = h->mode;
	int r, attached;

	for (;;) {
		CLEANUP_CLOSE int prog = TAKE_FD(c->prog[side]);
		uint32_t vlan = prog < 0 || c->prog_vlan[side];

		if (prog < 0) {
			r = program_load(c, side, mode, &vlan, &prog, &h->prog_id, err);
			if (r)
				return r;
		}
		h->mode = mode;
		h->vlan = mode == MODE_TCX || mode == MODE_CLSACT || vlan;
		switch (mode) {
		case MODE_XDP:
			attached = link_and_pin(c, side, prog, BPF_XDP, XDP_FLAGS_DRV_MODE, err);
			if ((attached == -EBUSY || attached == -EEXIST) && yields(c)) {
				note(c, side, "%s has an XDP program already, and XDP takes one: tc, which sees what that lets pass",
				     c->meta->iface);
				mode = c->meta->force_clsact ? MODE_CLSACT : MODE_TCX;
				continue;
			}
			if (attached == -EBUSY || attached == -EEXIST || attached == -EPERM || attached == -ENODEV)
				return xdp_failed(c, attached, err);
			if (attached) {
				note(c, side, "%s cannot attach XDP in its driver (%s): generic mode, slower", c->meta->iface,
				     strerror(-attached));
				mode = MODE_XDP_GENERIC;
				continue;
			}
			break;
		case MODE_XDP_GENERIC:
			attached = link_and_pin(c, side, prog, BPF_XDP, XDP_FLAGS_SKB_MODE, err);
			if (attached)
				return xdp_failed(c, attached, err);
			break;
		case MODE_TCX:
			attached = link_and_pin(c, side, prog, tcx_point(side), side == REC_RX ? REC_BPF_F_BEFORE : REC_BPF_F_AFTER, err);
			if (attached == -EINVAL) {
				note(c, side, "this kernel has no tcx (Linux 6.6): clsact, which anybody with CAP_NET_ADMIN can take off");
				mode = MODE_CLSACT;
				continue;
			}
			if (attached)
				return capture_fail(err, attached, "cannot attach tcx to %s: %s", c->meta->iface,
						    strerror(-attached));
			break;
		default:
			libbpf_log_begin();
			attached = clsact_on(c, side, prog, false);
			libbpf_log_end(attached);
			if (attached)
				return capture_fail(err, attached, "cannot attach a clsact filter to %s: %s (is there another clsact or ingress qdisc?)",
						    c->meta->iface, strerror(-attached));
		}
		h->attached = 1;
		/* Kept: loading takes the verifier a second on a busy machine, in which nothing would be seen. */
		c->prog[side] = TAKE_FD(prog);
		c->prog_vlan[side] = vlan;
		return 0;
	}
}

void hook_off(struct capture *c, enum rec_side side)
{
	struct meta_hook *h = &c->meta->side[side];

	if (h->mode == MODE_CLSACT)
		clsact_off(c, side);
	if (c->link[side] >= 0) {
		bpf_link_detach(c->link[side]); /* at once, whoever else holds it */
		close(c->link[side]);
		c->link[side] = -1;
	}
	if (c->pin_dir)
		pin_unlink(c->pin_dir, pin_link_name(side));
	h->attached = 0;
}

/* ---- the interface ----------------------------------------------------------------------------------------- */

int capture_attached(const struct capture *c, enum rec_side side)
{
	const struct meta_hook *h = &c->meta->side[side];
	struct bpf_link_info info = { 0 };
	uint32_t size = sizeof(info), id;
	int r;

	if (!(c->meta->sides & CAPTURE_SIDE(side)) || !h->attached)
		return 0;
	if (h->mode == MODE_CLSACT) {
		r = clsact_query(c, side, &id);
		return r == -ENOENT || r == -EINVAL || r == -ENODEV ? 0 : r ? r : id == h->prog_id;
	}
	if (c->link[side] < 0)
		return 0;
	r = bpf_obj_get_info_by_fd(c->link[side], &info, &size);
	/* tcx has its ifindex at the same place as XDP; 0 = it came off. */
	return r ? r : info.xdp.ifindex != 0;
}

int capture_attach(struct capture *c, struct capture_error *err)
{
	struct link_facts f;
	unsigned fresh = 0;
	int r = link_facts(&f, NULL, c->meta->ifindex);

	if (r)
		return capture_fail(err, r, "the interface %s (index %u) is gone", c->meta->iface, c->meta->ifindex);
	libbpf_log_init();
	if (c->meta->filter_changing || strcmp(c->meta->filter, filter_text(c->filter)))
		return capture_fail(err, -EINVAL, "%s: the capture has the filter '%.80s', which this process has not compiled",
				    c->meta->iface, capture_filter(c));
	for (enum rec_side side = 0; !r && side < REC_SIDES; side++) {
		if (!(c->meta->sides & CAPTURE_SIDE(side)) || capture_attached(c, side) == 1)
			continue;
		r = hook_on(c, side, err);
		if (!r)
			fresh |= CAPTURE_SIDE(side);
	}
	/* Somebody may have come between the check at create and now: attached first, asked then, two cannot both stay. */
	if (!r && fresh)
		r = attach_conflict(c, err);
	if (!r)
		r = promisc_set(c, err);
	if (!r)
		return 0;
	for (enum rec_side side = 0; side < REC_SIDES; side++)
		if (fresh & CAPTURE_SIDE(side))
			hook_off(c, side);
	clsact_qdisc_off(c);
	return r;
}

/* ---- another program in the same place -------------------------------------------------------------------------- */

struct swap {
	bool due;
	int prog;
	uint32_t vlan, id;
};

static int swap(struct capture *c, enum rec_side side, const struct swap *s, struct capture_error *err)
{
	struct meta_hook *h = &c->meta->side[side];
	int r = h->mode == MODE_CLSACT ? clsact_on(c, side, s->prog, true) : bpf_link_update(c->link[side], s->prog, NULL);

	if (r)
		return capture_fail(err, r, "cannot swap the program on %s %s: %s", c->meta->iface, side == REC_RX ? "rx" : "tx",
				    strerror(-r));
	h->prog_id = s->id;
	h->vlan = h->mode == MODE_TCX || h->mode == MODE_CLSACT || s->vlan;
	return 0;
}

/* All are loaded before the first is swapped: what can fail fails while everything is still as it was. */
int capture_upgrade(struct capture *c, const struct filter *filter, struct capture_error *err)
{
	struct swap swaps[REC_SIDES] = { { .prog = -1, .vlan = 1 }, { .prog = -1, .vlan = 1 } };
	const struct filter *before = c->filter;
	int r = 0;

	libbpf_log_init();
	c->filter = filter;
	for (enum rec_side side = 0; !r && side < REC_SIDES; side++) {
		struct swap *s = &swaps[side];

		s->due = capture_attached(c, side) == 1;
		if (s->due)
			r = program_load(c, side, (enum mode)c->meta->side[side].mode, &s->vlan, &s->prog, &s->id, err);
	}
	if (r) {
		if (c->meta->filter_changing || strcmp(c->meta->filter, filter_text(filter)))
			c->filter = before;
		goto out;
	}
	__atomic_store_n(&c->meta->filter_changing, 1, __ATOMIC_SEQ_CST);
	for (enum rec_side side = 0; !r && side < REC_SIDES; side++)
		if (swaps[side].due)
			r = swap(c, side, &swaps[side], err);
	if (r)
		goto out;
	snprintf(c->meta->filter, sizeof(c->meta->filter), "%s", filter_text(filter));
	program_sign(c->meta);
	__atomic_store_n(&c->meta->filter_changing, 0, __ATOMIC_SEQ_CST);
	for (enum rec_side side = 0; side < REC_SIDES; side++)
		if (c->prog[side] >= 0) /* with the former filter */
			close(TAKE_FD(c->prog[side]));
	for (enum rec_side side = 0; side < REC_SIDES; side++)
		if (swaps[side].due) {
			c->prog[side] = TAKE_FD(swaps[side].prog);
			c->prog_vlan[side] = swaps[side].vlan;
		}
out:
	for (enum rec_side side = 0; side < REC_SIDES; side++)
		if (swaps[side].prog >= 0)
			close(swaps[side].prog);
	return r;
}

int capture_detach(struct capture *c, struct capture_error *err)
{
	int r;

	libbpf_log_init();
	for (enum rec_side side = 0; side < REC_SIDES; side++)
		if (c->meta->sides & CAPTURE_SIDE(side))
			hook_off(c, side);
	clsact_qdisc_off(c);
	r = promisc_restore(c);
	if (r)
		return capture_fail(err, r, "cannot take %s out of promiscuous mode: %s", c->meta->iface, strerror(-r));
	return 0;
}
