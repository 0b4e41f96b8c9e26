// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * block.c - what the block list costs: ns a packet of the real program with 0, 1, 100 and 100,000 entries, for a packet whose ends are far
 * from all entries, for one beside an entry (whose address is looked up in vain), for one that is dropped and recorded, and for one that is
 * dropped and only counted. Beside it the same look-ups in a trie
 * (BPF_MAP_TYPE_LPM_TRIE) and in a hash, each by a tiny program, for random addresses: what the list could have been made of.
 *
 *   bench_block [ROUNDS]       the last line: ns more for a packet beside an entry, at 100,000 of them, than without any
 *
 * Entries are of the lengths that public lists have: a half hosts, the rest of 8 to 31 bits, most of them 24. Median of the rounds.
 */
#include <linux/pkt_cls.h>

#include "recorder/capture/block.h"
#include "tests/bpf/kinds.h"
#include "tests/bpf/lab.h"

#define ROUNDS 31
#define REPEAT 2000
#define LOOKUPS 20000
#define RING (8u << 20)

static struct lab_capture l;
static struct block_maps maps;
static struct block_list list;
static uint64_t state = 88172645463325252ull;

static uint32_t dice(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16);
}

static void die(const char *what, long err)
{
	fprintf(stderr, "%s: %s\n", what, strerror((int)(err < 0 ? -err : err)));
	exit(1);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

static double run(int prog, const struct frame *f, unsigned repeat)
{
	long ns = lab_run(prog, f->bytes, f->len, repeat, NULL);

	if (ns < 0)
		die("BPF_PROG_RUN", ns);
	return (double)ns;
}

/* `count` entries outside of 10.0.0.0/8, which the frames come from. */
static void fill(size_t count)
{
	list.count = 0;
	while (list.count < count) {
		struct block_entry e = { .version = 4, .length = 32, .by = BLOCK_EITHER };
		uint32_t kind = dice() % 100, address = dice();

		if (kind >= 50)
			e.length = (uint8_t)(kind < 80 ? 24 : kind < 99 ? 17 + dice() % 15 : 12 + dice() % 5);
		address &= ~0u << (32 - e.length);
		if (address >> 24 == 10 || (e.length < 8))
			continue;
		put_be32(e.address, address);
		if (block_list_append(&list, &e))
			die("memory", ENOMEM);
		if (list.count == count)
			block_list_sort(&list);
	}
	if (block_maps_add(&maps, &list, &l.err) || block_maps_trim(&maps, &list, NULL, NULL, &l.err))
		die(l.err.text, EINVAL);
}

/* ---- tiny programs ---------------------------------------------------------------------------------------------------- */

#define INSN(c, d, s, o, i) (struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) }

/*
 * A random IPv4 address, and unless map < 0 its look-up: of the trie {32, address}, of the hash ::ffff:address with the mask
 * of a host. `in_hash` says which.
 */
static int lookup(int map, bool in_hash)
{
	struct bpf_insn c[32];
	unsigned n = 0;
	int key = in_hash ? -20 : -8;

	c[n++] = INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_get_prandom_u32);
	if (map >= 0) {
		if (in_hash) {
			c[n++] = INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, -20, 0);
			c[n++] = INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, -16, 0);
			c[n++] = INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, -12, (int)0xffff0000);
			c[n++] = INSN(BPF_STX | BPF_MEM | BPF_W, 10, 0, -8, 0);
			c[n++] = INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, -4, 1);
		} else {
			c[n++] = INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, -8, 32);
			c[n++] = INSN(BPF_STX | BPF_MEM | BPF_W, 10, 0, -4, 0);
		}
		c[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0);
		c[n++] = INSN(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, key);
		c[n++] = INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, map);
		c[n++] = INSN(0, 0, 0, 0, 0);
		c[n++] = INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem);
	}
	c[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_PASS);
	c[n++] = INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	n = (unsigned)bpf_prog_load(BPF_PROG_TYPE_XDP, "lookup", "GPL", c, n, NULL);
	if ((int)n < 0)
		die("a tiny program", (int)n);
	return (int)n;
}

