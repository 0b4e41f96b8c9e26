/* SPDX-License-Identifier: GPL-2.0-or-later */
/* db/days.c: collections as they must be, and a view that holds what it says and changes seldom. */
#include "recorder/db/days.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>

#include "recorder/core/clock.h"
#include "recorder/core/log.h"
#include "recorder/db/ensure.h"
#include "tests/db/engine.h"

static struct engine engine;
static struct migrations migrations;

struct place {
	struct db *db;
	struct days *days;
};

static void enter(struct place *place, unsigned span_s)
{
	static unsigned n;
	struct db_problem problem = {0};
	char name[96];

	snprintf(name, sizeof(name), "%s_%u", test_database(), n++);
	assert_int_equal(db_open(&place->db, &(struct db_options){.uri = engine.uri, .database = name}, &problem),
			 DB_OK);
	place->days = days_new(place->db, &migrations, span_s);
	assert_non_null(place->days);
}

static void leave(struct place *place)
{
	drop_database(place->db);
	days_free(place->days);
	db_close(place->db);
}

static void run_json(struct db *db, const char *json)
{
	struct db_problem problem = {0};
	bson_error_t error;
	bson_t *command = bson_new_from_json((const uint8_t *)json, -1, &error);

	assert_non_null(command);
	if (db_run(db, NULL, command, NULL, &problem) != DB_OK)
		fail_msg("%s", problem.text);
	bson_destroy(command);
}

static void prepare(struct place *place, uint32_t first, uint32_t last)
{
	struct db_problem problem = {0};

	if (days_prepare(place->days, first, last, &problem) != DB_OK)
		fail_msg("%s", problem.text);
}

struct view {
	bson_t *options; /* a bson_t cannot be copied by value */
	unsigned days;
	bool found;
};

static bool look_at_view(void *arg, const bson_t *collection)
{
	struct view *view = arg;
	bson_iter_t it, stage;
	bson_t options;

	assert_true(bson_iter_init_find(&it, collection, "options") && ensure_inside(&it, &options));
	view->options = bson_copy(&options);
	view->found = true;
	assert_true(bson_iter_init_find(&it, &options, "pipeline") && bson_iter_recurse(&it, &stage));
	for (view->days = 1; bson_iter_next(&stage);)
		view->days++;
	return false;
}

static struct view view_of(struct db *db)
{
	struct db_problem problem = {0};
	struct db_client client;
	struct view view = {.found = false};
	bson_t *list =
		BCON_NEW("listCollections", BCON_INT32(1), "filter", "{", "name", DAYS_VIEW, "type", "view", "}");

	assert_int_equal(db_client_pop(db, &client, &problem), DB_OK);
	assert_int_equal(db_each(&client, NULL, list, look_at_view, &view, &problem), DB_OK);
	db_client_done(&client);
	bson_destroy(list);
	assert_true(view.found);
	return view;
}

/* Commands that change anything: the server counts the views and collections it makes. */
static bool view_changed(struct view *before, struct db *db)
{
	struct view now = view_of(db);
	bool changed = !bson_equal(before->options, now.options);

	bson_destroy(now.options);
	return changed;
}

static int64_t count_collections(struct db *db, const char *filter)
{
	struct db_problem problem = {0};
	struct db_client client;
	struct counted counted = {0};
	bson_error_t error;
	bson_t *parsed = bson_new_from_json((const uint8_t *)filter, -1, &error);
	bson_t *list = BCON_NEW("listCollections", BCON_INT32(1), "filter", BCON_DOCUMENT(parsed));

	assert_int_equal(db_client_pop(db, &client, &problem), DB_OK);
	assert_int_equal(db_each(&client, NULL, list, count_one, &counted, &problem), DB_OK);
	db_client_done(&client);
	bson_destroy(list);
	bson_destroy(parsed);
	return counted.n;
}

static void insert_packet(struct db *db, uint32_t day, int id)
{
	char json[256];

	snprintf(json, sizeof(json),
		 "{\"insert\": \"packets_%08u\", \"documents\": [{\"_id\": %d, \"ts\": {\"$date\": {\"$numberLong\": "
		 "\"%lld\"}}, \"meta\": {\"sensor\": \"t\"}}]}",
		 day, id, (long long)(clock_day_start(day) / 1000000));
	run_json(db, json);
}

static int set_up(void **state)
{
	struct db_problem problem;

	(void)state;
	engine_shared(&engine);
	log_set_level(LOG_ERROR);
	return migrations_load(&migrations, NULL, &problem) == DB_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	migrations_free(&migrations);
	engine_remove(&engine);
	return 0;
}

