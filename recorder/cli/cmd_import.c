/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/cli/cmd.h"

#include <time.h>

#include "recorder/capture/capture.h"
#include "recorder/cli/progress.h"
#include "recorder/core/clock.h"
#include "recorder/process/import.h"

struct screen {
	struct progress progress;
	bool quiet;
};

static void on_progress(void *arg, const struct import_progress *now)
{
	struct screen *screen = arg;

	if (now->done == now->size && !now->reading)
		progress_draw(&screen->progress, now->path, "storing", now->packets, now->total, now->packets);
	else
		progress_draw(&screen->progress, now->path, now->reading ? "reading" : "storing", now->done, now->size,
			      now->packets);
}

static void on_clear(void *arg)
{
	progress_clear(&((struct screen *)arg)->progress);
}

/* "2019-02-03T04:05:06.123456789Z" */
static const char *time_text(char out[40], int64_t wall)
{
	time_t seconds = (time_t)(wall / (int64_t)NS_PER_SEC - (wall % (int64_t)NS_PER_SEC < 0));
	struct tm utc;
	size_t used;

	gmtime_r(&seconds, &utc);
	used = strftime(out, 40, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(out + used, 40 - used, ".%09lldZ", (long long)(wall - (int64_t)seconds * (int64_t)NS_PER_SEC));
	return out;
}

static void print_where(const struct import_result *r)
{
	if (!r->first_year)
		return;
	printf("; %s.packets_%04u", r->database, r->first_year);
	if (r->last_year != r->first_year)
		printf(" to packets_%04u", r->last_year);
}

static void on_result(void *arg, const struct import_result *r)
{
	struct screen *screen = arg;
	char first[40], last[40];

	progress_clear(&screen->progress);
	if (!r->formed || screen->quiet)
		return;
	printf("%s: packets %llu stored %llu filtered %llu (native %llu), bytes %llu", r->path,
	       (unsigned long long)r->packets, (unsigned long long)r->stored, (unsigned long long)r->filtered,
	       (unsigned long long)r->native, (unsigned long long)r->bytes);
	if (r->lost)
		printf(", lost %llu", (unsigned long long)r->lost);
	if (r->packets)
		printf(", %s to %s", time_text(first, r->first), time_text(last, r->last));
	print_where(r);
	if (r->again && !r->added)
		printf("; already imported: %llu packets, nothing added", (unsigned long long)r->packets);
	else if (r->again)
		printf("; begun before: %llu packets added", (unsigned long long)r->added);
	putchar('\n');
	fflush(stdout);
}

int cmd_import(const struct settings *settings)
{
	struct screen screen = {.quiet = settings->quiet};
	struct import_view view = {&screen, on_progress, on_clear, on_result};
	char caps[200];
	bool done;

	if (!settings->arguments.count)
		return cmd_fail(EXIT_USAGE, "no file is named: xdp-recorder import FILE... (- is stdin); a filter stands behind --");
	if (!cmd_has_database(settings))
		return EXIT_USAGE;
	if (!cmd_user_exists(settings->user))
		return cmd_fail(EXIT_FAILED, "user %s does not exist: -Z names the user that files are read as",
				settings->user);
	if (!settings->native && capture_missing_caps(caps, sizeof(caps)))
		return cmd_fail(EXIT_FAILED,
				"importing through the BPF program needs more rights: %s is missing; run it as root, or with "
				"--native, which parses in user space by the same source",
				caps);
	progress_init(&screen.progress, settings->quiet);
	done = import_run(settings, &view);
	progress_clear(&screen.progress);
	return done ? EXIT_DONE : EXIT_FAILED;
}
