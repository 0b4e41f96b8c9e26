/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * drainer.h - the application object of the unprivileged process: the only thing that sees all stages.
 *
 *   drainer.c   life: start, ticks, signals of the keeper, the end
 *   lane.c      one capture's memory: maps, rings, journal, takeover
 *   pipeline.c  batches on their way: cut -> prepare -> recipe -> write -> settled; open.c takeover.c
 *   book.c      the small documents: balance rows at each horizon, events
 *   gaps.c      what could not be seen
 *   upstream.c  database and file: opening, the coming days, what they say
 *   storage.c   what the server takes: buckets or documents
 *   addresses.c which addresses are ours
 *   spool.c     what the spool keeps, on its way to the database
 *   own.c       the recorder's own connections, found among its sockets
 *   control.c   the status socket
 *
 * Everything here belongs to the loop thread. Workers get a flight or a put and return it; those that start the database, look at its
 * days, look for gaps and replay write fields of their own here, which the loop reads only when they are done (starting, days_busy,
 * gaps_busy, replay.busy), or under start_lock.
 */
#ifndef XDP_RECORDER_PROCESS_DRAINER_H
#define XDP_RECORDER_PROCESS_DRAINER_H

#include <uv.h>

#include "recorder/capture/capture.h"
#include "recorder/db/connect.h"
#include "recorder/db/days.h"
#include "recorder/db/migrate.h"
#include "recorder/db/probe.h"
#include "recorder/ledger/balance.h"
#include "recorder/ledger/journal.h"
#include "recorder/process/floods.h"
#include "recorder/process/link.h"
#include "recorder/settings/settings.h"
#include "recorder/sink/file.h"
#include "recorder/sink/mongo.h"
#include "recorder/sink/spool.h"
#include "recorder/source/cut.h"

struct drainer;
struct lane;

/* A batch between cut and settled. */
enum flight_state {
	FLIGHT_PREPARING, /* on a worker: order, digest, encode */
	FLIGHT_PREPARED,  /* waits for its predecessor's digest */
	FLIGHT_WRITING,   /* on a worker: packets, ledger entry */
	FLIGHT_WAITING,   /* a timer will try again */
	FLIGHT_OPEN,      /* acknowledged as it is, and still growing: the last of its lane, replaced by its larger self */
	FLIGHT_SETTLED,   /* acknowledged; waits for its predecessors to be settled */
	FLIGHT_HELD,      /* the sink was told to end first: the recipe stays for the next process */
};

struct flight {
	uv_work_t work;
	uv_timer_t again;
	struct lane *lane;
	struct flight *next;
	struct batch *batch;
	struct batch *held; /* of an open batch: the acknowledged revision, until its larger self is */
	struct sink_job *job;
	uint64_t sent; /* boot ns: when this revision was cut */
	size_t encoded; /* batch->encoded, as soon as it is known */
	bool lingering;
	bool ordered; /* and has its digest */
	bool chained; /* its digest is in the lane's chain */
	bool rewrite; /* what its recipe says is not what is to be sent: written anew first */
	int recipe; /* index in the journal, -1: not written yet */
	enum flight_state state;
	int error; /* of preparing, -errno */
	enum sink_outcome outcome;
	struct sink_report report;
};

/* A small document on its way; copies everything. */
struct put {
	uv_work_t work;
	uv_timer_t again;
	struct drainer *drainer;
	struct put *next;
	char family[16];
	uint32_t day;
	bson_t document;
	bool drops;
	uint8_t drop_from[BALANCE_ID_LEN], drop_to[BALANCE_ID_LEN];
	enum sink_outcome outcome;
	struct sink_report report;
	uint64_t stamp; /* of a change of the block list */
	void (*settled)(struct put *put); /* on the loop, only when settled; before the put is freed */
	void *arg;
};

struct side {
	bool present;
	struct balance balance;
	struct balance_row row; /* on its way */
	struct put *put;        /* its document on its way, NULL: none */
	struct lane *lane;
};

struct lane {
	struct drainer *drainer;
	struct link_capture info;
	struct batch_source source;
	int map_fd[CAPTURE_MAPS];
	union rec_desk *desk;
	size_t desk_bytes;
	struct rec_seconds *seconds;
	size_t seconds_bytes;
	struct journal *journal;
	struct ring_buffer *bell;
	uv_poll_t bell_poll;
	int *ring_fd; /* while the link speaks, [side * cpus + cpu] */
	struct ring *rings;
	unsigned nrings;
	uint64_t *horizon_head; /* heads as read behind the newest horizon */

	struct flight *first, *last; /* in number order */
	unsigned flights;
	unsigned lingering; /* of them: written, and waiting to be believed; they take a recipe, but no worker */
	uint64_t next_number;
	uint8_t chain[DIGEST_LEN]; /* digest of the newest batch with a recipe */

