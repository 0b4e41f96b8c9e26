/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * run.h - puts frames through the recorder's own BPF object by BPF_PROG_RUN: `import`, and tests.
 *
 * The program is rec_xdp_import: the same body as the live hooks; time and true length come in front of the frame as XDP
 * metadata (struct rec_import_meta, abi.h). Maps are its own, unpinned, with one ring of the smallest size; nothing is
 * attached. Opening needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON or root. One thread at a time, on any CPU.
 */
#ifndef XDP_RECORDER_CAPTURE_RUN_H
#define XDP_RECORDER_CAPTURE_RUN_H

#include "bpf/abi.h"
#include "recorder/capture/capture.h"
#include "recorder/capture/filter.h"

struct capture_run;

/* `filter` may be NULL; kept. hash_seed: of the flow hashes. 0 or -errno with text. */
int capture_run_open(struct capture_run **out, const struct filter *filter, uint32_t hash_seed,
		     struct capture_error *err);

/* Frames shorter than this, and only they, are made natively (BPF_PROG_RUN refuses them); see capture_run_native. */
#define CAPTURE_RUN_MIN 14u

/*
 * One frame: `have` bytes of `wire`. *term says what became of it: REC_PUBLISHED, then *record is its record, valid until
 * the next call; else REC_FILTERED_EXPR or a loss. 0 or -errno (the kernel refused to run it).
 */
int capture_run(struct capture_run *run, const uint8_t *bytes, uint32_t have, uint32_t wire, uint64_t time,
		enum rec_term *term, const struct rec_head **record);
/* Frames that were parsed natively. */
uint64_t capture_run_native(const struct capture_run *run);
void capture_run_close(struct capture_run *run);

#endif
