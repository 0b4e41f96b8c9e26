// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Hooks on real interfaces (veth in a namespace of the test's own): every way of attaching, what outlives a killed
 * process, the live upgrade, tags that hardware took, super-packets, what is left behind (nothing), and the errors.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/libbpf.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "bpf/compat.h"
#include "recorder/core/log.h"
#include "tests/bpf/kinds.h"
#include "tests/bpf/lab.h"
#include "tests/bpf/traffic.h"

#define BOTH (CAPTURE_SIDE(REC_RX) | CAPTURE_SIDE(REC_TX))

static struct lab lab;
static bool has_tcx; /* Linux 6.6; without it clsact takes its place */

static const struct way {
	const char *name, *rx, *tx;
	enum capture_hook hook;
	bool clsact, generic;
} ways[] = {
	{ "auto", "tcx", "tcx", CAPTURE_HOOK_AUTO, false, false },
	{ "xdp", "xdp native", "tcx", CAPTURE_HOOK_XDP, false, false },
	{ "generic", "xdp generic", "tcx", CAPTURE_HOOK_XDP, false, true },
	{ "clsact", "clsact", "clsact", CAPTURE_HOOK_TC, true, false },
	{ "xdp and clsact", "xdp native", "clsact", CAPTURE_HOOK_XDP, true, false },
};

static struct capture_spec spec_of(const struct way *w)
{
	return (struct capture_spec){ .iface = "r0", .sides = BOTH, .hook = w->hook, .force_clsact = w->clsact,
				      .force_generic = w->generic };
}

static const char *expected(const char *mode)
{
	return !has_tcx && !strcmp(mode, "tcx") ? "clsact" : mode;
}

static struct frame frame_of(void (*make)(struct frame *))
{
	struct frame f = frame_begin();

	make(&f);
	frame_end(&f);
	return f;
}

LAB_VETH_OF_EACH_TEST(lab)

/* A tc program of somebody else: lets everything pass, and gives it the tag 5 (in the skb's metadata) when told to. */
static int tc_program(bool tag)
{
	struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 2, .imm = htons(0x8100) },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .imm = 5 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_skb_vlan_push },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = REC_TCX_NEXT },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	unsigned skip = tag ? 0 : 3;

	return bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "somebody_tc", "GPL", code + skip, ARRAY_SIZE(code) - skip, NULL);
}

/* Frames go through a softirq: wait for the number, or until it does not move any more. */
static uint64_t settled(struct lab_capture *l, enum rec_side side, uint64_t expected)
{
	uint64_t n = 0;

	for (int i = 0; i < 200; i++) {
		n = lab_term(l, side, REC_SEEN).packets;
		if (n == expected)
			break;
		usleep(5000);
	}
	return n;
}

static struct capture *capture_of(const struct way *w, struct lab_capture *l)
{
	int r = lab_capture(l, &lab, spec_of(w));

	if (!r)
		r = capture_attach(l->c, &l->err);
	if (r)
		fail_msg("%s: %s", w->name, l->err.text);
	return l->c;
}

struct ids {
	uint32_t map[MAPS], prog[REC_SIDES];
};

static struct ids ids_of(const struct capture *c)
{
	struct ids ids = { 0 };

	for (int i = 0; i < MAPS; i++) {
		struct bpf_map_info info = { 0 };
		uint32_t size = sizeof(info);

		if (c->map[i] >= 0 && !bpf_obj_get_info_by_fd(c->map[i], &info, &size))
			ids.map[i] = info.id;
	}
	for (int side = 0; side < REC_SIDES; side++)
		ids.prog[side] = c->meta->side[side].prog_id;
	return ids;
}

/* How many of them the kernel still knows; it forgets after a grace period. */
static unsigned known(const struct ids *ids, bool patient)
{
	unsigned n = 0;

	for (int try = 0; try < (patient ? 400 : 1); try++) {
		n = 0;
		for (int i = 0; i < MAPS; i++) {
			CLEANUP_CLOSE int fd = ids->map[i] ? bpf_map_get_fd_by_id(ids->map[i]) : -1;

			n += fd >= 0;
		}
		for (int i = 0; i < REC_SIDES; i++) {
			CLEANUP_CLOSE int fd = ids->prog[i] ? bpf_prog_get_fd_by_id(ids->prog[i]) : -1;

			n += fd >= 0;
		}
		if (!n)
			break;
		usleep(10000);
	}
	return n;
}

