/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/cli/cmd.h"

#include "recorder/capture/capture.h"
#include "recorder/capture/filter.h"
#include "recorder/cli/interface.h"
#include "recorder/core/util.h"
#include "recorder/process/keeper.h"

/* The missing ones of `interfaces`, all, each with the name that was perhaps meant. */
static bool interfaces_exist(const struct settings_list *interfaces)
{
	struct if_nameindex *there = if_nameindex();
	const char **names = NULL;
	char text[900] = "";
	size_t count = 0, used = 0, missing = 0;

	while (there && there[count].if_index)
		count++;
	names = calloc(count + 1, sizeof(*names));
	for (size_t i = 0; names && i < count; i++)
		names[i] = there[i].if_name;
	for (size_t i = 0; i < interfaces->count; i++) {
		const char *near;

		if (if_nametoindex(interfaces->items[i]))
			continue;
		near = names ? settings_nearest(interfaces->items[i], names) : NULL;
		if (used < sizeof(text))
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s%s%s%s", missing ? ", " : "",
						 interfaces->items[i], near ? " (did you mean " : "", near ? near : "",
						 near ? "?)" : "");
		missing++;
	}
	free(names);
	if_freenameindex(there);
	if (missing)
		cmd_fail(EXIT_FAILED, "no such interface: %s; `xdp-recorder -D` lists those of this machine", text);
	return !missing;
}

/* Only whether it can be compiled: early, and before anything is touched. */
static bool filter_sound(const char *expression)
{
	struct filter *filter = NULL;
	struct filter_error error;

	if (filter_compile(&filter, expression, &error)) {
		cmd_fail(EXIT_USAGE, "%s", error.text);
		return false;
	}
	filter_free(filter);
	return true;
}

/* --count beside what needs packets. */
static bool count_sound(const struct settings *settings)
{
	const char *other = settings->write ? "--write FILE" : settings->count ? "--packets N" : NULL;

	if (!settings->count_only)
		return true;
	if (other)
		cmd_fail(EXIT_USAGE, "--count stores no packet, so %s has nothing to do: leave one of them out", other);
	return !other && cmd_has_database(settings);
}

/* What --write would do that nobody wants. */
static bool target_sound(const struct settings *settings)
{
	static const char *const packed[] = {".gz", ".zst", ".xz", ".bz2"};
	const char *path = settings->write;
	size_t len = path ? strlen(path) : 0;

	if (path && !strcmp(path, "-") && !settings->json && isatty(STDOUT_FILENO)) {
		cmd_fail(EXIT_USAGE, "--write -: stdout is a terminal, and pcapng is binary: put a file or a pipe behind it, or "
				     "add --json; `xdp-recorder print -i IF` shows packets");
		return false;
	}
	if (len > 5 && !strcmp(path + len - 5, ".pcap")) {
		cmd_fail(EXIT_USAGE, "--write %s: pcapng is written, not pcap: name it %sng", path, path);
		return false;
	}
	for (size_t i = 0; i < ARRAY_SIZE(packed); i++) {
		size_t tail = strlen(packed[i]);

		if (len > tail && !strcmp(path + len - tail, packed[i])) {
			cmd_fail(EXIT_USAGE, "--write %s: nothing is compressed on its way: name it without %s, or write to - and pipe it",
				 path, packed[i]);
			return false;
		}
	}
	return true;
}

int cmd_record(const struct settings *settings)
{
	struct instance instance;
	char caps[200];

	if (!settings->interfaces.count) {
		if (!settings->instance[0])
			return cmd_fail(EXIT_USAGE, "no interface is named: -i IF (`xdp-recorder -D` lists them)");
		if (instance_look(&instance, settings->instance))
			return EXIT_USAGE;
		if (!instance.pinned)
			return cmd_fail(EXIT_USAGE, "instance %s has no capture to resume: name an interface with -i",
					instance.name);
	} else if (!interfaces_exist(&settings->interfaces)) {
		return EXIT_FAILED;
	}
	if (!filter_sound(settings->filter) || !cmd_has_target(settings) || !count_sound(settings) || !target_sound(settings))
		return EXIT_USAGE;
	if (!cmd_user_exists(settings->user))
		return cmd_fail(EXIT_FAILED, "user %s does not exist: -Z names the user that the drainer runs as",
				settings->user);
	if (capture_missing_caps(caps, sizeof(caps)))
		return cmd_fail(EXIT_FAILED, "recording needs more rights: %s is missing; run it as root", caps);
	return keeper_run(settings, KEEPER_RECORD);
}
