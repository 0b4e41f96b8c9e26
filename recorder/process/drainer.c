/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The drainer's life.
 *
 *   keeper's messages (settings, descriptors) -> lanes opened, former recipes taken over
 *   -> worker: database (if there is one) opened, migrated, days prepared -> READY -> (keeper attaches) -> recording
 *   -> END: cut what is there, settle it, close the last second, say goodbye -> handles closed, loop empty, memory free
 *
 * Shutdown is always that order: stop producing, drain, flush, wait for the sink, close handles, uv_loop_close() == 0.
 */
#include "recorder/process/drainer.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/process/keeper.h"

#define BACKSTOP_MS 100
#define CANCEL_MS 4500 /* of the time given for the end: what a cancelled call may still take (DB_CONNECT_MS), and closing */
#define OWN_SCAN_MS 50

static void finish(struct drainer *d);

const char *drainer_state_name(const struct drainer *d)
{
	static const char *const names[] = {"starting", "recording", "draining", "stopping"};

	return names[d->state];
}

/* ---- timers --------------------------------------------------------------------------------------------------- */

static void check_clock(struct drainer *d)
{
	struct clock_sample sample = clock_sample();

	for (unsigned i = 0; i < d->nlanes; i++)
		lane_check_clock(&d->lanes[i], &sample, false);
}

static void check_count(struct drainer *d)
{
	uint64_t stored = 0; /* by this process */

	for (unsigned i = 0; i < d->nlanes; i++)
		stored += pipeline_stored(&d->lanes[i]).packets - d->lanes[i].stored_before;
	if (!d->settings->count || d->enough_sent || stored < d->settings->count)
		return;
	d->enough_sent = true;
	link_send(d->link, LINK_ENOUGH, 0, NULL, 0, -1);
}

static void on_second(uv_timer_t *timer)
{
	struct drainer *d = timer->data;
	static unsigned ticks;

	check_clock(d);
	if (d->state != DRAINER_RECORDING && d->state != DRAINER_ENDING)
		return;
	upstream_check_days(d);
	gaps_look(d);
	storage_check_counts(d);
	spooling_look(d);
	floods_look(d);
	if (++ticks % 10 == 0)
		addresses_refresh(d);
	book_horizon(d);
}

static void on_backstop(uv_timer_t *timer)
{
	struct drainer *d = timer->data;

	spooling_hurry(d);
	pipeline_tick(d);
	check_count(d);
	upstream_check_reader(d);
}

static void on_own_scan(uv_timer_t *timer)
{
	own_scan(timer->data);
}

static void on_own_new(uv_async_t *async)
{
	own_scan(async->data);
}

/* On a worker: the connection exists, nothing is sent yet. */
static void on_connected(void *arg)
{
	struct drainer *d = arg;

	uv_async_send(&d->own_new);
}

static void arm_step(struct drainer *d)
{
	struct itimerspec never = {.it_value = {.tv_sec = (time_t)1 << 40}};

	timerfd_settime(d->step_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL);
}

/* The wall clock was set: ECANCELED is how timerfd says so. */
static void on_step(uv_poll_t *poll, int status, int events)
{
	struct drainer *d = poll->data;
	uint64_t expired;

	(void)status;
	(void)events;
	if (read(d->step_fd, &expired, sizeof(expired)) < 0 && errno == EAGAIN)
		return;
	arm_step(d);
	check_clock(d);
}

static int discard_bell(void *context, void *data, size_t len)
{
	(void)context;
	(void)data;
	(void)len;
	return 0;
}

static void on_bell(uv_poll_t *poll, int status, int events)
{
	struct lane *lane = poll->data;

	(void)status;
	(void)events;
	ring_buffer__consume(lane->bell);
	pipeline_tick(lane->drainer);
}

/* ---- handles --------------------------------------------------------------------------------------------------- */

static int open_bells(struct drainer *d)
{
	for (unsigned i = 0; i < d->nlanes; i++) {
		struct lane *lane = &d->lanes[i];

		lane->bell = ring_buffer__new(lane->map_fd[CAPTURE_BELL], discard_bell, NULL, NULL);
		if (!lane->bell)
			return -errno;
		lane->bell_poll.data = lane;
		uv_poll_init(&d->loop, &lane->bell_poll, ring_buffer__epoll_fd(lane->bell));
		uv_poll_start(&lane->bell_poll, UV_READABLE, on_bell);
	}
	return 0;
}