static void every_way(void **state)
{
	struct frame f = frame_of(make_tcp4_timestamps);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		const struct way *w = &ways[i];
		struct lab_capture l;
		struct capture *c = capture_of(w, &l);
		struct ids ids = ids_of(c);

		assert_string_equal(capture_mode(c, REC_RX), expected(w->rx));
		assert_string_equal(capture_mode(c, REC_TX), expected(w->tx));
		assert_int_equal(capture_attached(c, REC_RX), 1);
		assert_int_equal(capture_attached(c, REC_TX), 1);
		assert_int_equal(traffic("r1", &f, 100), 100);
		assert_int_equal(traffic("r0", &f, 70), 70);
		assert_int_equal(settled(&l, REC_RX, 100), 100);
		assert_int_equal(settled(&l, REC_TX, 70), 70);
		assert_int_equal(lab_term(&l, REC_RX, REC_PUBLISHED).packets, 100);
		assert_int_equal(lab_term(&l, REC_RX, REC_PUBLISHED).bytes, 100 * f.len);
		assert_int_equal(lab_term(&l, REC_TX, REC_PUBLISHED).bytes, 70 * f.len);

		assert_int_equal(capture_detach(c, &l.err), 0);
		assert_int_equal(capture_attached(c, REC_RX), 0);
		traffic("r1", &f, 10); /* control: off is off */
		traffic("r0", &f, 10);
		usleep(50000);
		assert_int_equal(lab_term(&l, REC_RX, REC_SEEN).packets, 100);
		assert_int_equal(lab_term(&l, REC_TX, REC_SEEN).packets, 70);

		assert_int_equal(capture_attach(c, &l.err), 0); /* and on again */
		traffic("r1", &f, 10);
		assert_int_equal(settled(&l, REC_RX, 110), 110);
		ids.prog[0] = c->meta->side[0].prog_id;
		ids.prog[1] = c->meta->side[1].prog_id;
		assert_int_not_equal(known(&ids, false), 0);
		lab_capture_end(&l);
		assert_int_equal(known(&ids, true), 0);
		assert_int_equal(lab_sh("tc qdisc show dev r0 | grep -q clsact"), 1 << 8);
		assert_int_equal(lab_sh("test ! -e %s/xdp-recorder", lab.dir), 0);
	}
}

/* A clsact qdisc that was there stays, and so does somebody's filter. */
static void clsact_of_others(void **state)
{
	struct bpf_tc_hook hook = { .sz = sizeof(hook), .ifindex = (int)if_nametoindex("r0"), .attach_point = BPF_TC_INGRESS };
	LIBBPF_OPTS(bpf_tc_opts, opts, .priority = 7, .handle = 7, .prog_fd = tc_program(false));
	struct lab_capture l;

	(void)state;
	assert_int_equal(lab_sh("tc qdisc add dev r0 clsact"), 0);
	capture_of(&ways[3], &l);
	lab_capture_end(&l);
	assert_int_equal(lab_sh("tc qdisc show dev r0 | grep -q clsact"), 0);
	lab_sh("tc qdisc del dev r0 clsact");
	capture_of(&ways[3], &l);
	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
	lab_capture_end(&l);
	assert_int_equal(lab_sh("tc filter show dev r0 ingress | grep -q somebody_tc"), 0);
	assert_int_equal(lab_sh("tc filter show dev r0 ingress | grep -q rec_tc"), 1 << 8);
}

/* Anybody can take a clsact filter off: it is noticed, and put on again. */
static void clsact_taken_off(void **state)
{
	struct frame f = frame_of(make_udp4);
	struct lab_capture l;
	struct capture *c = capture_of(&ways[3], &l);

	(void)state;
	lab_sh("tc qdisc del dev r0 clsact");
	assert_int_equal(capture_attached(c, REC_RX), 0);
	assert_int_equal(capture_attached(c, REC_TX), 0);
	assert_int_equal(capture_attach(c, &l.err), 0);
	assert_int_equal(capture_attached(c, REC_RX), 1);
	traffic("r1", &f, 5);
	assert_int_equal(settled(&l, REC_RX, 5), 5);
	lab_capture_end(&l);
}

static unsigned records(const struct lab_capture *l, enum rec_side side)
{
	unsigned n = 0;

	for (unsigned cpu = 0; cpu < l->cpus; cpu++) {
		const struct rec_ring *r = l->ring[side][cpu];

		for (uint64_t at = 0; r && at < lab_head(r); n++)
			at += REC_RECORD_LEN(lab_record(l, r, at)->cap_len);
	}
	return n;
}

