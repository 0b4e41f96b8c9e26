/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/cli/probe.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "recorder/core/util.h"

/* Newer than Debian 12's headers (enum bpf_attach_type). */
#define ATTACH_TCX_EGRESS 47
#define NO_SUCH_INDEX 0x7ffffff0

/* "r0 = value; exit": XDP_PASS is 2, TC_ACT_UNSPEC -1. */
static int load(enum bpf_prog_type type, int value, unsigned flags)
{
	struct bpf_insn program[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = value},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, options, .prog_flags = flags);
	int fd = bpf_prog_load(type, "probe", "GPL", program, ARRAY_SIZE(program), &options);

	return fd < 0 ? -errno : fd;
}

static int loads(enum bpf_prog_type type, int value, unsigned flags)
{
	int fd = load(type, value, flags);

	if (fd >= 0)
		close(fd);
	return fd >= 0 ? 1 : fd == -EPERM ? -EPERM : 0;
}

static int has_helper(enum bpf_prog_type type, enum bpf_func_id helper)
{
	return libbpf_probe_bpf_helper(type, helper, NULL);
}

/* A kernel that knows tcx misses the interface; an older one does not understand the question. */
static int probe_tcx(void)
{
	CLEANUP_CLOSE int program = load(BPF_PROG_TYPE_SCHED_CLS, -1, 0);
	int link;

	if (program < 0)
		return program;
	link = bpf_link_create(program, NO_SUCH_INDEX, (enum bpf_attach_type)ATTACH_TCX_EGRESS, NULL);
	if (link >= 0)
		close(link);
	return link >= 0 || errno == ENODEV;
}

static int probe_vlan(void)
{
	struct btf *btf = btf__load_vmlinux_btf();
	int id;

	if (!btf)
		return 0;
	id = btf__find_by_name_kind(btf, "bpf_xdp_metadata_rx_vlan_tag", BTF_KIND_FUNC);
	btf__free(btf);
	return id > 0;
}

static int probe_mmap(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
	CLEANUP_CLOSE int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "probe", 4, 4096, 1, &options);
	void *mapped;

	if (fd < 0)
		return errno == EPERM ? -EPERM : 0;
	mapped = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		return 0;
	munmap(mapped, 4096);
	return libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, NULL);
}

int probe(enum probe what)
{
	int there;

	switch (what) {
	case PROBE_XDP:
		there = loads(BPF_PROG_TYPE_XDP, 2, 0);
		return there == 1 ? has_helper(BPF_PROG_TYPE_XDP, BPF_FUNC_xdp_load_bytes) : there;
	case PROBE_FRAGS:
		return loads(BPF_PROG_TYPE_XDP, 2, BPF_F_XDP_HAS_FRAGS);
	case PROBE_TC:
		return loads(BPF_PROG_TYPE_SCHED_CLS, -1, 0);
	case PROBE_TIME:
		there = has_helper(BPF_PROG_TYPE_XDP, BPF_FUNC_ktime_get_boot_ns);
		return there == 1 ? has_helper(BPF_PROG_TYPE_XDP, BPF_FUNC_ktime_get_tai_ns) : there;
	case PROBE_MMAP:
		return probe_mmap();
	case PROBE_TCX:
		return probe_tcx();
	case PROBE_VLAN:
		return probe_vlan();
	case PROBE_MEMCG:
		return has_helper(BPF_PROG_TYPE_SOCKET_FILTER, BPF_FUNC_ktime_get_coarse_ns);
	case PROBE_MEMBARRIER:
		there = (int)syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
		return there < 0 ? -errno : (there & MEMBARRIER_CMD_GLOBAL) != 0;
	case PROBES:
		break;
	}
	return -EINVAL;
}
