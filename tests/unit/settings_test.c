/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every type and every mistake of settings.def, precedence, dump and BSON round trips, and that no secret gets out. */
#include "recorder/settings/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "recorder/packet/ends.h"

#define ARGUMENTS 32
#define SECRET "s3cr3t-p4ss"
#define SECRET_URI "mongodb://joe:" SECRET "@db.example:27017/?tls=true"

static char directory[] = "/tmp/settings_test.XXXXXX";

/* Arguments as main has them: writable. */
struct arguments {
	int count;
	char *values[ARGUMENTS + 1];
};

static struct arguments split(const char *line)
{
	struct arguments a = {0};
	char *copy = strdup(line), *save = NULL;

	for (char *word = strtok_r(copy, " ", &save); word && a.count < ARGUMENTS; word = strtok_r(NULL, " ", &save))
		a.values[a.count++] = strdup(word);
	free(copy);
	return a;
}

static void drop(struct arguments *a)
{
	for (int i = 0; i < a->count; i++)
		free(a->values[i]);
}

static int load(struct settings *s, enum settings_command command, const char *line, struct settings_problem *problem)
{
	struct arguments a = split(line);
	int err = settings_load(s, command, a.count, a.values, problem);

	drop(&a);
	return err;
}

static void write_file(const char *name, const char *text, mode_t mode)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static int setup(void **state)
{
	(void)state;
	return mkdtemp(directory) && !chdir(directory) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command);
}

/* ---- mistakes ---------------------------------------------------------------------------------------------------- */