	struct side sides[REC_SIDES];
	struct floods floods;
	uint64_t settled_batches;
	uint64_t stored_before;   /* packets, by former processes */
	struct rec_count stored;  /* since the capture began: acknowledged and settled in order */
	uint64_t ring_peak;       /* bytes, the fullest that a ring was at a tick */
	bool started;             /* the start event is written */
	uint32_t unseen[1 + REC_SIDES]; /* enum gap_why of the gaps that are open: the interface, its hooks */
};

enum drainer_state { DRAINER_STARTING, DRAINER_RECORDING, DRAINER_ENDING, DRAINER_CLOSING };

struct drainer {
	uv_loop_t loop;
	uv_poll_t link_poll;
	uv_timer_t busy;     /* runs while there is something in the rings */
	uv_timer_t backstop; /* 100 ms: if a bell was missed */
	uv_timer_t second;   /* 1 s: clock, horizon, days, balance */
	uv_timer_t own_scan; /* 50 ms, only with a database over TCP */
	uv_async_t own_new;  /* a connection was made just now: do not wait for the scan */
	uv_timer_t deadline;
	uv_poll_t step; /* timerfd that is cancelled when the wall clock is set */
	uv_pipe_t listener; /* status */
	unsigned askers;
	uv_work_t start_work, horizon_work, days_work;
	bool horizon_busy, horizon_last, days_busy, own_scanning, stepping, gaps_busy;

	int link;
	int control;
	int step_fd;
	int spool_fd; /* directory of --spool, until the sink has it; -1: none */
	int file_fd; /* of --write, until the sink has it; -1: none */
	enum file_format file_format;
	struct settings *settings;
	enum drainer_state state;
	int exit_status;
	bool attached;    /* packets come */
	bool ready;       /* LINK_READY was sent */
	bool sink_ready;  /* batches may be written */
	bool db_ready;    /* migrated, days prepared; without that they go to the spool */
	bool starting;    /* a worker is at that */
	bool patient;     /* as long as it takes: meanwhile the spool is there */
	bool enough_sent;
	bool handles_open;
	bool gaps_known;    /* what was before these captures was looked up */
	bool final_horizon; /* a horizon behind the end of capture was read */
	uint8_t sensor_id[16];

	struct lane *lanes;
	unsigned nlanes;

	struct db *db;		 /* NULL without --mongo, like days and mongo */
	struct days *days;
	struct migrations migrations;
	struct sink *mongo;
	struct sink *spool; /* in front of mongo; NULL with --spool none */
	struct {
		uv_work_t work;
		uv_timer_t again;
		bool busy;
		enum sink_outcome outcome;
		struct sink_report report;
		bool full; /* this and what follows is said */
		unsigned calm; /* seconds since something was refused */
		uint64_t refused, damaged, aside, torn;
	} replay;
	struct sink *file; /* NULL without --write */
	struct sink *sink; /* the one of them that there is, or both as one */
	bool gave_up;	   /* the sink was told to end: what is not stored stays in the rings */
	struct ends_table *ends;
	struct retired {
		struct ends_table *table;
		struct retired *next;
	} *retired;
	uint32_t days_first, days_last; /* prepared */
	unsigned days_age;              /* seconds since */
	uint32_t days_wanted_first, days_wanted_last;
	char problem[200];              /* newest from the sink; empty when it keeps up. Of the loop */
	uv_mutex_t start_lock;		/* of start_problem: the worker that waits for the database writes it */
	char start_problem[200];
	struct probe_storage storage; /* as the newest probe found it, when storage_known */
	bool storage_known;
	struct probe_storage probed;  /* the worker's, like server, while it starts or looks at the days */
	struct db_server server;      /* that was probed */
	bool probed_new;
	uint64_t check_failed, buckets_refused; /* so many are said */
	enum db_result start_result;
	uint64_t latency_ns;
	uint64_t away_since; /* boot ns, 0: the sink takes what it is given */
	bool away_batch;     /* batches are not taken; small documents may be, which a file has no place for */
	uint64_t started_boot;
	int64_t started_wall;
	uint64_t horizon; /* boot time of the newest one, 0: none */
	uint64_t horizon_asked;

	struct put *puts, *puts_last; /* events: in order, one at a time */
	unsigned nputs;
	unsigned working; /* flights and puts on workers */
	unsigned block_entries; /* of the block list */
	struct rec_own_key *own; /* connections told to the keeper */
	unsigned nowns;
};

/* lane.c */
int lane_open(struct lane *lane);  /* maps everything, takes over what is in the journal */
void lane_close(struct lane *lane); /* after its handles are closed */
struct clock_pair lane_pair_at(const struct lane *lane, uint64_t boot);
bool lane_has_begun(struct lane *lane); /* it was attached, whether or not we were told; tells `start` if we were not */
uint64_t lane_first_second(const struct lane *lane); /* of its balance: boot second */
void lane_check_clock(struct lane *lane, const struct clock_sample *sample, bool takeover);

