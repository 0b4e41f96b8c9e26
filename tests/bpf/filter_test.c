// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The capture filter decides as libpcap: every expression of expressions.h on every Ethernet packet of the captures, one by
 * one, through the recorder's own XDP and tc programs (BPF_PROG_RUN), and natively. Programs at random against
 * pcap_offline_filter as well. What is refused, and with which words. That a wrong decision would be found.
 *
 *   filter_test [all]     all: every packet for every expression and both programs; else a sample of the packets
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "recorder/capture/filter_internal.h"
#include "tests/bpf/expressions.h"
#include "tests/bpf/lab.h"
#include "tests/bpf/oracle.h"
#include "tests/bpf/pcaps.h"

#define SAMPLE 700u   /* packets for each expression and program, of those that the captures have */
#define LONGEST 3000u  /* bytes of a packet; longer ones are cut, their first 256 are what matters */
#define SHORTEST 14u   /* BPF_PROG_RUN refuses shorter ones */
#define PROGRAMS 300u  /* at random */
#define ON_EACH 300u   /* packets */

struct packet {
	uint32_t len;
	uint8_t bytes[REC_CAP_MAX]; /* zeros follow, up to len */
};

static struct lab lab;
static struct lab_capture l;
static struct packet *packets;
static unsigned npackets, room, stride = 1;
static uint64_t state = 88172645463325252ull;

static uint32_t dice(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16) % below;
}

static void keep(const uint8_t *bytes, uint32_t captured, uint32_t wire, void *arg)
{
	struct packet *p;

	(void)wire;
	(void)arg;
	if (captured < SHORTEST)
		return;
	if (npackets == room) {
		room = room ? 2 * room : 65536;
		packets = realloc(packets, room * sizeof(*packets));
		assert_non_null(packets);
	}
	p = &packets[npackets++];
	memset(p, 0, sizeof(*p));
	p->len = captured < LONGEST ? captured : LONGEST;
	memcpy(p->bytes, bytes, p->len < REC_CAP_MAX ? p->len : REC_CAP_MAX);
}

/* Frames at random where there are no captures: short, long, with bytes that steer. */
static void make_packets(unsigned n)
{
	static const uint8_t types[][2] = { { 8, 0 }, { 0x86, 0xdd }, { 0x81, 0 }, { 8, 6 }, { 0x88, 0x47 }, { 0x88, 0x64 }, { 0, 50 } };

	while (n--) {
		uint8_t bytes[REC_CAP_MAX];
		unsigned least; /* BPF_PROG_RUN refuses IP packets without a whole header */

		for (unsigned i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)dice(dice(2) ? 256 : 8);
		memcpy(bytes + 12, types[dice(ARRAY_SIZE(types))], 2);
		bytes[14] = 0x40 | (uint8_t)dice(16);
		bytes[23] = dice(2) ? 6 : 17;
		least = bytes[12] == 8 && !bytes[13] ? 34 : bytes[12] == 0x86 ? 54 : SHORTEST + 1;
		keep(bytes, least + dice(sizeof(bytes) - least + 1), 0, NULL);
	}
}

static bool kept(int prog, const struct packet *p)
{
	static uint8_t frame[LONGEST];
	struct rec_count before, after, rejected;

	memcpy(frame, p->bytes, sizeof(p->bytes));
	lab_drain(&l);
	before = lab_term(&l, REC_RX, REC_PUBLISHED);
	rejected = lab_term(&l, REC_RX, REC_FILTERED_EXPR);
	long ran = lab_run(prog, frame, p->len, 1, NULL);

	if (ran < 0)
		fail_msg("BPF_PROG_RUN of %u bytes, type %02x%02x: %s", p->len, frame[12], frame[13], strerror((int)-ran));
	after = lab_term(&l, REC_RX, REC_PUBLISHED);
	/* exactly one of the two terms took it, with its bytes */
	assert_int_equal(after.packets + lab_term(&l, REC_RX, REC_FILTERED_EXPR).packets, before.packets + rejected.packets + 1);
	assert_int_equal(after.bytes + lab_term(&l, REC_RX, REC_FILTERED_EXPR).bytes, before.bytes + rejected.bytes + p->len);
	return after.packets != before.packets;
}

