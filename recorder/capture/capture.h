/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * capture.h - one interface's programs, maps and pins: the privileged part (CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON).
 *
 *   capture_create -> capture_attach -> ... -> capture_detach -> (drain the rings) -> capture_remove -> capture_close
 *   capture_open   resumes what an earlier process left pinned; capture_close alone leaves everything running.
 *
 * A capture lives in the kernel, held by its pins: it records with no process at all. `struct capture` is only a
 * process's descriptors on it; it owns them until capture_close. Not thread-safe: one thread at a time. Everything is
 * done in the network namespace of the calling process.
 *
 * Errors: 0 or -errno. Where there is a `struct capture_error *` (may be NULL), its text is one line without a newline
 * that names what failed, where, and what would be right; it is written only on failure. libbpf's messages go to
 * log.h at debug level, and at error level when a load fails.
 */
#ifndef XDP_RECORDER_CAPTURE_CAPTURE_H
#define XDP_RECORDER_CAPTURE_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "recorder/core/witness.h" /* the interface's own counters: witness_read() */

struct capture;
struct filter; /* capture/filter.h */

struct capture_error {
	char text[1024];
};

#define CAPTURE_BUILD_LEN 8u

enum capture_hook {
	CAPTURE_HOOK_AUTO = 0, /* XDP on physical interfaces, tcx ingress on virtual ones (XDP on veth breaks its offloads) */
	CAPTURE_HOOK_XDP,
	CAPTURE_HOOK_TC,
};

#define CAPTURE_SIDE(side) (1u << (side)) /* bit of capture_spec.sides */

/* What to make. Zero is a sound value of everything but iface, sides and pin_dir. Strings are copied. */
struct capture_spec {
	const char *iface;
	unsigned ifindex;       /* 0: looked up from iface; else it must belong to iface */
	unsigned sides;         /* CAPTURE_SIDE(REC_RX) | CAPTURE_SIDE(REC_TX) */
	enum capture_hook hook; /* for rx; tx is always tc */
	bool force_clsact;      /* clsact even where tcx exists (Linux 6.6) */
	bool force_generic;     /* XDP in generic mode even where the driver has its own */
	bool tap;               /* drop what was recorded: a mirror port */
	enum rec_floods floods; /* what becomes of packets that a ring does not take (bpf/flood.h), or count all of them */
	bool promisc;           /* set IFF_PROMISC on attach, give it back on detach; see capture_wants_promisc */
	uint64_t ring_bytes;    /* data of each ring, a power of two in REC_RING_MIN..REC_RING_MAX; 0: capture_ring_default */
	uint32_t journal_bytes; /* value size of the journal map; 0: 64 KiB */
	const char *pin_dir;    /* inside a bpf filesystem, see capture_pin_path; parents are made, all 0700. NULL: nothing is
				   pinned, other captures of the interface do not matter, and it ends with its descriptors
				   (`print`; a clsact filter by capture_detach only) */
	const struct filter *filter; /* capture filter, NULL: none; kept until capture_attach is through */
};

/* ---- life cycle ---------------------------------------------------------------------------------------------- */

/*
 * Makes maps, one ring for each side and online CPU, loads the programs and pins the maps. Nothing is attached.
 * -EEXIST: pin_dir holds a capture already; -EBUSY: this interface is captured elsewhere, or has another XDP program;
 * -ENODEV: no such interface; -EPERM: capability missing. On failure nothing is left behind and *out is unchanged.
 */
int capture_create(struct capture **out, const struct capture_spec *spec, struct capture_error *err);

/*
 * Takes up what is pinned in pin_dir. -ENOENT: nothing there; -ESTALE: an unfinished one or one of another layout, from which
 * nothing can be stored: capture_discard removes it; -EBUSY: it belongs to another network namespace. A capture whose hooks
 * came off is opened all the same: ask capture_attached, and capture_attach again. So is one whose interface is gone
 * (capture_gone): its rings can be drained, it cannot be attached.
 */
int capture_open(struct capture **out, const char *pin_dir, struct capture_error *err);
bool capture_gone(const struct capture *c);
uint64_t capture_netns(const struct capture *c); /* cookie of the namespace it was made in */
/* Online CPUs that have no ring, "2,3": what they count is lost.no_ring. "" when there is none. */
void capture_ringless(const struct capture *c, char *out, size_t size);