/* Command line -> the whole message. */
static void test_mistakes_on_the_command_line(void **state)
{
	static const struct {
		enum settings_command command;
		const char *line, *message;
	} cases[] = {
		{SETTINGS_RECORD, "--intreface eth1", "command line: record has no option --intreface: did you mean --interface?"},
		{SETTINGS_RECORD, "--inter eth1", "command line: record has no option --inter: did you mean --interface?"},
		{SETTINGS_RECORD, "--zzzzzz", "command line: record has no option --zzzzzz"},
		{SETTINGS_RECORD, "-x", "command line: record has no option -x; `record --help` lists them"},
		{SETTINGS_RECORD, "-i", "command line: --interface needs a value: IF"},
		{SETTINGS_RECORD, "--database --tap", "command line: --database needs a value (NAME), --tap is an option"},
		{SETTINGS_RECORD, "-i a/b", "command line: --interface \"a/b\": cannot be an interface: 1 to 15 bytes, no / : or space"},
		{SETTINGS_RECORD, "-i sixteen-bytes-xx", "command line: --interface \"sixteen-bytes-xx\": cannot be an interface: 1 to 15 bytes, no / : or space"},
		{SETTINGS_RECORD, "-i a,,b", "command line: --interface \"a,,b\": a name is missing before or after a comma"},
		{SETTINGS_RECORD, "-i a -i a", "command line: --interface \"a\": given twice"},
		{SETTINGS_RECORD, "-c 12x", "command line: --packets \"12x\": must be a whole number from 0 to 9223372036854775807"},
		{SETTINGS_RECORD, "-c -1", "command line: --packets \"-1\": must be a whole number from 0 to 9223372036854775807"},
		{SETTINGS_RECORD, "-c 99999999999999999999", "command line: --packets \"99999999999999999999\": must be a whole number from 0 to 9223372036854775807"},
		{SETTINGS_RECORD, "-c 1 -c 2", "command line: --packets: given twice"},
		{SETTINGS_RECORD, "--tap --tap", "command line: --tap: given twice"},
		{SETTINGS_RECORD, "--tap=perhaps", "command line: --tap \"perhaps\": must be yes or no"},
		{SETTINGS_RECORD, "--in-flight 0", "command line: --in-flight \"0\": must be a whole number from 1 to 8"},
		{SETTINGS_RECORD, "--ring-size 5", "command line: --ring-size \"5\": must be a number of bytes, such as 64M, from 64K to 1T, or auto"},
		{SETTINGS_RECORD, "--ring-size 1.5G", "command line: --ring-size \"1.5G\": must be a number of bytes, such as 64M, from 64K to 1T, or auto"},
		{SETTINGS_RECORD, "--ring-size 20000000T", "command line: --ring-size \"20000000T\": must be a number of bytes, such as 64M, from 64K to 1T, or auto"},
		{SETTINGS_RECORD, "--batch-age 200", "command line: --batch-age \"200\": must be a time with its unit (ms, s, m, h, d), such as 10s, from 1ms to 1m, or auto"},
		{SETTINGS_RECORD, "--batch-age forever", "command line: --batch-age \"forever\": must be a time with its unit (ms, s, m, h, d), such as 10s, from 1ms to 1m, or auto"},
		{SETTINGS_RECORD, "--database-wait 10 ", "command line: --database-wait \"10\": must be a time with its unit (ms, s, m, h, d), such as 10s, from 0s to 365d, or forever"},
		{SETTINGS_RECORD, "--hook tcx", "command line: --hook \"tcx\": must be auto, xdp or tc"},
		{SETTINGS_RECORD, "-Q both", "command line: --direction \"both\": must be in, out or inout"},
		{SETTINGS_RECORD, "--hook au", "command line: --hook \"au\": must be auto, xdp or tc"},
		{SETTINGS_RECORD, "--database a.b", "command line: --database \"a.b\": must have none of / \\ . \" $ * < > : | ? and no space"},
		{SETTINGS_RECORD, "--database=", "command line: --database \"\": must not be empty"},
		{SETTINGS_RECORD, "--instance a/b", "command line: --instance \"a/b\": must be the name of a directory: at most 63 bytes, no / and no space, no . or - in front"},
		{SETTINGS_RECORD, "--home 10.0.0.0/33", "command line: --home \"10.0.0.0/33\": must be a network such as 10.0.0.0/8 or fd00::/8, with only zeros behind the prefix"},
		{SETTINGS_RECORD, "--home 10.0.0.1/8", "command line: --home \"10.0.0.1/8\": must be a network such as 10.0.0.0/8 or fd00::/8, with only zeros behind the prefix"},
		{SETTINGS_RECORD, "--home 10.0.0.0/", "command line: --home \"10.0.0.0/\": must be a network such as 10.0.0.0/8 or fd00::/8, with only zeros behind the prefix"},
		{SETTINGS_RECORD, "--mongo http://x", "command line: --mongo: must begin with mongodb:// or mongodb+srv://, or be the path of a Unix socket"},
		{SETTINGS_RECORD, "--mongo mongodb://a --mongo-file b", "mongo and mongo-file are given at the same place: one is needed"},
		{SETTINGS_RECORD, "--mongo-file absent", "mongo-file: cannot read absent: No such file or directory"},
		{SETTINGS_RECORD, "--storage bucket", "command line: --storage \"bucket\": must be auto, buckets or documents"},
		{SETTINGS_RECORD, "--bucket-span 7", "bucket-span 7 does not divide a day of 86400 s: 1, 10, 60 or 600 do"},
		{SETTINGS_RECORD, "--bucket-span 3601", "command line: --bucket-span \"3601\": must be a whole number from 1 to 3600, or auto"},
		{SETTINGS_CHECK, "--bucket-span 10", "command line: --bucket-span is for record or stop, check does not take it"},
		{SETTINGS_RECORD, "--generic --hook tc", "generic and hook tc contradict each other: generic is a form of XDP"},
		{SETTINGS_RECORD, "--generic -Q out", "direction out and generic contradict each other: XDP sees only packets that enter"},
		{SETTINGS_RECORD, "--tap -Q out", "tap and direction out contradict each other: a mirror port's packets enter"},
		{SETTINGS_RECORD, "-qv", "quiet and verbose contradict each other"},
		{SETTINGS_RECORD, "-vvvv", "command line: --verbose: must be given at most this often: 3"},
		{SETTINGS_RECORD, "-i a --log-level loud", "command line: --log-level \"loud\": must be error, warning, info or debug"},
		{SETTINGS_RECORD, "--config absent", "--config: cannot read absent: No such file or directory"},
		{SETTINGS_RECORD, "--config /", "--config: / is a directory, a file is needed"},
		{SETTINGS_CHECK, "eth1", "command line: unexpected \"eth1\": an interface is named by -i"},
		{SETTINGS_RECORD, "--filter tcp udp", "command line: an expression behind the options and --filter: one is needed"},
		{SETTINGS_RECORD, "--dry-run", "command line: --dry-run is for migrate, record does not take it"},
		{SETTINGS_STATUS, "--tap", "command line: --tap is for record, status does not take it"},
		{SETTINGS_STATUS, "-i eth1", "command line: --interface is for record, check or print, status does not take it"},
		{SETTINGS_STATUS, "a b", "command line: unexpected \"b\": status takes one instance"},
		{SETTINGS_STOP, "a --instance b", "command line: two instances, \"a\" and --instance \"b\": one is needed"},
		{SETTINGS_MIGRATE, "up", "command line: unexpected \"up\": migrate takes options only"},
		{SETTINGS_RECORD, "-i a23456789012345,b23456789012345,c23456789012345,d23456789012345,e",
		 "instance: the interfaces' names make no instance name, give --instance"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct settings_problem problem;
		struct settings s;

		assert_int_equal(load(&s, cases[i].command, cases[i].line, &problem), -EINVAL);
		assert_string_equal(problem.text, cases[i].message);
		settings_free(&s);
	}
}

static void test_mistakes_in_the_file(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"\n# x\npackets = many", "c line 3: packets \"many\": must be a whole number from 0 to 9223372036854775807"},
		{"cuont = 1", "c line 1: there is no setting \"cuont\": did you mean count?"},
		{"xyzzy = 1", "c line 1: there is no setting \"xyzzy\""},
		{"batch_age = 1s", "c line 1: there is no setting \"batch_age\": did you mean batch-age?"},
		{"[capture]", "c line 1: sections are not used: lines `name = value` are needed"},
		{"tap", "c line 1: a line `name = value` is needed"},
		{"tap =", "c line 1: tap has no value"},
		{"packets = 1\n\npackets = 1", "c line 3: packets: given twice, first in line 1"},
		{"dry-run = yes", "c line 1: dry-run can only be given on the command line"},
		{"config = other", "c line 1: config can only be given on the command line"},
		{"sensor = \"abc", "c line 1: the closing \" is missing"},
		{"sensor = \"abc\" def", "c line 1: only a comment may stand behind the closing \""},
		{"interface = a, a", "c line 1: interface \"a\": given twice"},
		{"sensor = a\tb", "c line 1: sensor \"a?b\": must have no control characters"},
		{"sensor = \xff", "c line 1: sensor \"\xff\": must be UTF-8"},
		{"verbose = 9", "c line 1: verbose \"9\": must be a number from 0 to 3"},
		{"mongo = mongodb://a\nmongo-file = b", "mongo and mongo-file are given at the same place: one is needed"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct settings_problem problem;
		struct settings s;

		write_file("c", cases[i].text, 0600);
		/* Also a value that the command line overrides is checked. */
		assert_int_equal(load(&s, SETTINGS_RECORD, "--config c", &problem), -EINVAL);
		assert_string_equal(problem.text, cases[i].message);
		settings_free(&s);
	}
}