static int load(const struct filter *filter, enum mode mode)
{
	int prog;

	l.c->filter = filter;
	prog = lab_program(&l, REC_RX, mode);
	if (prog < 0)
		fail_msg("%s: %s", filter_text(filter), l.err.text);
	return prog;
}

struct tally {
	unsigned long compared, kept, differ;
};

/* One filter on every step'th packet, `first` being the first. */
static void compare(const struct filter *f, const struct bpf_program *oracle, enum mode mode, unsigned first, unsigned step,
		    struct tally *t)
{
	int prog = load(f, mode);

	for (unsigned i = first; i < npackets; i += step) {
		const struct packet *p = &packets[i];
		bool wanted = oracle_keeps(oracle, p->bytes, p->len, p->len);

		t->compared++;
		t->kept += wanted;
		t->differ += kept(prog, p) != wanted;
	}
	close(prog);
}

static void as_libpcap(void **unused)
{
	struct tally all = { 0 };
	unsigned some = 0, native = 0;

	(void)unused;
	for (unsigned i = 0; i < EXPRESSIONS; i++) {
		struct tally t = { 0 };
		struct filter_error error;
		struct bpf_program oracle;
		struct filter *f;

		if (filter_compile(&f, expressions[i], &error))
			fail_msg("%s", error.text);
		assert_int_equal(oracle_compile(&oracle, expressions[i]), 0);
		compare(f, &oracle, MODE_XDP, i % stride, stride, &t);
		compare(f, &oracle, MODE_TCX, i % stride, stride, &t);
		for (unsigned p = 0; p < npackets; p++)
			native += filter_match(f, packets[p].bytes, packets[p].len, packets[p].len) !=
				  oracle_keeps(&oracle, packets[p].bytes, packets[p].len, packets[p].len);
		if (t.differ)
			print_message("%s: %lu of %lu differ\n", expressions[i], t.differ, t.compared);
		all.compared += t.compared;
		all.kept += t.kept;
		all.differ += t.differ;
		some += t.kept && t.kept < t.compared;
		pcap_freecode(&oracle);
		filter_free(f);
	}
	print_message("%zu expressions, %u packets: %lu decisions (%lu kept) compared, %lu differ; native: %u differ of %zu; "
		      "%u expressions keep some and reject some\n", EXPRESSIONS, npackets, all.compared, all.kept, all.differ, native,
		      EXPRESSIONS * npackets, some);
	assert_int_equal(all.differ, 0);
	assert_int_equal(native, 0);
	assert_true(some >= 50);
}

/* ---- programs at random ---------------------------------------------------------------------------------------- */

static uint32_t small(void)
{
	return dice(3) ? dice(64) : dice(2) ? dice(REC_CAP_MAX) : dice(UINT32_MAX);
}

static struct filter_insn any_insn(unsigned left)
{
	static const uint16_t ops[] = { 0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x80, 0x90, 0xa0 };
	struct filter_insn i = { .k = small() };
	uint16_t op = ops[dice(ARRAY_SIZE(ops))];

	switch (dice(10)) {
	case 0: case 1:
		i.code = 0x20 | (uint16_t)(dice(3) << 3); /* LD ABS */
		i.k = dice(REC_CAP_MAX - 3);
		break;
	case 2:
		i.code = 0x40 | (uint16_t)(dice(3) << 3); /* LD IND */
		i.k = dice(128);
		break;
	case 3:
		i.code = (uint16_t)(dice(2) ? 0xb1 : 0x80 | dice(2)); /* LDX MSH, LD LEN, LDX LEN */
		i.k = dice(REC_CAP_MAX);
		break;
	case 4:
		i.code = (uint16_t)dice(2); /* LD IMM, LDX IMM */
		break;
	case 5:
		i.code = dice(2) ? 0x60 | (uint16_t)dice(2) : 2 + (uint16_t)dice(2); /* LD MEM, LDX MEM, ST, STX */
		i.k = dice(16);
		break;
	case 6:
		i.code = dice(2) ? 0x07 : 0x87; /* TAX, TXA */
		break;
	case 7:
		i.code = (uint16_t)(0x05 | (1 + dice(4)) << 4 | dice(2) << 3);
		i.jt = (uint8_t)dice(left < 8 ? left : 8);
		i.jf = (uint8_t)dice(left < 8 ? left : 8);
		break;
	default:
		i.code = 0x04 | op | (op == 0x80 ? 0 : (uint16_t)(dice(2) << 3));
		if (op == 0x60 || op == 0x70)
			i.k %= 32;
		if (!i.k)
			i.k = 1;
	}
	return i;
}

