/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * tee.h - two sinks as one: a batch is settled when both have it. `put` and `prepare_days` likewise. Each keeps its own
 * job and is not asked again once it has settled. Owns both.
 *
 * How batches are formed says the one that has a `storage` (a file has none). Open batches go to it alone: a file gets a
 * batch once, when it is closed. After a SINK_CLASH of one of them, what the other has of the batch already is
 * remembered: the batch under new ids is not given to it again.
 */
#ifndef XDP_RECORDER_SINK_TEE_H
#define XDP_RECORDER_SINK_TEE_H

#include "recorder/sink/sink.h"

struct sink *tee_sink_new(struct sink *first, struct sink *second);

#endif
