/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each source of values becomes a *layer*: a struct settings of its own and a note of what was given. Layers are merged
 * from the highest precedence down, then come the rules between settings. So every value is checked, also one that
 * another source overrides.
 */
#include "recorder/cli/settings_internal.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "recorder/core/util.h"
#include "recorder/db/connect.h"

#define FILE_MAX_BYTES (1u << 20)
#define BSON_MAX_BYTES 50000u /* well below process/link.h's payload */

/* Environment variables of the project that are no settings. */
static const char *const other_variables[] = {"RUN", "BPFFS", "STATE", "SOURCE", "BUILD", NULL};

extern char **environ;

static bool has_secret(const char *uri)
{
	char safe[2048];

	return strcmp(uri_redacted(uri, safe, sizeof(safe)), uri) != 0;
}

static int find_letter(char letter)
{
	for (int i = 0; i < SETTINGS; i++)
		if (setting_table[i].letter == letter)
			return i;
	return -1;
}

/* The nearest setting that may stand there: `commands` 0 means a file or the environment. */
static const char *nearest_name(const char *name, unsigned commands)
{
	const char *words[SETTINGS + 1];
	size_t n = 0;

	for (int i = 0; i < SETTINGS; i++)
		if (!(setting_table[i].traits & HIDDEN) &&
		    (commands ? setting_table[i].commands & commands : !(setting_table[i].traits & LINE)))
			words[n++] = setting_table[i].name;
	words[n] = NULL;
	return settings_nearest(name, words);
}

/* ---- the command line ---------------------------------------------------------------------------------------- */

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

