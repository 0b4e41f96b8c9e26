/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * watch.h - the keeper's look-out: is everything that is captured also seen?
 *
 * A look at each capture twice a second, and at once when the kernel tells of a change of any interface (whose message is not
 * read: it only wakes). What is not seen becomes a gap (ledger/gap.h); a hook that somebody took off is put on again; an interface
 * that comes back under its name is captured again, by the same rings. What is not seen at the moment stands in the pins, so
 * that the next process knows since when.
 *
 * One thread. Says what it finds through `tell`, and in the log.
 */
#ifndef XDP_RECORDER_PROCESS_WATCH_H
#define XDP_RECORDER_PROCESS_WATCH_H

#include "recorder/process/keeper_internal.h"
#include "recorder/process/link.h"

struct watch;
typedef void watch_tell(void *arg, const struct link_tell *tell);

/* `captures` stay the caller's and must outlive it. NULL when out of memory. */
struct watch *watch_new(struct captures *captures, watch_tell *tell, void *arg);
void watch_free(struct watch *watch);

/* Readable when an interface has changed; -1: the kernel does not tell, looking has to do. */
int watch_fd(const struct watch *watch);
/* Boot time at which to look again. */
uint64_t watch_due(const struct watch *watch);
/* `woken`: the descriptor is readable. */
void watch_look(struct watch *watch, bool woken);
/* Once, before anything is attached: what became of resumed captures while no process looked. */
void watch_resume(struct watch *watch);
/* The captures end here: a last look, and the gaps end too. */
void watch_end(struct watch *watch);

/*
 * Of a capture that is resumed and whose interface is not there any more: since when, for the next look; and goes on with the
 * one that has its name now. As capture_move.
 */
int watch_move(struct capture *capture, struct capture_error *error);

#endif