/* Words of M[] are written first: to libpcap they hold anything. */
static unsigned any_program(struct filter_insn *insns)
{
	unsigned n = 0, count = 24 + dice(40);

	for (uint32_t k = 0; k < 16; k++)
		insns[n++] = (struct filter_insn){ .code = 2, .k = k };
	for (; n < count; n++) {
		insns[n] = any_insn(count - n);
		/* what makes most computed offsets ones that are allowed */
		if ((insns[n].code & 0xe7) == 0x40 && n + 3 < count && dice(4)) {
			struct filter_insn load = insns[n];

			insns[n++] = (struct filter_insn){ .code = 0x54, .k = 127 }; /* AND */
			insns[n++] = (struct filter_insn){ .code = 0x07 };           /* TAX */
			load.k %= 125;
			insns[n] = load;
		}
	}
	insns[n++] = (struct filter_insn){ .code = dice(3) ? 0x16 : 0x06, .k = dice(2) };
	return n;
}

static void at_random(void **unused)
{
	struct tally t = { 0 };
	unsigned made = 0, refused = 0;

	(void)unused;
	for (unsigned tries = 0; made < PROGRAMS && tries < 100 * PROGRAMS; tries++) {
		struct filter_insn insns[80];
		struct oracle_insn copy[80];
		unsigned n = any_program(insns);
		struct bpf_program oracle = { .bf_len = n, .bf_insns = (void *)copy };
		struct filter_error error;
		struct filter *f;

		if (filter_from(&f, "at random", insns, n, &error)) {
			refused++;
			continue;
		}
		made++;
		for (unsigned i = 0; i < n; i++)
			copy[i] = (struct oracle_insn){ insns[i].code, insns[i].jt, insns[i].jf, insns[i].k };
		compare(f, &oracle, dice(2) ? MODE_XDP : MODE_TCX, dice(npackets / ON_EACH), npackets / ON_EACH, &t);
		filter_free(f);
	}
	print_message("%u programs at random (%u refused): %lu decisions (%lu kept) compared, %lu differ\n", made, refused, t.compared,
		      t.kept, t.differ);
	assert_int_equal(made, PROGRAMS);
	assert_int_equal(t.differ, 0);
	assert_true(t.kept > t.compared / 20 && t.kept < t.compared);
}

/* ---- what is refused ------------------------------------------------------------------------------------------- */

static void refusals(void **unused)
{
	static const struct {
		const char *expression, *says;
	} wrong[] = {
		{ "ether[256] = 1", "looks at offset 256;" },
		{ "ether[255:2] = 1", "looks at offset 256;" },
		{ "ether[70000] = 1", "looks at offset 70000;" },
		{ "ip[ip[2:2]] = 1", "as large as 65549;" },
		{ "ip[ip[2:4]] = 1", "as large as 4294967309;" },
		{ "udp[180] = 1", "as large as 254" }, /* allowed: 14 + 60 + 180 */
		{ "udp[182] = 1", "as large as 256;" },
		{ "ip protochain 6", "jumps backwards" },
		{ "ip6 protochain 6", "jumps backwards" },
		{ "inbound", "not among a packet's bytes" },
		{ "ifindex 3", "not among a packet's bytes" },
		{ "tcp port", "syntax error" },
		{ "host no-such-host.invalid", "unknown host 'no-such-host.invalid'" },
		{ "port no-such-port", "unknown port 'no-such-port'" },
		{ "ip broadcast", "netmask not known" },
		{ "geneve and ip and tcp port 80", "computes from the packet" },
	};

	(void)unused;
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct filter *f = NULL;
		struct filter_error error = { "" };
		int r = filter_compile(&f, wrong[i].expression, &error);

		if (!strcmp(wrong[i].expression, "udp[180] = 1")) { /* control: the last byte that is there */
			assert_int_equal(r, 0);
			assert_int_equal(filter_reach(f), 255);
			filter_free(f);
			continue;
		}
		if (r != -EINVAL || !strstr(error.text, wrong[i].says) || !strstr(error.text, wrong[i].expression) ||
		    strchr(error.text, '\n'))
			fail_msg("%s: %d, %s", wrong[i].expression, r, error.text);
		assert_null(f);
	}
}