/*
 * Attaches every hook that is not attached, pins the links, sets promiscuous mode. All or nothing. Of a capture that was
 * opened and has a filter: capture_upgrade first, it brings the filter; without it -EINVAL.
 */
int capture_attach(struct capture *c, struct capture_error *err);

/*
 * Loads this build's programs with `filter` (NULL: none; kept like capture_spec.filter) onto the same maps and swaps them in
 * place; no packet is lost or counted wrongly. For a capture that is resumed, and for another filter. When a program cannot
 * be loaded, nothing is changed.
 */
int capture_upgrade(struct capture *c, const struct filter *filter, struct capture_error *err);
/* Text of the filter in force, "" for none; no expression at all (it begins with "(unknown") when a swap was interrupted. */
const char *capture_filter(const struct capture *c);

/* Takes the hooks off, gives promiscuous mode back. The maps stay: what is in the rings can still be drained. */
int capture_detach(struct capture *c, struct capture_error *err);

/* capture_detach, then unpins everything and removes pin_dir (and its parents below the mount as far as they are empty). */
int capture_remove(struct capture *c, struct capture_error *err);

/* Closes the descriptors and frees *c. What is pinned goes on. NULL is accepted. */
void capture_close(struct capture *c);

/* Removes whatever is in pin_dir, half-made or foreign: links come off, pins go. -ENOENT when there is nothing. */
int capture_discard(const char *pin_dir, struct capture_error *err);

/* ---- is it seen? --------------------------------------------------------------------------------------------- */

/* What a look at a capture's interface and hooks finds. */
struct capture_look {
	uint64_t boot; /* ns, when */
	bool there;    /* in this network namespace */
	bool up;       /* set up, and it has a carrier */
	bool on[REC_SIDES]; /* the hook is attached; true for a side that is not captured */
	unsigned mtu;
	unsigned downs; /* how often its carrier went, as far as the kernel counts */
	char name[16];  /* it may have another one than when it was captured */
	char driver[32];
};
int capture_look(struct capture *c, struct capture_look *out);

/*
 * What cannot be seen at present, kept with the pins so that the next process knows when it began: of the interface [0] and of
 * the hooks [1 + side]. The keeper's own; nobody else reads or writes it.
 */
struct capture_unseen {
	uint64_t begin; /* boot ns */
	uint32_t why;	/* enum gap_why (ledger/gap.h), 0: it is seen */
	uint32_t by;	/* enum gap_by */
};
struct capture_seen {
	uint64_t created; /* boot ns: capture began */
	uint64_t looked;  /* boot ns of the newest look that found everything as it should be */
	uint32_t downs;	  /* of that look */
	uint32_t mtu;
	struct capture_unseen unseen[1 + REC_SIDES];
	char driver[32];
};
struct capture_seen *capture_seen(const struct capture *c);
/* Boot time up to which a side was certainly seen: of the newest look, or of the newest packet that its program counted. */
uint64_t capture_seen_until(const struct capture *c, enum rec_side side);

/*
 * The interface is there again under its name, as another device: what is left of the old hooks goes, the maps stay, the capture is
 * of the new one. capture_attach comes next. -ENODEV: not there; -EALREADY: it never went; -EBUSY: captured by another.
 */
int capture_move(struct capture *c, struct capture_error *err);

/* True when the programs in place are of another build than this executable's; text names both ("0.1.0 (0123456789abcdef)"). */
bool capture_other_build(const struct capture *c);
void capture_build_name(const struct capture *c, char out[64]);
void capture_build_name_own(char out[64]);

/* ---- captures of another layout ------------------------------------------------------------------------------ */

/*
 * Looks for captures of `instance` that a build with another REC_ABI pinned: of one interface, or of any (iface NULL). 1: there is
 * one, its directory in `dir`, and what it is and who can end it in the error's text; 0: none.
 */
int capture_foreign(const char *bpffs, const char *instance, const char *iface, char *dir, size_t size,
		    struct capture_error *text);

/* ---- what is there ------------------------------------------------------------------------------------------- */

