// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * filter_splice.c - puts a translated filter in the place of the stub rec_filter, while libbpf loads the object.
 *
 * libbpf asks a program section's handler just before it loads the program (prog_prepare_load_fn): by then its functions
 * stand behind each other, maps and externals are entered, only the kernel is missing. The stub is found by its name in the
 * object's BTF; its instructions are replaced, and all that counts in instructions and lies across the place is moved:
 * calls, addresses of functions, func_info, line_info.
 *
 * A handler of ours takes the place of libbpf's own for the section, so it must do what that did: fragments for XDP. A
 * section that no handler is registered for keeps its stub, and so would record everything: splices are counted.
 */
#include "recorder/capture/filter_internal.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>

#include "recorder/capture/internal.h"

#define STUB "rec_filter"

/* The exact names of the sections in recorder.bpf.c. */
static const struct section {
	const char *name;
	enum bpf_prog_type type;
	enum bpf_attach_type attach;
	uint32_t flags; /* what libbpf's own handler would set */
} sections[] = {
	{ "xdp.frags", BPF_PROG_TYPE_XDP, BPF_XDP, BPF_F_XDP_HAS_FRAGS },
	{ "xdp", BPF_PROG_TYPE_XDP, BPF_XDP, 0 },
	{ "tc", BPF_PROG_TYPE_SCHED_CLS, 0, 0 },
};

struct cookie {
	struct splice *splice;
	const struct section *section;
};

struct splice {
	const struct bpf_insn *code;
	unsigned count;
	uint32_t reach;
	int handler[ARRAY_SIZE(sections)];
	struct cookie cookie[ARRAY_SIZE(sections)];
	const struct btf *btf;
	unsigned done; /* programs that have the filter in them */
	void *func_info, *line_info; /* must live until the program is loaded */
};

/* The first word of a record of func_info and line_info: the instruction it speaks of. */
static uint32_t *at(void *info, uint32_t size, uint32_t i)
{
	return (uint32_t *)((char *)info + (size_t)size * i);
}

/* Where the stub stands: [*begin, *end) in instructions. -ENOENT: it is not part of this program. */
static int find_stub(const struct splice *s, const struct bpf_prog_load_opts *opts, uint32_t insns, uint32_t *begin,
		     uint32_t *end)
{
	int id = s->btf ? btf__find_by_name_kind(s->btf, STUB, BTF_KIND_FUNC) : -ENOENT;

	if (id < 0)
		return -ENOENT;
	for (uint32_t i = 0; i < opts->func_info_cnt; i++) {
		const struct bpf_func_info *f = (void *)at((void *)opts->func_info, opts->func_info_rec_size, i);

		if (f->type_id != (uint32_t)id)
			continue;
		*begin = f->insn_off;
		*end = insns;
		if (i + 1 < opts->func_info_cnt)
			*end = *at((void *)opts->func_info, opts->func_info_rec_size, i + 1);
		return *begin < *end && *end <= insns ? 0 : -EINVAL;
	}
	return -ENOENT;
}

/* Calls and addresses of functions of the program itself, both relative to the instruction behind. */
static bool is_relative(const struct bpf_insn *i)
{
	return (i->code == (BPF_JMP | BPF_CALL) && i->src_reg == BPF_PSEUDO_CALL) ||
	       (i->code == (BPF_LD | BPF_IMM | BPF_DW) && i->src_reg == BPF_PSEUDO_FUNC);
}

/* All code outside the stub that refers across it. `begin`, `end` and indexes are those of before. */
static void move_references(struct bpf_insn *insns, uint32_t count, uint32_t begin, uint32_t end, int32_t growth)
{
	for (uint32_t i = 0; i < count; i++) {
		int64_t target = (int64_t)i + 1 + insns[i].imm;

		if ((i >= begin && i < end) || !is_relative(&insns[i]))
			continue;
		if (i < begin && target >= end)
			insns[i].imm += growth;
		else if (i >= end && target <= begin)
			insns[i].imm -= growth;
	}
}

/* Of the stub's own lines only the first is kept: the verifier wants one for each function. */
static int move_info(struct splice *s, struct bpf_prog_load_opts *opts, uint32_t begin, uint32_t end, int32_t growth)
{
	uint32_t fsize = opts->func_info_rec_size, lsize = opts->line_info_rec_size, lines = 0;

	s->func_info = malloc((size_t)fsize * opts->func_info_cnt);
	s->line_info = malloc((size_t)lsize * opts->line_info_cnt + 1);
	if (!s->func_info || !s->line_info)
		return -ENOMEM;
	memcpy(s->func_info, opts->func_info, (size_t)fsize * opts->func_info_cnt);
	for (uint32_t i = 0; i < opts->func_info_cnt; i++)
		if (*at(s->func_info, fsize, i) >= end)
			*at(s->func_info, fsize, i) += (uint32_t)growth;
	for (uint32_t i = 0; i < opts->line_info_cnt; i++) {
		uint32_t *from = at((void *)opts->line_info, lsize, i), *to = at(s->line_info, lsize, lines);

		if (*from > begin && *from < end)
			continue;
		memcpy(to, from, lsize);
		if (*to >= end)
			*to += (uint32_t)growth;
		lines++;
	}
	opts->func_info = s->func_info;
	opts->line_info = s->line_info;
	opts->line_info_cnt = lines;
	return 0;
}

