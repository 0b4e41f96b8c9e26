// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Live frames: BPF_PROG_RUN runs generate.bpf.c on frames of its own and redirects them. What the device took is read
 * from its own counters (ethtool: tx_queue_*_xdp_xmit), because the program cannot see a refusal.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/generate.h" /* before the skeleton, which needs its structs */
#include "generate.skel.h"
#include "tests/lib/generate_frame.h"
#include "tests/lib/generate_run.h"

struct device_counters {
	uint64_t taken, refused;
	int there;
};

/* Adds up what the driver says about frames that were redirected into it. Zero where it says nothing. */
static struct device_counters device_counters(const char *iface)
{
	struct {
		struct ethtool_sset_info info;
		uint32_t count;
	} sset = {.info = {.cmd = ETHTOOL_GSSET_INFO, .sset_mask = 1ull << ETH_SS_STATS}};
	struct device_counters sum = {0};
	struct ethtool_gstrings *names = NULL;
	struct ethtool_stats *values = NULL;
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return sum;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", iface);
	request.ifr_data = (void *)&sset;
	if (ioctl(fd, SIOCETHTOOL, &request) || !sset.info.sset_mask)
		goto out;
	names = calloc(1, sizeof(*names) + (size_t)sset.count * ETH_GSTRING_LEN);
	values = calloc(1, sizeof(*values) + (size_t)sset.count * sizeof(uint64_t));
	if (!names || !values)
		goto out;
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_STATS;
	names->len = sset.count;
	request.ifr_data = (void *)names;
	if (ioctl(fd, SIOCETHTOOL, &request))
		goto out;
	values->cmd = ETHTOOL_GSTATS;
	values->n_stats = sset.count;
	request.ifr_data = (void *)values;
	if (ioctl(fd, SIOCETHTOOL, &request))
		goto out;
	for (uint32_t i = 0; i < sset.count; i++) {
		const char *name = (const char *)names->data + (size_t)i * ETH_GSTRING_LEN;

		if (strncmp(name, "tx_queue_", 9))
			continue;
		if (strstr(name, "_xdp_xmit_errors"))
			sum.refused += values->data[i];
		else if (strstr(name, "_xdp_xmit"))
			sum.taken += values->data[i], sum.there = 1;
	}
out:
	free(values);
	free(names);
	close(fd);
	return sum;
}

/* The frame that is sent again and again, with the sums of all that does not vary. Returns its length. */
static uint32_t make_template(struct gen_template *t, const struct frame_spec *spec)
{
	uint8_t frame[FRAME_MAX];
	struct frame_layout at;
	uint32_t len = frame_build(frame, spec, &at);

	if (spec->family == 4)
		memset(frame + at.l3 + 10, 0, 2);
	if (at.check)
		memset(frame + at.check, 0, 2);
	memcpy(t->bytes, frame, GEN_TEMPLATE < len ? GEN_TEMPLATE : len);
	t->proto = at.check ? spec->proto : 0;
	t->pseudo = at.check && spec->proto != IPPROTO_ICMP;
	t->check = (uint16_t)at.check;
	if (spec->family == 4)
		t->ip_sum = frame_sum(frame + at.l3, 12) + frame_sum(frame + at.l3 + 16, 4);
	t->l4_sum = frame_sum(frame + at.l4, at.l4_len) + frame_pseudo_sum(spec, at.l4_len);
	return len;
}

static struct frame_spec flood_spec(const struct options *o)
{
	struct frame_spec s = {.family = 4, .proto = IPPROTO_UDP, .dport = 9, .len = o->size};

	memcpy(s.smac, o->smac, 6);
	memcpy(s.dmac, o->dmac, 6);
	memcpy(s.src, o->from, 4);
	memcpy(s.dst, o->to, 4);
	switch (o->proto) {
	case PROTO_TCP:
	case PROTO_TCP_SYN:
		s.proto = IPPROTO_TCP;
		s.dport = 80;
		s.flags = o->proto == PROTO_TCP ? 0x18 : 0x02;
		break;
	case PROTO_ICMP:
		s.proto = IPPROTO_ICMP;
		s.sport = 77; /* the id; the sequence, dport, is written per frame */
		s.dport = 0;
		break;
	case PROTO_FRAGMENT:
		s.frag = 185; /* the second piece of a datagram, 1,480 bytes on */
		break;
	default:
		break;
	}
	if (o->sources_mode == GEN_RANDOM6) {
		static const uint8_t target[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};

		s.family = 6;
		memset(s.src, 0, sizeof(s.src));
		memcpy(s.dst, target, 16);
		if (s.proto == IPPROTO_ICMP)
			s.proto = IPPROTO_ICMPV6;
		s.frag = 0;
		if (s.len < GEN_TEMPLATE)
			s.len = GEN_TEMPLATE;
	}
	return s;
}

