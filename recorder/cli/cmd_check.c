/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check: everything that `record` needs, one line each: ok, warning (it works, but ...) or missing (it will not work),
 * with what to do. Exit status 0 only if nothing is missing. Changes nothing but a scratch collection, which it drops.
 */
#include "recorder/cli/cmd.h"

#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <pwd.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include <bpf/libbpf.h>

#include "recorder/capture/capture.h"
#include "recorder/cli/check_spool.h"
#include "recorder/cli/interface.h"
#include "recorder/cli/probe.h"
#include "recorder/core/util.h"
#include "recorder/db/connect.h"
#include "recorder/db/migrate.h"
#include "recorder/db/probe.h"

#define XDP_ONE_BUFFER_MTU 3498u /* a page less headroom and skb_shared_info, as most drivers count it */
#define UDP_RECORD 80u		 /* bytes of a record: CAPTURE.md section 11 */
#define TCP_RECORD 104u

enum state { OK, WARNING, MISSING };

struct check {
	const struct settings *settings;
	bson_t lines; /* for --json */
	unsigned count[MISSING + 1];
	bool tcx, vlan;
};

static void __attribute__((format(printf, 4, 5)))
say(struct check *check, enum state state, const char *what, const char *format, ...)
{
	static const char *const names[] = {"ok", "warning", "missing"};
	char text[700], key[16];
	va_list args;
	bson_t line;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (!check->settings->json) {
		printf("%-8s %-10s %s\n", names[state], what, text);
		fflush(stdout); /* what follows can wait for a server */
	} else {
		snprintf(key, sizeof(key), "%u", check->count[OK] + check->count[WARNING] + check->count[MISSING]);
		bson_append_document_begin(&check->lines, key, -1, &line);
		BSON_APPEND_UTF8(&line, "state", names[state]);
		BSON_APPEND_UTF8(&line, "what", what);
		BSON_APPEND_UTF8(&line, "text", text);
		bson_append_document_end(&check->lines, &line);
	}
	check->count[state]++;
}

/* ---- the kernel -------------------------------------------------------------------------------------------------- */

static void check_kernel(struct check *check)
{
	static const struct {
		enum probe probe;
		enum state without;
		const char *there, *not_there;
	} wanted[] = {
		{PROBE_XDP, MISSING, "XDP programs that read packets in several buffers",
		 "XDP with bpf_xdp_load_bytes: Linux 5.18 or newer"},
		{PROBE_FRAGS, MISSING, "XDP frags: large MTUs work", "XDP frags: Linux 5.18 or newer"},
		{PROBE_TC, MISSING, "tc programs",
		 "tc programs (sched_cls): CONFIG_NET_CLS_ACT and CONFIG_NET_CLS_BPF"},
		{PROBE_TIME, MISSING, "boot time and TAI in programs", "bpf_ktime_get_tai_ns: Linux 6.1 or newer"},
		{PROBE_MMAP, MISSING, "maps that can be mapped into memory, ring buffers",
		 "mmap-able arrays and ring buffers: Linux 5.8 or newer"},
		{PROBE_MEMBARRIER, WARNING, "membarrier: seconds are closed exactly",
		 "membarrier (off with nohz_full): seconds are closed later"},
		{PROBE_TCX, WARNING, "tcx: hooks that nobody takes off by accident",
		 "no tcx (Linux 6.6): clsact is used, which anybody can delete"},
		{PROBE_VLAN, WARNING, "VLAN tags that hardware took can be asked for in XDP",
		 "no VLAN kfunc (Linux 6.8): tags that the NIC strips are not seen by XDP; use `ethtool -K IF rxvlan "
		 "off`"},
	};
	struct utsname name;
	unsigned refused = 0;

	uname(&name);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		int there = probe(wanted[i].probe);

		if (wanted[i].probe == PROBE_TCX)
			check->tcx = there == 1;
		if (wanted[i].probe == PROBE_VLAN)
			check->vlan = there == 1;
		if (there == -EPERM)
			refused++;
		else
			say(check, there == 1 ? OK : wanted[i].without, "kernel", "%s",
			    there == 1 ? wanted[i].there : wanted[i].not_there);
	}
	if (refused)
		say(check, WARNING, "kernel", "Linux %s: %u questions need CAP_BPF: run check as root", name.release,
		    refused);
	else
		say(check, OK, "kernel", "Linux %s on %s", name.release, name.machine);
}