static int replace(struct splice *s, struct bpf_program *p, uint32_t begin, uint32_t end)
{
	uint32_t count = (uint32_t)bpf_program__insn_cnt(p), fresh = count - (end - begin) + s->count;
	struct bpf_insn *insns = malloc(fresh * sizeof(*insns)), *old;
	int r;

	old = malloc(count * sizeof(*old));
	if (!insns || !old) {
		r = -ENOMEM;
		goto out;
	}
	memcpy(old, bpf_program__insns(p), count * sizeof(*old));
	move_references(old, count, begin, end, (int32_t)(s->count - (end - begin)));
	memcpy(insns, old, begin * sizeof(*insns));
	memcpy(insns + begin, s->code, s->count * sizeof(*insns));
	memcpy(insns + begin + s->count, old + end, (count - end) * sizeof(*insns));
	r = bpf_program__set_insns(p, insns, fresh);
out:
	free(old);
	free(insns);
	return r;
}

static int prepare(struct bpf_program *p, struct bpf_prog_load_opts *opts, long cookie)
{
	const struct cookie *c = (const struct cookie *)cookie;
	struct splice *s = c->splice;
	uint32_t begin, end;
	int r;

	opts->prog_flags |= c->section->flags;
	r = find_stub(s, opts, (uint32_t)bpf_program__insn_cnt(p), &begin, &end);
	if (r)
		return r;
	free(s->func_info); /* of a program before */
	free(s->line_info);
	s->func_info = s->line_info = NULL;
	r = move_info(s, opts, begin, end, (int32_t)(s->count - (end - begin)));
	if (!r)
		r = replace(s, p, begin, end);
	if (!r)
		s->done++;
	return r;
}

static void splice_free(struct splice *s)
{
	for (unsigned i = 0; i < ARRAY_SIZE(sections); i++)
		if (s->handler[i] >= 0)
			libbpf_unregister_prog_handler(s->handler[i]);
	free(s->func_info);
	free(s->line_info);
	free(s);
}

static int nothing(struct bpf_program *p, struct bpf_prog_load_opts *opts, long cookie)
{
	(void)p, (void)opts, (void)cookie;
	return 0;
}

/*
 * libbpf before 1.3 frees its table of handlers twice when the last one goes and another comes (fixed by its
 * "libbpf: fix realloc API handling in zero-sized edge cases"). So one stays for ever, of a section that nobody has.
 */
static int keep_one_handler(void)
{
	static bool kept;
	LIBBPF_OPTS(libbpf_prog_handler_opts, opts, .prog_prepare_load_fn = nothing);
	int r = kept ? 0 : libbpf_register_prog_handler("recorder-no-section", BPF_PROG_TYPE_XDP, BPF_XDP, &opts);

	kept = r >= 0;
	return r < 0 ? r : 0;
}

int splice_begin(struct splice **out, const struct filter *filter, struct capture_error *err)
{
	struct splice *s;
	int r;

	*out = NULL;
	if (!filter)
		return 0;
	r = keep_one_handler();
	if (r)
		return capture_fail(err, r, "cannot put the capture filter into the program: libbpf takes no handler: %s", strerror(-r));
	s = calloc(1, sizeof(*s));
	if (!s)
		return capture_fail(err, -ENOMEM, "out of memory");
	s->code = filter_code(filter, &s->count);
	s->reach = filter_reach(filter);
	for (unsigned i = 0; i < ARRAY_SIZE(sections); i++)
		s->handler[i] = -1;
	for (unsigned i = 0; i < ARRAY_SIZE(sections); i++) {
		LIBBPF_OPTS(libbpf_prog_handler_opts, opts, .prog_prepare_load_fn = prepare, .cookie = (long)&s->cookie[i]);

		s->cookie[i] = (struct cookie){ s, &sections[i] };
		s->handler[i] = libbpf_register_prog_handler(sections[i].name, sections[i].type, sections[i].attach, &opts);
		if (s->handler[i] < 0) {
			r = s->handler[i];
			splice_free(s);
			return capture_fail(err, r, "cannot put the capture filter into the program: libbpf takes no handler: %s",
					    strerror(-r));
		}
	}
	*out = s;
	return 0;
}

void splice_settings(struct splice *splice, const struct bpf_object *object, struct rec_settings *settings)
{
	if (!splice)
		return;
	splice->btf = bpf_object__btf(object);
	settings->filtered = 1;
	settings->filter_reach = splice->reach;
}

int splice_end(struct splice *splice, int loaded, struct capture_error *err)
{
	unsigned done;

	if (!splice)
		return loaded;
	done = splice->done;
	splice_free(splice);
	if (!loaded && !done)
		return capture_fail(err, -ENOEXEC, "the capture filter did not get into the program: without it everything would be "
				    "recorded (libbpf %s)", libbpf_version_string());
	return loaded;
}
