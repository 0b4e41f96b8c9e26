/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * compat.h - what the kernel has and the headers of Linux 6.1 (Debian 12) do not name yet. One entry each, with the
 * commit and version that brought it. Whether the running kernel has it is always tried, never concluded from a version.
 */
#ifndef XDP_RECORDER_COMPAT_H
#define XDP_RECORDER_COMPAT_H

/* e420bed02507 "bpf: Add fd-based tcx multi-prog infra with link support", 6.6 (enum bpf_attach_type) */
#define REC_BPF_TCX_INGRESS 46
#define REC_BPF_TCX_EGRESS 47
#define REC_TCX_NEXT (-1) /* the same number as TC_ACT_UNSPEC: the next program, or the next filter, decides */

/* 053c8e1f235d "bpf: Add generic attach/detach/query API for multi-progs", 6.6 (flags of BPF_LINK_CREATE) */
#define REC_BPF_F_BEFORE (1u << 3)
#define REC_BPF_F_AFTER (1u << 4)

/* 2b3486bc2d23 "bpf: Introduce device-bound XDP programs", 6.3 (flag of BPF_PROG_LOAD) */
#define REC_BPF_F_XDP_DEV_BOUND_ONLY (1u << 6)

#endif