static int trie_of_list(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC);
	int fd = bpf_map_create(BPF_MAP_TYPE_LPM_TRIE, "trie", 8, 4, REC_BLOCK_ENTRIES, &opts);

	if (fd < 0)
		die("a trie", fd);
	for (size_t i = 0; i < list.count; i++) {
		struct {
			uint32_t length;
			uint8_t address[4];
		} key = { list.entries[i].length, { 0 } };
		uint32_t one = 1;

		memcpy(key.address, list.entries[i].address, 4);
		if (bpf_map_update_elem(fd, &key, &one, BPF_ANY))
			die("an entry of the trie", errno);
	}
	return fd;
}

/* ---- figures ---------------------------------------------------------------------------------------------------------- */

struct figures {
	double far, beside, stored, counted, trie, hash;
};

static struct figures measure(int prog, unsigned rounds)
{
	struct frame miss = kind_frame(&kinds_all[0]), hit = miss, beside = miss;
	double v[6][ROUNDS];
	int trie = trie_of_list(), nothing = lookup(-1, false), in_trie = lookup(trie, false), in_hash = lookup(maps.entries, true);

	for (size_t i = list.count / 2; i < list.count; i++)
		if (list.entries[i].length == 32 || list.count < 100) {
			memcpy(hit.bytes + 26, list.entries[i].address, 4);
			memcpy(beside.bytes + 26, list.entries[i].address, 4);
			beside.bytes[29] ^= 1;
			beside.bytes[28] ^= list.entries[i].length < 32;
			break;
		}
	for (unsigned r = 0; r < rounds; r++) {
		double base;

		lab_drain(&l);
		v[0][r] = run(prog, &miss, REPEAT);
		lab_drain(&l);
		v[5][r] = run(prog, &beside, REPEAT);
		lab_drain(&l);
		v[1][r] = run(prog, &hit, REPEAT);
		/* past five eighths of the ring, in records of 80 bytes */
		for (unsigned i = 0; list.count && i < RING / 16 * 11 / 80 / REPEAT; i++)
			run(prog, &hit, REPEAT);
		v[2][r] = list.count ? run(prog, &hit, REPEAT) : 0;
		base = run(nothing, &miss, LOOKUPS);
		v[3][r] = run(in_trie, &miss, LOOKUPS) - base;
		v[4][r] = run(in_hash, &miss, LOOKUPS) - base;
	}
	close(trie);
	close(nothing);
	close(in_trie);
	close(in_hash);
	return (struct figures){ median(v[0], rounds), median(v[5], rounds), median(v[1], rounds), median(v[2], rounds), median(v[3], rounds),
				 median(v[4], rounds) };
}

int main(int argc, char **argv)
{
	static const size_t counts[] = { 0, 1, 100, 100000 };
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : ROUNDS;
	struct capture_spec spec = { .iface = "r0", .sides = CAPTURE_SIDE(REC_RX), .hook = CAPTURE_HOOK_XDP, .ring_bytes = RING };
	struct figures f[ARRAY_SIZE(counts)];
	struct lab lab;
	int r = lab_begin(&lab), prog;

	if (r)
		return r;
	if (!rounds || rounds > ROUNDS) {
		fprintf(stderr, "usage: bench_block [ROUNDS], at most %u\n", ROUNDS);
		return 2;
	}
	lab_pin_cpu((unsigned)sched_getcpu());
	lab_veth("r0", "r1");
	if (lab_capture(&l, &lab, spec) || block_maps_of(&maps, l.c, &l.err))
		die(l.err.text, EINVAL);
	prog = lab_program(&l, REC_RX, MODE_XDP);
	if (prog < 0)
		die(l.err.text, prog);
	for (unsigned i = 0; i < 2 * RING / 80 / REPEAT; i++) { /* every page of the ring has been written */
		struct frame warm = kind_frame(&kinds_all[0]);

		run(prog, &warm, REPEAT);
		lab_drain(&l);
	}
	printf("%8s %10s %10s %10s %10s   a look-up of a random address: %8s %8s\n", "entries", "far", "beside", "recorded", "counted",
	       "trie", "hash");
	for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
		fill(counts[i]);
		f[i] = measure(prog, rounds);
		printf("%8zu %10.0f %10.0f %10.0f %10.0f   %31s %8.0f %8.0f\n", counts[i], f[i].far, f[i].beside, f[i].stored, f[i].counted, "", f[i].trie,
		       f[i].hash);
	}
	printf("block %.0f ns\n", f[3].beside - f[0].beside);
	block_maps_close(&maps);
	lab_capture_end(&l);
	lab_end(&lab);
	return 0;
}