static void made_as_they_must_be(void **state)
{
	struct place place;

	(void)state;
	enter(&place, 60);
	assert_int_equal(days_span(place.days, 20260131), 0);
	prepare(&place, 20260131, 20260201);
	assert_int_equal(days_span(place.days, 20260131), 60);
	assert_int_equal(
		count_collections(
			place.db,
			"{\"name\": {\"$in\": [\"packets_20260131\", \"packets_20260201\"]}, \"type\": \"timeseries\", "
			"\"options.timeseries.timeField\": \"ts\", \"options.timeseries.metaField\": \"meta\", "
			"\"options.timeseries.bucketMaxSpanSeconds\": 60}"),
		2);
	assert_int_equal(count_collections(place.db,
					   "{\"name\": {\"$regex\": \"^(balance|batches|floods)_2026(0131|0201)$\"}, "
					   "\"type\": \"collection\"}"),
			 6);
	days_set_span(place.days, 10);
	prepare(&place, 20260201, 20260202);
	assert_int_equal(count_collections(place.db, "{\"options.timeseries.bucketMaxSpanSeconds\": 60}"), 2);
	assert_int_equal(count_collections(place.db, "{\"options.timeseries.bucketMaxSpanSeconds\": 10, "
						     "\"options.timeseries.bucketRoundingSeconds\": 10}"),
			 1);
	assert_int_equal(days_span(place.days, 20260201), 60);
	assert_int_equal(days_span(place.days, 20260202), 10);
	days_forget(place.days, 20260202);
	assert_int_equal(days_span(place.days, 20260202), 0);
	leave(&place);
}

/* Names of a collection's indexes, each behind a space, in the server's order. */
static bool look_at_index(void *arg, const bson_t *index)
{
	bson_iter_t it;
	char *names = arg;

	if (bson_iter_init_find(&it, index, "name"))
		snprintf(names + strlen(names), 200 - strlen(names), " %s", bson_iter_utf8(&it, NULL));
	return true;
}

static char *indexes_of(struct db *db, const char *collection)
{
	static char names[200];
	struct db_problem problem = {0};
	struct db_client client;
	bson_t *list = BCON_NEW("listIndexes", BCON_UTF8(collection));

	*names = '\0';
	assert_int_equal(db_client_pop(db, &client, &problem), DB_OK);
	assert_int_equal(db_each(&client, NULL, list, look_at_index, names, &problem), DB_OK);
	db_client_done(&client);
	bson_destroy(list);
	return names;
}

static void indexes_are_there(void **state)
{
	struct place place;

	(void)state;
	enter(&place, 0);
	prepare(&place, 20260131, 20260131);
	assert_non_null(strstr(indexes_of(place.db, "batches_20260131"), " ts_last"));
	assert_non_null(strstr(indexes_of(place.db, "packets_20260131"), " hosts"));
	assert_null(strstr(indexes_of(place.db, "packets_20260131"), " meta_1_ts_1"));
	leave(&place);
}

/* Pages as the migrations want them; and a server that does not take what is said to its storage engine gets the day
 * without. */
static void pages(void **state)
{
	static const char text[] =
		"{\"version\": 1, \"name\": \"odd\", \"why\": \"w\", \"commands\": [], \"daily\": ["
		"{\"family\": \"packets\", \"why\": \"w\", \"indexes\": [], \"options\": {\"timeseries\": "
		"{\"timeField\": "
		"\"ts\", \"metaField\": \"meta\", \"bucketMaxSpanSeconds\": 10, \"bucketRoundingSeconds\": 10}, "
		"\"storageEngine\": {\"wiredTiger\": {\"configString\": \"no_such_option=1\"}}}},"
		"{\"family\": \"balance\", \"why\": \"w\", \"options\": {}, \"indexes\": []},"
		"{\"family\": \"batches\", \"why\": \"w\", \"options\": {}, \"indexes\": []},"
		"{\"family\": \"floods\", \"why\": \"w\", \"options\": {}, \"indexes\": []}]}";
	char directory[] = "/tmp/xdp-recorder-pages-XXXXXX", path[64];
	struct db_problem problem = {0};
	struct migrations odd;
	struct place place;
	FILE *out;

	(void)state;
	enter(&place, 0);
	prepare(&place, 20260131, 20260131);
	assert_int_equal(count_collections(place.db, "{\"name\": \"packets_20260131\", \"type\": \"timeseries\", "
						     "\"options.storageEngine.wiredTiger.configString\": "
						     "\"allocation_size=512B,leaf_page_max=64KB\"}"),
			 1);
	days_free(place.days);
	run_json(place.db, "{\"dropDatabase\": 1}");

	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/0001-odd.json", directory);
	out = fopen(path, "we");
	assert_non_null(out);
	fputs(text, out);
	fclose(out);
	if (migrations_load(&odd, directory, &problem) != DB_OK)
		fail_msg("%s", problem.text);
	place.days = days_new(place.db, &odd, 0);
	assert_non_null(place.days);
	prepare(&place, 20260131, 20260131);
	assert_int_equal(count_collections(place.db, "{\"name\": \"packets_20260131\", \"type\": \"timeseries\", "
						     "\"options.storageEngine\": {\"$exists\": false}}"),
			 1);
	leave(&place);
	migrations_free(&odd);
	unlink(path);
	rmdir(directory);
}

