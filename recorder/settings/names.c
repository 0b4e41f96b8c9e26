/* SPDX-License-Identifier: GPL-2.0-or-later */
/* names.c - the table, the names in it, and how what is wrong with one of them is said. */
#include "recorder/settings/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "recorder/core/util.h"
#include "recorder/db/connect.h"

const struct entry setting_table[SETTINGS] = {
#define SETTING(type, member, name, letter, value, preset, low, high, words, commands, traits, help)                   \
	{type, name,  letter,	value,	preset, low,                                                                   \
	 high, words, commands, traits, help,	offsetof(struct settings, member)},
#include "recorder/settings/settings.def"
#undef SETTING
};

/* ---- saying what is wrong ------------------------------------------------------------------------------------ */

int __attribute__((format(printf, 2, 3))) setting_wrong(struct settings_problem *problem, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(problem->text, sizeof(problem->text), format, args);
	va_end(args);
	return -EINVAL;
}

/* A value as it may stand in a message: short, printable, without secrets. */
const char *setting_shown(const char *value, char *buffer, size_t size)
{
	if (strstr(value, "://") || strchr(value, '@'))
		uri_redacted(value, buffer, size);
	else
		snprintf(buffer, size, "%s", value);
	for (char *p = buffer; *p; p++)
		if (iscntrl((unsigned char)*p))
			*p = '?';
	if (strlen(buffer) == size - 1)
		memcpy(buffer + size - 4, "...", 4);
	return buffer;
}

void setting_variable(const struct entry *e, char *out, size_t size)
{
	size_t n = (size_t)snprintf(out, size, ENVIRONMENT_PREFIX "%s", e->name);

	for (size_t i = strlen(ENVIRONMENT_PREFIX); i < n && i < size; i++)
		out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
}

/* "command line: --count", "recorder.conf line 3: count", "environment: XDP_RECORDER_COUNT" */
const char *setting_place(const struct layer *layer, const struct entry *e, char *out, size_t size)
{
	char variable[80];

	switch (layer->source) {
	case FROM_COMMAND_LINE:
		snprintf(out, size, "command line: --%s", e->name);
		break;
	case FROM_ENVIRONMENT:
		setting_variable(e, variable, sizeof(variable));
		snprintf(out, size, "environment: %s", variable);
		break;
	case FROM_FILE:
		snprintf(out, size, "%.200s line %u: %s", layer->path, layer->line, e->name);
		break;
	default:
		snprintf(out, size, "%s", e->name);
	}
	return out;
}

/* ---- names --------------------------------------------------------------------------------------------------- */

/* Edit distance, with a swap of neighbours as one step. */
static unsigned distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);
	unsigned row[3][48];

	if (la >= ARRAY_SIZE(row[0]) || lb >= ARRAY_SIZE(row[0]))
		return UINT32_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[0][j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned *now = row[i % 3], *before = row[(i + 2) % 3], *earlier = row[(i + 1) % 3];

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned best =
				before[j - 1] + (tolower((unsigned char)a[i - 1]) != tolower((unsigned char)b[j - 1]));

			if (before[j] + 1 < best)
				best = before[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && earlier[j - 2] + 1 < best)
				best = earlier[j - 2] + 1;
			now[j] = best;
		}
	}
	return row[la % 3][lb];
}

const char *settings_nearest(const char *text, const char *const *words)
{
	const char *best = NULL;
	unsigned least = UINT32_MAX;

	for (; *words; words++) {
		size_t len = strlen(text);
		unsigned d = distance(text, *words);

		if (len >= 3 && !strncmp(text, *words, len))
			d = 1;
		if (d < least) {
			least = d;
			best = *words;
		}
	}
	return least <= (strlen(text) + 2) / 3 && least <= 3 ? best : NULL;
}

int setting_find(const char *name, size_t len)
{
	for (int i = 0; i < SETTINGS; i++)
		if (strlen(setting_table[i].name) == len && !memcmp(setting_table[i].name, name, len))
			return i;
	return -1;
}

const char *settings_name(enum setting_index index)
{
	return setting_table[index].name;
}

const char *setting_command(enum settings_command command)
{
	switch (command) {
	case SETTINGS_RECORD:
		return "record";
	case SETTINGS_MIGRATE:
		return "migrate";
	case SETTINGS_IMPORT:
		return "import";
	case SETTINGS_PRINT:
		return "print";
	case SETTINGS_CHECK:
		return "check";
	case SETTINGS_STATUS:
		return "status";
	case SETTINGS_FLOODS:
		return "floods";
	case SETTINGS_AUDIT:
		return "audit";
	case SETTINGS_BLOCK:
		return "block";
	case SETTINGS_STOP:
		return "stop";
	}
	return "?";
}

const char *setting_nearest(const char *name, unsigned commands)
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

bool setting_has_secret(const char *uri)
{
	char safe[2048];

	return strcmp(uri_redacted(uri, safe, sizeof(safe)), uri) != 0;
}