static void check_privileges(struct check *check)
{
	struct rlimit limit = {0};
	struct statfs fs;
	struct stat st;
	char caps[200];
	const char *bpffs = instance_bpffs();

	if (capture_missing_caps(caps, sizeof(caps)))
		say(check, MISSING, "rights", "%s: run it as root, or give the service these capabilities", caps);
	else
		say(check, OK, "rights", "CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON");
	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (probe(PROBE_MEMCG) == 1)
		say(check, OK, "memlock", "no limit: this kernel counts BPF memory by control group");
	else if (limit.rlim_cur == RLIM_INFINITY)
		say(check, OK, "memlock", "no limit");
	else
		say(check, WARNING, "memlock",
		    "limited to %llu bytes on this kernel: LimitMEMLOCK=infinity in the unit, or `ulimit -l unlimited`",
		    (unsigned long long)limit.rlim_cur);
	if (statfs(bpffs, &fs) || fs.f_type != BPF_FS_MAGIC)
		say(check, geteuid() ? MISSING : OK, "bpffs", "nothing is mounted at %s: %s", bpffs,
		    geteuid() ? "`mount -t bpf bpf` it as root" : "record does it");
	else if (stat(bpffs, &st) || (access(bpffs, W_OK) && errno != ENOENT))
		say(check, MISSING, "bpffs", "%s cannot be written: run it as root", bpffs);
	else
		say(check, OK, "bpffs", "%s", bpffs);
	if (cmd_user_exists(check->settings->user))
		say(check, OK, "user", "the drainer runs as %s", check->settings->user);
	else
		say(check, MISSING, "user", "%s does not exist: `useradd --system %s`, or name another by -Z",
		    check->settings->user, check->settings->user);
}

/* ---- interfaces -------------------------------------------------------------------------------------------------- */

/* Drivers that take the link down for a moment when a program is attached. */
static bool resets_link(const char *driver)
{
	static const char *const drivers[] = {"i40e", "ixgbe", "ixgbevf", "ice", "igb", "igc", "bnxt_en", "mlx4_en"};

	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (!strcmp(driver, drivers[i]))
			return true;
	return false;
}

/* The instance that records this interface, if one does. */
static bool recorded_by(const char *name, char out[INSTANCE_NAME_MAX])
{
	enum { MOST = 64 };
	CLEANUP_FREE struct instance *list = calloc(MOST, sizeof(*list));
	int count = list ? instance_list(list, MOST) : 0;
	char path[PATH_MAX];

	for (int i = 0; i < count; i++) {
		if (capture_pin_path(path, sizeof(path), instance_bpffs(), list[i].name, name) || access(path, F_OK))
			continue;
		memcpy(out, list[i].name, INSTANCE_NAME_MAX);
		return true;
	}
	return false;
}

