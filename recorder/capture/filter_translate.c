// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * filter_translate.c - classic BPF to eBPF, as the body of rec_filter(slot, avail, wire).
 *
 *   r1 slot   r2 avail: bytes of the packet in it   r3 wire: its true length
 *   r4 A      r5 X      r0 temporary and result     M[] on the stack
 *
 * All arithmetic is 32 bits wide, as libpcap's. A load that does not lie in the avail bytes whole ends the program with
 * "no", and so do division and modulo by an X of 0. Only what can be reached is emitted: the verifier refuses dead code.
 *
 * A computed offset is compared with avail, of which the verifier knows nothing; it is masked as well, which changes
 * nothing (offsets are below REC_CAP_MAX, filter_range saw to it, and the slot has REC_SLOT_PAD bytes behind).
 */
#include "recorder/capture/filter_internal.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/parse.h"

enum { R0, SLOT, AVAIL, WIRE, A, X, FRAME = 10 };

#define NO UINT32_MAX /* as a jump's target: the program's end, "no" */
#define JUMP_MAX 32767 /* struct bpf_insn.off is 16 bits, signed */
#define BYTES ((int16_t)offsetof(struct rec_slot, bytes))

struct fixup {
	unsigned at;
	uint32_t target; /* classic instruction, or NO */
};

struct translation {
	const struct filter_insn *insns;
	unsigned count;
	struct bpf_insn *out;
	unsigned used, room;
	struct fixup *fixups;
	unsigned nfixups, fixups_room;
	unsigned *begin;  /* of each classic instruction among the others */
	bool *reachable;
	bool failed; /* out of memory: asked once, at the end */
};

static void emit(struct translation *t, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	if (t->used == t->room) {
		unsigned room = t->room ? 2 * t->room : 256;
		struct bpf_insn *out = realloc(t->out, room * sizeof(*out));

		if (!out) {
			t->failed = true;
			return;
		}
		t->out = out;
		t->room = room;
	}
	t->out[t->used++] = (struct bpf_insn){ .code = code, .dst_reg = dst & 15, .src_reg = src & 15, .off = off, .imm = imm };
}

/* A jump whose distance is entered when all is emitted. */
static void emit_jump(struct translation *t, uint8_t code, uint8_t dst, uint8_t src, uint32_t imm, uint32_t target)
{
	if (t->nfixups == t->fixups_room) {
		unsigned room = t->fixups_room ? 2 * t->fixups_room : 256;
		struct fixup *fixups = realloc(t->fixups, room * sizeof(*fixups));

		if (!fixups) {
			t->failed = true;
			return;
		}
		t->fixups = fixups;
		t->fixups_room = room;
	}
	t->fixups[t->nfixups++] = (struct fixup){ t->used, target };
	emit(t, code, dst, src, 0, (int32_t)imm);
}

static void move(struct translation *t, uint8_t dst, uint8_t src)
{
	emit(t, BPF_ALU | BPF_MOV | BPF_X, dst, src, 0, 0);
}

static void set(struct translation *t, uint8_t dst, uint32_t k)
{
	emit(t, BPF_ALU | BPF_MOV | BPF_K, dst, 0, 0, (int32_t)k);
}

/* Offset of a word of M[] from the frame pointer. */
static int16_t word(uint32_t k)
{
	return (int16_t)(-4 * (int)(BPF_MEMWORDS - k));
}

/* Network order, size 2 or 4; also clears what is above. */
static void from_network(struct translation *t, uint8_t reg, unsigned bytes)
{
	if (bytes > 1)
		emit(t, BPF_ALU | BPF_END | BPF_TO_BE, reg, 0, 0, (int32_t)(8 * bytes));
}

