// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * generate - sends frames of known content into a veth, and says exactly what it sent.
 *
 * Two ways. Live frames (the default): an XDP program makes each frame and redirects it into the interface, up to
 * ten million a second; the other end of the veth needs XDP or GRO on, or it takes none. --raw: AF_PACKET, each frame
 * with its own number 0, 1, 2 ..., for tens of thousands a second; tests/lib/check.py finds the missing and
 * the doubled ones in the database. The numbers stand in
 *
 *   TCP            the sequence number
 *   UDP over IPv4  low 16 bits the IPv4 id, the rest source port - 16384
 *   UDP over IPv6  low 20 bits the flow label, the rest source port - 16384
 *   ICMP           low 16 bits the sequence, the rest the id
 *
 * Quiet frames (--quiet-per N: every Nth) go over --quiet-flows conversations in turn: flow k comes from 10.200.0.0 +
 * k, port 20000 + k, even ones TCP, odd ones UDP; its n-th frame (from 0) has the IPv4 id n. The first half goes to the
 * flood's destination, the others to 10.201.0.0 + k. With --first N the first N of them were sent before.
 *
 * --flows N: heavy-tailed conversations instead of a flood, see generate_flows.h; live frames only.
 *
 * Last line: packets, bytes, what of them was quiet, refused by the device, seconds, packets a second. Exit
 * status 3 when the device refused frames.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/lib/generate.h"
#include "tests/lib/generate_frame.h"
#include "tests/lib/generate_run.h"

volatile sig_atomic_t ended;

static void end(int signal)
{
	(void)signal;
	ended = 1;
}

uint64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

uint64_t pace(uint64_t start, uint64_t sent, uint64_t count, uint64_t rate, uint64_t most)
{
	uint64_t left = count - sent, due;
	double tick = 0.002; /* 500 bursts a second: each call of BPF_PROG_RUN makes a page pool of its own */

	if (!rate)
		return left < most ? left : most;
	for (;;) {
		double seconds = (double)(monotonic_ns() - start) / 1e9;
		uint64_t target = (uint64_t)((seconds + tick) * (double)rate);

		due = target > sent ? target - sent : 0;
		if (due > left)
			due = left;
		if (due || ended)
			return due < most ? due : most;
		nanosleep(&(struct timespec){.tv_nsec = (long)(tick * 5e8)}, NULL);
	}
}

static void usage(void)
{
	fputs("usage: generate --iface IF [--raw] [--count N] [--rate N] [--size BYTES] [--sources "
	      "one|N|random|random6] [--targets one|N|random]\n"
	      "                [--proto udp|tcp-syn|tcp|icmp|fragment|mix] [--quiet-per N] [--quiet-flows N] [--flows "
	      "N] [--vlan ID]\n"
	      "                [--from ADDRESS] [--to ADDRESS] [--from-mac MAC] [--to-mac MAC] [--first N] [--seed N] "
	      "[--cpu N] [--shared]\n"
	      "defaults: --count 1000 --rate 0 (as fast as possible) --size 60 (without FCS) --sources one --proto "
	      "udp\n"
	      "          --quiet-flows 200 --from 203.0.113.7 --to 198.18.0.1; mix (of --raw): TCP, UDP, ICMP over "
	      "IPv4, TCP, UDP over IPv6\n",
	      stderr);
}

static uint64_t number(const char *name, const char *text, uint64_t low, uint64_t high)
{
	char *tail;
	uint64_t v;

	errno = 0;
	v = strtoull(text, &tail, 0);
	if (errno || *tail || tail == text || *text == '-' || v < low || v > high) {
		fprintf(stderr, "generate: --%s '%s': a number from %" PRIu64 " to %" PRIu64 " is needed\n", name, text,
			low, high);
		exit(2);
	}
	return v;
}

static void wrong(const char *name, const char *text)
{
	fprintf(stderr, "generate: --%s '%s' is not possible\n", name, text);
	usage();
	exit(2);
}

static void parse_ends(const char *name, uint32_t *mode, uint32_t *many, const char *text)
{
	if (!strcmp(text, "one")) {
		*mode = GEN_ONE;
	} else if (!strcmp(text, "random")) {
		*mode = GEN_RANDOM;
	} else if (!strcmp(text, "random6") && !strcmp(name, "sources")) {
		*mode = GEN_RANDOM6;
	} else {
		*mode = GEN_MANY;
		*many = (uint32_t)number(name, text, 1, 1u << 24);
	}
}

static void parse_proto(struct options *o, const char *text)
{
	static const char *const names[] = {"udp", "tcp-syn", "tcp", "icmp", "fragment", "mix"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (!strcmp(names[i], text)) {
			o->proto = (enum gen_proto)i;
			return;
		}
	}
	wrong("proto", text);
}

