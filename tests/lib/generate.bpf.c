// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * generate.bpf.c - makes each live frame of BPF_PROG_RUN and sends it into a veth.
 *
 * The kernel recycles the frames with whatever the last run (and the receiver) wrote into them, so every byte that
 * anybody could have changed is written each time. One process drives this, hence plain globals.
 */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "tests/lib/generate.h"

const volatile struct gen_settings settings;
struct gen_state state;

/* splitmix64: full period, and any seed will do. */
static __always_inline __u64 next_random(void)
{
	__u64 z = state.random += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static __always_inline __u32 words(__u32 v)
{
	return (v & 0xffff) + (v >> 16);
}

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

#define AT(type, offset) (*(type *)(data + (offset)))

/* A stack copy of what is written per frame, so that the two address families share the layer 4 part. */
struct varying {
	__u32 source; /* network order; IPv4 only */
	__u32 target; /* network order, 0 = the template's */
	__u32 number; /* TCP sequence, ICMP sequence */
	__u16 id;
	__u16 port; /* host order, 0 = the template's */
};

static __always_inline void layer4(void *data, const volatile struct gen_template *t, __u32 at, __u32 sum,
				   const struct varying *v)
{
	__u16 check;

	if (t->proto == IPPROTO_TCP) {
		__u32 seq = bpf_htonl(v->number);
		__u16 port = bpf_htons(v->port);

		AT(__u16, at) = port;
		AT(__u32, at + 4) = seq;
		AT(__u16, at + 16) = fold(sum + port + words(seq));
	} else if (t->proto == IPPROTO_UDP) {
		__u16 port = bpf_htons(v->port);

		AT(__u16, at) = port;
		check = fold(sum + port);
		AT(__u16, at + 6) = check ? check : 0xffff;
	} else if (t->proto) {
		__u16 seq = bpf_htons((__u16)v->number);

		AT(__u16, at + 6) = seq;
		AT(__u16, at + 2) = fold(sum + seq);
	}
}

static __always_inline int send4(void *data, void *end, const volatile struct gen_template *t, const struct varying *v)
{
	__u32 sum = t->l4_sum;
	__u16 id = bpf_htons(v->id);

	if (data + GEN_SHORT > end)
		return XDP_ABORTED;
	for (int i = 0; i < 56; i += 8)
		AT(__u64, i) = *(const volatile __u64 *)(t->bytes + i);
	AT(__u32, 56) = *(const volatile __u32 *)(t->bytes + 56);
	AT(__u16, 18) = id;
	AT(__u32, 26) = v->source;
	if (v->target)
		AT(__u32, 30) = v->target;
	AT(__u16, 24) = fold(t->ip_sum + id + words(v->source) + words(v->target));
	if (t->pseudo)
		sum += words(v->source) + words(v->target);
	layer4(data, t, 34, sum, v);
	return bpf_redirect(settings.ifindex, 0);
}

static __always_inline int send6(void *data, void *end, const volatile struct gen_template *t, const struct varying *v)
{
	__u32 sum = t->l4_sum;

	if (data + GEN_TEMPLATE > end)
		return XDP_ABORTED;
	for (unsigned i = 0; i < GEN_TEMPLATE; i += 8)
		AT(__u64, i) = *(const volatile __u64 *)(t->bytes + i);
	for (int i = 0; i < 16; i += 4) {
		__u32 part = (__u32)next_random();

		if (i == 0)
			part = bpf_htonl(0x20000000 | (part & 0x1fffffff));
		AT(__u32, 22 + i) = part;
		sum += words(part);
	}
	layer4(data, t, 54, sum, v);
	return bpf_redirect(settings.ifindex, 0);
}

static __always_inline int quiet(void *data, void *end)
{
	__u32 flow = state.flow, kind = flow & 1 ? GEN_QUIET_UDP : GEN_QUIET_TCP;
	struct varying v = {
		.source = bpf_htonl(settings.quiet_source + flow),
		.target = bpf_htonl(flow < settings.quiet_known ? settings.victim : settings.quiet_target + flow),
		.number = (__u32)state.packets[1],
		.id = (__u16)state.round,
		.port = (__u16)(20000 + flow),
	};

	state.packets[1]++;
	state.bytes[1] += (__u64)(end - data);
	if (++state.flow >= settings.quiet_flows) {
		state.flow = 0;
		state.round++;
	}
	return send4(data, end, &settings.template[kind & 3], &v);
}

#include "tests/lib/generate_flows.h"

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const volatile struct gen_template *t = &settings.template[GEN_FLOOD];
	struct varying v = {};
	__u64 random;

	if (settings.flows)
		return flows(data, end);
	if (settings.quiet_per && --state.until_quiet == 0) {
		state.until_quiet = settings.quiet_per;
		return quiet(data, end);
	}
	v.number = (__u32)state.packets[0];
	v.id = (__u16)v.number;
	state.packets[0]++;
	state.bytes[0] += (__u64)(end - data);
	random = next_random();
	v.port = (__u16)(1024 + ((random >> 32) * 60000 >> 32));
	if (settings.sources_mode == GEN_RANDOM6)
		return send6(data, end, t, &v);
	v.source = *(const volatile __u32 *)(t->bytes + 26);
	if (settings.sources_mode == GEN_RANDOM)
		v.source = (__u32)random;
	else if (settings.sources_mode == GEN_MANY)
		v.source = bpf_htonl(bpf_ntohl(v.source) + (__u32)((random & 0xffffffff) * settings.sources >> 32));
	if (settings.sources_mode != GEN_RANDOM)
		v.port = 4000; /* a source is one conversation */
	if (settings.targets_mode != GEN_ONE) {
		random = next_random();
		v.target = settings.targets_mode == GEN_RANDOM ?
				   (__u32)random | 1 :
				   bpf_htonl(settings.victim + (__u32)((random & 0xffffffff) * settings.targets >> 32));
	}
	return send4(data, end, t, &v);
}

char LICENSE[] SEC("license") = "GPL";