static void killed(void **state)
{
	struct frame f = frame_of(make_udp4);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		struct lab_capture l = { 0 };
		uint8_t id[16], before[16];
		int ready[2], status;
		char path[256];
		pid_t child;

		assert_int_equal(pipe(ready), 0);
		child = fork();
		if (!child) {
			struct capture_spec spec = spec_of(&ways[i]);

			if (lab_capture(&l, &lab, spec) || capture_attach(l.c, &l.err))
				_exit(1);
			if (write(ready[1], capture_id(l.c), 16) != 16)
				_exit(1);
			pause();
			_exit(0);
		}
		close(ready[1]);
		assert_int_equal(read(ready[0], before, 16), 16);
		close(ready[0]);
		kill(child, SIGKILL);
		waitpid(child, &status, 0);
		assert_true(WIFSIGNALED(status));

		assert_int_equal(traffic("r1", &f, 1000), 1000);
		capture_pin_path(path, sizeof(path), lab.dir, "lab", "r0");
		if (capture_open(&l.c, path, &l.err))
			fail_msg("%s: %s", ways[i].name, l.err.text);
		assert_int_equal(lab_map(&l), 0);
		memcpy(id, capture_id(l.c), 16);
		assert_memory_equal(id, before, 16);
		assert_string_equal(capture_mode(l.c, REC_RX), expected(ways[i].rx));
		assert_int_equal(capture_attached(l.c, REC_RX), 1);
		assert_int_equal(settled(&l, REC_RX, 1000), 1000);
		assert_int_equal(records(&l, REC_RX), 1000);
		traffic("r1", &f, 10);
		assert_int_equal(settled(&l, REC_RX, 1010), 1010);
		lab_capture_end(&l);
	}
}

#define SWAPS 5

/* Programs are swapped while frames come: none is missed, none is counted twice. */
static void upgrade(void **state)
{
	struct frame f = frame_of(make_udp4);
	struct sending {
		unsigned stop, in, out;
	} *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_true(s != MAP_FAILED);
	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		struct capture_spec spec = spec_of(&ways[i]);
		struct lab_capture l;
		uint64_t rx, tx;
		pid_t child;

		spec.ring_bytes = 16 << 20;
		assert_int_equal(lab_capture(&l, &lab, spec), 0);
		assert_int_equal(capture_attach(l.c, &l.err), 0);
		memset(s, 0, sizeof(*s));
		child = fork();
		if (!child) {
			int in = traffic_open("r1"), out = traffic_open("r0");

			while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
				s->in += traffic_send(in, &f, 20);
				s->out += traffic_send(out, &f, 20);
			}
			_exit(0);
		}
		for (unsigned n = 0; n < SWAPS; n++)
			if (capture_upgrade(l.c, NULL, &l.err))
				fail_msg("%s: %s", ways[i].name, l.err.text);
		__atomic_store_n(&s->stop, 1, __ATOMIC_RELAXED);
		waitpid(child, NULL, 0);
		rx = settled(&l, REC_RX, s->in);
		tx = settled(&l, REC_TX, s->out);
		print_message("%s: %u swaps under %u + %u frames, rx %lu tx %lu\n", ways[i].name, SWAPS, s->in, s->out, rx, tx);
		assert_true(s->in > 100);
		assert_int_equal(rx, s->in);
		assert_int_equal(tx, s->out);
		assert_int_equal(capture_attached(l.c, REC_RX), 1);
		assert_int_equal(capture_attached(l.c, REC_TX), 1);
		lab_capture_end(&l);
	}
	munmap(s, sizeof(*s));
}

/* Control: with the hooks off for a moment, the same count does miss frames. */
static void upgrade_control(void **state)
{
	struct frame f = frame_of(make_udp4);
	struct lab_capture l;
	struct capture *c = capture_of(&ways[1], &l);

	(void)state;
	traffic("r1", &f, 100);
	settled(&l, REC_RX, 100);
	capture_detach(c, NULL);
	traffic("r1", &f, 1);
	usleep(50000);
	assert_int_equal(capture_attach(c, &l.err), 0);
	traffic("r1", &f, 100);
	assert_int_equal(settled(&l, REC_RX, 200), 200); /* of 201 */
	lab_capture_end(&l);
}

static const struct rec_head *newest(const struct lab_capture *l, enum rec_side side)
{
	const struct rec_head *h = NULL;

	for (unsigned cpu = 0; cpu < l->cpus; cpu++) {
		const struct rec_ring *r = l->ring[side][cpu];

		for (uint64_t at = 0; r && at < lab_head(r);) {
			const struct rec_head *x = lab_record(l, r, at);

			if (!h || x->time > h->time)
				h = x;
			at += REC_RECORD_LEN(x->cap_len);
		}
	}
	return h;
}

