/* SPDX-License-Identifier: GPL-2.0-or-later */
/* arguments.c - the command line as a layer: options, then interfaces, files, an instance or the words of a filter. */
#include "recorder/settings/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/core/util.h"

static int find_letter(char letter)
{
	for (int i = 0; i < SETTINGS; i++)
		if (setting_table[i].letter == letter)
			return i;
	return -1;
}


/* "record and check" */
static void spell_commands(unsigned commands, char *out, size_t size)
{
	char words[80] = "";

	for (unsigned bit = SETTINGS_RECORD; bit <= SETTINGS_PRINT; bit <<= 1)
		if (commands & bit)
			snprintf(words + strlen(words), sizeof(words) - strlen(words), "%s%s", words[0] ? "|" : "",
				 setting_command((enum settings_command)bit));
	setting_spell(words, out, size);
}

/* One option with its value; wipes it in argv when it is a secret. */
static int set_option(struct layer *layer, enum settings_command command, enum setting_index index, char *value,
		      struct settings_problem *problem)
{
	const struct entry *e = &setting_table[index];
	char commands[80];
	int err;

	if (!(e->commands & command)) {
		if (value && e->type == SECRET)
			setting_wipe(value);
		spell_commands(e->commands, commands, sizeof(commands));
		return setting_wrong(problem, "command line: --%s is for %s, %s does not take it", e->name, commands,
				     setting_command(command));
	}
	err = setting_set(layer, index, value, problem);
	if (value && e->type == SECRET) {
		if (setting_has_secret(value))
			log_warn("the password in --%s could be seen by anybody who listed processes: use --mongo-file "
				 "or XDP_RECORDER_MONGO",
				 e->name);
		setting_wipe(value);
	}
	return err;
}

static bool takes_value(enum setting_index index)
{
	return setting_table[index].type != FLAG && setting_table[index].type != LEVEL;
}

/* The value in the next argument. An option there is a forgotten value, not a value. */
static int next_value(enum setting_index index, int argc, char **argv, int *at, char **value,
		      struct settings_problem *problem)
{
	const struct entry *e = &setting_table[index];
	char *next = *at + 1 < argc ? argv[*at + 1] : NULL;

	if (!next)
		return setting_wrong(problem, "command line: --%s needs a value: %s", e->name, e->value);
	if (!strncmp(next, "--", 2) && setting_find(next + 2, strcspn(next + 2, "=")) >= 0)
		return setting_wrong(problem, "command line: --%s needs a value (%s), %.*s is an option", e->name,
				     e->value, (int)strcspn(next, "="), next);
	*value = next;
	++*at;
	return 0;
}

static int parse_long(struct layer *layer, enum settings_command command, int argc, char **argv, int *at,
		      struct settings_problem *problem)
{
	char *argument = argv[*at], *name = argument + 2, *value = NULL;
	size_t len = strcspn(name, "=");
	int index = setting_find(name, len), err;
	const char *near;
	char copy[64];

	if (index < 0) {
		snprintf(copy, sizeof(copy), "%.*s", (int)len, name);
		near = setting_nearest(copy, command);
		return setting_wrong(problem, "command line: %s has no option --%s%s%s%s", setting_command(command),
				     setting_shown(copy, (char[64]){0}, 64), near ? ": did you mean --" : "",
				     near ? near : "", near ? "?" : "");
	}
	if (name[len] == '=')
		value = name + len + 1;
	else if (takes_value((enum setting_index)index) && setting_table[index].commands & command) {
		err = next_value((enum setting_index)index, argc, argv, at, &value, problem);
		if (err)
			return err;
	} else if (setting_table[index].type == SECRET && *at + 1 < argc) {
		value = argv[*at + 1]; /* refused below: but not left to be seen */
	}
	return set_option(layer, command, (enum setting_index)index, value, problem);
}

