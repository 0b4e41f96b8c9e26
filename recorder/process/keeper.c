/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keeper's life: lock -> captures opened -> drainer started -> READY -> attached -> (signals, messages) -> detached
 * or left -> drainer stores everything -> summary -> pins removed, unless something in them is not stored yet.
 *
 * It holds the privileges, so it does as little as it can: no database, no packet, no parsing of anything foreign.
 */
#include "recorder/process/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "recorder/core/clock.h"
#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/process/spool_dir.h"
#include "recorder/process/warm.h"
#include "recorder/process/watch.h"

#define END_S 10u            /* what a signal gives the drainer */
#define STOP_S 60u           /* what `stop` gives it, to start and to store */
#define DRAINER_GONE_S 1u    /* from its goodbye to its exit: it has nothing left to store */
#define LOCK_WAIT_S 20u      /* for a drainer whose keeper died */
#define MESSAGES_A_TURN 64u
#define TELLS 32u            /* newest findings of the watch, for a drainer that is started again */
#define KILLED_S 5u          /* from SIGKILL to the end; longer only on a disk that does not answer */
#define RESPAWN_MIN_MS 100
#define RESPAWN_MAX_MS 5000

enum ending { NOT_ENDING, ENDING_STOP, ENDING_LEAVE };

struct keeper {
	const struct settings *settings;
	struct instance instance;
	struct captures captures;
	uint8_t sensor_id[16];
	int lock, control, signals, link;
	int output; /* the file of --write, -1: none */
	int spool;  /* the directory of --spool, -1: none */
	pid_t drainer;
	bool ready, failed, ended, finishing_anew;
	enum ending ending;
	uint64_t deadline;   /* boot ns: the drainer must be gone; 0: none */
	uint64_t respawn_at; /* boot ns, 0: not due */
	unsigned respawn_ms;
	struct link_summary summary;
	struct watch *watch; /* NULL: nothing is attached, or it is ending */
	struct warm *warm;   /* NULL: nothing was attached, or no thread could be made */
	struct link_tell tells[TELLS];
	unsigned ntells; /* so many were told; the newest are kept */
	struct blocks blocks;
	bson_t *reloaded; /* after a SIGHUP: what a drainer that is started again must be told */
	int status;
};

/* ---- the sensor's id ------------------------------------------------------------------------------------------- */

/* One for each sensor name on this machine, made once: <state>/sensors/<name>, 16 bytes. */
static int read_sensor_id(const char *name, uint8_t id[16])
{
	const char *state = instance_state();
	char path[PATH_MAX];
	CLEANUP_CLOSE int fd = -1;
	int n;

	n = snprintf(path, sizeof(path), "%s/sensors", state);
	if (n < 0 || n >= (int)sizeof(path) - 260)
		return -ENAMETOOLONG;
	if ((mkdir(state, 0755) && errno != EEXIST) || (mkdir(path, 0755) && errno != EEXIST))
		goto failed;
	path[n++] = '/';
	for (const char *c = name; *c; c++)
		path[n++] = *c == '/' ? '_' : *c;
	path[n] = '\0';
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		goto failed;
	if (pread(fd, id, 16, 0) == 16)
		return 0;
	if (getrandom(id, 16, 0) != 16 || pwrite(fd, id, 16, 0) != 16 || fsync(fd))
		goto failed;
	return 0;
failed:
	log_error("the sensor's id cannot be kept in %s: %s", path, strerror(errno));
	return -errno;
}

/* ---- lock and signals ------------------------------------------------------------------------------------------ */

static int take_lock(struct keeper *k)
{
	const char *name = k->settings->instance;
	int err = instance_look(&k->instance, name);

	if (err)
		return err;
	for (unsigned tries = 0;; tries++) {
		pid_t holder;

		k->lock = instance_lock(&k->instance);
		if (k->lock != -EBUSY)
			return k->lock < 0 ? k->lock : 0;
		holder = k->instance.keeper;
		if (holder > 1 && (kill(holder, 0) == 0 || errno == EPERM)) {
			log_error("'%s' is being recorded by process %d; see `xdp-recorder status %s`, end it by "
				  "`xdp-recorder stop %s`", name, (int)holder, name, name);
			return -EBUSY;
		}
		if (tries == 0)
			log_info("the keeper of '%s' is gone, its drainer is still storing: waiting for it", name);
		if (tries >= LOCK_WAIT_S * 10) {
			log_error("the drainer of '%s' does not end; see `xdp-recorder status %s`", name, name);
			return -EBUSY;
		}
		usleep(100000);
	}
}

