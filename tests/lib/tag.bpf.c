// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * tag.bpf.c - for clsact egress: gives every frame the VLAN id 5 in the skb, as hardware does that takes tags off. On
 * a veth the other end receives it like that. (Not every kernel that we test on has VLAN devices.)
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int tag(struct __sk_buff *skb)
{
	return bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), 5) ? TC_ACT_SHOT : TC_ACT_OK;
}

char LICENSE[] SEC("license") = "GPL";
