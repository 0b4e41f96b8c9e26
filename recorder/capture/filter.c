// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * filter.c - an expression through libpcap: compiled, checked, translated, and matched natively.
 *
 * libpcap writes for a savefile here (pcap_open_dead), not for a socket: so it asks for VLAN tags among the bytes, where
 * the recorder puts them back, and refuses by itself what only a socket knows (`inbound`).
 */
#include "recorder/capture/filter.h"

#include <ctype.h>
#include <errno.h>
#include <pcap/pcap.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/abi.h"
#include "recorder/capture/filter_internal.h"

#define SNAPLEN 262144 /* what a program returns for "keep"; anything but 0 */
#define SHOWN 100      /* characters of an expression in a message */

struct filter {
	char *text;
	struct bpf_program classic;
	struct bpf_insn *code; /* opaque here: that of linux/bpf.h */
	unsigned count;
	uint32_t reach;
};

static int fail(struct filter_error *error, int code, const char *expression, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
static int fail(struct filter_error *error, int code, const char *expression, const char *format, ...)
{
	bool longer = strlen(expression) > SHOWN;
	va_list args;
	int n;

	if (!error)
		return code;
	n = snprintf(error->text, sizeof(error->text), "filter '%.*s%s' ", SHOWN, expression, longer ? "..." : "");
	for (int i = 0; i < n; i++)
		if ((unsigned char)error->text[i] < ' ')
			error->text[i] = ' ';
	va_start(args, format);
	vsnprintf(error->text + n, sizeof(error->text) - (size_t)n, format, args);
	va_end(args);
	return code;
}

static bool blank(const char *expression)
{
	while (isspace((unsigned char)*expression))
		expression++;
	return !*expression;
}

/* Through libpcap: *program is to be freed by pcap_freecode. */
static int compile(struct bpf_program *program, const char *text, struct filter_error *error)
{
	pcap_t *dead = pcap_open_dead(DLT_EN10MB, SNAPLEN);
	int r = 0;

	if (!dead)
		return fail(error, -ENOMEM, text, "cannot be compiled: out of memory");
	if (pcap_compile(dead, program, text, 1, PCAP_NETMASK_UNKNOWN)) {
		memset(program, 0, sizeof(*program));
		r = fail(error, -EINVAL, text, "cannot be compiled: %s (see pcap-filter(7))", pcap_geterr(dead));
	}
	pcap_close(dead);
	return r;
}

static struct filter *make(const char *text, unsigned count)
{
	struct filter *f = calloc(1, sizeof(*f));

	if (f) {
		f->text = strdup(text);
		f->classic.bf_insns = calloc(count, sizeof(*f->classic.bf_insns));
		f->classic.bf_len = count;
	}
	if (f && f->text && f->classic.bf_insns)
		return f;
	filter_free(f);
	return NULL;
}

int filter_from(struct filter **out, const char *text, const struct filter_insn *insns, unsigned count,
		struct filter_error *error)
{
	char why[256] = "";
	struct filter *f;
	int r;

	if (count > FILTER_INSNS_MAX)
		return fail(error, -EINVAL, text, "is too long: %u instructions, at most %u can be run for each packet", count,
			    FILTER_INSNS_MAX);
	f = make(text, count);
	if (!f)
		return fail(error, -ENOMEM, text, "cannot be compiled: out of memory");
	for (unsigned i = 0; i < count; i++)
		f->classic.bf_insns[i] = (struct bpf_insn){ insns[i].code, insns[i].jt, insns[i].jf, insns[i].k };
	r = filter_range(insns, count, &f->reach, why, sizeof(why));
	if (r == -EINVAL)
		fail(error, r, text, "%s", why);
	if (!r) {
		r = filter_translate(insns, count, &f->code, &f->count);
		if (r == -E2BIG)
			r = fail(error, -EINVAL, text, "is too long: its %u instructions have a jump that does not reach", count);
	}
	if (r == -ENOMEM)
		fail(error, r, text, "cannot be compiled: out of memory");
	if (r)
		filter_free(f);
	else
		*out = f;
	return r;
}

int filter_compile(struct filter **out, const char *expression, struct filter_error *error)
{
	struct bpf_program program = { 0 };
	struct filter_insn *insns;
	int r;

	if (!expression || blank(expression)) {
		*out = NULL;
		return 0;
	}
	if (strlen(expression) > FILTER_TEXT_MAX)
		return fail(error, -EINVAL, expression, "is too long: %zu characters, at most %u", strlen(expression), FILTER_TEXT_MAX);
	r = compile(&program, expression, error);
	if (r)
		return r;
	insns = calloc(program.bf_len + 1, sizeof(*insns));
	for (unsigned i = 0; insns && i < program.bf_len; i++)
		insns[i] = (struct filter_insn){ program.bf_insns[i].code, program.bf_insns[i].jt, program.bf_insns[i].jf,
						 program.bf_insns[i].k };
	r = insns ? filter_from(out, expression, insns, program.bf_len, error)
		  : fail(error, -ENOMEM, expression, "cannot be compiled: out of memory");
	free(insns);
	pcap_freecode(&program);
	return r;
}

void filter_free(struct filter *filter)
{
	if (!filter)
		return;
	pcap_freecode(&filter->classic);
	free(filter->code);
	free(filter->text);
	free(filter);
}

const char *filter_text(const struct filter *filter)
{
	return filter ? filter->text : "";
}

uint32_t filter_reach(const struct filter *filter)
{
	return filter ? filter->reach : 0;
}

unsigned filter_length(const struct filter *filter)
{
	return filter ? filter->classic.bf_len : 0;
}

const struct bpf_insn *filter_code(const struct filter *filter, unsigned *count)
{
	*count = filter ? filter->count : 0;
	return filter ? filter->code : NULL;
}

bool filter_match(const struct filter *filter, const uint8_t *bytes, uint32_t have, uint32_t wire)
{
	struct pcap_pkthdr header = { .caplen = have < REC_CAP_MAX ? have : REC_CAP_MAX, .len = wire };

	return !filter || pcap_offline_filter(&filter->classic, &header, bytes);
}