static int open_signals(struct keeper *k)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	k->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return k->signals < 0 ? -errno : 0;
}

/* ---- what the watch finds -------------------------------------------------------------------------------------- */

/* To the drainer that there is, and kept for the next one: its document has the same _id, however often it comes. */
static void on_tell(void *arg, const struct link_tell *tell)
{
	struct keeper *k = arg;

	k->tells[k->ntells++ % TELLS] = *tell;
	if (k->link >= 0)
		link_send(k->link, LINK_TELL, 0, tell, sizeof(*tell), -1);
}

static void tell_again(const struct keeper *k)
{
	unsigned n = k->ntells < TELLS ? k->ntells : TELLS;

	for (unsigned i = k->ntells - n; k->link >= 0 && i < k->ntells; i++)
		link_send(k->link, LINK_TELL, 0, &k->tells[i % TELLS], sizeof(k->tells[0]), -1);
}

static void end_watch(struct keeper *k, bool captures_end)
{
	if (k->watch && captures_end)
		watch_end(k->watch);
	watch_free(k->watch);
	k->watch = NULL;
}

/* ---- the end ---------------------------------------------------------------------------------------------------- */

static void arm_deadline(struct keeper *k, unsigned seconds)
{
	k->deadline = clock_boot_ns() + seconds * NS_PER_SEC;
}

/* Ends capture (or leaves it on) and asks the drainer to store what is there. Without a drainer there is nothing to ask. */
static void begin_end(struct keeper *k, enum ending how, unsigned seconds)
{
	if (k->ending != NOT_ENDING)
		return;
	k->ending = how;
	warm_stop(k->warm);
	end_watch(k, how == ENDING_STOP);
	if (how == ENDING_STOP)
		captures_detach(&k->captures);
	arm_deadline(k, seconds);
	if (k->link < 0)
		return;
	if (how == ENDING_STOP)
		link_send(k->link, LINK_ATTACHED, 0, NULL, 0, -1);
	link_send(k->link, LINK_END, seconds, NULL, 0, -1);
}

static void print_summary(const struct keeper *k)
{
	const struct link_summary *s = &k->summary;
	const struct rec_count *t = s->term;

	if (k->settings->quiet)
		return;
	fprintf(stderr, "%llu packets seen, %llu stored, %llu summarised, %llu filtered, %llu blocked, %llu lost\n",
		t[REC_SEEN].packets, (unsigned long long)s->stored,
		t[REC_SUMMARISED_FLOW].packets + t[REC_SUMMARISED_PREFIX].packets,
		t[REC_FILTERED_OWN].packets + t[REC_FILTERED_EXPR].packets, t[REC_BLOCKED].packets,
		t[REC_LOST_RING_FULL].packets + t[REC_LOST_CONTENDED].packets + t[REC_LOST_NO_RING].packets +
			t[REC_LOST_UNREADABLE].packets);
	for (unsigned i = REC_LOST_RING_FULL; i <= REC_LOST_UNREADABLE; i++) {
		static const char *const reasons[] = {"ring full", "contended", "no ring", "unreadable"};

		if (t[i].packets)
			fprintf(stderr, "  lost, %s: %llu packets, %llu bytes\n",
				reasons[i - REC_LOST_RING_FULL], t[i].packets, t[i].bytes);
	}
}

static bool any_resumed(const struct captures *captures)
{
	for (unsigned i = 0; i < captures->n; i++)
		if (captures->resumed[i])
			return true;
	return false;
}

static const char *where_to(const struct settings *settings)
{
	return !settings->write ? "--mongo URI" : settings->mongo ? "--mongo URI --write FILE" : "--write FILE";
}