/* A tag in the skb's metadata is put back: the record is that of the frame with the tag in it. */
static void vlan_taken(void **state)
{
	struct frame f = frame_of(make_tcp4_timestamps), tagged = frame_of(make_vlan_tcp4);
	int push[REC_SIDES], prog, plain;

	(void)state;
	if (!has_tcx) {
		print_message("skip: needs tcx (Linux 6.6)\n");
		skip();
	}
	prog = tc_program(true);
	plain = tc_program(false);
	/* before ours on both ways: on r1's way out, and first on r0's */
	push[REC_RX] = bpf_link_create(prog, (int)if_nametoindex("r1"), (enum bpf_attach_type)REC_BPF_TCX_EGRESS, NULL);
	push[REC_TX] = bpf_link_create(prog, (int)if_nametoindex("r0"), (enum bpf_attach_type)REC_BPF_TCX_EGRESS, NULL);
	assert_true(prog >= 0 && push[REC_RX] >= 0 && push[REC_TX] >= 0);
	memcpy(tagged.bytes, f.bytes, 12);
	memcpy(tagged.bytes + 12, "\x81\x00\x00\x05", 4);
	memcpy(tagged.bytes + 16, f.bytes + 12, f.len - 12);
	tagged.len = f.len + 4;
	for (unsigned i = 0; i < 4; i++) {
		const struct rec_head *h;
		struct lab_capture l;
		struct capture *c = capture_of(&ways[i], &l);

		for (enum rec_side side = 0; side < REC_SIDES; side++) {
			if (!capture_sees_vlan(c, side)) {
				assert_string_equal(capture_mode(c, side), "xdp generic");
				continue;
			}
			assert_int_equal(traffic(side == REC_RX ? "r1" : "r0", &f, 3), 3);
			assert_int_equal(settled(&l, side, 3), 3);
			h = newest(&l, side);
			assert_non_null(h);
			assert_int_equal(h->marks, REC_MARK_VLAN_HW);
			assert_int_equal(h->wire_len, tagged.len);
			assert_int_equal(h->cap_len, tagged.len);
			assert_memory_equal(h + 1, tagged.bytes, tagged.len);
			assert_int_equal(h->off[REC_L3], 18);
			assert_int_equal(h->off[REC_L4], 38);
			assert_int_equal(lab_term(&l, side, REC_PUBLISHED).bytes, 3 * tagged.len);
			/* control: the same frame without a tag */
			assert_int_equal(bpf_link_update(push[side], plain, NULL), 0);
			traffic(side == REC_RX ? "r1" : "r0", &f, 1);
			assert_int_equal(bpf_link_update(push[side], prog, NULL), 0);
			assert_int_equal(settled(&l, side, 4), 4);
			h = newest(&l, side);
			assert_int_equal(h->marks, 0);
			assert_int_equal(h->wire_len, f.len);
		}
		lab_capture_end(&l);
	}
	close(push[REC_RX]), close(push[REC_TX]), close(prog), close(plain);
}

/* The other end in a namespace of its own, receiving what comes on TCP port 7777. */
static pid_t receiver(const char *iface)
{
	int ready[2], go[2];
	char c = 0;
	pid_t child;

	if (pipe(ready) || pipe(go))
		return -1;
	child = fork();
	if (!child) {
		struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(7777) };
		static char sink[1 << 20];
		int s, one = 1;

		if (unshare(CLONE_NEWNET) || write(ready[1], &c, 1) != 1 || read(go[0], &c, 1) != 1)
			_exit(1);
		lab_sh("ip addr add 10.99.0.2/24 dev %s && ip link set %s up", iface, iface);
		s = socket(AF_INET, SOCK_STREAM, 0);
		setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (bind(s, (struct sockaddr *)&at, sizeof(at)) || listen(s, 1) || write(ready[1], &c, 1) != 1)
			_exit(1);
		s = accept(s, NULL, NULL);
		while (read(s, sink, sizeof(sink)) > 0)
			;
		_exit(0);
	}
	if (child < 0 || read(ready[0], &c, 1) != 1 || lab_sh("ip link set %s netns %d", iface, (int)child) ||
	    write(go[1], &c, 1) != 1 || read(ready[0], &c, 1) != 1)
		return -1;
	close(ready[0]), close(ready[1]), close(go[0]), close(go[1]);
	return child;
}