static void check_interface(struct check *check, const char *name)
{
	const struct settings *s = check->settings;
	struct interface i;
	char owner[INSTANCE_NAME_MAX], label[IFNAMSIZ + 1];
	const char *rx;
	bool xdp, native, ours;

	snprintf(label, sizeof(label), "%s", name);
	if (interface_look(&i, name)) {
		say(check, MISSING, label, "there is no such interface: `xdp-recorder -D` lists them");
		return;
	}
	rx = interface_rx(&i, s, check->tcx);
	xdp = !strncmp(rx, "xdp", 3);
	native = xdp && strcmp(rx, "xdp generic") != 0;
	ours = recorded_by(name, owner);
	say(check, OK, label, "driver %s, MTU %u, received packets by %s, sent packets by %s",
	    i.driver[0] ? i.driver : "unknown", i.mtu, rx, interface_tx(s, check->tcx));
	if (ours)
		say(check, OK, label, "is being recorded by instance %s", owner);
	if (!(i.flags & IFF_UP))
		say(check, WARNING, label, "is down: `ip link set %s up`", name);
	else if (!(i.flags & IFF_RUNNING))
		say(check, WARNING, label, "is up but has no carrier");
	if (xdp && i.xdp_program && !ours)
		say(check, MISSING, label,
		    "another XDP program (id %u) is attached: use --hook tc, or take it off by `ip link set %s xdp "
		    "off`",
		    i.xdp_program, name);
	if (xdp && !native && !s->generic)
		say(check, WARNING, label,
		    "the driver has no XDP of its own: generic mode copies packets; --hook tc avoids it");
	if (native && i.xdp == ANSWER_UNKNOWN)
		say(check, WARNING, label,
		    "whether the driver has XDP is only known when it is attached (Linux 6.3 could tell); generic mode "
		    "otherwise");
	if (native && resets_link(i.driver))
		say(check, WARNING, label,
		    "%s may take the link down for a moment when XDP is attached: --hook tc avoids it", i.driver);
	if (native && i.mtu > XDP_ONE_BUFFER_MTU && i.frags == ANSWER_NO)
		say(check, WARNING, label,
		    "the driver has XDP only for MTUs up to about %u, this is %u: --hook tc, or generic mode is used",
		    XDP_ONE_BUFFER_MTU, i.mtu);
	if (xdp && i.lro)
		say(check, WARNING, label, "LRO merges packets before they are seen: `ethtool -K %s lro off`", name);
	if (xdp && i.rxvlan && !check->vlan)
		say(check, WARNING, label,
		    "the NIC strips VLAN tags and this kernel cannot give them to XDP: `ethtool -K %s rxvlan off`",
		    name);
	if (i.tso && s->direction != DIRECTION_IN)
		say(check, OK, label,
		    "segmentation offload is on: what is sent is recorded as super-packets, marked, their segments "
		    "counted");
	if (capture_wants_promisc(name, CAPTURE_SIDE(REC_RX)) && s->direction != DIRECTION_OUT)
		say(check, OK, label, "promiscuous mode is %s",
		    i.flags & IFF_PROMISC ? "on" : "switched on while recording; not with -p");
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static uint64_t available_memory(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return (uint64_t)kib << 10;
}

static void check_memory(struct check *check)
{
	const struct settings *s = check->settings;
	unsigned cpus = capture_online_cpus(), sides = s->direction == DIRECTION_INOUT ? 2 : 1;
	unsigned interfaces = s->interfaces.count ? (unsigned)s->interfaces.count : 1,
		 rings = cpus * sides * interfaces;
	uint64_t each = capture_ring_default(rings), all, available = available_memory();
	enum state state = OK;

	if (s->ring_size)
		for (each = REC_RING_MIN; each * 2 * rings <= s->ring_size && each < REC_RING_MAX;)
			each *= 2;
	all = each * rings;
	if (available && all > available)
		state = MISSING;
	else if (available && all > available / 2)
		state = WARNING;
	say(check, state, "rings", "%u of %llu KiB, %llu MiB in all; %llu MiB of memory are available%s", rings,
	    (unsigned long long)(each >> 10), (unsigned long long)(all >> 20), (unsigned long long)(available >> 20),
	    state == OK ? "" : ": make them smaller by --ring-size");
	say(check, OK, "rings",
	    "a burst of %llu small UDP or %llu TCP packets fits into each; every side of an interface has %u",
	    (unsigned long long)(each / UDP_RECORD), (unsigned long long)(each / TCP_RECORD), cpus);
}

static void check_the_spool(struct check *check)
{
	char text[PATH_MAX + 300];
	int state = check_spool(check->settings, text, sizeof(text));

	say(check, state < 0 ? MISSING : state ? WARNING : OK, "spool", "%s", text);
}

/* ---- the database ------------------------------------------------------------------------------------------------ */

static void database_line(void *arg, bool ok, const char *text)
{
	say(arg, ok ? OK : MISSING, "database", "%s", text);
}

/* What --storage asks for, and what this server takes; rights are what most often stands in the way. */
static void check_storage(struct check *check, struct db *db)
{
	static const enum probe_wanted wanted[] = {[STORAGE_AUTO] = PROBE_AUTO,
						   [STORAGE_BUCKETS] = PROBE_BUCKETS,
						   [STORAGE_DOCUMENTS] = PROBE_DOCUMENTS};
	bool asked = check->settings->storage != STORAGE_DOCUMENTS;
	struct probe_storage storage;
	struct db_problem problem = {0};

	if (probe_storage(db, wanted[check->settings->storage], &storage, &problem) != DB_OK)
		say(check, MISSING, "database", "storage: %s", problem.text);
	else
		say(check, asked && !storage.buckets ? WARNING : OK, "database", "storage: %s", storage.why);
	if (storage.denied)
		say(check, WARNING, "database",
		    "finished buckets take rights that readWrite does not give: from MongoDB 8.2 on the action "
		    "performRawDataOperations on '%s' (readWriteAnyDatabase has it), before it find, insert, update and remove "
		    "on its system.buckets.* collections",
		    db_name(db));
}

static void ask_database(struct check *check)
{
	struct db_options options = {
		.uri = check->settings->mongo, .database = check->settings->database, .clients = 2};
	struct migrations migrations = {0};
	struct migrate_report report = {0};
	struct db_problem problem = {0};
	enum db_result result;
	struct db *db = NULL;

	if (!check->settings->mongo) {
		say(check, MISSING, "database", "none is named: --mongo URI, --mongo-file FILE or XDP_RECORDER_MONGO");
		return;
	}
	if (db_open(&db, &options, &problem) != DB_OK) {
		say(check, MISSING, "database", "%s", problem.text);
		return;
	}
	if (db_check(db, database_line, check) == 0) {
		check_storage(check, db);
		result = migrations_load(&migrations, NULL, &problem);
		if (result == DB_OK)
			result = migrate_check(db, &migrations, &report, &problem);
		if (result == DB_OK)
			say(check, OK, "database", "migrations: all applied, the newest is %d", report.to);
		else if (result == DB_LATER && !problem.code)
			say(check, WARNING, "database",
			    "%d migrations are to be applied: `xdp-recorder migrate` does it, and so does record",
			    (int)migrations.count - report.to);
		else
			say(check, MISSING, "database", "%s", problem.text);
		migrations_free(&migrations);
	}
	db_close(db);
}

/* The drainer is who will connect: asked as its user, a socket that is not open to it is found here and not later. */
static void check_database(struct check *check)
{
	const struct passwd *user = geteuid() == 0 ? getpwnam(check->settings->user) : NULL;
	unsigned missing = check->count[MISSING];

	if (user && (setegid(user->pw_gid) || seteuid(user->pw_uid))) {
		say(check, MISSING, "database", "cannot be asked as user %s: %s", check->settings->user, strerror(errno));
		return;
	}
	ask_database(check);
	if (user && (seteuid(0) || setegid(0)))
		say(check, MISSING, "privileges", "cannot be taken back: %s", strerror(errno));
	if (user && check->count[MISSING] > missing)
		say(check, WARNING, "database", "asked as user %s, whom the drainer runs as (--user); the local engine's socket is its user's: "
		    "`deploy/engine/engine start --user %s`", check->settings->user, check->settings->user);
}

/* ---- all -----------------------------------------------------------------------------------------------------------
 */

static void print_json(struct check *check)
{
	bson_t all = BSON_INITIALIZER;
	char *json;

	BSON_APPEND_INT32(&all, "ok", (int32_t)check->count[OK]);
	BSON_APPEND_INT32(&all, "warnings", (int32_t)check->count[WARNING]);
	BSON_APPEND_INT32(&all, "missing", (int32_t)check->count[MISSING]);
	BSON_APPEND_ARRAY(&all, "lines", &check->lines);
	json = bson_as_relaxed_extended_json(&all, NULL);
	puts(json ? json : "{}");
	bson_free(json);
	bson_destroy(&all);
}

int cmd_check(const struct settings *settings)
{
	struct check check = {.settings = settings};

	libbpf_set_print(NULL); /* probes that fail are answers */
	bson_init(&check.lines);
	check_kernel(&check);
	check_privileges(&check);
	for (size_t i = 0; i < settings->interfaces.count; i++)
		check_interface(&check, settings->interfaces.items[i]);
	if (!settings->interfaces.count)
		say(&check, OK, "interface", "none is named: -i IF looks at one, -D lists them");
	check_memory(&check);
	check_the_spool(&check);
	check_database(&check);
	if (settings->json)
		print_json(&check);
	else
		printf("%u ok, %u warnings, %u missing\n", check.count[OK], check.count[WARNING], check.count[MISSING]);
	bson_destroy(&check.lines);
	return check.count[MISSING] ? EXIT_FAILED : EXIT_DONE;
}

int cmd_list_interfaces(const struct settings *settings)
{
	CLEANUP_FREE struct interface *list = NULL;
	bool tcx;
	int count;

	libbpf_set_print(NULL);
	tcx = probe(PROBE_TCX) == 1;
	count = interface_list(&list);
	if (count < 0)
		return cmd_fail(EXIT_FAILED, "cannot list the interfaces: %s", strerror(-count));
	printf("%-15s %5s  %-12s %-6s %-12s %s\n", "INTERFACE", "INDEX", "DRIVER", "STATE", "RECEIVED BY", "SENT BY");
	for (int i = 0; i < count; i++) {
		const struct interface *f = &list[i];

		printf("%-15s %5u  %-12s %-6s %-12s %s\n", f->name, f->index, f->driver[0] ? f->driver : "-",
		       !(f->flags & IFF_UP)	? "down"
		       : f->flags & IFF_RUNNING ? "up"
						: "no link",
		       interface_rx(f, settings, tcx), interface_tx(settings, tcx));
	}
	return EXIT_DONE;
}