static void tell_spooled(const struct keeper *k)
{
	if (k->summary.spooled)
		log_warn("%llu of them are in the spool %s, and not in the database yet: the next `record` of instance %s sends them",
			 (unsigned long long)k->summary.spooled, k->settings->spool, k->settings->instance);
}

/* Is everything stored, the pins can go. If not, they hold the only copy: they stay, and the next process stores it. */
static void tidy(struct keeper *k)
{
	const char *name = k->settings->instance;

	if (k->ended && (k->ready || !k->failed))
		print_summary(k);
	if (k->captures.attached) {
		log_info("capture goes on without a process; `xdp-recorder record --instance %s` takes it up", name);
		return;
	}
	if (k->ended && k->summary.complete) {
		tell_spooled(k);
		captures_remove(&k->captures, false);
		unlink(k->instance.control);
		return;
	}
	if (!k->captures.ever_attached && (!k->ready || k->failed)) {
		/* It ended before anything was captured: what was made here holds nothing. */
		captures_remove(&k->captures, true);
		unlink(k->instance.control);
		if (!k->failed || !any_resumed(&k->captures))
			return;
	}
	k->status = 1;
	if (!k->ended) {
		log_error("the drainer ended without a word: what is in the rings is not stored and stays there; `xdp-recorder stop "
			  "%s %s` stores it", name, where_to(k->settings));
		return;
	}
	if (!k->summary.waiting) {
		log_error("every packet is stored, but not yet all that counts them; `xdp-recorder stop %s %s` stores that", name,
			  where_to(k->settings));
		return;
	}
	log_error("%llu packets are not stored; they stay in the rings: `xdp-recorder stop %s %s` stores them when there is %s",
		  (unsigned long long)k->summary.waiting, name, where_to(k->settings),
		  !k->settings->write ? "a database" : k->settings->mongo ? "a database and room on the disk" : "room on the disk");
}

/* ---- the drainer ------------------------------------------------------------------------------------------------ */

static int start_drainer(struct keeper *k)
{
	k->respawn_at = 0;
	k->link = spawn_drainer(k->settings, &k->captures, k->control, k->output, k->spool, k->lock, k->sensor_id, k->ready, &k->drainer);
	if (k->link >= 0) {
		tell_again(k);
		return 0;
	}
	k->drainer = 0;
	return k->link;
}

static void on_ready(struct keeper *k)
{
	bool first = !k->ready;

	k->ready = true;
	k->respawn_ms = RESPAWN_MIN_MS;
	if (k->ending != NOT_ENDING)
		return;
	if (first && (k->watch = watch_new(&k->captures, on_tell, k)))
		watch_resume(k->watch);
	/* Those that are on already stay as they are. */
	if (captures_attach(&k->captures)) {
		k->status = 1;
		begin_end(k, ENDING_STOP, END_S);
		return;
	}
	link_send(k->link, LINK_ATTACHED, 1, NULL, 0, -1);
	if (k->watch)
		watch_look(k->watch, false);
	if (first)
		k->warm = warm_begin(&k->captures);
	blocks_send(&k->blocks, &k->captures, k->link, true);
	for (unsigned i = 0; first && i < k->captures.n; i++) {
		const struct capture *c = k->captures.list[i];
		const char *rx = capture_mode(c, REC_RX), *tx = capture_mode(c, REC_TX);

		log_info("recording on %s: %s%s%s%s%s", capture_iface(c), *rx ? "rx by " : "", rx,
			 *rx && *tx ? ", " : "", *tx ? "tx by " : "", tx);
		for (unsigned side = 0; side < REC_SIDES; side++)
			if (*capture_note(c, side))
				log_info("%s: %s", capture_iface(c), capture_note(c, side));
	}
}

