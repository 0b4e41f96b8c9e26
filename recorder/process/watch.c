/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/process/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <sys/socket.h>

#include "recorder/core/clock.h"
#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/ledger/gap.h"

#define LOOK_NS (NS_PER_SEC / 2)
#define STORM_NS (NS_PER_SEC / 50)   /* between two looks, when interfaces change all the time */
#define STALE_NS (3 * NS_PER_SEC / 2) /* the look before is older: this process stood still, an event is no news */
#define HELD_NS NS_PER_SEC	     /* another reason than before counts when it has lasted so long */
#define CALM_NS (60 * NS_PER_SEC)    /* hooks that stay on so long are not being fought over */
#define RETRY_MIN_MS 500u
#define RETRY_MAX_MS 60000u

/* A capture as it was found last. */
struct watched {
	struct capture_look last; /* boot 0: not by this process yet */
	uint64_t former;	  /* boot ns of the newest look of a former process that found all well */
	uint64_t other_since;	  /* boot ns: another reason than the open gap's holds since then, 0: none */
	uint64_t retry_at;	  /* boot ns: no hook is put on before */
	unsigned retry_ms;
	uint64_t put_on; /* boot ns, when it was done last */
	char ringless[64];
};

struct watch {
	struct captures *captures;
	watch_tell *tell;
	void *arg;
	int fd;
	uint64_t looked;
	bool again; /* woken too soon after a look */
	struct watched of[KEEPER_CAPTURES];
};

/* ---- what is said --------------------------------------------------------------------------------------------- */

/* Slots of capture_seen.unseen: the interface, then its hooks. */
static const char *slot_name(unsigned slot)
{
	static const char *const names[1 + REC_SIDES] = {"", " rx", " tx"};

	return names[slot];
}

