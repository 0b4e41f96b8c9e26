/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * settings_internal.h - between the three files of settings.h:
 *
 *   settings_value.c   the table; one value: from text, to text, copied, freed
 *   settings.c         the sources of values, put together
 *   settings_print.c   help, dump, BSON
 */
#ifndef XDP_RECORDER_CLI_SETTINGS_INTERNAL_H
#define XDP_RECORDER_CLI_SETTINGS_INTERNAL_H

#include "recorder/cli/settings.h"

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
/* A value as it may stand in a message: short, printable, without secrets. Returns buffer. */
const char *setting_shown(const char *value, char *buffer, size_t size);

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

/* Memory: these end the program when there is none. */
char *setting_strdup(const char *text);
void setting_string_set(char **where, const char *text);
void setting_list_add(struct settings_list *list, const char *text, size_t len);
void setting_list_free(struct settings_list *list);

#endif