static void on_message(struct keeper *k, const struct link_message *m)
{
	switch (m->type) {
	case LINK_READY:
		on_ready(k);
		break;
	case LINK_OWN_ADD:
	case LINK_OWN_DEL:
		if (m->len == sizeof(struct rec_own_key))
			captures_own(&k->captures, (const struct rec_own_key *)m->payload, m->type == LINK_OWN_ADD);
		break;
	case LINK_BLOCK_TOLD:
		if (m->len == sizeof(uint64_t))
			blocks_told(&k->blocks, *(const uint64_t *)m->payload);
		break;
	case LINK_ENOUGH:
		if (m->arg)
			k->status = 1;
		begin_end(k, ENDING_STOP, END_S);
		break;
	case LINK_FAILED:
		k->failed = true;
		k->status = 1;
		break;
	case LINK_ENDED:
		if (m->len == sizeof(k->summary)) {
			memcpy(&k->summary, m->payload, sizeof(k->summary));
			k->ended = true;
			arm_deadline(k, DRAINER_GONE_S);
		}
		break;
	default:
		log_warn("message %u of the drainer is not known", m->type);
	}
	if (m->fd >= 0)
		close(m->fd);
}

/*
 * The link first, so that a goodbye is read before the death it announces. A drainer that never stops talking does not keep
 * signals and deadlines waiting.
 */
static void read_link(struct keeper *k)
{
	static struct link_message message;

	for (unsigned turn = 0; k->link >= 0 && turn < MESSAGES_A_TURN; turn++) {
		int n = link_receive(k->link, &message);

		if (n == -EAGAIN)
			return;
		if (n <= 0) {
			close(TAKE_FD(k->link));
			return;
		}
		on_message(k, &message);
	}
}

/* The drainer died while it was storing the rest: another one finishes, once, within the same bound. */
static void finish_anew(struct keeper *k)
{
	uint64_t now = clock_boot_ns();

	if (k->finishing_anew || now >= k->deadline || start_drainer(k))
		return;
	k->finishing_anew = true;
	log_warn("the drainer died while it was ending; a new one stores the rest");
	link_send(k->link, LINK_END, (uint32_t)((k->deadline - now) / NS_PER_SEC), NULL, 0, -1);
}

static void on_child(struct keeper *k)
{
	int status;

	if (!k->drainer || waitpid(k->drainer, &status, WNOHANG) != k->drainer)
		return;
	read_link(k);
	k->drainer = 0;
	captures_forget_own(&k->captures);
	if (k->link >= 0)
		close(TAKE_FD(k->link));
	if (k->ended || k->failed)
		return;
	if (k->ending != NOT_ENDING) {
		finish_anew(k);
		return;
	}
	if (WIFSIGNALED(status))
		log_warn("the drainer died of signal %d; the rings hold what comes, a new one takes over",
			 WTERMSIG(status));
	else
		log_warn("the drainer ended with status %d; the rings hold what comes, a new one takes over",
			 WEXITSTATUS(status));
	if (!k->respawn_ms)
		k->respawn_ms = RESPAWN_MIN_MS;
	k->respawn_at = clock_boot_ns() + k->respawn_ms * 1000000ull;
	k->respawn_ms = k->respawn_ms * 2 > RESPAWN_MAX_MS ? RESPAWN_MAX_MS : k->respawn_ms * 2;
}

/* ---- signals ---------------------------------------------------------------------------------------------------- */

static bool can_change(unsigned index)
{
	static const enum setting_index live[] = {SETTING_batch_packets, SETTING_batch_age_ms, SETTING_in_flight,
						  SETTING_on_outage,	 SETTING_count,	       SETTING_log_level,
						  SETTING_quiet,	 SETTING_verbose,      SETTING_home};

	for (size_t i = 0; i < ARRAY_SIZE(live); i++)
		if (live[i] == index)
			return true;
	return false;
}

static void send_reloaded(const struct keeper *k)
{
	if (k->reloaded && k->link >= 0)
		link_send(k->link, LINK_RELOAD, 0, bson_get_data(k->reloaded), k->reloaded->len, -1);
}

