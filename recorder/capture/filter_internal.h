/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * filter_internal.h - what the parts of the capture filter share. Nobody outside this directory includes it.
 *
 *   filter.c            libpcap: compiles, matches natively           (pcap.h)
 *   filter_range.c      which bytes a program may look at             (pure)
 *   filter_translate.c  classic BPF -> eBPF                           (linux/bpf.h, pure)
 *   filter_splice.c     eBPF over the stub rec_filter, while libbpf loads
 *
 * pcap.h and libbpf.h both define struct bpf_insn, so a classic program goes between them in a type of our own.
 */
#ifndef XDP_RECORDER_CAPTURE_FILTER_INTERNAL_H
#define XDP_RECORDER_CAPTURE_FILTER_INTERNAL_H

#include "recorder/capture/filter.h"

/* One instruction of classic BPF, as libpcap's struct bpf_insn and the kernel's struct sock_filter. */
struct filter_insn {
	uint16_t code;
	uint8_t jt, jf;
	uint32_t k;
};

/* ---- filter_range.c ---- */
/*
 * The bytes that a program may look at: *reach is the largest offset + 1. Walks the program once with an interval for each
 * of A, X and M[]. 0; -EINVAL with a reason that completes "the filter ...": it may look at REC_CAP_MAX or beyond, jumps
 * backwards, asks for something that is not in the packet, or is no sound program.
 */
int filter_range(const struct filter_insn *insns, unsigned count, uint32_t *reach, char *why, size_t size);

/* ---- filter_translate.c ---- */
struct bpf_insn; /* of linux/bpf.h */
/*
 * The body of `int rec_filter(struct rec_slot *slot, __u32 avail, __u32 wire)` (bpf/recorder.bpf.c) for a program that
 * filter_range found sound: 1 keeps. *out is malloc'ed. 0, -ENOMEM, or -E2BIG: more than eBPF's jumps reach.
 */
int filter_translate(const struct filter_insn *insns, unsigned count, struct bpf_insn **out, unsigned *out_count);

/* ---- filter.c ---- */
/* A filter of any classic program; `text` is its name. As filter_compile, which ends here. */
int filter_from(struct filter **out, const char *text, const struct filter_insn *insns, unsigned count,
		struct filter_error *error);
/* The translated program; count 0 and NULL for a NULL filter. */
const struct bpf_insn *filter_code(const struct filter *filter, unsigned *count);

/* ---- filter_splice.c ---- */
struct bpf_object;
struct rec_settings;
struct capture_error;
struct splice;
/*
 * begin before the object is opened, settings between open and load, end after the load whatever came of it: it frees
 * *splice, and says -ENOEXEC with text if a filter stands in no program, so that nothing is recorded that it rejects. A
 * NULL filter is accepted everywhere and changes nothing. Between begin and end libbpf's table of sections is changed: one
 * thread at a time.
 */
int splice_begin(struct splice **out, const struct filter *filter, struct capture_error *err);
void splice_settings(struct splice *splice, const struct bpf_object *object, struct rec_settings *settings);
/* `loaded`: what the load said, given back unless it was 0 and the filter is missing. */
int splice_end(struct splice *splice, int loaded, struct capture_error *err);

#endif
