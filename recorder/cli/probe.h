/* SPDX-License-Identifier: GPL-2.0-or-later */
/* probe.h - what this kernel can do, by trying it, not by its version. Nothing is attached or left behind. */
#ifndef XDP_RECORDER_CLI_PROBE_H
#define XDP_RECORDER_CLI_PROBE_H

enum probe {
	PROBE_XDP,   /* programs of type XDP that read across buffers (Linux 5.18) */
	PROBE_FRAGS, /* XDP for frames in several buffers (5.18) */
	PROBE_TC,    /* programs of type sched_cls */
	PROBE_TIME,  /* the clocks of a record: boot time (5.8) and TAI (6.1) */
	PROBE_MMAP,  /* mmap-able arrays (5.5) and ring buffers (5.8) */
	PROBE_TCX,   /* tcx links (6.6) */
	PROBE_VLAN,  /* the kfunc for VLAN tags that hardware took (6.8) */
	PROBE_MEMCG, /* BPF memory is not bounded by RLIMIT_MEMLOCK (5.11) */
	PROBE_MEMBARRIER,
	PROBES
};

/* 1 there, 0 not, -EPERM when this process may not ask, another -errno. */
int probe(enum probe what);

#endif
