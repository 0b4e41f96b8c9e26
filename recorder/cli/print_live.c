/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * print_live.c - `print -i IF`: a capture that is not pinned, beside whatever records the interface.
 *
 * Two processes. This one, with privileges, makes the captures, forks, waits, takes them off again and says the totals. The
 * child reads and prints, as the user of -Z and without any descriptor that could change a program (print_rings.c).
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "recorder/capture/capture.h"
#include "recorder/cli/cmd.h"
#include "recorder/cli/print_rings.h"
#include "recorder/cli/printer.h"
#include "recorder/core/util.h"
#include "recorder/process/keeper_internal.h"

struct live {
	const struct settings *settings;
	const struct filter *filter;
	struct capture *captures[RINGS_CAPTURES];
	unsigned n;
	uint64_t *printed; /* shared with the child */
};

static unsigned sides_of(const struct settings *settings)
{
	return (settings->direction != DIRECTION_OUT ? CAPTURE_SIDE(REC_RX) : 0) |
	       (settings->direction != DIRECTION_IN ? CAPTURE_SIDE(REC_TX) : 0);
}

/* --ring-size is the sum of all rings; of each: the largest power of two in its share. 0: the default. */
static uint64_t ring_bytes(const struct settings *settings, unsigned sides)
{
	unsigned rings = capture_online_cpus() * (unsigned)__builtin_popcount(sides) * (unsigned)settings->interfaces.count;
	uint64_t share = settings->ring_size ? settings->ring_size / rings : capture_ring_default(rings);
	uint64_t bytes = REC_RING_MIN;

	while (bytes * 2 <= share && bytes < REC_RING_MAX)
		bytes *= 2;
	return bytes;
}

static int create(struct live *live)
{
	const struct settings *s = live->settings;
	unsigned sides = sides_of(s);
	struct capture_error error = {""};

	for (size_t i = 0; i < s->interfaces.count; i++) {
		struct capture_spec spec = {
			.iface = s->interfaces.items[i],
			.sides = sides,
			.hook = s->hook == HOOK_XDP ? CAPTURE_HOOK_XDP : s->hook == HOOK_TC ? CAPTURE_HOOK_TC : CAPTURE_HOOK_AUTO,
			.force_clsact = s->clsact,
			.force_generic = s->generic,
			.ring_bytes = ring_bytes(s, sides),
			.filter = live->filter,
		};

		if (capture_create(&live->captures[live->n], &spec, &error))
			return cmd_fail(EXIT_FAILED, "%s", error.text);
		live->n++;
	}
	for (unsigned i = 0; i < live->n; i++)
		if (capture_attach(live->captures[i], &error))
			return cmd_fail(EXIT_FAILED, "%s", error.text);
	return EXIT_DONE;
}

static void take_off(struct live *live)
{
	struct capture_error error = {""};

	for (unsigned i = 0; i < live->n; i++)
		if (capture_detach(live->captures[i], &error))
			cmd_fail(EXIT_FAILED, "%s", error.text);
}

static void close_captures(struct live *live)
{
	while (live->n)
		capture_close(live->captures[--live->n]);
}

/* ---- the child ----------------------------------------------------------------------------------------------- */

static int child_print(struct live *live, struct rings *rings)
{
	struct printer printer;
	int status;

	if (printer_open(&printer, live->settings, NULL)) /* the kernel filters */
		return cmd_fail(EXIT_FAILED, "out of memory");
	status = printer_status(rings_print(rings, &printer, live->printed));
	printer_close(&printer);
	return status;
}