/* TCP with segmentation left to the card: what leaves are super-packets, and they say so. */
static void super_packets(void **state)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(7777), .sin_addr.s_addr = htonl(0x0a630002) };
	static char data[4 << 20];
	uint64_t gso = 0, bytes = 0, packets = 0, segments = 0;
	struct witness before, after;
	struct lab_capture l;
	struct capture_spec spec = spec_of(&ways[0]);
	pid_t child;
	int s;

	(void)state;
	child = receiver("r1");
	assert_true(child > 0);
	assert_int_equal(lab_sh("ip addr add 10.99.0.1/24 dev r0"), 0);
	spec.ring_bytes = 4 << 20;
	assert_int_equal(lab_capture(&l, &lab, spec), 0);
	assert_int_equal(capture_attach(l.c, &l.err), 0);
	assert_int_equal(witness_read("r0", &before), 0);
	s = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(s, (struct sockaddr *)&to, sizeof(to)), 0);
	for (size_t n = 0; n < sizeof(data);) {
		ssize_t r = write(s, data + n, sizeof(data) - n);

		assert_true(r > 0);
		n += (size_t)r;
	}
	close(s);
	waitpid(child, NULL, 0);
	usleep(100000);
	/* with the other namespace the pair went; the counters were read as long as it lived */
	if (witness_read("r0", &after))
		after = before;
	for (unsigned cpu = 0; cpu < l.cpus; cpu++) {
		const struct rec_ring *r = l.ring[REC_TX][cpu];

		for (uint64_t at = 0; r && at < lab_head(r);) {
			const struct rec_head *h = lab_record(&l, r, at);

			at += REC_RECORD_LEN(h->cap_len);
			bytes += h->wire_len;
			packets++;
			assert_int_equal(!!(h->marks & REC_MARK_GSO), h->gso_size != 0);
			if (!(h->marks & REC_MARK_GSO)) {
				assert_true(h->wire_len <= 1514);
				segments++;
				continue;
			}
			assert_true(h->gso_segs > 1);
			/* all its segments but the last are full */
			assert_int_equal((h->wire_len - h->cap_len + h->gso_size - 1) / h->gso_size, h->gso_segs);
			segments += h->gso_segs;
			gso++;
		}
	}
	print_message("%lu packets, %lu of them super-packets, %lu segments, %lu bytes\n", packets, gso, segments, bytes);
	assert_true(gso > 10);
	assert_true(bytes > sizeof(data));
	assert_int_equal(lab_term(&l, REC_TX, REC_SEEN).packets, packets);
	assert_int_equal(lab_term(&l, REC_TX, REC_SEEN).bytes, bytes);
	if (after.tx_packets != before.tx_packets) {
		assert_int_equal(after.tx_packets - before.tx_packets, packets);
		assert_int_equal(after.tx_bytes - before.tx_bytes, bytes);
	}
	lab_capture_end(&l);
}

/* 9,000 bytes through native XDP on veth, in fragments. */
static void jumbo(void **state)
{
	struct frame f = frame_begin();
	const struct rec_head *h;
	struct lab_capture l;

	(void)state;
	frame_eth(&f, 0x0800), frame_ip4(&f, 6, 0), frame_tcp(&f, 1, 2, 12), frame_fill(&f, 9014), frame_end(&f);
	assert_int_equal(lab_sh("ip link set r0 mtu 9000 && ip link set r1 mtu 9000"), 0);
	capture_of(&ways[1], &l);
	assert_int_equal(traffic("r1", &f, 20), 20);
	assert_int_equal(settled(&l, REC_RX, 20), 20);
	assert_int_equal(lab_term(&l, REC_RX, REC_PUBLISHED).bytes, 20 * 9014);
	h = newest(&l, REC_RX);
	assert_int_equal(h->wire_len, 9014);
	assert_int_equal(h->cap_len, 66);
	assert_memory_equal(h + 1, f.bytes, 66);
	lab_capture_end(&l);
}

static bool is_promisc(void)
{
	return lab_sh("ip link show r0 | grep -q PROMISC") == 0;
}

static void promisc(void **state)
{
	struct capture_spec spec = spec_of(&ways[0]);
	struct lab_capture l;

	(void)state;
	spec.promisc = true;
	assert_false(is_promisc());
	assert_int_equal(lab_capture(&l, &lab, spec), 0);
	assert_false(is_promisc());
	assert_int_equal(capture_attach(l.c, &l.err), 0);
	assert_true(is_promisc());
	assert_int_equal(capture_attach(l.c, &l.err), 0);
	lab_capture_end(&l);
	assert_false(is_promisc());
	lab_sh("ip link set r0 promisc on"); /* somebody else's stays */
	assert_int_equal(lab_capture(&l, &lab, spec), 0);
	assert_int_equal(capture_attach(l.c, &l.err), 0);
	lab_capture_end(&l);
	assert_true(is_promisc());
	assert_false(capture_wants_promisc("r0", BOTH));
}

