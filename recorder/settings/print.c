/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/settings/internal.h"

#include <errno.h>
#include <string.h>

#include "recorder/core/util.h"
#include "recorder/db/connect.h"

/* ---- dump -------------------------------------------------------------------------------------------------------- */

static void origin_text(const struct settings *s, enum setting_index index, char *out, size_t size)
{
	const struct settings_origin *origin = &s->origin[index];

	if (index == SETTING_mongo && s->mongo_file) {
		snprintf(out, size, "mongo-file");
		return;
	}
	switch (origin->source) {
	case FROM_COMMAND_LINE:
		snprintf(out, size, "command line");
		break;
	case FROM_ENVIRONMENT:
		snprintf(out, size, "environment");
		break;
	case FROM_FILE:
		snprintf(out, size, "%s line %u", s->config ? s->config : "file", origin->line);
		break;
	case FROM_DEFAULT:
		snprintf(out, size, "default");
	}
}

static bool needs_quotes(const char *text)
{
	size_t len = strlen(text);

	return !len || text[0] == '"' || text[0] == '#' || text[0] == ' ' || text[len - 1] == ' ' || strstr(text, " #");
}

void settings_dump(const struct settings *settings, enum settings_command command, FILE *out)
{
	fprintf(out, "# xdp-recorder " RECORDER_VERSION ": the settings of `%s`, for --config\n",
		setting_command(command));
	for (int i = 0; i < SETTINGS; i++) {
		const struct entry *e = &setting_table[i];
		enum setting_index index = (enum setting_index)i;
		CLEANUP_FREE char *text = NULL;
		char origin[400], line[2300] = "", safe[2048];
		int width;
		bool off;

		if (!(e->commands & command) || e->traits & LINE)
			continue;
		text = setting_text(settings, index);
		if (e->traits & HIDDEN && !text)
			continue;
		origin_text(settings, index, origin, sizeof(origin));
		/* What follows from other settings, or must not be read back, stands there as a comment. */
		off = !text || (index == SETTING_instance && settings->origin[i].source == FROM_DEFAULT);
		if (text && e->type == SECRET) {
			uri_redacted(text, safe, sizeof(safe));
			off |= strcmp(safe, text) != 0 || settings->mongo_file;
			explicit_bzero(text, strlen(text));
			free(text);
			text = setting_strdup(safe);
		}
		if (text && !off && needs_quotes(text)) {
			size_t n = 0;

			line[n++] = '"';
			for (const char *p = text; *p && n < sizeof(line) - 3; p++) {
				if (*p == '"' || *p == '\\')
					line[n++] = '\\';
				line[n++] = *p;
			}
			line[n++] = '"';
		} else if (text) {
			snprintf(line, sizeof(line), "%s", text);
		}
		width = fprintf(out, "%s%s =%s%s", off ? "# " : "", e->name, line[0] ? " " : "", line);
		fprintf(out, "%*s# %s\n", width < 38 ? 40 - width : 2, "",
			text || settings->origin[i].source ? origin : "not set");
	}
}

/* ---- help ------------------------------------------------------------------------------------------------------ */

/* Breaks between words, before column 100; the following lines begin at `indent`. */
static void print_wrapped(const char *text, int indent, FILE *out)
{
	int column = indent;

	while (*text) {
		int word = (int)strcspn(text, " ");

		if (column > indent && column + 1 + word > 100) {
			fprintf(out, "\n%*s", indent, "");
			column = indent;
		} else if (column > indent) {
			fputc(' ', out);
			column++;
		}
		fprintf(out, "%.*s", word, text);
		column += word;
		text += word + (text[word] == ' ');
	}
	fputc('\n', out);
}

/* Where a setting means something else, or more exactly something, than the table can say for all commands. */
static const struct special {
	enum settings_command command;
	enum setting_index index;
	const char *help, *preset; /* preset NULL: the table's */
} specials[] = {
	{SETTINGS_RECORD, SETTING_count, "end when at least N packets are stored; 0: no limit", NULL},
	{SETTINGS_RECORD, SETTING_json, "with --write -: JSON lines instead of pcapng", NULL},
	{SETTINGS_STOP, SETTING_json, "with --write -: JSON lines instead of pcapng", NULL},
	{SETTINGS_STOP, SETTING_keep, "end the processes, leave capture on: `record` goes on with it", NULL},
	{SETTINGS_STOP, SETTING_write, "where packets that are still in the rings go: the FILE of the recording", NULL},
	{SETTINGS_STATUS, SETTING_json, "print the report as JSON", NULL},
	{SETTINGS_CHECK, SETTING_json, "print the report as JSON", NULL},
	{SETTINGS_IMPORT, SETTING_filter, "only packets that this pcap-filter(7) expression keeps; the same as the words behind --", NULL},
	{SETTINGS_IMPORT, SETTING_database, "name of the database", "recorder_import"},
	{SETTINGS_IMPORT, SETTING_sensor, "name of the files' sensor in the database; by default each file's own name", NULL},
	{SETTINGS_FLOODS, SETTING_json, "a line of JSON for each flood", NULL},
	{SETTINGS_FLOODS, SETTING_sensor, "only of this recorder; by default of all", NULL},
	{SETTINGS_AUDIT, SETTING_json, "a line of JSON for each finding and note, and for the figures", NULL},
	{SETTINGS_AUDIT, SETTING_sensor, "only of this recorder; by default of all", NULL},
	{SETTINGS_BLOCK, SETTING_json, "list: a line of JSON for each entry", NULL},
	{SETTINGS_BLOCK, SETTING_quiet, "say nothing but what is wrong", NULL},
	{SETTINGS_PRINT, SETTING_count, "end when N packets are printed; 0: no limit", NULL},
	{SETTINGS_PRINT, SETTING_json, "a line of JSON for each packet, with the field names of the database", NULL},
	{SETTINGS_PRINT, SETTING_verbose, "a tree of all fields for each packet, instead of a line", NULL},
	{SETTINGS_PRINT, SETTING_quiet, "--log-level warning, and no totals", NULL},
};