static void test_mistakes_in_the_environment(void **state)
{
	struct settings_problem problem;
	struct settings s;

	(void)state;
	setenv("XDP_RECORDER_BATCH_AGE", "soon", 1);
	assert_int_equal(load(&s, SETTINGS_RECORD, "--batch-age 1s", &problem), -EINVAL);
	assert_string_equal(problem.text, "environment: XDP_RECORDER_BATCH_AGE \"soon\": must be a time with its unit (ms, s, m, h, d), such as 10s, from 1ms to 1m, or auto");
	unsetenv("XDP_RECORDER_BATCH_AGE");
	settings_free(&s);
}

/* ---- values ------------------------------------------------------------------------------------------------------ */

static void test_defaults(void **state)
{
	struct settings_problem problem;
	struct settings s;
	char host[256] = "";

	(void)state;
	gethostname(host, sizeof(host) - 1);
	assert_int_equal(load(&s, SETTINGS_RECORD, "-i eth1 -i eth2", &problem), 0);
	assert_string_equal(problem.text, "");
	assert_int_equal(s.interfaces.count, 2);
	assert_string_equal(s.instance, "eth1+eth2");
	assert_string_equal(s.database, "recorder");
	assert_string_equal(s.sensor, host);
	assert_true(!strcmp(s.user, "nobody") || !strcmp(s.user, "xdp-recorder"));
	assert_int_equal(s.direction, DIRECTION_INOUT);
	assert_int_equal(s.hook, HOOK_AUTO);
	assert_int_equal(s.storage, STORAGE_AUTO);
	assert_int_equal(s.on_outage, ON_OUTAGE_WAIT);
	assert_int_equal(s.ring_size, 0);
	assert_int_equal(s.count, 0);
	assert_int_equal(s.database_wait_ms, 10000);
	assert_int_equal(s.batch_age_ms, 0);
	assert_int_equal(s.batch_packets, 0);
	assert_int_equal(s.in_flight, 8);
	assert_null(s.mongo);
	assert_null(s.mongo_file);
	assert_null(s.test_clock);
	assert_false(s.tap || s.generic || s.clsact || s.no_promiscuous || s.detach || s.keep || s.quiet || s.verbose);
	assert_int_equal(settings_log_level(&s), LOG_INFO);
	settings_free(&s);
	assert_int_equal(load(&s, SETTINGS_STATUS, "", &problem), 0);
	assert_string_equal(s.instance, "");
	settings_free(&s);
}

