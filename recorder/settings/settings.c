/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each source of values becomes a *layer*: a struct settings of its own and a note of what was given. Layers are merged
 * from the highest precedence down, then come the rules between settings. So every value is checked, also one that
 * another source overrides.
 */
#include "recorder/settings/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/core/util.h"
#include "recorder/db/connect.h"

#define BSON_MAX_BYTES 50000u /* well below process/link.h's payload */

/* Values of `from` that `to` does not have yet. */
static void merge(struct layer *to, const struct layer *from)
{
	for (int i = 0; i < SETTINGS; i++) {
		if (!from->given[i] || to->given[i])
			continue;
		setting_copy(&to->settings, &from->settings, (enum setting_index)i);
		to->given[i] = true;
	}
}

static int set_defaults(struct layer *layer, struct settings_problem *problem)
{
	for (int i = 0; i < SETTINGS; i++) {
		int err = setting_table[i].preset[0]
				  ? setting_set(layer, (enum setting_index)i, setting_table[i].preset, problem)
				  : 0;

		if (err)
			return err;
	}
	return 0;
}

char *settings_default_spool(const char *instance)
{
	const char *state = getenv("XDP_RECORDER_STATE");
	char *path = NULL;

	return asprintf(&path, "%s/spool/%s", state && *state ? state : "/var/lib/xdp-recorder", instance) < 0 ? NULL : path;
}

/* Defaults that follow from the machine or from other settings. */
static int derive(struct settings *s, struct settings_problem *problem)
{
	char name[1024] = "";

	if (s->generic && s->hook == HOOK_AUTO)
		s->hook = HOOK_XDP;
	if (!s->user)
		setting_string_set(&s->user, getpwnam("xdp-recorder") ? "xdp-recorder" : "nobody");
	if (!s->sensor) {
		if (gethostname(name, sizeof(name) - 1) || !name[0] || setting_fault(SETTING_sensor, name))
			return setting_wrong(problem, "sensor: this host has no usable name, give --sensor");
		setting_string_set(&s->sensor, name);
	}
	if (!s->instance) {
		name[0] = '\0';
		for (size_t i = 0; i < s->interfaces.count; i++) {
			size_t used = strlen(name);

			snprintf(name + used, sizeof(name) - used, "%s%s", i ? "+" : "", s->interfaces.items[i]);
		}
		if (setting_fault(SETTING_instance, name))
			return setting_wrong(problem,
					     "instance: the interfaces' names make no instance name, give --instance");
		setting_string_set(&s->instance, name);
	}
	if (!s->spool && *s->instance) {
		s->spool = settings_default_spool(s->instance);
		if (!s->spool)
			return setting_wrong(problem, "out of memory");
	}
	return 0;
}

/* Rules between settings. */
static int check_together(const struct settings *s, struct settings_problem *problem)
{
	bson_t all = BSON_INITIALIZER;
	uint32_t size;

	if (s->bucket_span && 86400 % s->bucket_span)
		return setting_wrong(problem, "bucket-span %" PRIu64 " does not divide a day of 86400 s: 1, 10, 60 or 600 do",
				     s->bucket_span);
	if (s->generic && s->hook == HOOK_TC)
		return setting_wrong(problem, "generic and hook tc contradict each other: generic is a form of XDP");
	if (s->direction == DIRECTION_OUT && (s->generic || s->hook == HOOK_XDP))
		return setting_wrong(problem,
				     "direction out and %s contradict each other: XDP sees only packets that enter",
				     s->generic ? "generic" : "hook xdp");
	if (s->tap && s->direction == DIRECTION_OUT)
		return setting_wrong(problem,
				     "tap and direction out contradict each other: a mirror port's packets enter");
	if (s->quiet && s->verbose)
		return setting_wrong(problem, "quiet and verbose contradict each other");
	settings_to_bson(s, &all);
	size = all.len;
	bson_destroy(&all);
	if (size > BSON_MAX_BYTES)
		return setting_wrong(problem, "the settings are %u bytes long in all, %u is the limit: shorten home",
				     size, BSON_MAX_BYTES);
	return 0;
}

/* `mongo` or `mongo-file`, whichever has precedence. */
static int choose_mongo(struct settings *s, struct settings_problem *problem)
{
	if (!s->mongo_file)
		return 0;
	if (s->mongo && s->origin[SETTING_mongo].source == s->origin[SETTING_mongo_file].source)
		return setting_wrong(problem, "mongo and mongo-file are given at the same place: one is needed");
	if (s->mongo && s->origin[SETTING_mongo].source > s->origin[SETTING_mongo_file].source) {
		setting_string_set(&s->mongo_file, NULL);
		s->origin[SETTING_mongo_file] = (struct settings_origin){FROM_DEFAULT, 0};
		return 0;
	}
	s->origin[SETTING_mongo] = s->origin[SETTING_mongo_file];
	return setting_read_mongo_file(s, problem);
}

/* The layers below `top` under it, and what follows; moves the result to `out`. */
static int assemble(struct settings *out, struct layer *top, struct settings_problem *problem)
{
	struct layer file = {.source = FROM_FILE}, preset = {.source = FROM_DEFAULT};
	int err = 0;

	if (top->settings.config)
		err = setting_read_config(&file, top->settings.config, problem);
	if (!err)
		err = set_defaults(&preset, problem);
	if (!err) {
		merge(top, &file);
		merge(top, &preset);
		err = choose_mongo(&top->settings, problem);
	}
	if (!err)
		err = derive(&top->settings, problem);
	if (!err)
		err = check_together(&top->settings, problem);
	settings_free(&file.settings);
	settings_free(&preset.settings);
	if (err)
		settings_free(&top->settings);
	*out = top->settings;
	return err;
}

int settings_load(struct settings *settings, enum settings_command command, int argc, char **argv,
		  struct settings_problem *problem)
{
	struct layer line = {.source = FROM_COMMAND_LINE}, environment = {.source = FROM_ENVIRONMENT};
	int err;

	memset(settings, 0, sizeof(*settings));
	problem->text[0] = '\0';
	err = setting_read_arguments(&line, command, argc, argv, problem);
	if (!err && (line.settings.help || line.settings.version)) {
		*settings = line.settings;
		return 0;
	}
	if (!err)
		err = setting_read_environment(&environment, problem);
	if (err) {
		settings_free(&line.settings);
	} else {
		merge(&line, &environment);
		err = assemble(settings, &line, problem);
	}
	settings_free(&environment.settings);
	return err;
}

int settings_reload(struct settings *fresh, const struct settings *old, enum settings_command command,
		    struct settings_problem *problem)
{
	struct layer top = {.source = FROM_COMMAND_LINE};

	(void)command;
	problem->text[0] = '\0';
	for (int i = 0; i < SETTINGS; i++) {
		if (old->origin[i].source < FROM_ENVIRONMENT || (i == SETTING_mongo && old->mongo_file))
			continue;
		setting_copy(&top.settings, old, (enum setting_index)i);
		top.given[i] = true;
	}
	return assemble(fresh, &top, problem);
}

enum log_level settings_log_level(const struct settings *settings)
{
	if (settings->verbose)
		return settings->verbose > 1 ? LOG_TRACE : LOG_DEBUG;
	if (settings->quiet && settings->log_level > LOG_WARNING)
		return LOG_WARNING;
	return (enum log_level)settings->log_level;
}
