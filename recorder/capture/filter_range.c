// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * filter_range.c - which bytes a classic BPF program may look at.
 *
 * A program of libpcap jumps forward only, so one walk in its order sees every instruction after all that lead to it. For
 * each it knows an interval of A, X and the 16 words of M[], joined over the ways that meet there. A comparison of A with
 * a constant narrows A on both its sides; a side that cannot be taken is not followed.
 *
 * Semantics: libpcap's bpf_filter.c (bpf_filter_with_aux_data), 32-bit unsigned arithmetic.
 */
#include "recorder/capture/filter_internal.h"

#include <errno.h>
#include <linux/filter.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/abi.h"

#define TOP UINT32_MAX

struct interval {
	uint32_t lo, hi;
};

struct values {
	bool reached;
	struct interval a, x, m[BPF_MEMWORDS];
};

static const struct interval any = { 0, TOP };

static struct interval joined(struct interval p, struct interval q)
{
	return (struct interval){ p.lo < q.lo ? p.lo : q.lo, p.hi > q.hi ? p.hi : q.hi };
}

static void join(struct values *to, const struct values *from)
{
	if (!to->reached) {
		*to = *from;
		return;
	}
	to->a = joined(to->a, from->a);
	to->x = joined(to->x, from->x);
	for (unsigned i = 0; i < BPF_MEMWORDS; i++)
		to->m[i] = joined(to->m[i], from->m[i]);
}

/* The smallest 2^n - 1 that is not below v. */
static uint32_t ones(uint32_t v)
{
	return v ? UINT32_MAX >> __builtin_clz(v) : 0;
}

static struct interval wide(uint64_t lo, uint64_t hi)
{
	return hi > TOP ? any : (struct interval){ (uint32_t)lo, (uint32_t)hi };
}

static struct interval shifted_left(struct interval p, struct interval q)
{
	if (q.lo > 31)
		return (struct interval){ 0, 0 };
	if (q.hi > 31)
		return any; /* some shifts give 0, others anything */
	return wide((uint64_t)p.lo << q.lo, (uint64_t)p.hi << q.hi);
}

static struct interval computed(uint16_t op, struct interval p, struct interval q)
{
	switch (op) {
	case BPF_ADD:
		return wide((uint64_t)p.lo + q.lo, (uint64_t)p.hi + q.hi);
	case BPF_SUB:
		return p.lo >= q.hi ? (struct interval){ p.lo - q.hi, p.hi - q.lo } : any;
	case BPF_MUL:
		return wide((uint64_t)p.lo * q.lo, (uint64_t)p.hi * q.hi);
	case BPF_DIV: /* by 0 ends the program */
		return (struct interval){ q.hi ? p.lo / q.hi : 0, p.hi / (q.lo ? q.lo : 1) };
	case BPF_MOD:
		return (struct interval){ 0, q.hi && q.hi - 1 < p.hi ? q.hi - 1 : p.hi };
	case BPF_AND:
		return (struct interval){ 0, p.hi < q.hi ? p.hi : q.hi };
	case BPF_OR:
		return (struct interval){ p.lo > q.lo ? p.lo : q.lo, ones(p.hi | q.hi) };
	case BPF_XOR:
		return (struct interval){ 0, ones(p.hi | q.hi) };
	case BPF_LSH:
		return shifted_left(p, q);
	case BPF_RSH:
		return (struct interval){ q.hi > 31 ? 0 : p.lo >> q.hi, q.lo > 31 ? 0 : p.hi >> q.lo };
	case BPF_NEG:
		return p.lo == p.hi ? (struct interval){ -p.lo, -p.lo } : any;
	default:
		return any;
	}
}

/* ---- one walk ------------------------------------------------------------------------------------------------ */

struct walk {
	const struct filter_insn *insns;
	unsigned count, at;
	struct values *values; /* before each instruction */
	uint32_t reach;
	char *why;
	size_t size;
};

