/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * warm.h - a thread of the keeper's that uses the rings' pages for the first time (recorder/capture/warm.h), behind everybody else (nice 19),
 * while packets may come already, and a fifth of the time. It takes 0.5 s for a gigabyte of rings, or 20 where each page is a fault of the
 * hypervisor.
 */
#ifndef XDP_RECORDER_PROCESS_WARM_H
#define XDP_RECORDER_PROCESS_WARM_H

#include "recorder/process/keeper_internal.h"

struct warm;

/* NULL with a line in the log: nothing is lost but speed. */
struct warm *warm_begin(const struct captures *captures);
/* It ends soon: nobody waits for it. NULL is accepted, here and below. */
void warm_stop(struct warm *warm);
/* Waits for its end and frees it, whether it is through or not. */
void warm_end(struct warm *warm);

#endif