/* `size` (BPF_B, BPF_H, BPF_W) at offset k, or X + k, into A; `to` is A or, for MSH, R0. */
static void load_packet(struct translation *t, uint16_t size, bool indirect, uint32_t k, uint8_t to)
{
	unsigned bytes = size == BPF_W ? 4 : size == BPF_H ? 2 : 1;

	if (k >= REC_CAP_MAX || k + bytes > REC_CAP_MAX) {
		/* On a way that values never take, filter_range knows. Always true, but a condition: else what follows is dead code. */
		set(t, to, 0);
		emit_jump(t, BPF_JMP32 | BPF_JGE | BPF_K, AVAIL, 0, 0, NO);
		return;
	}
	emit_jump(t, BPF_JMP32 | BPF_JLT | BPF_K, AVAIL, 0, k + bytes, NO);
	if (!indirect) {
		emit(t, BPF_LDX | BPF_MEM | size, to, SLOT, (int16_t)(BYTES + (int)k), 0);
		from_network(t, to, bytes);
		return;
	}
	move(t, R0, AVAIL);
	emit(t, BPF_ALU | BPF_SUB | BPF_K, R0, 0, 0, (int32_t)(k + bytes));
	emit_jump(t, BPF_JMP32 | BPF_JGT | BPF_X, X, R0, 0, NO);
	move(t, R0, X);
	emit(t, BPF_ALU | BPF_ADD | BPF_K, R0, 0, 0, (int32_t)k);
	emit(t, BPF_ALU64 | BPF_AND | BPF_K, R0, 0, 0, REC_CAP_MAX - 1);
	emit(t, BPF_ALU64 | BPF_ADD | BPF_X, R0, SLOT, 0, 0);
	emit(t, BPF_LDX | BPF_MEM | size, to, R0, BYTES, 0);
	from_network(t, to, bytes);
}

static void load(struct translation *t, const struct filter_insn *i)
{
	uint8_t to = BPF_CLASS(i->code) == BPF_LD ? A : X;

	switch (BPF_MODE(i->code)) {
	case BPF_ABS:
	case BPF_IND:
		load_packet(t, BPF_SIZE(i->code), BPF_MODE(i->code) == BPF_IND, i->k, A);
		break;
	case BPF_MSH:
		load_packet(t, BPF_B, false, i->k, R0);
		emit(t, BPF_ALU | BPF_AND | BPF_K, R0, 0, 0, 15);
		emit(t, BPF_ALU | BPF_LSH | BPF_K, R0, 0, 0, 2);
		move(t, X, R0);
		break;
	case BPF_IMM:
		set(t, to, i->k);
		break;
	case BPF_LEN:
		move(t, to, WIRE);
		break;
	case BPF_MEM:
		emit(t, BPF_LDX | BPF_MEM | BPF_W, to, FRAME, word(i->k), 0);
		break;
	}
}

static void compute(struct translation *t, const struct filter_insn *i)
{
	uint16_t op = BPF_OP(i->code);
	bool by_x = BPF_SRC(i->code) == BPF_X;

	if (op == BPF_NEG) {
		emit(t, BPF_ALU | BPF_NEG, A, 0, 0, 0);
		return;
	}
	if (!by_x) {
		emit(t, (uint8_t)(BPF_ALU | op | BPF_K), A, 0, 0, (int32_t)i->k);
		return;
	}
	if (op == BPF_DIV || op == BPF_MOD)
		emit_jump(t, BPF_JMP32 | BPF_JEQ | BPF_K, X, 0, 0, NO);
	if (op == BPF_LSH || op == BPF_RSH) { /* by 32 and more gives 0; eBPF would take the count modulo 32 */
		emit(t, BPF_JMP32 | BPF_JLT | BPF_K, X, 0, 2, 32);
		set(t, A, 0);
		emit(t, BPF_JMP | BPF_JA, 0, 0, 1, 0);
	}
	emit(t, (uint8_t)(BPF_ALU | op | BPF_X), A, X, 0, 0);
}

static void jump(struct translation *t, const struct filter_insn *i, unsigned at)
{
	uint16_t op = BPF_OP(i->code), src = BPF_SRC(i->code);

	if (op == BPF_JA) {
		if (i->k)
			emit_jump(t, BPF_JMP | BPF_JA, 0, 0, 0, at + 1 + i->k);
		return;
	}
	if (i->jt != i->jf)
		emit_jump(t, (uint8_t)(BPF_JMP32 | op | src), A, src == BPF_X ? X : 0, src == BPF_X ? 0 : i->k, at + 1 + i->jt);
	if (i->jf)
		emit_jump(t, BPF_JMP | BPF_JA, 0, 0, 0, at + 1 + i->jf);
}