static int refuse(const struct walk *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int refuse(const struct walk *w, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(w->why, w->size, format, args);
	va_end(args);
	return -EINVAL;
}

static int unsound(const struct walk *w)
{
	return refuse(w, "is no program that this version understands: instruction %u has code 0x%x, k %u", w->at,
		      w->insns[w->at].code, w->insns[w->at].k);
}

/* A load of `size` bytes at `base` + k. */
static int looked_at(struct walk *w, struct interval base, bool computed_offset, uint32_t size)
{
	uint32_t k = w->insns[w->at].k;
	uint64_t last = (uint64_t)base.hi + k + size - 1;

	if (k >= (uint32_t)SKF_AD_OFF)
		return refuse(w, "asks for what is not among a packet's bytes (its interface, direction or queue)");
	if (last >= REC_CAP_MAX && !computed_offset)
		return refuse(w, "looks at offset %llu; a filter can look at a packet's first %u bytes, offsets 0 to %u",
			      (unsigned long long)last, REC_CAP_MAX, REC_CAP_MAX - 1);
	if (last >= REC_CAP_MAX)
		return refuse(w, "looks at an offset that it computes from the packet and that can be as large as %llu; a filter can "
			      "look at a packet's first %u bytes, offsets 0 to %u", (unsigned long long)last, REC_CAP_MAX,
			      REC_CAP_MAX - 1);
	if (w->reach <= last)
		w->reach = (uint32_t)last + 1;
	return 0;
}

static uint32_t size_of(uint16_t code)
{
	return BPF_SIZE(code) == BPF_W ? 4 : BPF_SIZE(code) == BPF_H ? 2 : 1;
}

static int load(struct walk *w, struct values *v)
{
	const struct filter_insn *i = &w->insns[w->at];
	struct interval *to = BPF_CLASS(i->code) == BPF_LD ? &v->a : &v->x, loaded;
	uint32_t size = size_of(i->code);
	int r = 0;

	switch (BPF_MODE(i->code)) {
	case BPF_ABS:
	case BPF_IND:
		r = looked_at(w, BPF_MODE(i->code) == BPF_IND ? v->x : (struct interval){ 0, 0 }, BPF_MODE(i->code) == BPF_IND, size);
		loaded = (struct interval){ 0, size == 4 ? TOP : (1u << 8 * size) - 1 };
		break;
	case BPF_MSH:
		r = looked_at(w, (struct interval){ 0, 0 }, false, 1);
		loaded = (struct interval){ 0, 60 };
		break;
	case BPF_IMM:
		loaded = (struct interval){ i->k, i->k };
		break;
	case BPF_LEN:
		loaded = any;
		break;
	default: /* BPF_MEM */
		loaded = v->m[i->k];
	}
	*to = loaded;
	return r;
}

static void to(struct walk *w, unsigned target, const struct values *v)
{
	join(&w->values[target], v);
}

/* A narrowed by "A op k" being true or false; reached tells whether it can be. */
static struct values narrowed(const struct values *v, uint16_t op, uint32_t k, bool truth)
{
	struct values n = *v;

	if (op == BPF_JEQ && truth) {
		n.reached = v->a.lo <= k && k <= v->a.hi;
		n.a = (struct interval){ k, k };
		return n;
	}
	if (op == BPF_JEQ) {
		n.a.lo += v->a.lo == k && k < TOP;
		n.a.hi -= v->a.hi == k && k > 0;
		n.reached = v->a.lo != k || v->a.hi != k;
		return n;
	}
	if (op == BPF_JSET)
		return n;
	/* JGT: A > k. JGE: A >= k, that is A > k - 1. */
	if (op == BPF_JGE && !k--) {
		n.reached = truth;
		return n;
	}
	if (truth) {
		n.reached = v->a.hi > k;
		if (n.reached && n.a.lo <= k)
			n.a.lo = k + 1;
	} else {
		n.reached = v->a.lo <= k;
		if (n.a.hi > k)
			n.a.hi = k;
	}
	return n;
}

static void jump(struct walk *w, const struct values *v)
{
	const struct filter_insn *i = &w->insns[w->at];
	uint16_t op = BPF_OP(i->code);

	if (op == BPF_JA) {
		to(w, w->at + 1 + i->k, v);
		return;
	}
	for (int truth = 0; truth < 2; truth++) {
		struct values n = BPF_SRC(i->code) == BPF_K ? narrowed(v, op, i->k, truth) : *v;

		if (n.reached)
			to(w, w->at + 1 + (truth ? i->jt : i->jf), &n);
	}
}

/* Every instruction that exists, by its whole code. */
static bool known(const struct filter_insn *i)
{
	switch (i->code) {
	case BPF_LD | BPF_W | BPF_ABS: case BPF_LD | BPF_H | BPF_ABS: case BPF_LD | BPF_B | BPF_ABS:
	case BPF_LD | BPF_W | BPF_IND: case BPF_LD | BPF_H | BPF_IND: case BPF_LD | BPF_B | BPF_IND:
	case BPF_LD | BPF_W | BPF_LEN: case BPF_LDX | BPF_W | BPF_LEN: case BPF_LDX | BPF_B | BPF_MSH:
	case BPF_LD | BPF_IMM: case BPF_LDX | BPF_IMM:
	case BPF_ALU | BPF_NEG: case BPF_MISC | BPF_TAX: case BPF_MISC | BPF_TXA:
	case BPF_RET | BPF_K: case BPF_RET | BPF_A:
	case BPF_JMP | BPF_JA:
	case BPF_JMP | BPF_JEQ | BPF_K: case BPF_JMP | BPF_JEQ | BPF_X: case BPF_JMP | BPF_JGT | BPF_K:
	case BPF_JMP | BPF_JGT | BPF_X: case BPF_JMP | BPF_JGE | BPF_K: case BPF_JMP | BPF_JGE | BPF_X:
	case BPF_JMP | BPF_JSET | BPF_K: case BPF_JMP | BPF_JSET | BPF_X:
		return true;
	case BPF_LD | BPF_MEM: case BPF_LDX | BPF_MEM: case BPF_ST: case BPF_STX:
		return i->k < BPF_MEMWORDS;
	}
	if (BPF_CLASS(i->code) != BPF_ALU || i->code > 0xff || BPF_OP(i->code) > BPF_XOR || BPF_OP(i->code) == BPF_NEG)
		return false;
	if (BPF_SRC(i->code) == BPF_K && (BPF_OP(i->code) == BPF_DIV || BPF_OP(i->code) == BPF_MOD))
		return i->k != 0;
	if (BPF_SRC(i->code) == BPF_K && (BPF_OP(i->code) == BPF_LSH || BPF_OP(i->code) == BPF_RSH))
		return i->k < 32; /* undefined in bpf_filter(), and refused by libpcap's optimiser */
	return true;
}

/* Whatever values it works on: every instruction exists, jumps go forward and stay inside, it ends by a RET. */
static int shape(struct walk *w)
{
	for (w->at = 0; w->at < w->count; w->at++) {
		const struct filter_insn *i = &w->insns[w->at];
		uint64_t furthest = 1;

		if (i->code == (BPF_JMP | BPF_JA) && (int32_t)i->k < 0)
			return refuse(w, "jumps backwards, as `protochain` does: it would have to be followed without a bound");
		if (!known(i))
			return unsound(w);
		if (i->code == (BPF_JMP | BPF_JA))
			furthest += i->k;
		else if (BPF_CLASS(i->code) == BPF_JMP)
			furthest += i->jt > i->jf ? i->jt : i->jf;
		if (BPF_CLASS(i->code) != BPF_RET && w->at + furthest >= w->count)
			return unsound(w);
	}
	w->at = 0;
	return 0;
}

static int step(struct walk *w)
{
	const struct filter_insn *i = &w->insns[w->at];
	struct values v = w->values[w->at];
	int r = 0;

	switch (BPF_CLASS(i->code)) {
	case BPF_RET:
		return 0;
	case BPF_JMP:
		jump(w, &v);
		return 0;
	case BPF_LD:
	case BPF_LDX:
		r = load(w, &v);
		break;
	case BPF_ST:
		v.m[i->k] = v.a;
		break;
	case BPF_STX:
		v.m[i->k] = v.x;
		break;
	case BPF_ALU:
		v.a = computed(BPF_OP(i->code), v.a, BPF_SRC(i->code) == BPF_X ? v.x : (struct interval){ i->k, i->k });
		break;
	default: /* BPF_MISC */
		if (BPF_MISCOP(i->code) == BPF_TAX)
			v.x = v.a;
		else
			v.a = v.x;
	}
	to(w, w->at + 1, &v);
	return r;
}

int filter_range(const struct filter_insn *insns, unsigned count, uint32_t *reach, char *why, size_t size)
{
	struct walk w = { .insns = insns, .count = count, .why = why, .size = size };
	int r = 0;

	if (!count)
		return refuse(&w, "has no instruction");
	r = shape(&w);
	if (r)
		return r;
	w.values = calloc(count, sizeof(*w.values));
	if (!w.values)
		return -ENOMEM;
	w.values[0].reached = true; /* A, X and M[] are 0 */
	for (; !r && w.at < count; w.at++)
		if (w.values[w.at].reached)
			r = step(&w);
	free(w.values);
	if (!r)
		*reach = w.reach;
	return r;
}