static int parse_letters(struct layer *layer, enum settings_command command, int argc, char **argv, int *at,
			 struct settings_problem *problem)
{
	for (char *p = argv[*at] + 1; *p; p++) {
		int index = find_letter(*p), err;
		char *value = NULL;

		if (index < 0)
			return setting_wrong(problem, "command line: %s has no option -%c; `%s --help` lists them",
					     setting_command(command), isprint((unsigned char)*p) ? *p : '?',
					     setting_command(command));
		if (takes_value((enum setting_index)index) && setting_table[index].commands & command) {
			if (p[1]) {
				value = p + 1;
			} else {
				err = next_value((enum setting_index)index, argc, argv, at, &value, problem);
				if (err)
					return err;
			}
			return set_option(layer, command, (enum setting_index)index, value, problem);
		}
		err = set_option(layer, command, (enum setting_index)index, NULL, problem);
		if (err)
			return err;
	}
	return 0;
}

/* The one argument of `stop` and `status`. */
static int take_instance(struct layer *layer, enum settings_command command, struct settings_problem *problem)
{
	struct settings *s = &layer->settings;
	char value[120];

	if (s->arguments.count > 1)
		return setting_wrong(problem, "command line: unexpected \"%s\": %s takes one instance",
				     setting_shown(s->arguments.items[1], value, sizeof(value)),
				     setting_command(command));
	if (!layer->given[SETTING_instance])
		return setting_set(layer, SETTING_instance, s->arguments.items[0], problem);
	if (!strcmp(s->instance, s->arguments.items[0]))
		return 0;
	return setting_wrong(problem, "command line: two instances, \"%s\" and --instance \"%s\": one is needed",
			     setting_shown(s->arguments.items[0], value, sizeof(value)), s->instance);
}

/* Words from number `first` on are a capture filter. */
static int take_filter(struct layer *layer, size_t first, struct settings_problem *problem)
{
	struct settings_list *words = &layer->settings.arguments;
	size_t size = 1, used = 0;
	char *text;
	int err;

	if (first >= words->count)
		return 0;
	if (layer->given[SETTING_filter])
		return setting_wrong(problem, "command line: an expression behind the options and --filter: one is needed");
	for (size_t i = first; i < words->count; i++)
		size += strlen(words->items[i]) + 1;
	text = calloc(1, size);
	if (!text)
		return setting_wrong(problem, "out of memory");
	for (size_t i = first; i < words->count; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", i > first ? " " : "", words->items[i]);
	err = setting_set(layer, SETTING_filter, text, problem);
	free(text);
	while (words->count > first)
		free(words->items[--words->count]);
	return err;
}

/* What the words that are no options mean; `files` of them stand in front of a `--`. */
static int take_arguments(struct layer *layer, enum settings_command command, size_t files,
			  struct settings_problem *problem)
{
	struct settings *s = &layer->settings;
	char value[120];

	switch (command) {
	case SETTINGS_STATUS:
	case SETTINGS_STOP:
		return s->arguments.count ? take_instance(layer, command, problem) : 0;
	case SETTINGS_RECORD:
	case SETTINGS_PRINT:
		return take_filter(layer, 0, problem);
	case SETTINGS_IMPORT:
		return take_filter(layer, files, problem);
	case SETTINGS_BLOCK:
		return 0;
	default:
		break;
	}
	if (!s->arguments.count)
		return 0;
	return setting_wrong(problem, "command line: unexpected \"%s\": %s",
			     setting_shown(s->arguments.items[0], value, sizeof(value)),
			     command == SETTINGS_CHECK ? "an interface is named by -i" : "migrate takes options only");
}

int setting_read_arguments(struct layer *layer, enum settings_command command, int argc, char **argv,
			     struct settings_problem *problem)
{
	struct settings *s = &layer->settings;
	size_t files = SIZE_MAX;
	int err = 0;

	for (int i = 0; i < argc && !err; i++) {
		bool options = files == SIZE_MAX;

		if (options && !strcmp(argv[i], "--"))
			files = s->arguments.count;
		else if (options && !strncmp(argv[i], "--", 2))
			err = parse_long(layer, command, argc, argv, &i, problem);
		else if (options && argv[i][0] == '-' && argv[i][1])
			err = parse_letters(layer, command, argc, argv, &i, problem);
		else
			setting_list_add(&s->arguments, argv[i], strlen(argv[i]));
		if (!err && (s->help || s->version))
			return 0;
	}
	return err ? err : take_arguments(layer, command, files, problem);
}