static struct frame_spec quiet_spec(const struct options *o, uint32_t len, uint8_t proto)
{
	struct frame_spec s = {.family = 4,
			       .proto = proto,
			       .dport = proto == IPPROTO_TCP ? 443 : 5000,
			       .flags = 0x18,
			       .ack = 1,
			       .len = len};

	memcpy(s.smac, o->smac, 6);
	memcpy(s.dmac, o->dmac, 6);
	return s; /* addresses and source port are written per frame */
}

static void fill_settings(struct gen_settings *s, const struct options *o, uint8_t frame[FRAME_MAX], uint32_t *len)
{
	struct frame_spec flood = flood_spec(o), spec;
	struct frame_layout at;

	*len = frame_build(frame, &flood, &at);
	s->ifindex = o->ifindex;
	s->sources_mode = o->sources_mode;
	s->sources = o->sources;
	s->targets_mode = o->targets_mode;
	s->targets = o->targets;
	s->quiet_per = o->quiet_per;
	s->quiet_flows = o->quiet_flows;
	s->quiet_known = o->quiet_flows / 2;
	s->quiet_source = 0x0ac80000; /* 10.200.0.0 */
	s->quiet_target = 0x0ac90000;
	memcpy(&s->victim, o->to, 4);
	s->victim = ntohl(s->victim);

	s->flows = o->flows;
	s->payload = *len - 66; /* Ethernet, IPv4, TCP with time stamps */
	s->ip_len = htons((uint16_t)(*len - 14));
	s->udp_len = htons((uint16_t)(*len - 34));
	memcpy(s->smac, o->smac, 6);
	memcpy(s->dmac, o->dmac, 6);

	/* What the program writes into each frame must not be in the sums. */
	spec = flood;
	spec.sport = spec.proto == IPPROTO_ICMP || spec.proto == IPPROTO_ICMPV6 ? spec.sport : 0;
	if (o->targets_mode != GEN_ONE)
		memset(spec.dst, 0, sizeof(spec.dst));
	make_template(&s->template[GEN_FLOOD], &spec);
	spec = quiet_spec(o, *len, IPPROTO_TCP);
	make_template(&s->template[GEN_QUIET_TCP], &spec);
	spec = quiet_spec(o, *len, IPPROTO_UDP);
	make_template(&s->template[GEN_QUIET_UDP], &spec);
}

static int run(struct generate_bpf *bpf, const struct options *o, const uint8_t *frame, uint32_t len, struct result *r)
{
	struct gen_state *state = &bpf->bss->state;
	int fd = bpf_program__fd(bpf->progs.generate);
	uint64_t start = monotonic_ns(), sent = 0;

	while (sent < o->count && !ended) {
		uint64_t due = pace(start, sent, o->count, o->rate, 1u << 18);
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = len, .repeat = (int)due,
			    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = 64);

		if (due && bpf_prog_test_run_opts(fd, &opts) && errno != EINTR) {
			fprintf(stderr, "generate: BPF_PROG_RUN with live frames: %s\n", strerror(errno));
			return -1;
		}
		sent = state->packets[0] + state->packets[1];
	}
	*r = (struct result){.packets = sent,
			     .bytes = state->bytes[0] + state->bytes[1],
			     .quiet = state->packets[1],
			     .quiet_bytes = state->bytes[1],
			     .seconds = (double)(monotonic_ns() - start) / 1e9};
	return 0;
}

int send_live(const struct options *o, struct result *r)
{
	struct device_counters before, after;
	uint8_t frame[FRAME_MAX];
	struct generate_bpf *bpf;
	uint32_t len;
	int rc = -1;

	if (o->proto == PROTO_MIX || o->vlan) {
		fputs("generate: --proto mix and --vlan need --raw\n", stderr);
		return -1;
	}
	bpf = generate_bpf__open();
	if (!bpf)
		return -1;
	fill_settings((struct gen_settings *)&bpf->rodata->settings, o, frame, &len);
	bpf->bss->state.random = o->seed;
	bpf->bss->state.until_quiet = o->quiet_per;
	bpf->bss->state.flow = (uint32_t)(o->first % o->quiet_flows);
	bpf->bss->state.round = (uint32_t)(o->first / o->quiet_flows);
	if (generate_bpf__load(bpf)) {
		fprintf(stderr, "generate: loading its program: %s\n", strerror(errno));
		goto out;
	}
	before = device_counters(o->iface);
	rc = run(bpf, o, frame, len, r);
	after = device_counters(o->iface);
	r->refused = after.refused - before.refused;
	if (o->shared)
		r->refused = 0; /* nobody knows whose */
	else if (!rc && after.there && after.taken - before.taken + r->refused != r->packets) {
		/* Somebody else redirects into this interface, or a frame got lost before it. */
		fprintf(stderr, "generate: made %" PRIu64 " frames, %s took %" PRIu64 " and refused %" PRIu64 "\n",
			r->packets, o->iface, after.taken - before.taken, r->refused);
		rc = -1;
	}
out:
	generate_bpf__destroy(bpf);
	return rc;
}