static void test_each_type(void **state)
{
	struct settings_problem problem;
	struct settings s;

	(void)state;
	assert_int_equal(load(&s, SETTINGS_RECORD,
			      "-pvv -ieth1,eth2 --interface=eth3 -c 7 --ring-size=256M -Qin --database-wait forever --batch-age 1m "
			      "--home 10.0.0.0/8,fd00::/8,::1 --mongo /run/db.sock --tap=no --clsact=yes --sensor=a=b",
			      &problem), 0);
	assert_true(s.no_promiscuous && s.clsact && !s.tap);
	assert_int_equal(s.verbose, 2);
	assert_int_equal(settings_log_level(&s), LOG_TRACE);
	assert_int_equal(s.interfaces.count, 3);
	assert_string_equal(s.interfaces.items[2], "eth3");
	assert_string_equal(s.instance, "eth1+eth2+eth3");
	assert_int_equal(s.count, 7);
	assert_int_equal(s.ring_size, 256 << 20);
	assert_int_equal(s.direction, DIRECTION_IN);
	assert_true(s.database_wait_ms == SETTINGS_FOREVER);
	assert_int_equal(s.batch_age_ms, 60000);
	assert_string_equal(s.mongo, "/run/db.sock");
	assert_string_equal(s.sensor, "a=b");
	settings_free(&s);

	assert_int_equal(load(&s, SETTINGS_STOP, "-- -odd", &problem), -EINVAL);
	assert_int_equal(load(&s, SETTINGS_STOP, "one --keep", &problem), 0);
	assert_string_equal(s.instance, "one");
	assert_true(s.keep);
	settings_free(&s);

	assert_int_equal(load(&s, SETTINGS_RECORD, "-q", &problem), 0);
	assert_int_equal(settings_log_level(&s), LOG_WARNING);
	settings_free(&s);
	assert_int_equal(load(&s, SETTINGS_RECORD, "--help --nonsense", &problem), 0);
	assert_true(s.help);
	settings_free(&s);
}

static void test_networks(void **state)
{
	static const char *const bad[] = {"", "/8", "10", "10.0.0.0/08x", "::1/129", "fe80::1%eth0", "1.2.3.4/-1",
					  "1:2:3:4:5:6:7:8:9", "10.0.0.0/8/8", "10.0.0.128/24"};
	struct settings_problem problem;
	struct ends_network n = {.prefix = 77}, *home;
	struct settings s;
	size_t count;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(settings_network(bad[i], &n), -EINVAL);
		assert_int_equal(n.prefix, 77);
	}
	assert_int_equal(load(&s, SETTINGS_RECORD, "--home 192.168.0.0/16,2001:db8::/33,0.0.0.0/0", &problem), 0);
	home = settings_home(&s, &count);
	assert_int_equal(count, 3);
	assert_int_equal(home[0].family, 4);
	assert_int_equal(home[0].prefix, 16);
	assert_memory_equal(home[0].address, "\xc0\xa8\0\0", 4);
	assert_int_equal(home[1].family, 6);
	assert_int_equal(home[1].prefix, 33);
	assert_int_equal(home[2].prefix, 0);
	free(home);
	settings_free(&s);
	assert_int_equal(load(&s, SETTINGS_RECORD, "", &problem), 0);
	assert_null(settings_home(&s, &count));
	assert_int_equal(count, 0);
	settings_free(&s);
}

static void test_nearest(void **state)
{
	static const char *const words[] = {"record", "stop", "status", "check", "migrate", NULL};

	(void)state;
	assert_string_equal(settings_nearest("recrod", words), "record");
	assert_string_equal(settings_nearest("stat", words), "status");
	assert_string_equal(settings_nearest("migrat", words), "migrate");
	assert_string_equal(settings_nearest("RECORD", words), "record");
	assert_null(settings_nearest("frobnicate", words));
	assert_null(settings_nearest("", words));
	assert_null(settings_nearest("a-very-long-word-that-is-longer-than-any-table-of-ours-can-hold", words));
}

/* ---- sources ----------------------------------------------------------------------------------------------------- */