/* pipeline.c */
void pipeline_tick(struct drainer *d);
bool pipeline_take_over(struct lane *lane); /* recipes of the former process; false: out of memory */
bool pipeline_idle(const struct lane *lane); /* nothing to cut, nothing on its way */
void pipeline_drop(struct lane *lane);       /* forgets what is on its way; no worker may have any of it */
void pipeline_resume(struct drainer *d);    /* the sink became ready */
struct rec_count pipeline_stored(const struct lane *lane); /* since the capture began, open batches included */
/* The revision of the lane's open batch that is stored, when everything before it is settled; NULL: none. */
const struct batch *pipeline_acknowledged(const struct lane *lane);

/* book.c */
void book_horizon(struct drainer *d);  /* asks for one; its rows follow */
void book_rows(struct drainer *d);     /* rows that can be written now */
bool book_idle(const struct drainer *d);
void book_drop(struct drainer *d); /* forgets what is on its way; no worker may have any of it */
void book_event(struct drainer *d, struct lane *lane, const char *kind, const char *text, const bson_t *details);
void book_event_at(struct drainer *d, struct lane *lane, uint64_t boot, const char *kind, const char *text,
		   const bson_t *details);
/* At the time at which the lane was attached; the journal knows when it is told. */
void book_start(struct drainer *d, struct lane *lane, const bson_t *details);
void book_keep(struct drainer *d, const bson_t *event); /* a whole document of `events`, copied */
/* A change of the block list, at its own time; the keeper is told when the database knows it. */
void book_block(struct drainer *d, uint64_t stamp, const char *text, const bson_t *details);
/* The same pairs are the same event, however often it is told. */
void book_clock_step(struct drainer *d, struct lane *lane, const struct clock_pair *old, const struct clock_pair *now);
void book_resume(struct drainer *d); /* the sink became ready: events that waited for it go */
void book_sensor(struct drainer *d);

/* gaps.c */
void gaps_tell(struct drainer *d, const struct link_tell *tell);
void gaps_look(struct drainer *d); /* again and again, until what was before these captures is known */
void gaps_boot_id(char out[40]);
const char *gaps_unseen(const struct lane *lane); /* why nothing is seen at the moment; NULL: it is */

/* addresses.c */
/* The table of this moment: own addresses and the networks of --home. NULL when out of memory. One thread. */
struct ends_table *addresses_read(const struct settings *settings);
void addresses_refresh(struct drainer *d);
void addresses_free(struct drainer *d);

/* upstream.c */
int upstream_open(struct drainer *d);
void upstream_start(struct drainer *d);
void upstream_problem(struct drainer *d, char *text, size_t size); /* why nothing is taken; empty when it keeps up */
void upstream_check_days(struct drainer *d); /* today and tomorrow have their collections before their first packet */
void upstream_give_up(struct drainer *d); /* calls under way return soon, nothing more is stored */
void upstream_check_reader(struct drainer *d); /* a pipe that nobody reads any more ends the recording */
void upstream_end_file(struct drainer *d);     /* the captures have ended: their counters */
void upstream_close(struct drainer *d);
/* `batch`: of a batch, not of a small document. */
void drainer_report(struct drainer *d, const struct sink_report *report, bool settled, bool batch);

/* storage.c */
/* On a worker: what the server takes. The second only where another one answers than was asked before. */
enum db_result storage_probe(struct drainer *d, struct db_problem *problem);
void storage_probe_again(struct drainer *d);
void storage_apply(struct drainer *d);	      /* on the loop: what a worker has found */
void storage_check_counts(struct drainer *d); /* what went wrong with buckets becomes events */
void storage_status(bson_t *to, const struct drainer *d);

/* spool.c */
int spooling_open(struct drainer *d);
void spooling_look(struct drainer *d);
void spooling_go_on(struct drainer *d); /* replays, if there is something to */
void spooling_hurry(struct drainer *d);
bool spooling_holds(const struct drainer *d, uint64_t *packets);
bool spooling_goes_on(struct drainer *d);
void spooling_status(bson_t *to, const struct drainer *d);

/* own.c */
void own_scan(struct drainer *d);

/* control.c */
int control_open(struct drainer *d);
void control_close(struct drainer *d);

/* messages.c */
void messages_on_link(uv_poll_t *poll, int status, int events); /* data: the drainer */
/* The event `start`: the same document whichever process tells it, until the database has it. */
void messages_tell_start(struct drainer *d, struct lane *lane);

/* drainer.c */
void drainer_fail(struct drainer *d); /* it cannot go on, and has said why */
void drainer_check_end(struct drainer *d);
void drainer_end(struct drainer *d, uint32_t seconds); /* stores what is here, within so many seconds */
void drainer_summary(const struct drainer *d, struct link_summary *summary);
const char *drainer_state_name(const struct drainer *d);

#endif
