// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * empty.c - an XDP program that only drops, on an interface until it is ended: what the wire and the generator can do at most.
 *
 *   bench_empty IF          in native mode; says `ready`, ends with SIGTERM or SIGINT
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_DROP },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	unsigned index = argc == 2 ? if_nametoindex(argv[1]) : 0;
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	LIBBPF_OPTS(bpf_prog_load_opts, load, .prog_flags = BPF_F_XDP_HAS_FRAGS);
	sigset_t end;
	int signal, prog;

	if (!index) {
		fputs("usage: bench_empty IF, the name of an interface\n", stderr);
		return 2;
	}
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	sigaddset(&end, SIGINT);
	sigprocmask(SIG_BLOCK, &end, NULL);
	prog = bpf_prog_load(BPF_PROG_TYPE_XDP, "empty", "GPL", code, sizeof(code) / sizeof(*code), &load);
	if (prog < 0 || bpf_link_create(prog, (int)index, BPF_XDP, &opts) < 0) {
		fprintf(stderr, "bench_empty: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	puts("ready");
	fflush(stdout);
	return sigwait(&end, &signal) != 0;
}