static void test_precedence(void **state)
{
	struct settings_problem problem;
	struct settings s, fresh;

	(void)state;
	write_file("c",
		   "# all three\npackets = 1\n  database = from_file # comment\nsensor = \"a # b\"\ninterface = eth7, eth8\r\n"
		   "tap = yes\nbatch-age = 3s\nverbose = 1\nhome = 10.0.0.0/8\nhome = fd00::/8",
		   0600);
	setenv("XDP_RECORDER_PACKETS", "2", 1);
	setenv("XDP_RECORDER_DATABASE", "from_environment", 1);
	setenv("XDP_RECORDER_INTERFACE", "eth5,eth6", 1);
	setenv("XDP_RECORDER_BATCH_PACKETS", "", 1); /* empty: unset */
	assert_int_equal(load(&s, SETTINGS_RECORD, "--config c -c 3 -i eth9 --tap=no", &problem), 0);
	assert_int_equal(s.count, 3);
	assert_int_equal(s.origin[SETTING_count].source, FROM_COMMAND_LINE);
	assert_string_equal(s.database, "from_environment");
	assert_int_equal(s.origin[SETTING_database].source, FROM_ENVIRONMENT);
	assert_string_equal(s.sensor, "a # b");
	assert_int_equal(s.origin[SETTING_sensor].source, FROM_FILE);
	assert_int_equal(s.origin[SETTING_sensor].line, 4);
	assert_int_equal(s.interfaces.count, 1);
	assert_string_equal(s.interfaces.items[0], "eth9");
	assert_false(s.tap);
	assert_int_equal(s.batch_age_ms, 3000);
	assert_int_equal(s.verbose, 1);
	assert_int_equal(s.home.count, 2);
	assert_int_equal(s.batch_packets, 0);
	assert_int_equal(s.origin[SETTING_batch_packets].source, FROM_DEFAULT);

	/* SIGHUP: only the file is read again. */
	setenv("XDP_RECORDER_DATABASE", "changed", 1);
	write_file("c", "packets = 9\nbatch-age = 5s\ninterface = eth1\n", 0600);
	assert_int_equal(settings_reload(&fresh, &s, SETTINGS_RECORD, &problem), 0);
	assert_int_equal(fresh.count, 3);
	assert_string_equal(fresh.database, "from_environment");
	assert_string_equal(fresh.interfaces.items[0], "eth9");
	assert_int_equal(fresh.batch_age_ms, 5000);
	assert_int_equal(fresh.home.count, 0);
	assert_true(settings_differ(&s, &fresh, SETTING_batch_age_ms));
	assert_true(settings_differ(&s, &fresh, SETTING_home));
	assert_false(settings_differ(&s, &fresh, SETTING_count));
	assert_false(settings_differ(&s, &fresh, SETTING_mongo));
	settings_free(&fresh);
	write_file("c", "packets = x\n", 0600);
	assert_int_equal(settings_reload(&fresh, &s, SETTINGS_RECORD, &problem), -EINVAL);
	assert_int_equal(s.count, 3);
	settings_free(&fresh);
	settings_free(&s);
	settings_free(&s);

	assert_int_equal(load(&s, SETTINGS_RECORD, "", &problem), 0);
	assert_int_equal(s.interfaces.count, 2);
	assert_string_equal(s.interfaces.items[1], "eth6");
	settings_free(&s);
	unsetenv("XDP_RECORDER_PACKETS");
	unsetenv("XDP_RECORDER_DATABASE");
	unsetenv("XDP_RECORDER_INTERFACE");
	unsetenv("XDP_RECORDER_BATCH_PACKETS");
}

static void test_mongo_file(void **state)
{
	struct settings_problem problem;
	struct settings s, fresh;

	(void)state;
	write_file("uri", "  " SECRET_URI " \n\n", 0600);
	assert_int_equal(load(&s, SETTINGS_RECORD, "--mongo-file uri", &problem), 0);
	assert_string_equal(s.mongo, SECRET_URI);
	/* A changed password is read again. */
	write_file("uri", "mongodb://joe:other@h/", 0600);
	assert_int_equal(settings_reload(&fresh, &s, SETTINGS_RECORD, &problem), 0);
	assert_string_equal(fresh.mongo, "mongodb://joe:other@h/");
	assert_true(settings_differ(&s, &fresh, SETTING_mongo));
	settings_free(&fresh);
	settings_free(&s);
	/* The higher source wins over the lower, in both directions. */
	write_file("c", "mongo = mongodb://low", 0600);
	assert_int_equal(load(&s, SETTINGS_RECORD, "--mongo-file uri --config c", &problem), 0);
	assert_string_equal(s.mongo, "mongodb://joe:other@h/");
	settings_free(&s);
	write_file("c", "mongo-file = nothing-here", 0600);
	assert_int_equal(load(&s, SETTINGS_RECORD, "--mongo mongodb://high --config c", &problem), 0);
	assert_string_equal(s.mongo, "mongodb://high");
	assert_null(s.mongo_file);
	settings_free(&s);

	write_file("uri", "\n \n", 0600);
	assert_int_equal(load(&s, SETTINGS_RECORD, "--mongo-file uri", &problem), -EINVAL);
	assert_string_equal(problem.text, "mongo-file uri: must hold a MongoDB URI, it is empty");
	write_file("uri", "mongodb://a\nmongodb://b\n", 0600);
	assert_int_equal(load(&s, SETTINGS_RECORD, "--mongo-file uri", &problem), -EINVAL);
	assert_string_equal(problem.text, "mongo-file uri: must hold one line, a MongoDB URI");
}