static void parse_mac(uint8_t mac[6], const char *name, const char *text)
{
	char tail;

	if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx%c", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5, &tail) !=
	    6)
		wrong(name, text);
}

static int parse(struct options *o, int argc, char **argv)
{
	static const struct option table[] = {
		{"iface", 1, 0, 'i'},
		{"raw", 0, 0, 'r'},
		{"count", 1, 0, 'c'},
		{"rate", 1, 0, 'R'},
		{"size", 1, 0, 's'},
		{"sources", 1, 0, 'S'},
		{"targets", 1, 0, 'd'},
		{"proto", 1, 0, 'p'},
		{"quiet-per", 1, 0, 'q'},
		{"quiet-flows", 1, 0, 'Q'},
		{"flows", 1, 0, 'l'},
		{"vlan", 1, 0, 'v'},
		{"from", 1, 0, 'f'},
		{"to", 1, 0, 't'},
		{"from-mac", 1, 0, 'F'},
		{"to-mac", 1, 0, 'T'},
		{"first", 1, 0, 'n'},
		{"seed", 1, 0, 'e'},
		{"cpu", 1, 0, 'C'},
		{"shared", 0, 0, 'x'},
		{"help", 0, 0, 'h'},
		{0},
	};
	int raw = 0, c;

	while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
		switch (c) {
		case 'i':
			o->iface = optarg;
			break;
		case 'r':
			raw = 1;
			break;
		case 'c':
			o->count = number("count", optarg, 1, UINT64_MAX / 2);
			break;
		case 'R':
			o->rate = number("rate", optarg, 0, 1000000000);
			break;
		case 's':
			o->size = (uint32_t)number("size", optarg, FRAME_MIN, FRAME_MAX);
			break;
		case 'S':
			parse_ends("sources", &o->sources_mode, &o->sources, optarg);
			break;
		case 'd':
			parse_ends("targets", &o->targets_mode, &o->targets, optarg);
			break;
		case 'p':
			parse_proto(o, optarg);
			break;
		case 'q':
			o->quiet_per = (uint32_t)number("quiet-per", optarg, 0, UINT32_MAX);
			break;
		case 'Q':
			o->quiet_flows = (uint32_t)number("quiet-flows", optarg, 1, 40000);
			break;
		case 'l':
			o->flows = (uint32_t)number("flows", optarg, 1, GEN_FLOWS);
			break;
		case 'v':
			o->vlan = (uint16_t)number("vlan", optarg, 0, 4095);
			break;
		case 'f':
			if (inet_pton(AF_INET, optarg, o->from) != 1)
				wrong("from", optarg);
			break;
		case 't':
			if (inet_pton(AF_INET, optarg, o->to) != 1)
				wrong("to", optarg);
			break;
		case 'F':
			parse_mac(o->smac, "from-mac", optarg);
			break;
		case 'T':
			parse_mac(o->dmac, "to-mac", optarg);
			break;
		case 'n':
			o->first = number("first", optarg, 0, 0x3fffffff);
			break;
		case 'e':
			o->seed = number("seed", optarg, 0, UINT64_MAX);
			break;
		case 'C':
			o->cpu = (int)number("cpu", optarg, 0, CPU_SETSIZE - 1);
			break;
		case 'x':
			o->shared = 1;
			break;
		default:
			usage();
			exit(c == 'h' ? 0 : 2);
		}
	}
	if (optind < argc || !o->iface) {
		usage();
		exit(2);
	}
	if (o->flows && o->size < GEN_FLOW_HEADERS)
		o->size = GEN_FLOW_HEADERS;
	o->ifindex = if_nametoindex(o->iface);
	if (!o->ifindex)
		wrong("iface", o->iface);
	return raw;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fprintf(stderr, "generate: CPU %d: %s, running anywhere\n", cpu, strerror(errno));
}

int main(int argc, char **argv)
{
	struct options o = {.count = 1000,
			    .size = FRAME_MIN,
			    .quiet_flows = 200,
			    .seed = 1,
			    .cpu = -1,
			    .smac = {2, 0, 0, 0, 0, 1},
			    .dmac = {2, 0, 0, 0, 0, 2},
			    .from = {203, 0, 113, 7},
			    .to = {198, 18, 0, 1}};
	struct sigaction act = {.sa_handler = end};
	struct result r = {0};
	int raw = parse(&o, argc, argv);

	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	if (o.cpu >= 0)
		pin(o.cpu);
	if (raw ? send_raw(&o, &r) : send_live(&o, &r))
		return 1;
	printf("packets %" PRIu64 " bytes %" PRIu64 " quiet %" PRIu64 " quiet_bytes %" PRIu64 " refused %" PRIu64
	       " seconds %.3f rate %.0f\n",
	       r.packets, r.bytes, r.quiet, r.quiet_bytes, r.refused, r.seconds, (double)r.packets / r.seconds);
	return r.refused ? 3 : 0;
}
