/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * internal.h - what the files of this directory share. Nobody else includes it.
 *
 *   capture.c  life cycle, what is there        link.c     what the kernel says of an interface
 *   load.c     maps, rings, programs            promisc.c  the promiscuous flag
 *   attach.c   hooks on and off, live upgrade   own.c      the recorder's own connections
 *   look.c     is it seen; another index        foreign.c  captures of builds with another layout
 *   pin.c      the directory of pins            error.c    text of errors, libbpf's messages, capabilities
 *   filter*.c  the capture filter, see filter_internal.h
 *   block.c    the block list in a capture's maps, see block.h
 *   warm.c     the rings' pages used for the first time, see warm.h
 */
#ifndef XDP_RECORDER_CAPTURE_INTERNAL_H
#define XDP_RECORDER_CAPTURE_INTERNAL_H

#include <net/if.h>

#include "recorder/capture/capture.h"
#include "recorder/capture/filter.h"
#include "recorder/core/util.h"

enum mode { MODE_NONE, MODE_XDP, MODE_XDP_GENERIC, MODE_TCX, MODE_CLSACT };

#define META_MAGIC 0x7865722d70647872ull /* written last when a capture is made */
#define JOURNAL_DEFAULT (64u << 10)

struct meta_hook {
	uint32_t mode;     /* enum mode: intended, then what it became */
	uint32_t attached; /* 1: put on, and not yet taken off by us */
	uint32_t prog_id;
	uint32_t vlan;     /* the program asks the driver for the tag */
	uint32_t tc_handle, tc_priority; /* clsact only: what names our filter */
	uint32_t reserved[2];
	char note[160];
};

/*
 * What a capture knows of itself, in a pinned mmap-able array: the spec, and how to undo what has no link. The members
 * up to `version` stay where they are in every ABI from 5 on (up to `sides`: in every one), so that another version can be
 * recognised.
 */
struct meta {
	uint64_t magic;
	uint32_t abi;
	uint32_t ifindex;
	uint64_t netns; /* cookie of the network namespace */
	char iface[IFNAMSIZ];
	uint32_t sides;
	char program[192]; /* path of the executable that loaded what is attached, "" when it is not known */
	char version[32];
	uint8_t build[CAPTURE_BUILD_LEN]; /* of the object file with the programs */
	uint32_t hook; /* enum capture_hook */
	uint32_t force_clsact, force_generic, tap, promisc;
	uint32_t promisc_ours; /* 1: we set the flag and shall clear it */
	uint32_t clsact_ours;  /* 1: we made the qdisc */
	uint32_t cpus, ring_size, journal_bytes;
	uint32_t hash_seed; /* of all sides, so that both directions of a conversation hash alike; never told to anybody */
	uint8_t id[16];
	struct meta_hook side[REC_SIDES];
	uint32_t filter_changing; /* 1: programs are being swapped, some may have the filter that was, some the new one */
	uint32_t floods; /* enum rec_floods */
	struct capture_seen seen;
	char filter[FILTER_TEXT_MAX + 8]; /* text of the filter in force, "" for none */
};

enum internal_map {
	MAP_META = CAPTURE_MAPS,
	MAP_KNOWN,
	MAP_BLOCKS,
	MAP_BLOCK_ENTRIES,
	MAP_BLOCK_COUNTS,
	MAP_RINGS_RX,
	MAP_RINGS_TX,
	MAPS,
};

struct capture {
	char *pin_dir; /* NULL: not pinned */
	const struct filter *filter; /* the caller's; of the programs that are loaded from now on */
	int map[MAPS];
	int *ring[REC_SIDES]; /* [cpus], -1 where none */
	int link[REC_SIDES];  /* -1 where none */
	int prog[REC_SIDES];  /* loaded, for the next attach: by create, or what is attached and may be taken off by others; -1: none */
	uint32_t prog_vlan[REC_SIDES];
	struct meta *meta;    /* mapped, shared */
	int promisc;          /* packet socket that keeps the interface promiscuous when nothing is pinned, else -1 */
	bool gone;            /* its interface was not there when it was last looked at */
	char driver[32];
	unsigned driver_of;   /* index of the interface whose driver was asked for */
};

