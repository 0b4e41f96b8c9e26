// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * generate_flows.h - part of generate.bpf.c: heavy-tailed conversations as live frames, for the end-to-end benchmark. Some
 * thousand at once, chosen with a skew, in trains of 1 to 24 packets of one direction; a conversation's length is Pareto
 * with exponent 1 up to 60,000 packets, its inside host one of 400, its outside host one of 30,000, both with a skew. 70 %
 * TCP with time stamps, the rest UDP. All frames have one length, since live frames are made of one template.
 */
static struct gen_flow flow_table[GEN_FLOWS];

/* 0 to n - 1, low numbers far more often: a product of two uniform numbers. */
static __always_inline __u32 skewed(__u64 random, __u32 n)
{
	__u64 x = random & 0xffffff, y = random >> 24 & 0xffffff;

	return (__u32)((x * y >> 24) * n >> 24);
}

static __always_inline void flow_begin(struct gen_flow *f)
{
	__u64 a = next_random(), b = next_random(), c = next_random();
	__u32 left = (__u32)((1u << 24) / ((c & 0xffffff) + 1));

	f->inside = bpf_htonl(0x0a000000 + skewed(a, 400));
	f->outside = bpf_htonl(0x17000000 + skewed(b, 30000) * 2654435761u % 0xb0000000u);
	f->left = left > 60000 ? 60000 : left;
	f->seq[0] = (__u32)(a >> 32);
	f->seq[1] = (__u32)(b >> 32);
	f->port = bpf_htons((__u16)(32768 + (c >> 24 & 0x3fff)));
	f->service = bpf_htons(c >> 62 ? 443 : (__u16)(1 + (c >> 40 & 0x1fff)));
	f->proto = (c >> 53 & 0x7f) < 90 ? IPPROTO_TCP : IPPROTO_UDP;
}

static __always_inline void flow_layer4(void *data, struct gen_flow *f, __u32 back, __u32 random)
{
	__u32 number = f->seq[back & 1];

	AT(__u16, 34) = back ? f->service : f->port;
	AT(__u16, 36) = back ? f->port : f->service;
	if (f->proto == IPPROTO_UDP) {
		AT(__u16, 38) = settings.udp_len;
		AT(__u16, 40) = (__u16)random | 1;
		return;
	}
	f->seq[back & 1] = number + settings.payload;
	AT(__u32, 38) = bpf_htonl(number);
	AT(__u32, 42) = bpf_htonl(f->seq[~back & 1]);
	AT(__u16, 46) = bpf_htons(0x8018);
	AT(__u16, 48) = bpf_htons(500 + (random >> 28));
	AT(__u16, 50) = (__u16)random;
	AT(__u16, 52) = 0;
	AT(__u32, 54) = bpf_htonl(0x0101080a);
	AT(__u32, 58) = bpf_htonl((state.clock >> 10) + f->inside * 2654435761u);
	AT(__u32, 62) = bpf_htonl((state.clock >> 10) + f->outside * 2654435761u);
}

static __always_inline int flows(void *data, void *end)
{
	struct gen_flow *f;
	__u32 back, source, target;
	__u64 random = next_random();
	__u16 id = (__u16)(random >> 32);

	if (data + GEN_FLOW_HEADERS > end)
		return XDP_ABORTED;
	if (!state.train) {
		state.current = skewed(random, settings.flows);
		state.back = (__u32)(random >> 63);
		state.train = 1 + (__u32)((random >> 48 & 0xff) * 24 >> 8);
	}
	f = &flow_table[state.current & (GEN_FLOWS - 1)];
	if (!f->left) {
		flow_begin(f);
		state.back = 0;
	}
	state.train--;
	if (--f->left == 0)
		state.train = 0;
	back = state.back & 1;
	source = back ? f->outside : f->inside;
	target = back ? f->inside : f->outside;
	for (int i = 0; i < 6; i++) {
		AT(__u8, i) = settings.dmac[i];
		AT(__u8, 6 + i) = settings.smac[i];
	}
	AT(__u16, 12) = bpf_htons(0x0800);
	AT(__u16, 14) = bpf_htons(0x4500);
	AT(__u16, 16) = settings.ip_len;
	AT(__u16, 18) = id;
	AT(__u16, 20) = bpf_htons(0x4000);
	AT(__u16, 22) = bpf_htons(64 << 8 | f->proto);
	AT(__u16, 24) = fold(bpf_htons(0x4500) + settings.ip_len + id + bpf_htons(0x4000) + bpf_htons(64 << 8 | f->proto) +
			     words(source) + words(target));
	AT(__u32, 26) = source;
	AT(__u32, 30) = target;
	flow_layer4(data, f, back, (__u32)random);
	state.clock++;
	state.packets[0]++;
	state.bytes[0] += (__u64)(end - data);
	return bpf_redirect(settings.ifindex, 0);
}