/* A day of a version that knew no hosts gets their index; nothing that is there is taken from it. */
static void made_by_an_older_version(void **state)
{
	struct db_problem problem = {0};
	struct db_client client;
	struct place place;

	(void)state;
	enter(&place, 0);
	run_json(place.db, "{\"create\": \"packets_20260131\", \"timeseries\": {\"timeField\": \"ts\", \"metaField\": "
			   "\"meta\", \"bucketMaxSpanSeconds\": 60, \"bucketRoundingSeconds\": 60}}");
	run_json(place.db, "{\"create\": \"packets_20260201\", \"timeseries\": {\"timeField\": \"ts\", \"metaField\": "
			   "\"meta\", \"granularity\": \"minutes\"}}");
	prepare(&place, 20260131, 20260131);
	assert_string_equal(indexes_of(place.db, "packets_20260131"), " meta_1_ts_1 hosts");
	assert_int_equal(days_span(place.days, 20260131), 60);
	assert_int_equal(db_client_pop(place.db, &client, &problem), DB_OK);
	assert_int_equal(days_need(place.days, &client, 20260201, &problem), DB_OK);
	db_client_done(&client);
	assert_non_null(strstr(indexes_of(place.db, "packets_20260201"), " hosts"));
	assert_int_equal(days_span(place.days, 20260201), 0);
	leave(&place);
}

/* The wall clock is `wall` from now on. */
static void set_clock(int64_t wall)
{
	char path[] = "/tmp/xdp-recorder-clock-XXXXXX";
	int fd = mkstemp(path);
	int64_t offset;

	assert_true(fd >= 0);
	clock_inject(NULL);
	offset = wall - clock_wall_ns();
	assert_int_equal(write(fd, &offset, sizeof(offset)), sizeof(offset));
	assert_int_equal(clock_inject(path), 0);
	close(fd);
	unlink(path);
}

static bool packets_there(struct place *place, uint32_t day)
{
	char filter[64];

	snprintf(filter, sizeof(filter), "{\"name\": \"packets_%u\"}", day);
	return count_collections(place->db, filter) == 1;
}

/* A capture's second in the balance. */
static void insert_balance(struct db *db, uint32_t day, const char *iface, int64_t wall, long packets)
{
	static int id;
	char json[300];

	snprintf(json, sizeof(json),
		 "{\"insert\": \"balance_%u\", \"documents\": [{\"_id\": %d, \"ts\": {\"$date\": {\"$numberLong\": "
		 "\"%lld\"}}, \"sensor\": \"s\", \"iface\": \"%s\", \"stored\": {\"packets\": {\"$numberLong\": "
		 "\"%ld\"}, \"bytes\": 1}}]}",
		 day, id++, (long long)clock_ms(wall), iface, packets);
	run_json(db, json);
}

