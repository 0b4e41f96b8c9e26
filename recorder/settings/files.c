/* SPDX-License-Identifier: GPL-2.0-or-later */
/* files.c - the environment and the config file as layers; and the file that --mongo-file names. */
#include "recorder/settings/internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "recorder/core/util.h"

#define FILE_MAX_BYTES (1u << 20)

/* Environment variables of the project that are no settings. */
static const char *const other_variables[] = {"RUN", "BPFFS", "STATE", "SOURCE", "BUILD", NULL};

extern char **environ;

int setting_read_environment(struct layer *layer, struct settings_problem *problem)
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
			setting_wipe(value); /* /proc/PID/environ, and what children inherit */
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
		near = setting_nearest(name, 0);
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
		near = setting_nearest(copy, 0);
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

int setting_read_config(struct layer *layer, const char *path, struct settings_problem *problem)
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
	if (!err && layer->given[SETTING_mongo] && setting_has_secret(layer->settings.mongo) &&
	    st.st_mode & (S_IRGRP | S_IROTH))
		log_warn("%s holds a password and others may read it: chmod 600", path);
	explicit_bzero(text, FILE_MAX_BYTES);
	free(text);
	return err;
}

int setting_read_mongo_file(struct settings *s, struct settings_problem *problem)
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
	if (!fault && setting_has_secret(line) && st.st_mode & (S_IRGRP | S_IROTH))
		log_warn("%s holds a password and others may read it: chmod 600", s->mongo_file);
	explicit_bzero(text, FILE_MAX_BYTES);
	free(text);
	return fault ? -EINVAL : 0;
}
