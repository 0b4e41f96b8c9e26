/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tee.h - two sinks as one: a batch is settled when both have it. `put` and `prepare_days` likewise. Each keeps its own
 * job and is not asked again once it has settled. Owns both.
 */
#ifndef XDP_RECORDER_SINK_TEE_H
#define XDP_RECORDER_SINK_TEE_H

#include "recorder/sink/sink.h"

struct sink *tee_sink_new(struct sink *first, struct sink *second);

#endif