static void empty_and_long(void **unused)
{
	struct filter_error error;
	struct filter *f = (void *)1;
	char *text = malloc(FILTER_TEXT_MAX + 2), many[4096];
	struct filter_insn back[] = { { 0x20, 0, 0, 12 }, { 0x05, 0, 0, (uint32_t)-2 }, { 0x06, 0, 0, 1 } };

	(void)unused;
	assert_int_equal(filter_compile(&f, " \t ", &error), 0);
	assert_null(f);
	assert_true(filter_match(NULL, NULL, 0, 0));
	memset(text, ' ', FILTER_TEXT_MAX + 1);
	memcpy(text, "ip", 2);
	text[FILTER_TEXT_MAX + 1] = 0;
	assert_int_equal(filter_compile(&f, text, &error), -EINVAL);
	assert_non_null(strstr(error.text, "is too long: 16385 characters"));
	for (unsigned i = 0, n = 0; i < 100; i++) /* many more take libpcap's optimiser many seconds */
		n += (unsigned)sprintf(many + n, "%ssrc port %u", n ? " or " : "", 1 + 2 * i);
	assert_int_equal(filter_compile(&f, many, &error), 0);
	assert_true(filter_length(f) > 100);
	close(load(f, MODE_TCX));
	filter_free(f);
	assert_int_equal(filter_from(&f, "back", back, 3, &error), -EINVAL);
	assert_non_null(strstr(error.text, "jumps backwards"));
	free(text);
}

/* ---- controls -------------------------------------------------------------------------------------------------- */

/* One constant of the translated program is wrong: found. */
static void wrong_translation(void **unused)
{
	struct filter_error error;
	struct bpf_program oracle;
	struct tally t = { 0 };
	struct bpf_insn *code;
	struct filter *f;
	unsigned n, changed = 0;

	(void)unused;
	assert_int_equal(filter_compile(&f, "ip", &error), 0);
	assert_int_equal(oracle_compile(&oracle, "ip"), 0);
	code = (struct bpf_insn *)filter_code(f, &n);
	for (unsigned i = 0; i < n; i++)
		if (code[i].imm == 0x0800) {
			code[i].imm = 0x0801;
			changed++;
		}
	assert_int_equal(changed, 1);
	compare(f, &oracle, MODE_XDP, 0, npackets / ON_EACH, &t);
	assert_true(t.differ > 0);
	pcap_freecode(&oracle);
	filter_free(f);
}

/* A filter that is in no program is never silent. */
static void not_spliced(void **unused)
{
	struct capture_error err = { "" };
	struct filter_error error;
	struct splice *splice;
	struct filter *f;

	(void)unused;
	assert_int_equal(filter_compile(&f, "tcp", &error), 0);
	assert_int_equal(splice_begin(&splice, f, &err), 0);
	assert_int_equal(splice_end(splice, 0, &err), -ENOEXEC);
	assert_non_null(strstr(err.text, "did not get into the program"));
	assert_int_equal(splice_begin(&splice, f, &err), 0);
	assert_int_equal(splice_end(splice, -EINVAL, &err), -EINVAL);
	filter_free(f);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refusals),
		cmocka_unit_test(empty_and_long),
		cmocka_unit_test(not_spliced),
		cmocka_unit_test(wrong_translation),
		cmocka_unit_test(at_random),
		cmocka_unit_test(as_libpcap),
	};
	struct capture_spec spec = { .iface = "r0", .sides = CAPTURE_SIDE(REC_RX), .hook = CAPTURE_HOOK_XDP };
	int r = lab_begin(&lab);

	if (r)
		return r;
	if (!pcaps_all(keep, NULL)) {
		print_message("no captures (XDP_RECORDER_PCAPS): frames at random\n");
		make_packets(20000);
	}
	if (argc < 2 || strcmp(argv[1], "all"))
		stride = npackets / SAMPLE + 1;
	lab_pin_cpu((unsigned)sched_getcpu());
	lab_veth("r0", "r1");
	r = lab_capture(&l, &lab, spec);
	if (r) {
		fprintf(stderr, "%s\n", l.err.text);
		return 1;
	}
	r = cmocka_run_group_tests(tests, NULL, NULL);
	lab_capture_end(&l);
	lab_end(&lab);
	free(packets);
	return r;
}