/* Tomorrow's packets are made in the last hour of today, by the rate of the last 24 h; at once when some come. */
static void span_by_rate(void **state)
{
	static const struct {
		long busy; /* packets of the busier interface, over two hours */
		unsigned span_s;
	} cases[] = {{0, 10}, {7200 * 2000, 1}, {7200 * 999, 10}, {7200 * 50, 60}, {7200 * 2, 600}};
	const int64_t second = NS_PER_SEC, midnight = clock_day_start(20270102);
	struct db_problem problem = {0};
	struct db_client client;
	struct place place;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		set_clock(midnight - 5400 * second);
		enter(&place, 0);
		prepare(&place, 20270101, 20270102);
		assert_int_equal(days_span(place.days, 20270101), 10);
		assert_false(packets_there(&place, 20270102));
		assert_int_equal(count_collections(place.db, "{\"name\": \"balance_20270102\"}"), 1);
		if (cases[i].busy) {
			set_clock(midnight - 1800 * second);
			/* too long ago; another interface, half as busy; and in two halves, of either side */
			insert_balance(place.db, 20261231, "r0", midnight - 89000 * second, 1000000000);
			insert_balance(place.db, 20270101, "r1", midnight - 9000 * second, cases[i].busy / 2);
			insert_balance(place.db, 20270101, "r0", midnight - 9000 * second, cases[i].busy / 3);
			insert_balance(place.db, 20270101, "r0", midnight - 2000 * second,
				       cases[i].busy - cases[i].busy / 3);
			prepare(&place, 20270101, 20270102);
		} else {
			assert_int_equal(db_client_pop(place.db, &client, &problem), DB_OK);
			assert_int_equal(days_need(place.days, &client, 20270102, &problem), DB_OK);
			db_client_done(&client);
		}
		assert_true(packets_there(&place, 20270102));
		assert_int_equal(days_span(place.days, 20270102), cases[i].span_s);
		leave(&place);
	}
	clock_inject(NULL);
	assert_int_equal(days_span_for(0), 10);
	assert_int_equal(days_span_for(0.01), 600);
	assert_int_equal(days_span_for(1e9), 1);
}

/* Another recorder made the day with another span: it is taken as it is. A plain collection is not. */
static void made_by_others(void **state)
{
	struct db_problem problem = {0};
	struct place place, other;

	(void)state;
	enter(&place, 60);
	other = place;
	other.days = days_new(place.db, &migrations, 1);
	prepare(&other, 20260131, 20260131);
	prepare(&place, 20260131, 20260131);
	assert_int_equal(count_collections(place.db, "{\"options.timeseries.bucketMaxSpanSeconds\": 1}"), 1);
	assert_int_equal(days_span(place.days, 20260131), 1);
	run_json(place.db, "{\"create\": \"packets_20260201\"}");
	assert_int_equal(days_prepare(place.days, 20260201, 20260201, &problem), DB_FATAL);
	assert_non_null(strstr(problem.text, "packets_20260201"));
	days_free(other.days);
	leave(&place);
}

static void the_name_is_taken(void **state)
{
	struct db_problem problem = {0};
	struct place place;

	(void)state;
	enter(&place, 0);
	run_json(place.db, "{\"insert\": \"packets\", \"documents\": [{\"_id\": 1}]}");
	assert_int_equal(days_prepare(place.days, 20260131, 20260131, &problem), DB_FATAL);
	assert_non_null(strstr(problem.text, "'packets' is a collection"));
	assert_int_equal(count_matching(place.db, "packets", "{}"), 1);
	leave(&place);
}

/* Gaps, the past, days that come: the view shows what is in the collections. */
static void view_with_gaps(void **state)
{
	static const uint32_t there[] = {20250101, 20250103, 20251231, 20260115};
	struct db_problem problem = {0};
	struct db_client client;
	struct place place;
	struct view view;

	(void)state;
	enter(&place, 0);
	assert_int_equal(db_client_pop(place.db, &client, &problem), DB_OK);
	for (size_t i = 0; i < ARRAY_SIZE(there); i++) {
		assert_int_equal(days_need(place.days, &client, there[i], &problem), DB_OK);
		insert_packet(place.db, there[i], (int)i);
	}
	prepare(&place, 20260131, 20260201);
	view = view_of(place.db);
	assert_int_equal(view.days, ARRAY_SIZE(there) + 2 + DAYS_VIEW_COMING);
	assert_int_equal(count_matching(place.db, DAYS_VIEW, "{}"), 4);

	/* Nothing changes for weeks, and packets of new days show at once. */
	for (uint32_t day = 20260201, i = 0; i < DAYS_VIEW_COMING - DAYS_VIEW_LEAST; i++, day = clock_next_day(day)) {
		prepare(&place, day, clock_next_day(day));
		insert_packet(place.db, day, 100 + (int)i);
		assert_false(i + 1 < DAYS_VIEW_COMING - DAYS_VIEW_LEAST && view_changed(&view, place.db));
	}
	assert_int_equal(count_matching(place.db, DAYS_VIEW, "{}"), 4 + DAYS_VIEW_COMING - DAYS_VIEW_LEAST);
	/* Its control: when the days that come run out, it does. */
	prepare(&place, 20260301, 20260302);
	assert_true(view_changed(&view, place.db));
	bson_destroy(view.options);

	/* An old day that comes late is taken in, one that was dropped does no harm. */
	view = view_of(place.db);
	assert_int_equal(days_need(place.days, &client, 20241224, &problem), DB_OK);
	insert_packet(place.db, 20241224, 1000);
	run_json(place.db, "{\"drop\": \"packets_20250101\"}");
	prepare(&place, 20260301, 20260302);
	assert_true(view_changed(&view, place.db));
	assert_int_equal(count_matching(place.db, DAYS_VIEW, "{}"), 4 + DAYS_VIEW_COMING - DAYS_VIEW_LEAST);
	db_client_done(&client);
	bson_destroy(view.options);
	leave(&place);
}