static void one(struct translation *t, unsigned at)
{
	const struct filter_insn *i = &t->insns[at];

	switch (BPF_CLASS(i->code)) {
	case BPF_LD:
	case BPF_LDX:
		load(t, i);
		break;
	case BPF_ST:
	case BPF_STX:
		emit(t, BPF_STX | BPF_MEM | BPF_W, FRAME, BPF_CLASS(i->code) == BPF_ST ? A : X, word(i->k), 0);
		break;
	case BPF_ALU:
		compute(t, i);
		break;
	case BPF_JMP:
		jump(t, i, at);
		break;
	case BPF_RET:
		if (BPF_RVAL(i->code) == BPF_A)
			move(t, R0, A);
		else
			set(t, R0, i->k);
		emit(t, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
		break;
	default: /* BPF_MISC */
		if (BPF_MISCOP(i->code) == BPF_TAX)
			move(t, X, A);
		else
			move(t, A, X);
	}
}

/* Forward jumps only: one pass. */
static void find_reachable(struct translation *t)
{
	t->reachable[0] = true;
	for (unsigned at = 0; at < t->count; at++) {
		const struct filter_insn *i = &t->insns[at];

		if (!t->reachable[at] || BPF_CLASS(i->code) == BPF_RET)
			continue;
		if (BPF_CLASS(i->code) != BPF_JMP) {
			t->reachable[at + 1] = true;
		} else if (BPF_OP(i->code) == BPF_JA) {
			t->reachable[at + 1 + i->k] = true;
		} else {
			t->reachable[at + 1 + i->jt] = true;
			t->reachable[at + 1 + i->jf] = true;
		}
	}
}

/* The words of M[] that the program has; bpf_filter() leaves them undefined, the verifier wants them written. */
static void clear_words(struct translation *t)
{
	uint32_t used = 0;

	for (unsigned at = 0; at < t->count; at++) {
		uint16_t class = BPF_CLASS(t->insns[at].code);

		if (class == BPF_ST || class == BPF_STX || (class <= BPF_LDX && BPF_MODE(t->insns[at].code) == BPF_MEM))
			used |= 1u << t->insns[at].k;
	}
	for (uint32_t k = 0; k < BPF_MEMWORDS; k++)
		if (used >> k & 1)
			emit(t, BPF_ST | BPF_MEM | BPF_W, FRAME, 0, word(k), 0);
}

static void emit_all(struct translation *t)
{
	set(t, A, 0);
	set(t, X, 0);
	emit_jump(t, BPF_JMP | BPF_JEQ | BPF_K, SLOT, 0, 0, NO); /* a global function's pointer may be NULL, says the verifier */
	clear_words(t);
	for (unsigned at = 0; at < t->count; at++) {
		t->begin[at] = t->used;
		if (t->reachable[at])
			one(t, at);
	}
	set(t, R0, 0);
	emit(t, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* -E2BIG when a jump does not reach. */
static int enter_jumps(struct translation *t)
{
	unsigned no = t->used - 2;

	for (unsigned i = 0; i < t->nfixups; i++) {
		const struct fixup *f = &t->fixups[i];
		unsigned target = f->target == NO ? no : t->begin[f->target];

		if (target - f->at - 1 > JUMP_MAX)
			return -E2BIG;
		t->out[f->at].off = (int16_t)(target - f->at - 1);
	}
	return 0;
}

int filter_translate(const struct filter_insn *insns, unsigned count, struct bpf_insn **out, unsigned *out_count)
{
	struct translation t = { .insns = insns, .count = count };
	int r;

	t.begin = calloc(count, sizeof(*t.begin));
	t.reachable = calloc(count + 1, sizeof(*t.reachable));
	if (t.begin && t.reachable) {
		find_reachable(&t);
		emit_all(&t);
	}
	r = !t.begin || !t.reachable || t.failed ? -ENOMEM : enter_jumps(&t);
	if (!r) {
		*out = t.out;
		*out_count = t.used;
		t.out = NULL;
	}
	free(t.out);
	free(t.fixups);
	free(t.begin);
	free(t.reachable);
	return r;
}