/* ---- error.c ---- */
/* Fills err (may be NULL) and returns code. */
int capture_fail(struct capture_error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Routes libbpf to the logger. Between begin and end its messages are held back; end(1) gives them out as errors. */
void libbpf_log_init(void);
void libbpf_log_begin(void);
void libbpf_log_end(int failed);

/* ---- link.c ---- */
struct link_facts {
	unsigned index;
	char name[IFNAMSIZ];
	unsigned short type; /* ARPHRD_* */
	unsigned flags;      /* IFF_* */
	unsigned mtu;
	unsigned downs;      /* how often its carrier went */
	bool physical;       /* has a device below it */
	char kind[24];       /* "veth", "bridge", ...; "" for physical ones and loopback */
};
/* By name, or by index when name is NULL. -ENODEV. */
int link_facts(struct link_facts *out, const char *name, unsigned ifindex);
int netns_cookie(uint64_t *out);
/* Number of tc filters on ingress and egress of the clsact qdisc, or -errno. */
int clsact_filters(unsigned ifindex);

/* ---- load.c ---- */
#define BELL_UNPINNED "bell_unpinned" /* name of a map by which others tell that a capture is not pinned */
int maps_create(struct capture *c, struct capture_error *err);
/*
 * The program of a side in the given mode with c->filter in it, loaded onto the capture's maps. *vlan: in 1 try, out 1 if
 * it asks.
 */
int program_load(struct capture *c, enum rec_side side, enum mode mode, uint32_t *vlan, int *prog_fd, uint32_t *prog_id,
		 struct capture_error *err);

/* This executable and its programs: what capture_create and capture_upgrade leave in meta. */
void program_sign(struct meta *m);

/* ---- attach.c ---- */
void hook_off(struct capture *c, enum rec_side side);
/* A clsact filter that a recorder made, of whatever layout, by what its filters are called. */
void clsact_discard(unsigned ifindex);
/* Programs that are on the interface and forbid a capture of these sides there: text and -EBUSY. */
int attach_conflict(const struct capture *c, struct capture_error *err);

/* ---- pin.c ---- */
#define MAP_PIN_NAMES                                                                                                  \
	{                                                                                                              \
		[CAPTURE_SECONDS] = "seconds", [CAPTURE_DESK] = "desk", [CAPTURE_POLICY] = "policy",                    \
		[CAPTURE_OWN] = "own", [CAPTURE_BELL] = "bell", [CAPTURE_JOURNAL] = "journal", [MAP_META] = "meta",     \
		[MAP_KNOWN] = "known", [MAP_BLOCKS] = "blocks", [MAP_BLOCK_ENTRIES] = "block_entries",                  \
		[MAP_BLOCK_COUNTS] = "block_counts",                                                                   \
		[MAP_RINGS_RX] = "rings_rx", [MAP_RINGS_TX] = "rings_tx",                                               \
	}
int pin_dir_make(const char *dir, struct capture_error *err);
/* Unlinks every pin in dir and removes it, and empty directories above it as far as they are ours. */
int pin_dir_remove(const char *dir);
int pin_fd(const char *dir, const char *name, int fd, struct capture_error *err);
/* Descriptor or -errno. */
int pin_get(const char *dir, const char *name);
int pin_unlink(const char *dir, const char *name);
/* "link_rx", "ring_tx_3" */
const char *pin_link_name(enum rec_side side);
void pin_ring_name(char out[32], enum rec_side side, unsigned cpu);
/* Another capture of the interface among all pins beside dir: its directory to out, 1; else 0. */
int pin_find_other(const char *dir, unsigned ifindex, uint64_t netns, char *out, size_t size);
struct meta *meta_map(int fd);
/* Of any layout: the first `need` bytes of a pinned meta, the rest zeros. -ESTALE when it is shorter. */
int pin_meta(int fd, struct meta *out, size_t need);
/* capture_pin_path for a layout; iface "": the instance's directory with a '/' behind it. */
int pin_path(char *out, size_t size, const char *bpffs, unsigned abi, const char *instance, const char *iface);
void meta_unmap(struct meta *m);

/* ---- promisc.c ---- */
int promisc_set(struct capture *c, struct capture_error *err);
int promisc_restore(struct capture *c);

#endif
