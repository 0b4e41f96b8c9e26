/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * internal.h - between the files of settings.h:
 *
 *   names       the table; its names, and words for what is wrong
 *   value       one value: from text, to text, copied, freed
 *   arguments, files   the sources of values: the command line; environment and files
 *   settings    the sources put together
 *   print       help, dump, BSON
 */
#ifndef XDP_RECORDER_SETTINGS_INTERNAL_H
#define XDP_RECORDER_SETTINGS_INTERNAL_H

#include "recorder/settings/settings.h"

#define ENVIRONMENT_PREFIX "XDP_RECORDER_"

enum type { FLAG, LEVEL, NUMBER, SIZE, DURATION, CHOICE, STRING, PATH, SECRET, LIST };
enum trait { LINE = 1 << 0, HIDDEN = 1 << 1, NET = 1 << 2, NAME = 1 << 3 };

struct entry {
	enum type type;
	const char *name;
	char letter;
	const char *value; /* the value's name in the help */
	const char *preset;
	uint64_t low, high;
	const char *words;
	unsigned commands, traits;
	const char *help;
	size_t offset;
};

extern const struct entry setting_table[SETTINGS];

/* What one source gives. */
struct layer {
	struct settings settings;
	bool given[SETTINGS];
	enum settings_source source;
	const char *path; /* of the config file */
	unsigned line;
};

/* Writes the problem; -EINVAL. */
int setting_wrong(struct settings_problem *problem, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Where a layer's value stands: "command line: --count", "FILE:12: count". Returns out. */
const char *setting_place(const struct layer *layer, const struct entry *entry, char *out, size_t size);
/* A value as it may stand in a message: short, printable, without secrets. Returns buffer. */
const char *setting_shown(const char *value, char *buffer, size_t size);

/* The nearest setting that may stand there: `commands` 0 means a file or the environment. */
const char *setting_nearest(const char *name, unsigned commands);
bool setting_has_secret(const char *uri);

/* Index of a name, -1 for none. */
int setting_find(const char *name, size_t len);
/* "XDP_RECORDER_COUNT" */
void setting_variable(const struct entry *entry, char *out, size_t size);
/* "a|b|c" as "a, b or c" */
void setting_spell(const char *words, char *out, size_t size);
const char *setting_command(enum settings_command command);

/* Address of the member. */
void *setting_at(const struct settings *settings, enum setting_index index);
/* Gives the setting the value that `text` says; NULL: a flag or level on the command line. 0 or -EINVAL. */
int setting_set(struct layer *layer, enum setting_index index, const char *text, struct settings_problem *problem);
/* What is wrong with the text of a string setting, NULL when nothing is. */
const char *setting_fault(enum setting_index index, const char *text);
/* The value as the config file has it, malloced; NULL when it has none. */
char *setting_text(const struct settings *settings, enum setting_index index);
void setting_copy(struct settings *to, const struct settings *from, enum setting_index index);

/* The sources. 0 or -EINVAL. */
int setting_read_arguments(struct layer *layer, enum settings_command command, int argc, char **argv, struct settings_problem *problem);
int setting_read_environment(struct layer *layer, struct settings_problem *problem);
int setting_read_config(struct layer *layer, const char *path, struct settings_problem *problem);
int setting_read_mongo_file(struct settings *settings, struct settings_problem *problem);

/* Overwrites a secret where others could read it. */
void setting_wipe(char *argument);

/* Memory: these end the program when there is none. */
char *setting_strdup(const char *text);
void setting_string_set(char **where, const char *text);
void setting_list_add(struct settings_list *list, const char *text, size_t len);
void setting_list_free(struct settings_list *list);

#endif
