// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * AF_PACKET: frame s carries the number s where generate.c says.
 */
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/generate_frame.h"
#include "tests/lib/generate_run.h"

#define BURST 64u

static void fill(struct frame_spec *s, const struct options *o, uint64_t number)
{
	static const enum gen_proto mix[] = {PROTO_TCP, PROTO_UDP, PROTO_ICMP, PROTO_TCP, PROTO_UDP};
	uint32_t kind = (uint32_t)(number % 5), n = (uint32_t)number;
	enum gen_proto proto = o->proto == PROTO_MIX ? mix[kind] : o->proto;

	*s = (struct frame_spec){.family = o->proto == PROTO_MIX && kind > 2 ? 6 : 4,
				 .vlan = o->vlan,
				 .len = o->size,
				 .ipid = (uint16_t)n};
	memcpy(s->smac, o->smac, 6);
	memcpy(s->dmac, o->dmac, 6);
	if (s->family == 6) {
		memcpy(s->src, (uint8_t[16]){0x20, 0x01, 0x0d, 0xb8, [15] = 7}, 16);
		memcpy(s->dst, (uint8_t[16]){0x20, 0x01, 0x0d, 0xb8, [7] = 1, [15] = 1}, 16);
	} else {
		memcpy(s->src, o->from, 4);
		memcpy(s->dst, o->to, 4);
		s->src[3] = (uint8_t)(s->src[3] + n % 16); /* a few hosts */
	}
	switch (proto) {
	case PROTO_UDP:
		s->proto = IPPROTO_UDP;
		s->sport = (uint16_t)(16384 + (s->family == 6 ? n >> 20 : n >> 16));
		s->dport = 9;
		s->flow = n & 0xfffff;
		break;
	case PROTO_ICMP:
		s->proto = IPPROTO_ICMP;
		s->sport = (uint16_t)(n >> 16);
		s->dport = (uint16_t)n;
		break;
	default:
		s->proto = IPPROTO_TCP;
		s->sport = (uint16_t)(30000 + n % 100);
		s->dport = 443;
		s->seq = n;
		s->ack = 1;
		s->tsval = n | 0x80000000;
		s->flags = o->proto == PROTO_TCP_SYN ? 0x02 : 0x18;
		break;
	}
}

int send_raw(const struct options *o, struct result *r)
{
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)o->ifindex, .sll_halen = 6};
	static uint8_t frames[BURST][FRAME_MAX];
	struct mmsghdr messages[BURST] = {0};
	struct iovec parts[BURST];
	uint64_t start, sent = 0;
	int fd;

	if (o->proto == PROTO_FRAGMENT || o->quiet_per) {
		fputs("generate: --raw has no fragments and no quiet frames\n", stderr);
		return -1;
	}
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: it receives nothing */
	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to))) {
		fprintf(stderr, "generate: AF_PACKET socket on %s: %s\n", o->iface, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	start = monotonic_ns();
	while (sent < o->count && !ended) {
		unsigned due = (unsigned)pace(start, sent, o->count, o->rate, BURST);
		struct frame_layout at;
		struct frame_spec spec;
		int n;

		for (unsigned i = 0; i < due; i++) {
			fill(&spec, o, o->first + sent + i);
			parts[i] = (struct iovec){frames[i], frame_build(frames[i], &spec, &at)};
			messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
		}
		n = due ? sendmmsg(fd, messages, due, 0) : 0;
		/* ENETDOWN: not sent, and will be when the interface is up again. */
		if (n < 0 && errno != ENOBUFS && errno != EINTR && errno != EAGAIN && errno != ENETDOWN) {
			fprintf(stderr, "generate: sending on %s: %s\n", o->iface, strerror(errno));
			close(fd);
			return -1;
		}
		for (int i = 0; i < n; i++)
			r->bytes += messages[i].msg_len;
		sent += n > 0 ? (unsigned)n : 0;
	}
	r->packets = sent;
	r->seconds = (double)(monotonic_ns() - start) / 1e9;
	close(fd);
	return 0;
}
