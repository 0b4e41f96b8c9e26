/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * abi.h - everything that the kernel side and user space both see.
 *
 * One capture is one interface. It has up to two hooks (sides): rx and tx. Its maps, by who writes them:
 *
 *   kernel     rings_rx, rings_tx   one byte ring for each CPU: the packet records; behind it what is counted instead
 *                                   of stored when it fills                                 (user: read-only mmap)
 *   kernel     seconds              counters for each CPU, side and second                  (user: read-only mmap)
 *   kernel     known                conversations stored in the last minute                 (kernel's alone)
 *   drainer    desk                 consumer indexes, the armed flag of the doorbell, the flood tables' epoch (kernel reads)
 *   keeper     policy, own          what is not to be recorded                              (kernel reads)
 *   keeper, command line  blocks, block_entries  what is to be dropped; kernel: block_counts  (block.h)
 *   drainer    journal              its crash-proof memory; the kernel never looks (recorder/ledger/journal.h)
 *   kernel     bell                 a ringbuf that only wakes the drainer
 *
 * All integers are in host byte order unless a comment says otherwise. No struct here holds padding that is not
 * named. A change of any size, offset or meaning needs a new REC_ABI; it is part of the pin path, so an old
 * capture is never read through a new layout.
 *
 * This header includes nothing of the project and nothing of libc: the includer brings fixed-width integers
 * (<linux/types.h> on both sides).
 */
#ifndef XDP_RECORDER_ABI_H
#define XDP_RECORDER_ABI_H

#include <linux/types.h>

#define REC_ABI 6u

/* ---- hooks ------------------------------------------------------------------------------------------------ */

enum rec_side {
	REC_RX = 0, /* entered the host through this interface (XDP, tcx ingress, clsact ingress) */
	REC_TX = 1, /* left the host through it (tcx egress, clsact egress) */
	REC_SIDES = 2,
};

/* ---- the record in a ring --------------------------------------------------------------------------------- */

/*
 * Header bytes that a record may hold. 128 come straight from the packet, up to 256 when the parser ran out of
 * bytes (CAPTURE.md section 11).
 */
#define REC_CAP_FAST 128u
#define REC_CAP_MAX 256u

/* Marks: what a reader must know about a record that its fields do not say. Bits of rec_head.marks. */
enum rec_mark {
	REC_MARK_TRUNCATED = 1u << 0, /* the packet ended inside a header that it announced */
	REC_MARK_MALFORMED = 1u << 1, /* a header contradicts itself (IHL < 5, data offset < 5, ...) */
	REC_MARK_LONG = 1u << 2,      /* the headers are longer than REC_CAP_MAX; stored as far as that */
	REC_MARK_UNKNOWN = 1u << 3,   /* a protocol that the parser does not know: bytes kept as they were */
	REC_MARK_FRAGMENT = 1u << 4,  /* not the first fragment: there is no layer 4 header in it */
	REC_MARK_VLAN_HW = 1u << 5,   /* the outer VLAN tag had been taken by hardware and was put back */
	REC_MARK_BLOCKED = 1u << 6,   /* dropped by the block list after it was recorded */
	REC_MARK_GSO = 1u << 7,       /* a segmentation-offload super-packet, see gso_segs */
	REC_MARK_CSUM_NONE = 1u << 8, /* the L4 checksum is not the one on the wire (set by user space only) */
	REC_MARK_TIME = 1u << 9,      /* a capture file's time stamp was out of range and is normalised (user space only) */
};
#define REC_MARKS 10u

/* Indexes of rec_head.off: where a layer begins, in bytes from the first header byte; 0 = not there. */
enum rec_off { REC_L3 = 0, REC_L4 = 1, REC_INNER_L3 = 2, REC_INNER_L4 = 3, REC_OFFS = 4 };

/*
 * One record: this head, cap_len header bytes as they were on the wire (a hardware VLAN tag put back), zero to
 * seven bytes of undefined padding up to a multiple of 8. Records are contiguous: none wraps, the ring has
 * REC_RING_SLACK bytes behind its end for that.
 */
struct rec_head {
	__u64 time;     /* CLOCK_BOOTTIME, ns, when the program ran */
	__u32 wire_len; /* bytes of the frame without FCS; of the whole super-packet when gso_segs > 1 */
	__u32 hash;     /* of the flow key, seeded for the capture; both directions of a conversation have the same */
	__u16 cap_len;  /* header bytes that follow, 1..REC_CAP_MAX (0 only for an empty frame) */
	__u16 marks;    /* enum rec_mark */
	__u16 gso_segs; /* segments of a super-packet, 0 or 1 = none (__sk_buff.gso_segs) */
	__u16 gso_size; /* payload bytes of each of its segments (__sk_buff.gso_size) */
	__u8 off[REC_OFFS];
	__u8 side;  /* enum rec_side */
	__u8 proto; /* IANA number of the outermost layer 4 found, 0 when there is none */
	__u8 reserved[2];
};
_Static_assert(sizeof(struct rec_head) == 32, "rec_head is 32 bytes");

#define REC_RECORD_MAX (sizeof(struct rec_head) + REC_CAP_MAX) /* 288 */
#define REC_RECORD_LEN(cap) (sizeof(struct rec_head) + (((cap) + 7u) & ~7u))

/* ---- rings ------------------------------------------------------------------------------------------------ */

#define REC_RING_PAGE 4096u  /* the control page in front of the data */
#define REC_RING_SLACK 512u  /* bytes behind the end of the data, so that no record wraps */
#define REC_RING_MIN (1u << 16)
#define REC_RING_MAX (1u << 28) /* the verifier knows offsets below 1 << 29 only: BPF_MAX_VAR_OFF, linux/bpf_verifier.h */

/*
 * The value of a ring map (an mmap-able ARRAY of one element). Data bytes [head - n, head) modulo the ring's size
 * (a power of two, the constant ring_size of the program) are n bytes of records. Byte indexes only grow.
 */
struct rec_ring {
	__u64 head;       /* producer: bytes published since the ring was made; stored by XCHG, load it with acquire */
	__u64 tail_seen;  /* producer's copy of the consumer index */
	__u8 reserved[REC_RING_PAGE - 16]; /* from byte 1024 on the program's scratch; nothing for user space */
	__u8 data[];
};
_Static_assert(sizeof(struct rec_ring) == REC_RING_PAGE, "the ring's control page is one page");

/* Behind that what was counted instead of stored: see floods. */
#define REC_FLOOD_AT(size) (sizeof(struct rec_ring) + (size) + REC_RING_SLACK)
#define REC_RING_VALUE(size) (REC_FLOOD_AT(size) + REC_FLOOD_LEN(size))

/* ---- the balance's counters ------------------------------------------------------------------------------- */

/*
 * Where a packet that reached the hook went. Exactly one of the terms behind SEEN counts each packet that SEEN
 * counts, except REC_LOST_CONTENDED, whose packets are not in SEEN (its counter is written by another context).
 */
enum rec_term {
	REC_SEEN = 0,
	REC_PUBLISHED = 1,         /* a record in the ring: will be stored */
	REC_FILTERED_OWN = 2,      /* the recorder's own database connections */
	REC_FILTERED_EXPR = 3,     /* rejected by the capture filter */
	REC_BLOCKED = 4,           /* dropped by the block list without a record */
	REC_SUMMARISED_FLOW = 5,   /* counted in the flood table by 5-tuple */
	REC_SUMMARISED_PREFIX = 6, /* counted by prefix and protocol */
	REC_LOST_RING_FULL = 7,
	REC_LOST_CONTENDED = 8,    /* a second producer on this CPU and side found the ring busy */
	REC_LOST_NO_RING = 9,      /* a CPU that came online after the rings were made */
	REC_LOST_UNREADABLE = 10,  /* the packet's bytes could not be loaded */
	REC_BLOCKED_STORED = 11,   /* no term: of PUBLISHED those that were dropped by the block list, with REC_MARK_BLOCKED */
	REC_TERMS = 14,            /* 12, 13 are free for later terms */
};

struct rec_count {
	__u64 packets;
	__u64 bytes; /* of wire_len */
};

/*
 * Totals since the capture began, as they stood at the end of second `sec` (or stand now, in the newest slot).
 * Because they are totals and not increments, a slot that was overwritten before it was read loses only the
 * resolution of time, never a packet, and reading needs no handshake with the kernel.
 */
struct rec_second {
	__u64 sec;     /* time / 1e9 of the packets counted here; 0 = never used or being written: read it before and after */
	__u64 boot_ns; /* CLOCK_BOOTTIME when the slot was opened */
	__u64 tai_ns;  /* CLOCK_TAI at the same moment */
	__u64 reserved;
	struct rec_count total[REC_TERMS];
};
_Static_assert(sizeof(struct rec_second) == 256, "rec_second is four cache lines");

#define REC_SECONDS 1024u /* slots: seventeen minutes of traffic, a power of two */

/*
 * The value of `seconds`, one element for each (side * cpus + cpu): 256 KiB and one line. Slots are used in turn, one for each
 * second in which a packet came: going back from `newest` the seconds fall.
 */
struct rec_seconds {
	__u64 busy;  /* flag of the producer; the loser counts itself in contended */
	__u64 until; /* ns: the newest slot's second ends here (exclusive) */
	__u64 newest; /* index of the newest slot */
	__u64 epoch; /* of the flood tables in this second */
	struct rec_count contended; /* added to atomically; part of total[REC_LOST_CONTENDED] of the newest slot */
	__u64 clock;      /* CLOCK_BOOTTIME, ns, when a packet was counted instead of stored: */
	__u32 jiffy;      /* it serves those that come behind it in the same jiffy, */
	__u32 clock_uses; /* so many at most */
	struct rec_second slot[REC_SECONDS];
};
_Static_assert(sizeof(struct rec_seconds) == 64 + 256 * REC_SECONDS, "rec_seconds");

/* ---- floods: what is counted instead of stored (flood.h) ------------------------------------------------------ */

enum rec_floods {
	REC_FLOODS_LOST = 0,    /* what a full ring does not take is lost */
	REC_FLOODS_COUNTED = 1, /* it is counted, and so are packets of heavy keys when it fills */
	REC_FLOODS_ALL = 2,     /* every packet is counted, by protocol */
};

/* ns that the time of a packet that was counted may lie too far back: ten jiffies at 100 a second, where one is the rule. */
#define REC_CLOCK_LAG 100000000ull

/* Why a packet was counted. A bit each in rec_flood.why. */
enum rec_why {
	REC_WHY_FLOW = 1,   /* its conversation was heavy */
	REC_WHY_DEST = 2,   /* its destination was, and the conversation was not known */
	REC_WHY_SOURCE = 3, /* its source was, and the conversation was not known */
	REC_WHY_NEW = 4,    /* the ring was nearly full, and the conversation was not known */
	REC_WHY_FULL = 5,   /* the ring was full */
	REC_WHY_ALL = 6,    /* nothing is stored: REC_FLOODS_ALL */
};

/* rec_flood_key.shape: 4 and 6 are the IP version, 0 neither. What is missing of the 5-tuple: */
#define REC_SHAPE_DEST 0x10u     /* destination whole, of the source its network; no ports */
#define REC_SHAPE_SOURCE 0x20u   /* the other way round */
#define REC_SHAPE_PROTOCOL 0x40u /* neither address nor ports */

struct rec_flood_key {
	__u8 src[16]; /* IPv4 in the first 4 bytes, MAC in the first 6; the rest is 0 */
	__u8 dst[16];
	__u16 sport; /* network byte order; of ICMP type and code, without IP the EtherType */
	__u16 dport;
	__u8 proto;
	__u8 shape;
	__u16 reserved;
};
_Static_assert(sizeof(struct rec_flood_key) == 40, "five words");

struct rec_flood {
	struct rec_flood_key key;
	__u64 packets, bytes; /* bytes of wire_len */
	__u64 first, last;    /* CLOCK_BOOTTIME, ns */
	__u32 len_min, len_max;
	__u32 epoch;
	__u16 marks;    /* of all that were looked at in full (flood.h) */
	__u8 why;       /* bits of enum rec_why */
	__u8 flags_any; /* TCP flags that any of them had */
	__u8 flags_all; /* that all had */
	/* A packet of it that was looked at in full was counted, in this window and at this fill: those like it are, too. */
	__u8 fill; /* rec_flood_fill; 0: none was */
	__u16 window;
	__u16 since; /* those behind it that were not looked at in full */
	__u8 step;   /* how many times in this window one was */
	__u8 reserved;
};
_Static_assert(sizeof(struct rec_flood) == 96, "rec_flood");

#define REC_FLOOD_WAYS 8u
struct rec_flood_set {
	__u32 epoch; /* another one than the reader's: the set is empty */
	__u32 used;
	__u32 tag[REC_FLOOD_WAYS];
	__u32 reserved[6];
};
_Static_assert(sizeof(struct rec_flood_set) == 64, "a cache line");

/*
 * At REC_FLOOD_AT of a ring's value, sizes by the ring's: heavy sources, heavy destinations (sets of four words), then two tables, of
 * even and of odd epochs: heads of the sets of flows, their entries, heads and entries of prefixes, and an entry for each
 * protocol of each shape.
 */
#define REC_HEAVY_SETS(ring) ((ring) < 1u << 20 ? 64u : (ring) > 1u << 25 ? 2048u : (ring) >> 14)
#define REC_FLOW_SETS(ring) ((ring) > 1u << 23 ? 4096u : (ring) >> 11)
#define REC_PREFIX_SETS(ring) (REC_FLOW_SETS(ring) / 4)
#define REC_PROTOCOLS (4u * 256u) /* not IP, none, IPv4, IPv6 */
#define REC_PROTOCOL_INDEX(shape, proto) (((shape) >> 1 & 3u) * 256u + ((proto) & 255u))
#define REC_SETS_LEN(sets) ((sets) * (sizeof(struct rec_flood_set) + REC_FLOOD_WAYS * sizeof(struct rec_flood)))
#define REC_HEAVY_LEN(ring) (32 * REC_HEAVY_SETS(ring))
#define REC_TABLE_LEN(ring)                                                                                             \
	(REC_SETS_LEN(REC_FLOW_SETS(ring)) + REC_SETS_LEN(REC_PREFIX_SETS(ring)) + REC_PROTOCOLS * sizeof(struct rec_flood))
#define REC_TABLE_AT(ring, epoch) (REC_FLOOD_AT(ring) + 2 * REC_HEAVY_LEN(ring) + ((epoch) & 1) * REC_TABLE_LEN(ring))
#define REC_FLOOD_LEN(ring) (2 * REC_HEAVY_LEN(ring) + 2 * REC_TABLE_LEN(ring))

/*
 * The value of `known`, one for all rings of a capture, since a conversation may come to any CPU: sets of four words, of
 * conversations stored in the last minute (flood.h).
 */
#define REC_KNOWN_SETS(ring) ((ring) > 1u << 25 ? 65536u : (ring) / 512)
#define REC_KNOWN_VALUE(ring) (32 * REC_KNOWN_SETS(ring))

/* rec_desk.control.epoch */
#define REC_EPOCH(epoch, sec) ((__u64)(epoch) << 32 | (__u32)(sec))

/* ---- the desk: what the drainer tells the kernel ---------------------------------------------------------- */

#define REC_DESK_CONTROL 0u
#define REC_DESK_TAIL(side, cpus, cpu) (1u + (side) * (cpus) + (cpu)) /* element of a ring's consumer index */

/* Elements of one cache line. Element 0 is `control`, the others are `tail`. */
union rec_desk {
	struct {
		__u32 armed; /* 1: ring the bell for the next record, XCHG to 0 by whoever rings */
		__u32 reserved;
		__u64 epoch; /* REC_EPOCH: the flood tables' epoch from that second on; until then the one before */
		__u64 began; /* user space's: the second in which the epoch before began */
		__u64 rest[5];
	} control;
	struct {
		__u64 tail; /* consumer index of the ring: bytes settled; never beyond head */
		__u64 reserved[7];
	} ring;
};
_Static_assert(sizeof(union rec_desk) == 64, "one cache line for each desk element");

/* ---- policy: what the keeper tells the kernel ------------------------------------------------------------- */

#define REC_OWN_PORTS 8u
#define REC_OWN_FLOWS 256u

struct rec_policy {
	__u32 own_flows;                /* entries in `own`; 0: it is not asked */
	__u32 watched;                  /* the program's: window in which a ring was last watched (flood.h), boot ns >> REC_WINDOW_SHIFT */
	__u16 own_port[REC_OWN_PORTS];  /* database ports, network byte order, 0 = unused: asked before `own` is */
	__u8 rest[40];
};
_Static_assert(sizeof(struct rec_policy) == 64, "rec_policy");

/* A connection of the recorder to its database, entered in both directions. IPv4 as ::ffff:a.b.c.d. */
struct rec_own_key {
	__u8 src[16];
	__u8 dst[16];
	__u16 sport; /* network byte order */
	__u16 dport; /* network byte order */
	__u32 proto; /* IPPROTO_TCP */
};
_Static_assert(sizeof(struct rec_own_key) == 40, "rec_own_key");

/* ---- the block list: what is dropped (block.h) --------------------------------------------------------------- */

#define REC_BLOCK_SOURCE 1u
#define REC_BLOCK_DESTINATION 2u
#define REC_BLOCK_ENTRIES 131072u /* at most */

/*
 * Key of `block_entries` (value: __u32, REC_BLOCK_SOURCE and DESTINATION) and of `block_counts` (value: struct rec_count, for each
 * CPU; made with the first packet). IPv4 as ::ffff:a.b.c.d; no IPv6 entry is of that form.
 */
struct rec_block_key {
	__u8 addr[16];
	__u32 prefix; /* IPv6: its length; IPv4: the lowest bit of its mask, 0 of 0.0.0.0/0 */
};
_Static_assert(sizeof(struct rec_block_key) == 20, "rec_block_key");

struct rec_block_length {
	__u64 mask[2]; /* in memory order */
	__u32 prefix;  /* REC_BLOCK_END: there are no more */
	__u32 reserved;
};

#define REC_BLOCK_LENGTHS 130u /* 0 to 128, and the end */
#define REC_BLOCK_END (~0u)

/* The value of `blocks`: which prefixes are worth a look-up. A bit too many costs a look-up in vain. */
struct rec_blocks {
	__u32 by;      /* REC_BLOCK_*, of all entries together; 0: there is none, nothing else is looked at */
	__u32 all4;    /* 1: 0.0.0.0/0 is one */
	__u32 which6;  /* the list of length6 in force */
	__u32 entries; /* their number, for those who show it */
	struct rec_count uncounted; /* dropped, but for the counter of its entry there was no memory */
	__u8 rest[32];
	struct rec_block_length length6[2][REC_BLOCK_LENGTHS]; /* longest first */
	__u32 length4[1u << 16]; /* of each /16: bit n: an entry of 32 - n bits lies in it, or it in the entry */
};

/* ---- settings of one program, constant once it is loaded --------------------------------------------------- */

struct rec_settings {
	__u32 side;      /* enum rec_side */
	__u32 cpus;      /* possible CPUs: the stride of desk and seconds */
	__u32 ring_size; /* bytes of a ring's data, a power of two */
	__u32 tap;       /* 1: consume what was recorded (XDP_DROP / TC_ACT_SHOT) */
	__u32 vlan_kfunc; /* 1: XDP asks the driver for the tag that hardware took (Linux 6.8) */
	__u32 hash_seed; /* random, of the capture: both hooks must give a conversation the same hash */
	__u32 filter_reach; /* bytes that the capture filter may look at; 0 with filtered: it looks at the length only */
	__u32 filtered;  /* 1: a capture filter stands in the program (capture/filter.h) */
	__u32 floods;    /* enum rec_floods */
	__u32 in_turns;  /* 1: a producer may be put aside for another one of its CPU (PREEMPT_RT), not only be interrupted by it */
};

/* ---- import: time and true length in front of a frame, as XDP metadata --------------------------------------- */

struct rec_import_meta {
	__u64 time;     /* goes into rec_head.time */
	__u32 wire_len; /* at least the frame's bytes */
	__u32 reserved;
};
_Static_assert(sizeof(struct rec_import_meta) == 16, "XDP metadata is at most 32 bytes, a multiple of 4");

#endif