static int open_handles(struct drainer *d)
{
	uint16_t port;

	d->busy.data = d->backstop.data = d->second.data = d->own_scan.data = d->deadline.data = d->replay.again.data = d;
	uv_timer_init(&d->loop, &d->busy);
	uv_timer_init(&d->loop, &d->backstop);
	uv_timer_init(&d->loop, &d->second);
	uv_timer_init(&d->loop, &d->own_scan);
	uv_timer_init(&d->loop, &d->deadline);
	uv_timer_init(&d->loop, &d->replay.again);
	d->handles_open = true;
	uv_timer_start(&d->backstop, on_backstop, BACKSTOP_MS, BACKSTOP_MS);
	uv_timer_start(&d->second, on_second, 1000, 1000);
	if (d->db && db_ports(d->db, &port, 1)) {
		uv_timer_start(&d->own_scan, on_own_scan, 1, OWN_SCAN_MS);
		d->own_new.data = d;
		uv_async_init(&d->loop, &d->own_new, on_own_new);
		db_on_connect(d->db, on_connected, d);
	}
	d->step_fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
	if (d->step_fd >= 0) {
		d->step.data = d;
		d->stepping = uv_poll_init(&d->loop, &d->step, d->step_fd) == 0;
		arm_step(d);
		if (d->stepping)
			uv_poll_start(&d->step, UV_READABLE, on_step);
	}
	return open_bells(d);
}

