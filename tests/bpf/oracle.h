/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * oracle.h - libpcap by itself, beside headers of the kernel and libbpf: pcap.h's struct bpf_insn gets another name here.
 * What the tests of the capture filter compare with.
 */
#ifndef XDP_RECORDER_TESTS_ORACLE_H
#define XDP_RECORDER_TESTS_ORACLE_H

#define bpf_insn oracle_insn
#include <pcap/pcap.h>
#undef bpf_insn

/* 0, or -1 with libpcap's text to stderr. */
static inline int oracle_compile(struct bpf_program *out, const char *expression)
{
	pcap_t *dead = pcap_open_dead(DLT_EN10MB, 65535);
	int r = dead ? pcap_compile(dead, out, expression, 1, PCAP_NETMASK_UNKNOWN) : -1;

	if (r)
		fprintf(stderr, "'%s': %s\n", expression, dead ? pcap_geterr(dead) : "no memory");
	if (dead)
		pcap_close(dead);
	return r;
}

static inline int oracle_keeps(const struct bpf_program *program, const unsigned char *bytes, unsigned have, unsigned wire)
{
	struct pcap_pkthdr header = { .caplen = have < 256 ? have : 256, .len = wire };

	return pcap_offline_filter(program, &header, bytes) != 0;
}

#endif