static void says(const struct capture_error *err, const char *word)
{
	if (!strstr(err->text, word) || strchr(err->text, '\n'))
		fail_msg("'%s' does not say '%s'", err->text, word);
}

static void one_capture_each(void **state)
{
	struct bpf_insn code[2] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = XDP_PASS }, { .code = BPF_JMP | BPF_EXIT } };
	struct capture_spec spec = spec_of(&ways[1]);
	int ifindex = (int)if_nametoindex("r0"), prog, link;
	struct lab_capture l, other = { 0 };
	char path[256];

	(void)state;
	capture_of(&ways[1], &l);
	/* the same pins; another instance; and pins in a bpffs that does not know the first */
	assert_int_equal(lab_capture(&other, &lab, spec), -EEXIST);
	says(&other.err, "holds a capture");
	capture_pin_path(path, sizeof(path), lab.dir, "second", "r0");
	spec.pin_dir = path;
	assert_int_equal(capture_create(&other.c, &spec, &other.err), -EBUSY);
	says(&other.err, "captured already");
	says(&other.err, "/lab/r0");
	snprintf(path, sizeof(path), "%s/elsewhere", lab.dir);
	spec.hook = CAPTURE_HOOK_TC;
	assert_int_equal(capture_create(&other.c, &spec, &other.err), -EBUSY);
	says(&other.err, "captured already");
	assert_int_equal(lab_sh("test ! -e %s", path), 0);
	lab_capture_end(&l);

	/* another's XDP program */
	prog = bpf_prog_load(BPF_PROG_TYPE_XDP, "somebody", "GPL", code, 2, NULL);
	link = bpf_link_create(prog, ifindex, BPF_XDP, NULL);
	assert_true(link >= 0);
	spec.hook = CAPTURE_HOOK_XDP;
	assert_int_equal(capture_create(&other.c, &spec, &other.err), -EBUSY);
	says(&other.err, "another XDP program");
	says(&other.err, "somebody");
	says(&other.err, "--hook tc");
	spec.hook = CAPTURE_HOOK_TC;
	assert_int_equal(capture_create(&other.c, &spec, &other.err), 0);
	assert_int_equal(capture_attach(other.c, &other.err), 0);
	assert_int_equal(capture_remove(other.c, &other.err), 0);
	capture_close(other.c);
	/* it comes between create and attach */
	close(link);
	spec.hook = CAPTURE_HOOK_XDP;
	assert_int_equal(capture_create(&other.c, &spec, &other.err), 0);
	link = bpf_link_create(prog, ifindex, BPF_XDP, NULL);
	assert_true(link >= 0);
	assert_int_equal(capture_attach(other.c, &other.err), -EBUSY);
	says(&other.err, "another XDP program");
	assert_int_equal(capture_attached(other.c, REC_TX), 0); /* all or nothing */
	close(link);
	close(prog);
	assert_int_equal(capture_attach(other.c, &other.err), 0);
	assert_int_equal(capture_remove(other.c, &other.err), 0);
	capture_close(other.c);
}

static void half_made(void **state)
{
	struct capture_spec spec = spec_of(&ways[1]);
	struct capture_error err;
	struct lab_capture l;
	struct capture *c = capture_of(&ways[1], &l), *again = NULL;
	char path[256];

	(void)state;
	snprintf(path, sizeof(path), "%s", capture_pin_dir(c));
	c->meta->magic = 0; /* as if it had died before the last word */
	assert_int_equal(capture_open(&again, path, &err), -ESTALE);
	says(&err, "never finished");
	assert_null(again);
	lab_unmap(&l);
	capture_close(c);
	assert_int_equal(capture_discard(path, &err), 0);
	assert_int_equal(capture_discard(path, &err), -ENOENT);
	assert_int_equal(capture_open(&again, path, &err), -ENOENT);
	assert_int_equal(lab_sh("ip link show r0 | grep -q xdp"), 1 << 8);
	/* a half-made one in the way is replaced */
	assert_int_equal(lab_capture(&l, &lab, spec), 0);
	l.c->meta->magic = 0;
	lab_unmap(&l);
	capture_close(l.c);
	assert_int_equal(lab_capture(&l, &lab, spec), 0);
	lab_capture_end(&l);
}

/* A look finds it so, and only a good one is remembered. */
static void seen_well(struct capture *c, bool well)
{
	uint64_t before = capture_seen(c)->looked;
	struct capture_look look;

	assert_int_equal(capture_look(c, &look), 0);
	assert_true(look.there);
	assert_int_equal(look.up && look.on[REC_RX] && look.on[REC_TX], well);
	assert_int_equal(capture_seen(c)->looked == look.boot, well);
	assert_true(well || capture_seen(c)->looked == before);
	assert_true(capture_seen_until(c, REC_RX) >= before);
}