/* ---- dump and BSON ----------------------------------------------------------------------------------------------- */

static char *dumped(const struct settings *s, enum settings_command command)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	settings_dump(s, command, out);
	fclose(out);
	return text;
}

static const char *const sets[] = {
	"-i eth1",
	"-i eth1,eth2 --instance both --tap --keep --detach -p -vv --packets 12345 --ring-size 768K -Q in --hook xdp",
	"-i eth1 --generic --clsact --log-level error --storage documents --database-wait forever --on-outage end",
	"-i eth1 --database-wait 0s --batch-age 1500ms --batch-packets 1 --in-flight 3 --home 10.0.0.0/8,::1 --user root",
	"-i eth1 --mongo mongodb://plain.example:27018/?replicaSet=rs0 --database other --sensor x#y --quiet",
	"-i eth1 --mongo /run/engine.sock --test-clock /tmp/c --storage buckets --bucket-span 600",
	"",
};

static void test_dump_round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(sets) / sizeof(*sets); i++) {
		struct settings_problem problem;
		struct settings a, b;
		char *text;

		if (load(&a, SETTINGS_RECORD, sets[i], &problem))
			fail_msg("%s: %s", sets[i], problem.text);
		text = dumped(&a, SETTINGS_RECORD);
		write_file("c", text, 0600);
		free(text);
		if (load(&b, SETTINGS_RECORD, "--config c", &problem))
			fail_msg("%s", problem.text);
		for (int k = 0; k < SETTINGS; k++)
			if (k != SETTING_config && settings_differ(&a, &b, (enum setting_index)k))
				fail_msg("%s does not come back", settings_name((enum setting_index)k));
		settings_free(&a);
		settings_free(&b);
	}
}

/* What a sensor may be called is what needs quoting. */
static void test_dump_quotes(void **state)
{
	static const char *const names[] = {"a # b", "\"", "a\"b \\ #", " x", "x ", "#x", "\\", "ümlaut", "a,b", "="};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char option[] = "--sensor", value[32], *argv[] = {option, value}, *text;
		struct settings_problem problem;
		struct settings a, b;

		strcpy(value, names[i]);
		assert_int_equal(settings_load(&a, SETTINGS_RECORD, 2, argv, &problem), 0);
		text = dumped(&a, SETTINGS_RECORD);
		write_file("c", text, 0600);
		free(text);
		if (load(&b, SETTINGS_RECORD, "--config c", &problem))
			fail_msg("%s", problem.text);
		assert_string_equal(b.sensor, names[i]);
		settings_free(&a);
		settings_free(&b);
	}
}

static void test_dump_says_where_from(void **state)
{
	struct settings_problem problem;
	struct settings s;
	char *text;

	(void)state;
	write_file("c", "\npackets = 5\n", 0600);
	setenv("XDP_RECORDER_SENSOR", "probe", 1);
	assert_int_equal(load(&s, SETTINGS_RECORD, "-i eth1 --config c", &problem), 0);
	text = dumped(&s, SETTINGS_RECORD);
	assert_non_null(strstr(text, "interface = eth1                        # command line\n"));
	assert_non_null(strstr(text, "packets = 5                             # c line 2\n"));
	assert_non_null(strstr(text, "sensor = probe                          # environment\n"));
	assert_non_null(strstr(text, "in-flight = 8                           # default\n"));
	assert_non_null(strstr(text, "# instance = eth1                       # default\n"));
	assert_non_null(strstr(text, "# home =                                # not set\n"));
	free(text);
	settings_free(&s);
	unsetenv("XDP_RECORDER_SENSOR");
}