static void close_if_open(uv_handle_t *handle, void *arg)
{
	(void)arg;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void close_handles(struct drainer *d)
{
	/* Flights and puts free themselves in their close callbacks: they are closed by those who own them. */
	if (d->handles_open) {
		close_if_open((uv_handle_t *)&d->busy, NULL);
		close_if_open((uv_handle_t *)&d->backstop, NULL);
		close_if_open((uv_handle_t *)&d->second, NULL);
		close_if_open((uv_handle_t *)&d->own_scan, NULL);
		close_if_open((uv_handle_t *)&d->deadline, NULL);
		close_if_open((uv_handle_t *)&d->replay.again, NULL);
	}
	if (d->own_new.data)
		close_if_open((uv_handle_t *)&d->own_new, NULL);
	if (d->stepping)
		close_if_open((uv_handle_t *)&d->step, NULL);
	for (unsigned i = 0; i < d->nlanes; i++)
		if (d->lanes[i].bell_poll.data)
			close_if_open((uv_handle_t *)&d->lanes[i].bell_poll, NULL);
	if (d->link_poll.data)
		close_if_open((uv_handle_t *)&d->link_poll, NULL);
	control_close(d);
}

/* ---- the end --------------------------------------------------------------------------------------------------- */

void drainer_summary(const struct drainer *d, struct link_summary *summary)
{
	memset(summary, 0, sizeof(*summary));
	summary->complete = d->sink_ready && book_idle(d) && floods_idle(d);
	for (unsigned i = 0; i < d->nlanes; i++) {
		const struct lane *lane = &d->lanes[i];

		for (unsigned s = 0; s < REC_SIDES; s++) {
			struct rec_count side[REC_TERMS];

			if (!lane->sides[s].present)
				continue;
			balance_now(&lane->sides[s].balance, side);
			for (unsigned t = 0; t < REC_TERMS; t++) {
				summary->term[t].packets += side[t].packets;
				summary->term[t].bytes += side[t].bytes;
			}
		}
		summary->stored += pipeline_stored(lane).packets;
		if (!pipeline_idle(lane))
			summary->complete = 0;
	}
	if (!d->attached && !d->final_horizon)
		summary->complete = 0;
	spooling_holds(d, &summary->spooled);
	summary->waiting = summary->term[REC_PUBLISHED].packets - summary->stored;
}

static bool all_idle(const struct drainer *d)
{
	for (unsigned i = 0; i < d->nlanes; i++)
		if (!pipeline_idle(&d->lanes[i]))
			return false;
	return true;
}

/* Everything that can be stored is: says so, closes. Called whenever something has landed. */
void drainer_check_end(struct drainer *d)
{
	unsigned background = (unsigned)d->replay.busy + d->starting; /* nobody waits for these */

	if (d->state != DRAINER_ENDING || d->working > background || (d->starting && !d->sink_ready))
		return;
	if (d->sink_ready && !d->gave_up) {
		if (!all_idle(d))
			return;
		if (!d->attached && !d->final_horizon) {
			book_horizon(d);
			return;
		}
		book_rows(d);
		floods_tick(d);
		if (d->working > background || !book_idle(d) || !floods_idle(d))
			return;
		if (spooling_goes_on(d)) {
			spooling_go_on(d);
			return;
		}
	}
	if (background) { /* the database is away: what is kept stays where it is */
		if (!d->gave_up)
			upstream_give_up(d);
		return;
	}
	finish(d);
}

static void on_deadline(uv_timer_t *timer)
{
	struct drainer *d = timer->data;

	log_warn("time is up: what is not stored stays in the rings");
	upstream_give_up(d);
	drainer_check_end(d);
}

void drainer_end(struct drainer *d, uint32_t seconds)
{
	if (d->state == DRAINER_ENDING || d->state == DRAINER_CLOSING)
		return;
	d->state = DRAINER_ENDING;
	uv_timer_start(&d->deadline, on_deadline, seconds * 1000 > 2 * CANCEL_MS ? seconds * 1000 - CANCEL_MS : CANCEL_MS, 0);
	for (unsigned i = 0; i < d->nlanes; i++)
		if (lane_has_begun(&d->lanes[i]))
			book_event(d, &d->lanes[i], d->attached ? "leave" : "stop",
				   d->attached ? "the recorder ends, capture goes on" : "capture has ended", NULL);
	if (!d->sink_ready && d->settings->database_wait_ms == SETTINGS_FOREVER && all_idle(d))
		upstream_give_up(d); /* nothing to wait for */
	/* Capture goes on behind us: store what was there at this moment, the rest is the next process's. */
	for (unsigned i = 0; d->attached && i < d->nlanes; i++)
		for (unsigned r = 0; r < d->lanes[i].nrings; r++)
			d->lanes[i].rings[r].limit = ring_head(&d->lanes[i].rings[r]);
	pipeline_tick(d);
	book_horizon(d);
	drainer_check_end(d);
}

static void finish(struct drainer *d)
{
	struct link_summary summary;

	if (d->state == DRAINER_CLOSING)
		return;
	drainer_summary(d, &summary);
	if (summary.complete && !d->attached)
		upstream_end_file(d);
	d->state = DRAINER_CLOSING;
	link_send(d->link, LINK_ENDED, (uint32_t)d->exit_status, &summary, sizeof(summary), -1);
	for (unsigned i = 0; i < d->nlanes; i++)
		pipeline_drop(&d->lanes[i]);
	book_drop(d);
	floods_drop(d);
	close_handles(d);
}

/* It cannot go on: said already. Ends as soon as no worker has anything of ours. */
void drainer_fail(struct drainer *d)
{
	d->exit_status = 1;
	link_send(d->link, LINK_FAILED, 1, NULL, 0, -1);
	d->state = DRAINER_ENDING;
	upstream_give_up(d);
	drainer_check_end(d);
}

/* ---- the beginning --------------------------------------------------------------------------------------------- */

static int add_lane(struct drainer *d, const struct link_message *message)
{
	struct lane *lanes = realloc(d->lanes, (d->nlanes + 1) * sizeof(*lanes));
	struct lane *lane;
	unsigned places;

	if (!lanes)
		return -ENOMEM;
	d->lanes = lanes;
	lane = &lanes[d->nlanes];
	memset(lane, 0, sizeof(*lane));
	if (message->len != sizeof(lane->info))
		return -EBADMSG;
	memcpy(&lane->info, message->payload, sizeof(lane->info));
	for (unsigned i = 0; i < CAPTURE_MAPS; i++)
		lane->map_fd[i] = -1;
	places = REC_SIDES * lane->info.cpus;
	lane->ring_fd = malloc(places * sizeof(*lane->ring_fd));
	if (!lane->ring_fd)
		return -ENOMEM;
	for (unsigned i = 0; i < places; i++)
		lane->ring_fd[i] = -1;
	d->nlanes++;
	return 0;
}

static int take_descriptor(struct drainer *d, struct link_message *message)
{
	struct lane *lane = d->nlanes ? &d->lanes[d->nlanes - 1] : NULL;
	unsigned place;

	if (!lane || message->fd < 0)
		return -EBADMSG;
	if (message->type == LINK_MAP) {
		if (message->arg >= CAPTURE_MAPS)
			return -EBADMSG;
		lane->map_fd[message->arg] = TAKE_FD(message->fd);
		return 0;
	}
	place = (message->arg >> 16) * lane->info.cpus + (message->arg & 0xffff);
	if (place >= REC_SIDES * lane->info.cpus)
		return -EBADMSG;
	lane->ring_fd[place] = TAKE_FD(message->fd);
	return 0;
}

static int take_settings(struct drainer *d, const struct link_message *message)
{
	struct settings_problem problem = {""};
	bson_t document;

	d->settings = calloc(1, sizeof(*d->settings));
	if (!d->settings || !bson_init_static(&document, message->payload, message->len) ||
	    settings_from_bson(d->settings, &document, &problem)) {
		log_error("settings from the keeper: %s", problem.text);
		return -EBADMSG;
	}
	log_set_level(settings_log_level(d->settings));
	return d->settings->test_clock ? clock_inject(d->settings->test_clock) : 0;
}

/* Everything up to LINK_START, on the blocking socket. */
static int read_start(struct drainer *d)
{
	struct link_message *message = malloc(sizeof(*message));
	int err = message ? 0 : -ENOMEM;
	bool started = false;

	while (!err && !started) {
		int n = link_receive(d->link, message);

		if (n <= 0) {
			err = n ? n : -EPIPE;
			break;
		}
		switch (message->type) {
		case LINK_SETTINGS:
			err = take_settings(d, message);
			break;
		case LINK_CONTROL:
			d->control = message->fd;
			break;
		case LINK_CAPTURE:
			err = add_lane(d, message);
			break;
		case LINK_MAP:
		case LINK_RING:
			err = take_descriptor(d, message);
			break;
		case LINK_FILE:
			d->file_fd = message->fd;
			d->file_format = (enum file_format)message->arg;
			break;
		case LINK_SPOOL:
			d->spool_fd = message->fd;
			break;
		case LINK_START:
			memcpy(d->sensor_id, message->payload, sizeof(d->sensor_id));
			d->attached = message->arg & LINK_START_ATTACHED;
			if (message->arg & LINK_START_AGAIN && d->settings)
				d->settings->database_wait_ms = SETTINGS_FOREVER;
			started = true;
			break;
		default:
			err = -EBADMSG;
		}
	}
	free(message);
	return err;
}

static int drainer_start(struct drainer *d)
{
	char threads[16];
	int err = read_start(d);

	if (err || !d->settings || !d->nlanes) {
		log_error("the keeper's messages: %s", strerror(err ? -err : EBADMSG));
		return err ? err : -EBADMSG;
	}
	/* As many threads as can block on the database, and some that never wait behind them. */
	snprintf(threads, sizeof(threads), "%u",
		 (unsigned)(d->settings->in_flight * d->nlanes + 2 * d->nlanes + 5));
	setenv("UV_THREADPOOL_SIZE", threads, 1);
	if (fcntl(d->link, F_SETFL, O_NONBLOCK))
		return -errno;
	d->link_poll.data = d;
	uv_poll_init(&d->loop, &d->link_poll, d->link);
	uv_poll_start(&d->link_poll, UV_READABLE, messages_on_link);
	err = upstream_open(d);
	for (unsigned i = 0; !err && i < d->nlanes; i++) {
		d->lanes[i].drainer = d;
		err = lane_open(&d->lanes[i]);
		if (err)
			log_error("%s: the capture's memory cannot be used: %s", d->lanes[i].info.iface, strerror(-err));
	}
	if (!err)
		err = open_handles(d);
	if (!err)
		err = control_open(d);
	if (err)
		return err;
	upstream_start(d);
	return 0;
}

static void drainer_free(struct drainer *d)
{
	for (unsigned i = 0; i < d->nlanes; i++) {
		if (d->lanes[i].bell)
			ring_buffer__free(d->lanes[i].bell);
		lane_close(&d->lanes[i]);
	}
	free(d->lanes);
	upstream_close(d);
	addresses_free(d);
	if (d->settings)
		settings_free(d->settings);
	free(d->settings);
	free(d->own);
	if (d->step_fd >= 0)
		close(d->step_fd);
}

/*
 * A batch comes and goes with some pieces of one to eight megabytes (its records, their order, what libmongoc makes of each command): they stay with the
 * process, since a page that is new costs 0.5 us, and 20 where the hypervisor keeps the page tables. What is larger is kept by its owner
 * (core/turns, and mongo's spare buffers for commands: core/pages) or goes back to the system.
 */
static void set_memory(void)
{
	mallopt(M_ARENA_MAX, 4);
	mallopt(M_MMAP_THRESHOLD, 16 << 20);
	mallopt(M_TRIM_THRESHOLD, 16 << 20);
}

int drainer_main(int link)
{
	struct drainer *d = calloc(1, sizeof(*d));
	int status;

	log_set_role("drainer");
	set_memory();
	signal(SIGPIPE, SIG_IGN);
	/* The keeper speaks to us over the link; a terminal's ^C, and a service manager's SIGTERM, go to both. */
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	if (!d)
		return 1;
	d->link = link;
	d->control = d->step_fd = d->file_fd = d->spool_fd = -1;
	d->started_boot = clock_boot_ns();
	d->started_wall = clock_wall_ns();
	uv_loop_init(&d->loop);
	uv_mutex_init(&d->start_lock);
	if (drainer_start(d))
		drainer_fail(d);
	uv_run(&d->loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&d->loop))
		log_error("the loop was left with open handles");
	drainer_free(d);
	status = d->exit_status;
	free(d);
	return status;
}