static void only_the_newest_ninety(void **state)
{
	struct db_problem problem = {0};
	struct db_client client;
	struct place place;
	struct view view;
	uint32_t day = 20251001;

	(void)state;
	enter(&place, 0);
	assert_int_equal(db_client_pop(place.db, &client, &problem), DB_OK);
	for (unsigned i = 0; i < DAYS_VIEW_PAST + 10; i++, day = clock_next_day(day)) {
		days_forget(place.days, day);
		assert_int_equal(days_need(place.days, &client, day, &problem), DB_OK);
	}
	prepare(&place, day, day);
	view = view_of(place.db);
	assert_int_equal(view.days, DAYS_VIEW_PAST + DAYS_VIEW_COMING);
	bson_destroy(view.options);

	uint32_t *list;
	size_t count;
	assert_int_equal(days_list(place.db, "packets", &list, &count, &problem), DB_OK);
	assert_int_equal(count, DAYS_VIEW_PAST + 11);
	assert_int_equal(list[0], 20251001);
	for (size_t i = 1; i < count; i++)
		assert_true(list[i] > list[i - 1]);
	free(list);
	db_client_done(&client);
	leave(&place);
}

/* A day that was dropped behind our back is made again, as a time series. */
static void dropped_and_made_again(void **state)
{
	struct place place;

	(void)state;
	enter(&place, 0);
	prepare(&place, 20260131, 20260201);
	run_json(place.db, "{\"drop\": \"packets_20260131\"}");
	prepare(&place, 20260131, 20260201);
	assert_int_equal(count_collections(place.db, "{\"name\": \"packets_20260131\", \"type\": \"timeseries\"}"), 1);
	leave(&place);
}

static void insert_of_year(struct db *db, uint32_t year, int id)
{
	char json[256];

	snprintf(json, sizeof(json),
		 "{\"insert\": \"packets_%04u\", \"documents\": [{\"_id\": %d, \"ts\": {\"$date\": {\"$numberLong\": "
		 "\"%lld\"}}, \"meta\": {\"sensor\": \"t\"}}]}",
		 year, id, (long long)(clock_day_start(year * 10000 + 101) / 1000000));
	run_json(db, json);
}

/* An import's database: years, each with all families, united by the view; no coming days in it. */
static void years(void **state)
{
	static const uint32_t there[] = {2019, 1969, 1970, 2106};
	struct db_problem problem = {0};
	char name[DAYS_NAME];
	struct place place;
	struct view view;
	uint32_t *list;
	size_t count;

	(void)state;
	enter(&place, 10);
	for (size_t i = 0; i < ARRAY_SIZE(there); i++) {
		prepare(&place, there[i], there[i]);
		insert_of_year(place.db, there[i], (int)i);
		assert_int_equal(days_span(place.days, there[i]), 3600);
	}
	assert_string_equal(days_collection(name, "batches", 2019), "batches_2019");
	assert_int_equal(count_collections(place.db, "{\"name\": {\"$regex\": \"^packets_[0-9]{4}$\"}, \"type\": "
						     "\"timeseries\", \"options.timeseries.bucketMaxSpanSeconds\": "
						     "3600, \"options.timeseries.bucketRoundingSeconds\": 3600}"),
			 ARRAY_SIZE(there));
	assert_int_equal(count_collections(place.db, "{\"name\": {\"$regex\": \"^(balance|batches|floods)_2019$\"}}"),
			 3);
	view = view_of(place.db);
	assert_int_equal(view.days, ARRAY_SIZE(there));
	assert_int_equal(count_matching(place.db, DAYS_VIEW, "{}"), ARRAY_SIZE(there));
	prepare(&place, 1970, 1970);
	assert_false(view_changed(&view, place.db));
	bson_destroy(view.options);

	assert_int_equal(days_list(place.db, "packets", &list, &count, &problem), DB_OK);
	assert_int_equal(count, ARRAY_SIZE(there));
	assert_int_equal(list[0], 1969);
	assert_int_equal(list[3], 2106);
	free(list);
	assert_int_equal(days_prepare(place.days, 2019, 20190101, &problem), DB_FATAL);
	leave(&place);
}