static void test_bson_round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(sets) / sizeof(*sets); i++) {
		struct settings_problem problem;
		bson_t message = BSON_INITIALIZER;
		struct settings a, b;

		if (load(&a, SETTINGS_RECORD, sets[i], &problem))
			fail_msg("%s: %s", sets[i], problem.text);
		settings_to_bson(&a, &message);
		if (settings_from_bson(&b, &message, &problem))
			fail_msg("%s", problem.text);
		for (int k = 0; k < SETTINGS; k++)
			if (settings_differ(&a, &b, (enum setting_index)k))
				fail_msg("%s does not come back", settings_name((enum setting_index)k));
		bson_destroy(&message);
		settings_free(&a);
		settings_free(&b);
	}
}

static void test_bson_mistakes(void **state)
{
	struct settings_problem problem;
	struct settings s;
	bson_t message = BSON_INITIALIZER, other = BSON_INITIALIZER;

	(void)state;
	assert_int_equal(settings_from_bson(&s, &message, &problem), -EINVAL);
	assert_string_equal(problem.text, "settings: interface is missing");
	BSON_APPEND_INT32(&message, "packets", 3);
	assert_int_equal(settings_from_bson(&s, &message, &problem), -EINVAL);
	assert_string_equal(problem.text, "settings: packets has the wrong type");
	BSON_APPEND_UTF8(&other, "packets", "-3");
	assert_int_equal(settings_from_bson(&s, &other, &problem), -EINVAL);
	bson_reinit(&other);
	BSON_APPEND_UTF8(&other, "colour", "red");
	assert_int_equal(settings_from_bson(&s, &other, &problem), -EINVAL);
	assert_string_equal(problem.text, "settings: unexpected field \"colour\"");
	bson_reinit(&other);
	BSON_APPEND_UTF8(&other, "packets", "1");
	BSON_APPEND_UTF8(&other, "packets", "1");
	assert_int_equal(settings_from_bson(&s, &other, &problem), -EINVAL);
	settings_free(&s);
	bson_destroy(&message);
	bson_destroy(&other);
}

/* ---- secrets ----------------------------------------------------------------------------------------------------- */

/* Everything that loading `line` writes: problem, log, dump, redacted BSON; NUL-terminated. */
static char *everything(const char *line, int expected)
{
	struct arguments a = split(line);
	struct settings_problem problem;
	struct settings s;
	char *text = calloc(1, 1 << 16), *dump, *json;
	bson_t safe = BSON_INITIALIZER;
	int saved = dup(STDERR_FILENO), file = open("log", O_RDWR | O_CREAT | O_TRUNC, 0600);
	ssize_t n;
	int err;

	fflush(stderr);
	dup2(file, STDERR_FILENO);
	err = settings_load(&s, SETTINGS_RECORD, a.count, a.values, &problem);
	dup2(saved, STDERR_FILENO);
	close(saved);
	assert_int_equal(err, expected);
	n = pread(file, text, 60000, 0);
	assert_true(n >= 0);
	close(file);
	strcat(text, problem.text);
	if (!err) {
		dump = dumped(&s, SETTINGS_RECORD);
		strcat(text, dump);
		free(dump);
		settings_to_bson_redacted(&s, SETTINGS_RECORD, &safe);
		json = bson_as_relaxed_extended_json(&safe, NULL);
		strcat(text, json);
		bson_free(json);
	}
	bson_destroy(&safe);
	settings_free(&s);
	for (int i = 0; i < a.count; i++) {
		strcat(text, " ");
		strcat(text, a.values[i]); /* what ps would show from now on */
	}
	drop(&a);
	return text;
}

