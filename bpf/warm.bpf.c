// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * warm.bpf.c - reads a word of each page of the rings, by BPF_PROG_RUN, so that the packet program is not the first to use their addresses.
 *
 * The kernel maps a ring page by page into its own address space. On a guest whose hypervisor keeps shadow page tables (PVM, KVM without
 * nested paging) the first use of such a page is a fault that the hypervisor mends: 13 us a page measured, 300 ns for each
 * packet stored there. On other machines a page costs what a miss of the TLB does.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "rings.h"

#define PAGES_A_RUN 4u /* softirqs of this CPU may wait for a run: 50 us where pages are dear */

const volatile __u32 value_len = REC_RING_VALUE(REC_RING_MIN);

/* What the next run reads. */
__u32 cpu, page;

/* Returns how many pages it has read, PAGES_A_RUN unless the ring ends there, or is none. */
SEC("xdp")
int rec_warm(struct xdp_md *ctx)
{
	__u32 zero = 0, key = cpu, n;
	__u8 *value;
	void *map;

	map = bpf_map_lookup_elem(&rings, &key);
	if (!map)
		return 0;
	value = bpf_map_lookup_elem(map, &zero);
	if (!value)
		return 0;
	for (n = 0; n < PAGES_A_RUN; n++) {
		__u64 at = ((__u64)page + n) * REC_RING_PAGE;

		if (at > value_len - sizeof(__u64))
			break;
		(void)*(volatile __u64 *)(value + at);
	}
	return n;
}

char LICENSE[] SEC("license") = "GPL";