static const struct special *special_for(enum settings_command command, enum setting_index index)
{
	for (size_t i = 0; i < ARRAY_SIZE(specials); i++)
		if (specials[i].command == command && specials[i].index == index)
			return &specials[i];
	return NULL;
}

void settings_help(enum settings_command command, FILE *out)
{
	for (int i = 0; i < SETTINGS; i++) {
		const struct entry *e = &setting_table[i];
		const struct special *special = special_for(command, (enum setting_index)i);
		const char *help = special ? special->help : e->help;
		const char *preset = special && special->preset ? special->preset : e->preset;
		char left[64], words[120], text[400];

		if (!(e->commands & command) || e->traits & HIDDEN)
			continue;
		snprintf(left, sizeof(left), "%c%c%c --%s%s%s", e->letter ? '-' : ' ', e->letter ? e->letter : ' ',
			 e->letter ? ',' : ' ', e->name, e->value ? " " : "", e->value ? e->value : "");
		if (e->type == CHOICE) {
			setting_spell(e->words, words, sizeof(words));
			snprintf(text, sizeof(text), "%s (%s; default %s)", help, words, preset);
		} else if (preset[0] && e->type != FLAG && e->type != LEVEL) {
			snprintf(text, sizeof(text), "%s (default %s)", help, preset);
		} else {
			snprintf(text, sizeof(text), "%s", help);
		}
		fprintf(out, "  %-26s ", left);
		print_wrapped(text, 29, out);
	}
}

/* ---- BSON ------------------------------------------------------------------------------------------------------ */

void settings_to_bson(const struct settings *settings, bson_t *out)
{
	for (int i = 0; i < SETTINGS; i++) {
		CLEANUP_FREE char *text = NULL;

		if (setting_table[i].traits & LINE)
			continue;
		text = setting_text(settings, (enum setting_index)i);
		if (text)
			BSON_APPEND_UTF8(out, setting_table[i].name, text);
		else
			BSON_APPEND_NULL(out, setting_table[i].name);
		if (text && setting_table[i].type == SECRET)
			explicit_bzero(text, strlen(text));
	}
}

int settings_from_bson(struct settings *settings, const bson_t *in, struct settings_problem *problem)
{
	struct layer layer = {.source = FROM_DEFAULT};
	bool there[SETTINGS] = {false};
	bson_iter_t iter;
	int err = 0;

	problem->text[0] = '\0';
	if (!bson_validate(in, BSON_VALIDATE_UTF8, NULL) || !bson_iter_init(&iter, in))
		return setting_wrong(problem, "settings: the message is no BSON");
	while (!err && bson_iter_next(&iter)) {
		const char *name = bson_iter_key(&iter);
		int i = setting_find(name, strlen(name));

		if (i < 0 || setting_table[i].traits & LINE || there[i]) {
			err = setting_wrong(problem, "settings: unexpected field \"%.60s\"", name);
			break;
		}
		there[i] = true;
		if (BSON_ITER_HOLDS_UTF8(&iter))
			err = setting_set(&layer, (enum setting_index)i, bson_iter_utf8(&iter, NULL), problem);
		else if (!BSON_ITER_HOLDS_NULL(&iter))
			err = setting_wrong(problem, "settings: %s has the wrong type", name);
	}
	for (int i = 0; i < SETTINGS && !err; i++)
		if (!there[i] && !(setting_table[i].traits & LINE))
			err = setting_wrong(problem, "settings: %s is missing", setting_table[i].name);
	if (err)
		settings_free(&layer.settings);
	*settings = layer.settings;
	return err;
}

void settings_to_bson_redacted(const struct settings *settings, enum settings_command command, bson_t *out)
{
	for (int i = 0; i < SETTINGS; i++) {
		CLEANUP_FREE char *text = NULL;
		const void *at = setting_at(settings, (enum setting_index)i);
		const char *name = setting_table[i].name;
		char safe[2048];

		if (!(setting_table[i].commands & command) || setting_table[i].traits & (LINE | HIDDEN))
			continue;
		switch (setting_table[i].type) {
		case FLAG:
			BSON_APPEND_BOOL(out, name, *(const bool *)at);
			break;
		case LEVEL:
			BSON_APPEND_INT32(out, name, (int32_t) * (const unsigned *)at);
			break;
		case NUMBER:
			BSON_APPEND_INT64(out, name, (int64_t) * (const uint64_t *)at);
			break;
		case LIST: {
			const struct settings_list *list = at;
			bson_t array;
			char key[24];

			BSON_APPEND_ARRAY_BEGIN(out, name, &array);
			for (size_t k = 0; k < list->count; k++) {
				snprintf(key, sizeof(key), "%zu", k);
				BSON_APPEND_UTF8(&array, key, list->items[k]);
			}
			bson_append_array_end(out, &array);
			break;
		}
		default:
			text = setting_text(settings, (enum setting_index)i);
			if (text && setting_table[i].type == SECRET) {
				uri_redacted(text, safe, sizeof(safe));
				explicit_bzero(text, strlen(text));
				BSON_APPEND_UTF8(out, name, safe);
			} else if (text) {
				BSON_APPEND_UTF8(out, name, text);
			}
		}
	}
}