static void reload(struct keeper *k)
{
	struct settings fresh;
	struct settings_problem problem;
	bson_t document = BSON_INITIALIZER;

	if (settings_reload(&fresh, k->settings, SETTINGS_RECORD, &problem)) {
		log_error("%s; the settings stay as they are", problem.text);
		bson_destroy(&document);
		return;
	}
	for (unsigned i = 0; i < SETTINGS; i++)
		if (!can_change(i) && settings_differ(&fresh, k->settings, i))
			log_warn("%s: a new value counts from the next start of `record`", settings_name(i));
	log_set_level(settings_log_level(&fresh));
	settings_to_bson(&fresh, &document);
	if (k->reloaded)
		bson_destroy(k->reloaded);
	k->reloaded = bson_copy(&document);
	send_reloaded(k);
	bson_destroy(&document);
	settings_free(&fresh);
}

static void on_signal(struct keeper *k, unsigned signal)
{
	switch (signal) {
	case SIGINT:
	case SIGTERM:
	case SIGUSR2: /* `stop --keep` */
		if (k->ending != NOT_ENDING) {
			log_info("already ending; a bound of %u s is set", END_S);
			break;
		}
		begin_end(k, signal == SIGUSR2 || (signal == SIGTERM && k->settings->keep) ? ENDING_LEAVE : ENDING_STOP, END_S);
		break;
	case SIGHUP:
		reload(k);
		break;
	case SIGUSR1:
		if (k->link >= 0)
			link_send(k->link, LINK_DUMP, 0, NULL, 0, -1);
		break;
	case SIGCHLD:
		on_child(k);
		break;
	}
}