static void test_secrets_stay_inside(void **state)
{
	static const struct {
		const char *line;
		int expected;
	} cases[] = {
		{"--mongo " SECRET_URI, 0},
		{"--mongo=" SECRET_URI, 0},
		{"--mongo-file uri", 0},
		{"--mongo-file uri --config absent", -EINVAL},
		{"--config secret.conf", 0},
		{"--config secret.conf --mongo " SECRET_URI, 0},
		{"--mongo " SECRET_URI " --mongo " SECRET_URI, -EINVAL},
		{"--mongo " SECRET_URI " --mongo-file uri", -EINVAL},
		{"--mongo xmongodb://joe:" SECRET "@h", -EINVAL},
		{"--mongoo=" SECRET_URI, -EINVAL},
		{"--mongo-file uri -i " SECRET_URI, -EINVAL},
		{"--mongo-file uri --sensor " SECRET_URI " --hook x", -EINVAL},
		{"--mongo mongodb://h/?tlsCertificateKeyFilePassword=" SECRET, 0},
		{"--mongo mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:" SECRET, 0},
	};

	(void)state;
	write_file("uri", SECRET_URI, 0644);
	write_file("secret.conf", "mongo = " SECRET_URI, 0644);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char *text = everything(cases[i].line, cases[i].expected);
		char *found = strstr(text, SECRET);

		/* An argument that is no secret setting stays where it is; nothing repeats it. */
		if (found && strstr(cases[i].line, "--mongoo"))
			found = strstr(found + 1, SECRET);
		else if (found && (strstr(cases[i].line, "-i ") || strstr(cases[i].line, "--sensor")))
			found = strstr(found + 1, SECRET);
		if (found)
			fail_msg("%s: %s", cases[i].line, text);
		free(text);
	}
	/* The control: this way of looking does see what is written. */
	{
		char *text = everything("--mongo-file uri", 0);

		assert_non_null(strstr(text, "joe"));
		assert_non_null(strstr(text, "uri holds a password and others may read it: chmod 600"));
		free(text);
		text = everything("--mongo " SECRET_URI, 0);
		assert_non_null(strstr(text, "could be seen by anybody"));
		assert_non_null(strstr(text, "--mongo ***"));
		free(text);
	}
}

static void test_secrets_leave_the_environment(void **state)
{
	char variable[] = "XDP_RECORDER_MONGO=" SECRET_URI;
	char *text;

	(void)state;
	putenv(variable);
	text = everything("-i eth1", 0);
	assert_null(strstr(text, SECRET));
	assert_null(getenv("XDP_RECORDER_MONGO"));
	assert_null(strstr(variable, SECRET)); /* /proc/PID/environ shows this memory */
	free(text);
}

static void test_redacted_bson(void **state)
{
	struct settings_problem problem;
	bson_t out = BSON_INITIALIZER;
	struct settings s;
	bson_iter_t iter;

	(void)state;
	write_file("uri", SECRET_URI, 0600);
	assert_int_equal(load(&s, SETTINGS_RECORD, "-i eth1 --tap --mongo-file uri -c 5", &problem), 0);
	settings_to_bson_redacted(&s, SETTINGS_RECORD, &out);
	assert_true(bson_iter_init_find(&iter, &out, "mongo"));
	assert_string_equal(bson_iter_utf8(&iter, NULL), "mongodb://joe:***@db.example:27017/?tls=true");
	assert_true(bson_iter_init_find(&iter, &out, "tap") && bson_iter_bool(&iter));
	assert_true(bson_iter_init_find(&iter, &out, "packets") && bson_iter_int64(&iter) == 5);
	assert_true(bson_iter_init_find(&iter, &out, "batch-age"));
	assert_string_equal(bson_iter_utf8(&iter, NULL), "auto");
	assert_false(bson_iter_init_find(&iter, &out, "config"));
	bson_destroy(&out);
	settings_free(&s);
}

/* ---- help -------------------------------------------------------------------------------------------------------- */

static void test_help(void **state)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	settings_help(SETTINGS_RECORD, out);
	fclose(out);
	assert_non_null(strstr(text, "  -i, --interface IF"));
	assert_non_null(strstr(text, "default inout)"));
	assert_non_null(strstr(text, "(default auto)"));
	assert_null(strstr(text, "test-clock"));
	assert_null(strstr(text, "--dry-run"));
	free(text);
}

/* An option that several commands have is described by what it does in this one. */
static void test_help_of_a_command(void **state)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	settings_help(SETTINGS_PRINT, out);
	settings_help(SETTINGS_IMPORT, out);
	fclose(out);
	assert_non_null(strstr(text, "-v, --verbose              a tree of all fields"));
	assert_non_null(strstr(text, "(default recorder_import)"));
	assert_null(strstr(text, "(default recorder)"));
	free(text);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mistakes_on_the_command_line),
		cmocka_unit_test(test_mistakes_in_the_file),
		cmocka_unit_test(test_mistakes_in_the_environment),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_each_type),
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_precedence),
		cmocka_unit_test(test_mongo_file),
		cmocka_unit_test(test_dump_round_trip),
		cmocka_unit_test(test_dump_quotes),
		cmocka_unit_test(test_dump_says_where_from),
		cmocka_unit_test(test_bson_round_trip),
		cmocka_unit_test(test_bson_mistakes),
		cmocka_unit_test(test_secrets_stay_inside),
		cmocka_unit_test(test_secrets_leave_the_environment),
		cmocka_unit_test(test_redacted_bson),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_help_of_a_command),
	};

	clearenv();
	return cmocka_run_group_tests(tests, setup, teardown);
}
