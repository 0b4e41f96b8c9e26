/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * warm.h - the pages of a capture's rings are used once before packets come to them (why: bpf/warm.bpf.c). Nothing is written: at any time, also
 * while packets come. Opening needs what capture_create needs; a step needs CAP_BPF. One thread at a time.
 */
#ifndef XDP_RECORDER_CAPTURE_WARM_H
#define XDP_RECORDER_CAPTURE_WARM_H

#include "recorder/capture/capture.h"

struct capture_warm;

/* Keeps descriptors of its own: *c may be closed before. 0 or -errno with text. */
int capture_warm_open(struct capture_warm **out, const struct capture *c, struct capture_error *err);
/* The next pages of a ring, of all rings in turn, since packets come to the first pages first. 1: there is more, 0: that was all; -errno. */
int capture_warm_step(struct capture_warm *w);
uint64_t capture_warm_pages(const struct capture_warm *w); /* read so far */
void capture_warm_close(struct capture_warm *w);

#endif