/* Whoever takes a hook off, or the link down: a look sees it, and attaching puts the same program on again. */
static void looked_at(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		struct lab_capture l;
		struct capture *c = capture_of(&ways[i], &l);
		struct capture_error err;
		uint32_t id = c->meta->side[REC_TX].prog_id;

		seen_well(c, true);
		lab_sh("ip link set r1 down");
		seen_well(c, false);
		lab_sh("ip link set r1 up");
		seen_well(c, true);
		if (c->meta->side[REC_TX].mode == MODE_CLSACT)
			lab_sh("tc qdisc del dev r0 clsact");
		else
			assert_int_equal(bpf_link_detach(c->link[REC_TX]), 0);
		seen_well(c, false);
		assert_int_equal(capture_attach(c, &err), 0);
		seen_well(c, true);
		assert_int_equal(c->meta->side[REC_TX].prog_id, id);
		lab_capture_end(&l);
	}
}

/* Pins of another layout: said by whom, and taken away on demand, clsact filters too. */
static void foreign(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		char path[256], there[300], dir[256];
		struct capture_error err = { "" };
		struct lab_capture l;
		struct capture *c = capture_of(&ways[i], &l);

		snprintf(path, sizeof(path), "%s", capture_pin_dir(c));
		assert_int_equal(capture_foreign(lab.dir, "lab", NULL, dir, sizeof(dir), &err), 0);
		c->meta->abi = 99;
		lab_unmap(&l);
		capture_close(c);
		assert_int_equal(capture_open(&c, path, &err), -ESTALE);
		says(&err, "layout 99");
		snprintf(there, sizeof(there), "%s/xdp-recorder/99/lab/r0", lab.dir);
		assert_int_equal(lab_sh("mkdir -p -m 700 %s/xdp-recorder/99 && mv %s/xdp-recorder/%u/lab %s/xdp-recorder/99/", lab.dir,
					lab.dir, REC_ABI, lab.dir), 0);
		assert_int_equal(capture_foreign(lab.dir, "lab", "r0", dir, sizeof(dir), &err), 1);
		assert_string_equal(dir, there);
		says(&err, "another layout (99");
		says(&err, "--discard");
		assert_int_equal(capture_foreign(lab.dir, "lab", "r1", dir, sizeof(dir), &err), 0);
		assert_int_equal(capture_foreign(lab.dir, "other", NULL, dir, sizeof(dir), &err), 0);
		assert_int_equal(capture_discard(there, &err), 0);
		assert_int_equal(lab_sh("bpftool net show dev r0 | grep -q rec_"), 1 << 8);
		assert_int_equal(capture_foreign(lab.dir, "lab", NULL, dir, sizeof(dir), &err), 0);
	}
}

/* The interface goes: what is in the rings can still be had, and then it can be removed. */
static void gone(void **state)
{
	struct capture_look look;
	struct frame f = frame_of(make_udp4);
	struct capture_error err;
	struct lab_capture l;
	struct capture *c = capture_of(&ways[1], &l);
	char path[256];

	(void)state;
	traffic("r1", &f, 10);
	settled(&l, REC_RX, 10);
	snprintf(path, sizeof(path), "%s", capture_pin_dir(c));
	lab_sh("ip link del r0");
	assert_int_equal(capture_attached(c, REC_RX), 0);
	assert_int_equal(capture_attached(c, REC_TX), 0);
	lab_unmap(&l);
	capture_close(c);
	assert_int_equal(capture_open(&l.c, path, &err), 0);
	assert_true(capture_gone(l.c));
	assert_int_equal(lab_map(&l), 0);
	assert_int_equal(records(&l, REC_RX), 10);
	assert_int_equal(capture_attach(l.c, &err), -ENODEV);
	says(&err, "gone");
	assert_int_equal(capture_move(l.c, &err), -ENODEV);
	assert_int_equal(capture_look(l.c, &look), 0);
	assert_false(look.there);
	/* another one of that name is another interface, until it is moved to that */
	lab_veth("r0", "r1");
	assert_int_equal(capture_attached(l.c, REC_RX), 0);
	assert_int_equal(capture_attach(l.c, &err), -ENODEV);
	assert_int_equal(capture_move(l.c, &err), 0);
	assert_false(capture_gone(l.c));
	assert_int_equal(capture_move(l.c, &err), -EALREADY);
	assert_int_equal(capture_attach(l.c, &err), 0);
	assert_int_equal(capture_ifindex(l.c), if_nametoindex("r0"));
	traffic("r1", &f, 10);
	settled(&l, REC_RX, 20);
	assert_int_equal(records(&l, REC_RX), 20);
	seen_well(l.c, true);
	lab_capture_end(&l);
	assert_int_equal(lab_sh("test ! -e %s", path), 0);
}