enum capture_map {
	CAPTURE_SECONDS, /* struct rec_seconds [REC_SIDES * cpus]: map read-only */
	CAPTURE_DESK,    /* union rec_desk [1 + REC_SIDES * cpus] */
	CAPTURE_POLICY,  /* struct rec_policy [1]: written by capture_own_* only */
	CAPTURE_OWN,     /* hash of struct rec_own_key */
	CAPTURE_BELL,    /* ringbuf of 4,096 bytes: epoll it, consume it, see rec_desk.control.armed */
	CAPTURE_JOURNAL, /* journal_bytes, zero when made */
	CAPTURE_MAPS,
};

/* Descriptors stay the capture's: dup what shall outlive it. ring_fd: -1 when there is none (side or CPU not there). */
int capture_map_fd(const struct capture *c, enum capture_map map);
int capture_ring_fd(const struct capture *c, enum rec_side side, unsigned cpu);

const uint8_t *capture_id(const struct capture *c); /* 16 random bytes, made with the rings */
const char *capture_iface(const struct capture *c);
unsigned capture_ifindex(const struct capture *c);
const char *capture_pin_dir(const struct capture *c); /* NULL: not pinned */
unsigned capture_sides(const struct capture *c);
unsigned capture_cpus(const struct capture *c);          /* possible CPUs: the stride */
uint32_t capture_ring_size(const struct capture *c);     /* data bytes of each ring */
enum rec_floods capture_floods(const struct capture *c);
uint32_t capture_journal_bytes(const struct capture *c);
/*
 * How a side is attached: "xdp native", "xdp generic", "tcx", "clsact"; "" when the side is not captured. Before
 * capture_attach it is what is intended. capture_note: what was not as wished ("the driver of eth1 has no XDP: generic
 * mode"), "" when nothing.
 */
const char *capture_mode(const struct capture *c, enum rec_side side);
const char *capture_note(const struct capture *c, enum rec_side side);
/* 1 attached, 0 not (somebody took it off, the interface went), or -errno. Anybody can delete a clsact filter: ask. */
int capture_attached(const struct capture *c, enum rec_side side);
/* 1 when hardware-stripped VLAN tags can be put back on this side. */
int capture_sees_vlan(const struct capture *c, enum rec_side side);

/* ---- helpers ------------------------------------------------------------------------------------------------- */

#define CAPTURE_BPFFS "/sys/fs/bpf"

/*
 * Writes <bpffs>/xdp-recorder/<REC_ABI>/<instance>/<iface> to out. bpffs refuses dots in names: they, '/' and '%' are
 * written %2e and so on. -ENAMETOOLONG.
 */
int capture_pin_path(char *out, size_t size, const char *bpffs, const char *instance, const char *iface);

/* Data bytes of each of an instance's `nrings` rings: all together the smaller of 1 GiB and 5 % of memory, but 80 MB. */
uint64_t capture_ring_default(unsigned nrings);
/* Online CPUs: the number of rings of one side. */
unsigned capture_online_cpus(void);

/* True where promiscuous mode makes a difference: a physical interface with rx. */
bool capture_wants_promisc(const char *iface, unsigned sides);

/* What is missing of CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON, as text; "" when nothing is. For `check`. */
int capture_missing_caps(char *out, size_t size);

/* ---- the recorder's own connections -------------------------------------------------------------------------- */

/*
 * Both directions of a TCP connection are filtered (counted, not recorded) from now on, on all hooks of this capture.
 * Adding twice and deleting what is not there are harmless. -ENOSPC: more than REC_OWN_FLOWS / 2 connections or
 * REC_OWN_PORTS database ports (key->dport is the database's port). IPv4 as ::ffff:a.b.c.d.
 */
int capture_own_add(struct capture *c, const struct rec_own_key *key);
int capture_own_del(struct capture *c, const struct rec_own_key *key);
/* Forgets all: for a keeper that takes up a capture whose former process died with its connections. */
int capture_own_clear(struct capture *c);
/* The addresses of the databases of the capture that is pinned there, as ::ffff:a.b.c.d or IPv6. 0 or -errno. */
int capture_own_databases(const char *pin_dir, void (*each)(void *arg, const uint8_t address[16]), void *arg);

#endif
