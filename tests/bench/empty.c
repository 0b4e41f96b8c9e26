// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * empty.c - an XDP program that only drops, on an interface until it is ended: what the wire and the generator can do at most.
 *
 *   bench_empty IF          in native mode; says `ready`, ends with SIGTERM or SIGINT
 *   bench_empty IF pass     the same, but passes
 *   bench_empty IF touch    drops, and has looked at 8 bytes of the packet: what it costs to read a packet at all
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	const char *how = argc == 3 ? argv[2] : "";
	const int verdict = !strcmp(how, "pass") ? XDP_PASS : XDP_DROP;
	const struct bpf_insn empty[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = verdict },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	const struct bpf_insn touch[] = {
		{ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 1, .off = offsetof(struct xdp_md, data) },
		{ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 3, .src_reg = 1, .off = offsetof(struct xdp_md, data_end) },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 4, .src_reg = 2 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 4, .imm = 34 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = XDP_DROP },
		{ .code = BPF_JMP | BPF_JGT | BPF_X, .dst_reg = 4, .src_reg = 3, .off = 2 },
		{ .code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = 5, .src_reg = 2, .off = 26 },
		{ .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = 5, .off = 1, .imm = 0 }, /* has to wait for it */
		{ .code = BPF_JMP | BPF_EXIT },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	const struct bpf_insn *code = !strcmp(how, "touch") ? touch : empty;
	const size_t words = code == touch ? sizeof(touch) / sizeof(*touch) : sizeof(empty) / sizeof(*empty);
	unsigned index = argc == 2 || (argc == 3 && (verdict == XDP_PASS || code == touch)) ? if_nametoindex(argv[1]) : 0;
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	LIBBPF_OPTS(bpf_prog_load_opts, load, .prog_flags = BPF_F_XDP_HAS_FRAGS);
	sigset_t end;
	int signal, prog;

	if (!index) {
		fputs("usage: bench_empty IF [pass|touch], IF the name of an interface\n", stderr);
		return 2;
	}
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigaddset(&end, SIGINT);
	sigprocmask(SIG_BLOCK, &end, NULL);
	prog = bpf_prog_load(BPF_PROG_TYPE_XDP, "empty", "GPL", code, words, &load);
	if (prog < 0 || bpf_link_create(prog, (int)index, BPF_XDP, &opts) < 0) {
		fprintf(stderr, "bench_empty: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	puts("ready");
	fflush(stdout);
	return sigwait(&end, &signal) != 0;
}