static void other_namespace(void **state)
{
	struct lab_capture l;
	struct capture *c = capture_of(&ways[0], &l);
	int status;
	pid_t child;

	(void)state;
	child = fork();
	if (!child) {
		struct capture *again = NULL;
		struct capture_error err;

		if (unshare(CLONE_NEWNET))
			_exit(1);
		_exit(capture_open(&again, capture_pin_dir(c), &err) != -EBUSY || !strstr(err.text, "another network namespace"));
	}
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	lab_capture_end(&l);
}

static void refused(void **state)
{
	struct capture_spec good = spec_of(&ways[0]), spec;
	struct capture *c = NULL;
	struct capture_error err;
	char path[256];
	int status;
	pid_t child;

	(void)state;
	capture_pin_path(path, sizeof(path), lab.dir, "lab", "r0");
	good.pin_dir = path;

	spec = good, spec.iface = "nothere0";
	assert_int_equal(capture_create(&c, &spec, &err), -ENODEV);
	says(&err, "nothere0");
	spec = good, spec.ring_bytes = 100000;
	assert_int_equal(capture_create(&c, &spec, &err), -EINVAL);
	says(&err, "power of two");
	spec = good, spec.pin_dir = "/tmp/recorder-not-bpffs/a";
	assert_int_equal(capture_create(&c, &spec, &err), -EINVAL);
	says(&err, "mount -t bpf");
	assert_int_equal(lab_sh("test ! -e /tmp/recorder-not-bpffs"), 0);
	spec = good, spec.ifindex = 99999;
	assert_int_equal(capture_create(&c, &spec, &err), -ENODEV);
	if (!lab_sh("ip tuntap add dev l3 mode tun 2>/dev/null")) {
		spec = good, spec.iface = "l3";
		assert_int_equal(capture_create(&c, &spec, &err), -EOPNOTSUPP);
		says(&err, "Ethernet");
		lab_sh("ip link del l3");
	}
	/* a directory that somebody else may write to */
	assert_int_equal(lab_sh("mkdir -m 755 %s/xdp-recorder", lab.dir), 0);
	assert_int_equal(capture_create(&c, &good, &err), -EACCES);
	says(&err, "0700");
	lab_sh("rmdir %s/xdp-recorder", lab.dir);

	child = fork();
	if (!child) {
		if (setuid(65534))
			_exit(1);
		_exit(capture_create(&c, &good, &err) != -EPERM || !strstr(err.text, "CAP_BPF"));
	}
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	assert_null(c);
	assert_int_equal(lab_sh("test ! -e %s/xdp-recorder", lab.dir), 0);
}

static void names_and_sizes(void **state)
{
	char path[64];

	(void)state;
	assert_int_equal(capture_pin_path(path, sizeof(path), NULL, "a.b/c", "eth0.5"), 0);
	assert_string_equal(path, "/sys/fs/bpf/xdp-recorder/6/a%2eb%2fc/eth0%2e5");
	assert_int_equal(capture_pin_path(path, 30, NULL, "instance", "eth0.5"), -ENAMETOOLONG);
	for (unsigned n = 1; n < 300; n++) {
		uint64_t each = capture_ring_default(n);

		assert_int_equal(each & (each - 1), 0);
		assert_in_range(each, REC_RING_MIN, REC_RING_MAX);
		assert_true(each * n >= 80ull << 20);
		assert_true(each * n <= 1ull << 30 || each / 2 * n < 80ull << 20);
	}
}

/* attach_test [NAME]: one test, or all */
int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, veth, no_veth)
	const struct CMUnitTest tests[] = {
		T(every_way),	 T(clsact_of_others), T(clsact_taken_off), T(killed),  T(upgrade),	   T(upgrade_control),
		T(vlan_taken),	 T(super_packets),    T(jumbo),		   T(promisc), T(one_capture_each), T(half_made),
		T(looked_at), T(foreign), T(gone),	 T(other_namespace),  T(refused),	   T(names_and_sizes),
	};
	int r = lab_begin(&lab), prog, link;

	if (r)
		return r;
	prog = tc_program(false);
	link = bpf_link_create(prog, 1, (enum bpf_attach_type)REC_BPF_TCX_INGRESS, NULL);
	has_tcx = link >= 0;
	close(link), close(prog);
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	lab_end(&lab);
	return r;
}