static void wipe(char *argument)
{
	memset(argument, '*', strlen(argument));
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
			wipe(value);
		spell_commands(e->commands, commands, sizeof(commands));
		return setting_wrong(problem, "command line: --%s is for %s, %s does not take it", e->name, commands,
				     setting_command(command));
	}
	err = setting_set(layer, index, value, problem);
	if (value && e->type == SECRET) {
		if (has_secret(value))
			log_warn("the password in --%s could be seen by anybody who listed processes: use --mongo-file "
				 "or XDP_RECORDER_MONGO",
				 e->name);
		wipe(value);
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
		near = nearest_name(copy, command);
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

static int read_command_line(struct layer *layer, enum settings_command command, int argc, char **argv,
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

/* ---- environment and file ------------------------------------------------------------------------------------- */

static int read_environment(struct layer *layer, struct settings_problem *problem)
{
	char name[80];
	const char *near;

	for (int i = 0; i < SETTINGS; i++) {
		char *value;
		int err;

		if (setting_table[i].traits & LINE)
			continue;
		setting_variable(&setting_table[i], name, sizeof(name));
		value = getenv(name);
		if (!value || !*value)
			continue;
		err = setting_set(layer, (enum setting_index)i, value, problem);
		if (setting_table[i].type == SECRET) {
			wipe(value); /* /proc/PID/environ, and what children inherit */
			unsetenv(name);
		}
		if (err)
			return err;
	}
	/* Other programs may use the prefix: only what looks like a slip of the pen is worth a word. */
	for (char **p = environ; p && *p; p++) {
		size_t prefix = strlen(ENVIRONMENT_PREFIX), len;
		bool known = false;

		if (strncmp(*p, ENVIRONMENT_PREFIX, prefix))
			continue;
		len = strcspn(*p + prefix, "=");
		for (int i = 0; other_variables[i]; i++)
			known |= strlen(other_variables[i]) == len && !strncmp(*p + prefix, other_variables[i], len);
		snprintf(name, sizeof(name), "%.*s", (int)len, *p + prefix);
		for (char *c = name; *c; c++)
			*c = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
		if (known || setting_find(name, strlen(name)) >= 0)
			continue;
		near = nearest_name(name, 0);
		if (near) {
			char variable[80];

			setting_variable(&setting_table[setting_find(near, strlen(near))], variable, sizeof(variable));
			log_warn("environment: %.*s is no setting, did you mean %s?", (int)(len + prefix), *p,
				 variable);
		}
	}
	return 0;
}

/* The whole file as text, malloced. */
static char *read_text(const char *path, const char *what, struct stat *st, struct settings_problem *problem)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t n;

	if (!file || fstat(fileno(file), st)) {
		setting_wrong(problem, "%s: cannot read %s: %s", what, path, strerror(errno));
	} else if (S_ISDIR(st->st_mode)) {
		setting_wrong(problem, "%s: %s is a directory, a file is needed", what, path);
	} else if ((text = calloc(1, FILE_MAX_BYTES + 2))) {
		n = fread(text, 1, FILE_MAX_BYTES + 1, file);
		if (ferror(file))
			setting_wrong(problem, "%s: cannot read %s: %s", what, path, strerror(errno));
		else if (n > FILE_MAX_BYTES)
			setting_wrong(problem, "%s: %s is longer than 1 MiB", what, path);
		else if (memchr(text, '\0', n))
			setting_wrong(problem, "%s: %s is no text: it contains a zero byte", what, path);
		if (problem->text[0]) {
			free(text);
			text = NULL;
		}
	}
	if (file)
		fclose(file);
	return text;
}

/* Ends the value at a comment, takes off spaces and quotes. In place; NULL with the problem. */
static char *line_value(struct layer *layer, char *p, struct settings_problem *problem)
{
	char *out, *end;

	p += strspn(p, " \t");
	if (*p != '"') {
		for (end = p; *end && !(*end == '#' && (end == p || end[-1] == ' ' || end[-1] == '\t')); end++)
			;
		while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
			end--;
		*end = '\0';
		return p;
	}
	for (out = ++p, end = p; *end && *end != '"'; end++) {
		if (*end == '\\' && (end[1] == '"' || end[1] == '\\'))
			end++;
		*out++ = *end;
	}
	if (*end != '"') {
		setting_wrong(problem, "%.200s line %u: the closing \" is missing", layer->path, layer->line);
		return NULL;
	}
	end += 1 + strspn(end + 1, " \t");
	if (*end && *end != '#') {
		setting_wrong(problem, "%.200s line %u: only a comment may stand behind the closing \"", layer->path,
			      layer->line);
		return NULL;
	}
	*out = '\0';
	return p;
}

static int read_line(struct layer *layer, char *line, struct settings_problem *problem)
{
	char *name = line + strspn(line, " \t"), *equals, *value;
	const char *near;
	char copy[64];
	size_t len;
	int index;

	if (!*name || *name == '#')
		return 0;
	equals = strchr(name, '=');
	if (*name == '[')
		return setting_wrong(problem, "%.200s line %u: sections are not used: lines `name = value` are needed",
				     layer->path, layer->line);
	if (!equals)
		return setting_wrong(problem, "%.200s line %u: a line `name = value` is needed", layer->path,
				     layer->line);
	len = (size_t)(equals - name);
	while (len && (name[len - 1] == ' ' || name[len - 1] == '\t'))
		len--;
	index = setting_find(name, len);
	if (index < 0) {
		snprintf(copy, sizeof(copy), "%.*s", (int)len, name);
		near = nearest_name(copy, 0);
		return setting_wrong(problem, "%.200s line %u: there is no setting \"%s\"%s%s%s", layer->path,
				     layer->line, setting_shown(copy, (char[64]){0}, 64), near ? ": did you mean " : "",
				     near ? near : "", near ? "?" : "");
	}
	if (setting_table[index].traits & LINE)
		return setting_wrong(problem, "%.200s line %u: %s can only be given on the command line", layer->path,
				     layer->line, setting_table[index].name);
	value = line_value(layer, equals + 1, problem);
	if (!value)
		return -EINVAL;
	if (!*value && setting_table[index].type != STRING)
		return setting_wrong(problem, "%.200s line %u: %s has no value", layer->path, layer->line,
				     setting_table[index].name);
	return setting_set(layer, (enum setting_index)index, value, problem);
}

static int read_config(struct layer *layer, const char *path, struct settings_problem *problem)
{
	struct stat st;
	char *text = read_text(path, "--config", &st, problem), *next;
	int err = 0;

	if (!text)
		return -EINVAL;
	layer->path = path;
	for (char *line = text; line && !err; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (*line && line[strlen(line) - 1] == '\r')
			line[strlen(line) - 1] = '\0';
		layer->line++;
		err = read_line(layer, line, problem);
	}
	if (!err && layer->given[SETTING_mongo] && has_secret(layer->settings.mongo) &&
	    st.st_mode & (S_IRGRP | S_IROTH))
		log_warn("%s holds a password and others may read it: chmod 600", path);
	explicit_bzero(text, FILE_MAX_BYTES);
	free(text);
	return err;
}

static int read_mongo_file(struct settings *s, struct settings_problem *problem)
{
	struct stat st;
	char *text = read_text(s->mongo_file, "mongo-file", &st, problem), *line;
	const char *fault;
	size_t len;

	if (!text)
		return -EINVAL;
	line = text + strspn(text, " \t\r\n");
	len = strlen(line);
	while (len && strchr(" \t\r\n", line[len - 1]))
		len--;
	line[len] = '\0';
	fault = !len			? "must hold a MongoDB URI, it is empty"
		: strpbrk(line, "\r\n") ? "must hold one line, a MongoDB URI"
					: setting_fault(SETTING_mongo, line);
	if (fault)
		setting_wrong(problem, "mongo-file %.200s: %s", s->mongo_file, fault);
	else
		setting_string_set(&s->mongo, line);
	if (!fault && has_secret(line) && st.st_mode & (S_IRGRP | S_IROTH))
		log_warn("%s holds a password and others may read it: chmod 600", s->mongo_file);
	explicit_bzero(text, FILE_MAX_BYTES);
	free(text);
	return fault ? -EINVAL : 0;
}

/* ---- putting it together --------------------------------------------------------------------------------------- */

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
	return read_mongo_file(s, problem);
}

/* The layers below `top` under it, and what follows; moves the result to `out`. */
static int assemble(struct settings *out, struct layer *top, struct settings_problem *problem)
{
	struct layer file = {.source = FROM_FILE}, preset = {.source = FROM_DEFAULT};
	int err = 0;

	if (top->settings.config)
		err = read_config(&file, top->settings.config, problem);
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
	err = read_command_line(&line, command, argc, argv, problem);
	if (!err && (line.settings.help || line.settings.version)) {
		*settings = line.settings;
		return 0;
	}
	if (!err)
		err = read_environment(&environment, problem);
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