static int child(struct live *live, uid_t uid, gid_t gid, pid_t parent, const sigset_t *mask)
{
	struct rings *rings;
	int err, status;

	printer_catch_signals();
	signal(SIGINT, SIG_IGN); /* a terminal's goes to both; the parent passes it on */
	sigprocmask(SIG_SETMASK, mask, NULL);
	err = spawn_drop_privileges(uid, gid);
	if (err)
		return cmd_fail(EXIT_FAILED, "cannot become user %s: %s", live->settings->user, strerror(-err));
	/* Behind the change of user, which would undo it. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) || getppid() != parent)
		return EXIT_FAILED;
	err = rings_open(&rings, live->captures, live->n);
	if (err)
		return cmd_fail(EXIT_FAILED, "cannot map the rings: %s", strerror(-err));
	close_captures(live);
	status = child_print(live, rings);
	rings_close(rings);
	return status;
}

/* ---- the parent ---------------------------------------------------------------------------------------------- */

static void say_start(const struct live *live)
{
	for (unsigned i = 0; i < live->n; i++) {
		const struct capture *c = live->captures[i];
		const char *rx = capture_mode(c, REC_RX), *tx = capture_mode(c, REC_TX);

		for (unsigned side = 0; side < REC_SIDES; side++)
			if (capture_note(c, side)[0])
				log_warn("%s", capture_note(c, side));
		log_info("printing %s (%s%s%s%s%s)", capture_iface(c), rx[0] ? "rx " : "", rx, rx[0] && tx[0] ? ", " : "",
			 tx[0] ? "tx " : "", tx);
	}
}

/* Until the child has ended; its exit status. Signals are passed on as SIGTERM: the child prints what it has and ends. */
static int wait_child(pid_t pid, const sigset_t *signals)
{
	int status;

	for (;;) {
		int number = sigwaitinfo(signals, NULL);

		if (number == SIGINT || number == SIGTERM || number == SIGHUP)
			kill(pid, SIGTERM);
		if (waitpid(pid, &status, WNOHANG) == pid)
			break;
	}
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	return cmd_fail(EXIT_FAILED, "the printing process ended by signal %d", WTERMSIG(status));
}

/* Adds the counters of one capture to terms. */
static int add_totals(const struct capture *c, uint64_t terms[REC_TERMS])
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), places = REC_SIDES * (size_t)capture_cpus(c);
	size_t bytes = (places * sizeof(struct rec_seconds) + page - 1) & ~(page - 1);
	struct rec_seconds *seconds = mmap(NULL, bytes, PROT_READ, MAP_SHARED, capture_map_fd(c, CAPTURE_SECONDS), 0);

	if (seconds == MAP_FAILED)
		return -errno;
	for (size_t i = 0; i < places; i++) {
		const struct rec_second *newest = &seconds[i].slot[seconds[i].newest % REC_SECONDS];

		for (unsigned term = 0; term < REC_TERMS; term++)
			terms[term] += newest->total[term].packets;
		/* Counted by another context; the total takes it over with the next second. */
		terms[REC_LOST_CONTENDED] += seconds[i].contended.packets - newest->total[REC_LOST_CONTENDED].packets;
	}
	munmap(seconds, bytes);
	return 0;
}

static void say_totals(const struct live *live)
{
	uint64_t printed = __atomic_load_n(live->printed, __ATOMIC_RELAXED), terms[REC_TERMS] = {0}, other;
	char more[80] = "";

	for (unsigned i = 0; i < live->n; i++) {
		int err = add_totals(live->captures[i], terms);

		if (err)
			cmd_fail(EXIT_FAILED, "cannot read the counters: %s", strerror(-err));
	}
	other = terms[REC_LOST_CONTENDED] + terms[REC_LOST_NO_RING] + terms[REC_LOST_UNREADABLE];
	if (other)
		snprintf(more, sizeof(more), ", %llu lost otherwise", (unsigned long long)other);
	fprintf(stderr, "%llu packet%s printed, %llu seen, %llu filtered, %llu lost (ring full)%s\n",
		(unsigned long long)printed, printed == 1 ? "" : "s", (unsigned long long)terms[REC_SEEN],
		(unsigned long long)terms[REC_FILTERED_EXPR], (unsigned long long)terms[REC_LOST_RING_FULL], more);
}

static int run(struct live *live, uid_t uid, gid_t gid)
{
	pid_t parent = getpid(), pid;
	sigset_t signals, before;
	int status;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGCHLD);
	sigprocmask(SIG_BLOCK, &signals, &before);
	status = create(live);
	if (status) {
		take_off(live); /* those that could be put on */
		return status;
	}
	say_start(live);
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		status = cmd_fail(EXIT_FAILED, "cannot start the printing process: %s", strerror(errno));
		take_off(live);
		return status;
	}
	if (pid == 0)
		_exit(child(live, uid, gid, parent, &before));
	status = wait_child(pid, &signals);
	take_off(live);
	if (!live->settings->quiet)
		say_totals(live);
	return status;
}

int print_live(const struct settings *settings, const struct filter *filter)
{
	struct live live = {.settings = settings, .filter = filter};
	char caps[200];
	uid_t uid;
	gid_t gid;
	int status;

	if (settings->interfaces.count > RINGS_CAPTURES)
		return cmd_fail(EXIT_USAGE, "%zu interfaces are named: at most %u can be printed at once",
				settings->interfaces.count, RINGS_CAPTURES);
	if (capture_missing_caps(caps, sizeof(caps)))
		return cmd_fail(EXIT_FAILED,
				"printing an interface needs more rights: %s is missing; run it as root, or read a file with -r",
				caps);
	if (spawn_user(settings->user, &uid, &gid))
		return EXIT_FAILED;
	live.printed = mmap(NULL, sizeof(*live.printed), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (live.printed == MAP_FAILED)
		return cmd_fail(EXIT_FAILED, "out of memory");
	status = run(&live, uid, gid);
	close_captures(&live);
	munmap(live.printed, sizeof(*live.printed));
	return status;
}
