/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * generate.h - what the generator's two halves share: generate.c builds templates and sums, generate.bpf.c makes a
 * frame of one for each run. Sums are of native 16-bit words, not folded (RFC 1071 works in any byte order).
 */
#ifndef XDP_RECORDER_GENERATE_H
#define XDP_RECORDER_GENERATE_H

#include <linux/types.h>

#define GEN_TEMPLATE 80u /* bytes rewritten in each frame; frames shorter than that get GEN_SHORT */
#define GEN_SHORT 60u

enum gen_kind { GEN_FLOOD, GEN_QUIET_TCP, GEN_QUIET_UDP, GEN_KINDS };

/* --flows: conversations at once, at most; a power of two, for the verifier. */
#define GEN_FLOWS 4096u
#define GEN_FLOW_HEADERS 72u /* bytes written in each of their frames: TCP with time stamps, rounded up */
struct gen_flow {
	__u32 inside, outside; /* network order */
	__u32 left;	       /* packets, 0: over */
	__u32 seq[2];
	__u16 port, service; /* network order */
	__u32 proto;
};

enum gen_sources {
	GEN_ONE,     /* the template's */
	GEN_MANY,    /* the template's plus 0..sources - 1, at random */
	GEN_RANDOM,  /* any 32 bits */
	GEN_RANDOM6, /* 2000::/3, the rest at random */
};

struct gen_template {
	__u8 bytes[GEN_TEMPLATE];
	__u32 ip_sum; /* IPv4 header without id, checksum and source */
	__u32 l4_sum; /* layer 4 and pseudo header without source and the fields written per frame */
	__u16 check;  /* offset of the layer 4 checksum, 0: none */
	__u8 proto;   /* IPPROTO_*, 0: a fragment without layer 4 */
	__u8 pseudo;  /* the checksum covers the addresses */
};

struct gen_settings {
	__u32 ifindex;
	__u32 sources_mode; /* enum gen_sources */
	__u32 sources;
	__u32 targets_mode; /* of the flood's destinations, IPv4 only */
	__u32 targets;
	__u32 quiet_per; /* every so many frames one quiet one, 0 = none */
	__u32 quiet_flows;
	__u32 quiet_known;  /* flows 0..this - 1 talk to the flood's destination, the others to hosts of their own */
	__u32 quiet_source; /* host byte order: flow k comes from this + k */
	__u32 quiet_target; /* and flows from quiet_known on go to this + k */
	__u32 victim;
	__u32 flows; /* 0: none, else conversations at once instead of a flood */
	__u32 payload; /* bytes of TCP payload in their frames */
	__u16 ip_len, udp_len; /* network order */
	__u8 smac[6], dmac[6];
	__u32 pad;
	struct gen_template template[GEN_KINDS + 1]; /* a power of two, for the verifier */
};

struct gen_state {
	__u64 random;
	__u64 packets[2], bytes[2]; /* flood, quiet */
	__u32 until_quiet;
	__u32 flow;  /* of the next quiet frame */
	__u32 round; /* how often each flow had its turn: goes into the IPv4 id */
	/* of --flows */
	__u32 train; /* packets left of this train */
	__u32 current, back;
	__u32 clock; /* of time stamps, counts packets */
};

#endif