/* A recorder and an import in one database: neither takes the other's collections out of the view, nor its coming days.
 */
static void years_and_days(void **state)
{
	struct place place;
	struct view view;

	(void)state;
	enter(&place, 0);
	prepare(&place, 20260131, 20260201);
	insert_packet(place.db, 20260131, 1);
	prepare(&place, 2019, 2019);
	insert_of_year(place.db, 2019, 2);
	assert_int_equal(count_matching(place.db, DAYS_VIEW, "{}"), 2);
	view = view_of(place.db);
	assert_int_equal(view.days, 1 + 2 + DAYS_VIEW_COMING);
	prepare(&place, 20260131, 20260201);
	prepare(&place, 2019, 2019);
	assert_false(view_changed(&view, place.db));
	/* Its control: a year that is new does change it, and one that was dropped goes when it changes. */
	run_json(place.db, "{\"drop\": \"packets_2019\"}");
	prepare(&place, 2020, 2020);
	assert_true(view_changed(&view, place.db));
	bson_destroy(view.options);
	view = view_of(place.db);
	assert_int_equal(view.days, 1 + 2 + DAYS_VIEW_COMING);
	assert_int_equal(count_matching(place.db, DAYS_VIEW, "{}"), 1);
	bson_destroy(view.options);
	leave(&place);
}

struct racer {
	struct place place;
	uint32_t day;
	struct db_problem problem;
	enum db_result result;
};

static void *race(void *arg)
{
	struct racer *racer = arg;

	for (int tries = 0; tries < 20; tries++) {
		racer->result =
			days_prepare(racer->place.days, racer->day, clock_next_day(racer->day), &racer->problem);
		if (racer->result != DB_LATER)
			break;
		sleep_ms(20);
	}
	return NULL;
}

/* Six recorders, two of them with a clock that is a year off. Afterwards nobody wants to change the view any more. */
static void several_at_once(void **state)
{
	enum { RACERS = 6 };
	struct racer racers[RACERS];
	pthread_t threads[RACERS];
	struct place place;
	struct view view;

	(void)state;
	enter(&place, 0);
	for (int round = 0; round < 5; round++) {
		run_json(place.db, "{\"dropDatabase\": 1}");
		for (int i = 0; i < RACERS; i++) {
			racers[i] = (struct racer){.day = i < 2 ? 20250131 : 20260131};
			racers[i].place.db = place.db;
			racers[i].place.days = days_new(place.db, &migrations, 0);
			assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
		}
		for (int i = 0; i < RACERS; i++) {
			pthread_join(threads[i], NULL);
			if (racers[i].result != DB_OK)
				fail_msg("%s", racers[i].problem.text);
		}
		for (int i = 0; i < RACERS; i++)
			prepare(&racers[i].place, racers[i].day, clock_next_day(racers[i].day));
		view = view_of(place.db);
		for (int i = 0; i < RACERS; i++) {
			prepare(&racers[i].place, racers[i].day, clock_next_day(racers[i].day));
			assert_false(view_changed(&view, place.db));
			days_free(racers[i].place.days);
		}
		bson_destroy(view.options);
		assert_int_equal(count_collections(place.db, "{\"type\": \"timeseries\"}"), 4);
	}
	leave(&place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(made_as_they_must_be),
		cmocka_unit_test(indexes_are_there),
		cmocka_unit_test(made_by_others),
		cmocka_unit_test(the_name_is_taken),
		cmocka_unit_test(view_with_gaps),
		cmocka_unit_test(only_the_newest_ninety),
		cmocka_unit_test(dropped_and_made_again),
		cmocka_unit_test(years),
		cmocka_unit_test(years_and_days),
		cmocka_unit_test(several_at_once),
		cmocka_unit_test(made_by_an_older_version),
		cmocka_unit_test(span_by_rate),
		cmocka_unit_test(pages),
	};

	return cmocka_run_group_tests_name("days", tests, set_up, tear_down);
}