static void read_signals(struct keeper *k)
{
	struct signalfd_siginfo info;

	while (read(k->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
		on_signal(k, info.ssi_signo);
}

/* ---- the loop --------------------------------------------------------------------------------------------------- */

static int next_wait(const struct keeper *k)
{
	uint64_t now = clock_boot_ns(), due = UINT64_MAX;

	if (k->deadline)
		due = k->deadline;
	if (k->respawn_at && k->respawn_at < due)
		due = k->respawn_at;
	if (k->watch && watch_due(k->watch) < due)
		due = watch_due(k->watch);
	if (due == UINT64_MAX)
		return -1;
	return due <= now ? 0 : (int)((due - now) / 1000000) + 1;
}

/* A process in an uninterruptible wait is not waited for: it has the lock for as long as it lives, so nobody takes over from it. */
static void await_killed(const struct keeper *k)
{
	for (unsigned tries = 0; tries < KILLED_S * 100; tries++) {
		if (waitpid(k->drainer, NULL, WNOHANG) != 0)
			return;
		usleep(10000);
	}
	log_error("the drainer (process %d) hangs in the kernel, on a disk perhaps, and cannot be killed; its instance is locked until "
		  "it ends", (int)k->drainer);
}

static void check_times(struct keeper *k)
{
	uint64_t now = clock_boot_ns();
	bool respawned = k->respawn_at && now >= k->respawn_at && k->ending == NOT_ENDING;

	if (respawned && start_drainer(k)) {
		k->respawn_at = now + RESPAWN_MAX_MS * 1000000ull;
		k->link = -1;
	} else if (k->link >= 0 && respawned) {
		send_reloaded(k);
	}
	if (k->deadline && now >= k->deadline && k->drainer) {
		if (!k->ended)
			log_error("the drainer does not end: it is killed; nothing is lost by that, its recipes are in the journal");
		kill(k->drainer, SIGKILL);
		await_killed(k);
		read_link(k);
		k->drainer = 0;
	}
}

static void loop(struct keeper *k)
{
	while (k->drainer || (k->respawn_at && k->ending == NOT_ENDING)) {
		struct pollfd fds[4] = {
			{.fd = k->signals, .events = POLLIN},
			{.fd = k->link, .events = POLLIN},
			{.fd = k->watch ? watch_fd(k->watch) : -1, .events = POLLIN},
			{.fd = k->blocks.watch, .events = POLLIN},
		};

		poll(fds, 4, next_wait(k));
		read_link(k);
		if (blocks_stirred(&k->blocks) && k->ready && k->link >= 0 && k->ending == NOT_ENDING)
			blocks_send(&k->blocks, &k->captures, k->link, false);
		read_signals(k);
		if (k->watch && (fds[2].revents || clock_boot_ns() >= watch_due(k->watch)))
			watch_look(k->watch, fds[2].revents != 0);
		check_times(k);
	}
}

/* ---- modes ------------------------------------------------------------------------------------------------------ */

/* stop --discard: what is not stored goes, and the rings with it. */
static void discard(struct keeper *k)
{
	captures_detach(&k->captures);
	captures_remove(&k->captures, false);
	unlink(k->instance.control);
	log_warn("'%s' is removed; what it had not stored is thrown away", k->settings->instance);
}

/* --detach: no drainer at all; what comes waits in the rings. */
static void detach(struct keeper *k)
{
	if (captures_attach(&k->captures)) {
		captures_detach(&k->captures);
		captures_remove(&k->captures, true);
		k->status = 1;
		return;
	}
	log_info("capturing without a process; `xdp-recorder record --instance %s` stores what is in the rings",
		 k->settings->instance);
}

static void record(struct keeper *k, enum keeper_mode mode)
{
	uid_t uid;
	gid_t gid;

	if (mode == KEEPER_STOP) {
		k->watch = watch_new(&k->captures, on_tell, k);
		end_watch(k, true);
		captures_detach(&k->captures);
	}
	if (spawn_user(k->settings->user, &uid, &gid) ||
	    (k->control = spawn_control(k->instance.control, uid)) < 0 || start_drainer(k)) {
		captures_remove(&k->captures, true);
		k->status = 1;
		return;
	}
	if (mode == KEEPER_STOP)
		begin_end(k, ENDING_STOP, STOP_S);
	blocks_open(&k->blocks, k->settings->instance);
	loop(k);
	blocks_close(&k->blocks);
	tidy(k);
}

/* The drainer keeps there what the database does not take. */
static int open_spool(struct keeper *k)
{
	uid_t uid;
	gid_t gid;

	if (!spool_dir_wanted(k->settings) || k->settings->detach || k->settings->discard)
		return 0;
	if (spawn_user(k->settings->user, &uid, &gid))
		return -ENOENT;
	k->spool = spool_dir_open(k->settings, uid, gid);
	return k->spool < 0 ? k->spool : 0;
}

/* Before anything is made: a file that cannot be written is the most likely mistake. */
static int open_output(struct keeper *k)
{
	if (!k->settings->write || k->settings->detach)
		return 0;
	k->output = output_open(k->settings);
	return k->output < 0 ? k->output : 0;
}

int keeper_run(const struct settings *settings, enum keeper_mode mode)
{
	struct keeper *k = calloc(1, sizeof(*k));
	int status = 1;

	if (!k)
		return 1;
	k->settings = settings;
	k->lock = k->control = k->signals = k->link = k->output = k->spool = -1;
	log_set_level(settings_log_level(settings));
	if (settings->test_clock && clock_inject(settings->test_clock)) {
		log_error("--test-clock %s: %s", settings->test_clock, strerror(errno));
		free(k);
		return 1;
	}
	if (!take_lock(k) && !open_output(k) && !open_spool(k) && !instance_mount_bpffs() && !read_sensor_id(settings->sensor, k->sensor_id) &&
	    !open_signals(k) && !captures_open(&k->captures, settings, &k->instance, mode == KEEPER_STOP)) {
		for (unsigned i = 0; i < k->captures.n; i++)
			for (unsigned side = 0; side < REC_SIDES; side++)
				if (capture_attached(k->captures.list[i], side) > 0)
					k->captures.attached = k->captures.ever_attached = true;
		if (mode == KEEPER_STOP && settings->discard)
			discard(k);
		else if (mode == KEEPER_RECORD && settings->detach)
			detach(k);
		else
			record(k, mode);
		end_watch(k, false);
		warm_end(k->warm);
		captures_close(&k->captures);
		status = k->status;
	}
	if (k->reloaded)
		bson_destroy(k->reloaded);
	if (k->signals >= 0)
		close(k->signals);
	if (k->control >= 0)
		close(k->control);
	if (k->output >= 0)
		close(k->output);
	if (k->spool >= 0)
		close(k->spool);
	if (k->lock >= 0)
		close(k->lock);
	free(k);
	return status;
}