static void note(struct watch *w, unsigned i, const char *kind, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
static void note(struct watch *w, unsigned i, const char *kind, const char *format, ...)
{
	struct link_tell tell = {.capture = i, .begin = clock_boot_ns()};
	va_list args;

	va_start(args, format);
	vsnprintf(tell.text, sizeof(tell.text), format, args);
	va_end(args);
	snprintf(tell.kind, sizeof(tell.kind), "%s", kind);
	log_warn("%s: %s", capture_iface(w->captures->list[i]), tell.text);
	w->tell(w->arg, &tell);
}

static void tell_gap(struct watch *w, unsigned i, unsigned slot, uint64_t end)
{
	const struct capture_unseen *u = &capture_seen(w->captures->list[i])->unseen[slot];
	const struct link_tell tell = {
		.capture = i, .side = slot, .why = u->why, .by = u->by, .begin = u->begin, .end = end};

	w->tell(w->arg, &tell);
}

/* Begins a gap, or gives the one that is open another reason. Written to the pins before it is told. */
static void gap_opens(struct watch *w, unsigned i, unsigned slot, enum gap_why why, enum gap_by by, uint64_t begin)
{
	struct capture *c = w->captures->list[i];
	struct capture_unseen *u = &capture_seen(c)->unseen[slot];

	u->begin = begin;
	u->by = by;
	__atomic_store_n(&u->why, why, __ATOMIC_RELEASE);
	log_warn("%s%s: %s: packets cannot be seen", capture_iface(c), slot_name(slot), gap_why_name(why));
	tell_gap(w, i, slot, 0);
}

static void gap_closes(struct watch *w, unsigned i, unsigned slot, uint64_t end)
{
	struct capture *c = w->captures->list[i];
	struct capture_unseen *u = &capture_seen(c)->unseen[slot];

	if (!u->why)
		return;
	tell_gap(w, i, slot, end);
	log_info("%s%s: %s for %.1f s, and no longer", capture_iface(c), slot_name(slot), gap_why_name(u->why),
		 (double)(end - u->begin) / 1e9);
	__atomic_store_n(&u->why, GAP_NONE, __ATOMIC_RELEASE);
}

/* ---- what is found -------------------------------------------------------------------------------------------- */

static uint64_t seen_until(const struct capture *c)
{
	uint64_t rx = capture_seen_until(c, REC_RX), tx = capture_seen_until(c, REC_TX);

	return rx > tx ? rx : tx;
}

/* The interface is there again, but not yet as it was: that is still the gap of its absence, for a while. */
static enum gap_why why_unseen(const struct capture_look *l)
{
	return !l->there ? GAP_GONE : !l->up ? GAP_DOWN : GAP_NONE;
}

/* Another reason than the open gap's: one that held only a moment was part of it, and a lasting one is a gap of its own. */
static void reason_changes(struct watch *w, unsigned i, enum gap_why why, const struct capture_look *l)
{
	struct watched *of = &w->of[i];
	const struct capture_unseen *u = &capture_seen(w->captures->list[i])->unseen[0];
	uint64_t since;

	if (why == GAP_GONE && l->boot - u->begin < HELD_NS) { /* it was set down because it was taken away */
		gap_opens(w, i, 0, why, (enum gap_by)u->by, u->begin);
		return;
	}
	if (!of->other_since)
		of->other_since = l->boot;
	if (l->boot - of->other_since < HELD_NS)
		return;
	since = of->other_since;
	of->other_since = 0;
	gap_closes(w, i, 0, since);
	gap_opens(w, i, 0, why, GAP_BY_LOOK, since);
}

/* It is back, but the hooks cannot be put on: from now on that is the reason. */
static void hooks_refused(struct watch *w, unsigned i, const struct capture_look *l)
{
	struct watched *of = &w->of[i];
	uint64_t since;

	if (!of->other_since)
		of->other_since = l->boot;
	if (l->boot - of->other_since < HELD_NS)
		return;
	since = of->other_since;
	of->other_since = 0;
	gap_closes(w, i, 0, since);
	for (enum rec_side side = 0; side < REC_SIDES; side++)
		if (!l->on[side])
			gap_opens(w, i, 1 + side, GAP_DETACHED, GAP_BY_LOOK, since);
}

/* How often the carrier was lost since a former process looked; 0 if none ever did. */
static unsigned downs_unseen(const struct capture *c, const struct capture_look *l)
{
	const struct capture_seen *seen = capture_seen(c);

	return seen->mtu && l->there ? l->downs - seen->downs : 0;
}

/* The last packet's moment where nobody looked, but for a link that was down and up again before it went down for good. */
static uint64_t unseen_since(const struct watched *of, const struct capture *c, enum gap_why why, const struct capture_look *l)
{
	if (of->last.boot)
		return of->last.boot;
	return why == GAP_DOWN && downs_unseen(c, l) > 1 ? of->former : seen_until(c);
}

static void judge_interface(struct watch *w, unsigned i, const struct capture_look *l, bool woken)
{
	struct capture *c = w->captures->list[i];
	struct watched *of = &w->of[i];
	const struct capture_unseen *u = &capture_seen(c)->unseen[0];
	enum gap_why why = why_unseen(l);
	bool fresh = of->last.boot && l->boot - of->last.boot < STALE_NS;

	if (why && u->why && why != u->why) {
		reason_changes(w, i, why, l);
		return;
	}
	if (!why && u->why == GAP_GONE && !(l->on[REC_RX] && l->on[REC_TX])) {
		hooks_refused(w, i, l);
		return;
	}
	of->other_since = 0;
	if (why && !u->why) {
		/* A carrier's loss is told late, the rest at once. */
		bool now = woken && fresh && !(why == GAP_DOWN && l->there && of->last.downs != l->downs);

		gap_opens(w, i, 0, why, now ? GAP_BY_EVENT : of->last.boot ? GAP_BY_LOOK : GAP_BY_PINS,
			  now ? l->boot : unseen_since(of, c, why, l));
	} else if (!why && u->why && (u->why != GAP_GONE || (l->on[REC_RX] && l->on[REC_TX]))) {
		gap_closes(w, i, 0, l->boot);
	} else if (!why && !u->why && of->last.boot && l->downs != of->last.downs) {
		gap_opens(w, i, 0, GAP_DOWN, GAP_BY_COUNT, of->last.boot);
		gap_closes(w, i, 0, l->boot);
	} else if (!why && !u->why && !of->last.boot && downs_unseen(c, l)) {
		note(w, i, "link", "its link went down %u times while no process was there to see when", downs_unseen(c, l));
		gap_opens(w, i, 0, GAP_DOWN, GAP_BY_PINS, of->former);
		gap_closes(w, i, 0, l->boot);
	}
}

static void judge_hooks(struct watch *w, unsigned i, const struct capture_look *l)
{
	struct capture *c = w->captures->list[i];
	const struct capture_unseen *u = capture_seen(c)->unseen;
	const struct watched *of = &w->of[i];

	for (enum rec_side side = 0; side < REC_SIDES; side++) {
		if (!l->there || u[0].why == GAP_GONE) /* its hooks are gone with it: one gap says both */
			gap_closes(w, i, 1 + side, l->boot);
		else if (!l->on[side] && !u[1 + side].why)
			gap_opens(w, i, 1 + side, GAP_DETACHED, of->last.boot ? GAP_BY_LOOK : GAP_BY_PINS,
				  of->last.boot ? of->last.boot : capture_seen_until(c, side));
		else if (l->on[side])
			gap_closes(w, i, 1 + side, l->boot);
	}
}

/* What changed, and is no gap. */
static void judge_rest(struct watch *w, unsigned i, const struct capture_look *l)
{
	struct capture *c = w->captures->list[i];
	struct capture_seen *seen = capture_seen(c);
	struct watched *of = &w->of[i];
	char ringless[sizeof(of->ringless)];

	if (!l->there)
		return;
	if (seen->mtu && l->mtu != seen->mtu)
		note(w, i, "interface", "its MTU is %u, and was %u", l->mtu, seen->mtu);
	if (seen->driver[0] && strcmp(l->driver, seen->driver))
		note(w, i, "interface", "its driver is %s, and was %.31s", l->driver, seen->driver);
	if (strcmp(l->name, of->last.boot && of->last.there ? of->last.name : capture_iface(c)))
		note(w, i, "interface", "it is called %s now; it is recorded as %s all the same", l->name, capture_iface(c));
	capture_ringless(c, ringless, sizeof(ringless));
	if (*ringless && strcmp(ringless, of->ringless))
		note(w, i, "cpu", "CPU %s came online and has no ring: its packets are counted (lost.no_ring), not recorded, until `stop` "
		     "and `record`", ringless);
	memcpy(of->ringless, ringless, sizeof(ringless));
	seen->mtu = l->mtu;
	seen->downs = l->downs;
	memcpy(seen->driver, l->driver, sizeof(seen->driver));
}

/* ---- what can be mended ---------------------------------------------------------------------------------------- */

int watch_move(struct capture *c, struct capture_error *error)
{
	struct capture_unseen *u = &capture_seen(c)->unseen[0];

	if (u->why != GAP_GONE)
		*u = (struct capture_unseen){
			.begin = u->why ? u->begin : seen_until(c), .why = GAP_GONE, .by = u->why ? u->by : GAP_BY_PINS};
	return capture_move(c, error);
}

/* True: something was done, look once more. */
static bool mend(struct watch *w, unsigned i, const struct capture_look *l)
{
	struct capture *c = w->captures->list[i];
	struct watched *of = &w->of[i];
	struct capture_error error = {""};
	static struct log_limit limit;
	int err;

	if (l->there && l->on[REC_RX] && l->on[REC_TX]) {
		if (of->retry_ms && l->boot - of->put_on > CALM_NS)
			of->retry_ms = 0;
		return false;
	}
	if (l->boot < of->retry_at)
		return false;
	err = l->there ? 0 : capture_move(c, &error);
	if (err == -ENODEV)
		return false; /* nothing of its name is there */
	if (!err)
		err = capture_attach(c, &error);
	of->retry_ms = !of->retry_ms ? RETRY_MIN_MS : of->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : of->retry_ms * 2;
	of->retry_at = l->boot + of->retry_ms * 1000000ull;
	of->put_on = l->boot;
	if (err)
		log_limited(&limit, 10, LOG_ERROR, "%s; tried again", error.text);
	return !err;
}

/* False: it cannot be looked at. */
static bool look_once(struct watch *w, unsigned i, bool woken)
{
	struct capture *c = w->captures->list[i];
	struct capture_look l;
	int err;

	if (!w->of[i].last.boot)
		w->of[i].former = capture_seen(c)->looked;
	err = capture_look(c, &l);
	if (err) {
		static struct log_limit limit;

		log_limited(&limit, 60, LOG_WARNING, "%s cannot be looked at: %s", capture_iface(c), strerror(-err));
		return false;
	}
	judge_interface(w, i, &l, woken);
	judge_hooks(w, i, &l);
	judge_rest(w, i, &l);
	w->of[i].last = l;
	return true;
}

static void look_at(struct watch *w, unsigned i, bool woken)
{
	for (unsigned turn = 0; turn < 2; turn++)
		if (!look_once(w, i, woken) || !mend(w, i, &w->of[i].last))
			return;
}

void watch_resume(struct watch *w)
{
	for (unsigned i = 0; i < w->captures->n; i++)
		if (w->captures->resumed[i])
			look_at(w, i, false);
}

void watch_look(struct watch *w, bool woken)
{
	uint64_t now = clock_boot_ns();
	char drop[4096];

	while (woken && recv(w->fd, drop, sizeof(drop), MSG_DONTWAIT) >= 0)
		;
	w->again = woken && now - w->looked < STORM_NS;
	if (w->again)
		return;
	w->looked = now;
	for (unsigned i = 0; i < w->captures->n; i++)
		look_at(w, i, woken);
}

uint64_t watch_due(const struct watch *w)
{
	return w->looked + (w->again ? STORM_NS : LOOK_NS);
}

void watch_end(struct watch *w)
{
	for (unsigned i = 0; i < w->captures->n; i++) {
		if (capture_seen(w->captures->list[i])->mtu) /* else nobody ever looked: it was not attached yet */
			look_once(w, i, false);		     /* this process may be the first since long ago */
		for (unsigned slot = 0; slot < 1 + REC_SIDES; slot++)
			gap_closes(w, i, slot, clock_boot_ns());
	}
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

int watch_fd(const struct watch *w)
{
	return w->fd;
}

struct watch *watch_new(struct captures *captures, watch_tell *tell, void *arg)
{
	struct sockaddr_nl groups = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK | RTMGRP_TC};
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->captures = captures;
	w->tell = tell;
	w->arg = arg;
	w->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (w->fd >= 0 && bind(w->fd, (struct sockaddr *)&groups, sizeof(groups)))
		close(TAKE_FD(w->fd));
	if (w->fd < 0)
		log_warn("the kernel does not tell of changes of interfaces (%s): they are looked at twice a second", strerror(errno));
	return w;
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	if (w->fd >= 0)
		close(w->fd);
	free(w);
}
