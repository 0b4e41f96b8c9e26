/* SPDX-License-Identifier: GPL-2.0-or-later */
/* value.c - one value: from text, to text, copied, freed. */
#include "recorder/settings/internal.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "recorder/core/util.h"
#include "recorder/db/connect.h"
#include "recorder/packet/ends.h"

#define INSTANCE_NAME_BYTES 63 /* process/instance.h */

/* ---- values from text ---------------------------------------------------------------------------------------- */

struct unit {
	const char *name;
	uint64_t factor;
};

/* Smallest first. */
static const struct unit size_units[] = {
	{"", 1}, {"K", 1ull << 10}, {"M", 1ull << 20}, {"G", 1ull << 30}, {"T", 1ull << 40}};
static const struct unit time_units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

/* Digits and one of the units, nothing else. */
static bool read_number(const char *text, const struct unit *units, size_t nunits, uint64_t *out)
{
	uint64_t value = 0;
	const char *p = text;

	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return false;
	if (p == text)
		return false;
	for (size_t i = 0; i < nunits; i++)
		if (!strcmp(p, units[i].name))
			return !__builtin_mul_overflow(value, units[i].factor, out);
	return false;
}

/* The largest unit that divides: 268435456 is "256M". */
static void write_number(uint64_t value, const struct unit *units, size_t nunits, char *out, size_t size)
{
	size_t u = nunits - 1;

	while (u > 0 && (value == 0 ? strcmp(units[u].name, "s") != 0 : value % units[u].factor != 0))
		u--;
	snprintf(out, size, "%llu%s", (unsigned long long)(value / units[u].factor), units[u].name);
}

/* What one of the `words` "a|b|c" is, -1 for none. */
static int word_index(const char *words, const char *text)
{
	size_t len = strlen(text);

	for (int i = 0; words; i++, words = strchr(words, '|') ? strchr(words, '|') + 1 : NULL)
		if (strcspn(words, "|") == len && !strncmp(words, text, len))
			return i;
	return -1;
}

const char *settings_word(enum setting_index index, int value, char *buffer, size_t size)
{
	const char *words = setting_table[index].words;

	for (; value > 0 && words; value--)
		words = strchr(words, '|') ? strchr(words, '|') + 1 : NULL;
	snprintf(buffer, size, "%.*s", words ? (int)strcspn(words, "|") : 0, words ? words : "");
	return buffer;
}

/* "in|out|inout" as "in, out or inout". */
void setting_spell(const char *words, char *out, size_t size)
{
	size_t used = 0;

	out[0] = '\0';
	while (words && used < size) {
		size_t len = strcspn(words, "|");
		const char *next = words[len] ? words + len + 1 : NULL;

		used += (size_t)snprintf(out + used, size - used, "%s%.*s", used ? (next ? ", " : " or ") : "",
					 (int)len, words);
		words = next;
	}
}

int settings_network(const char *text, struct ends_network *network)
{
	struct ends_network n = {.family = 4, .prefix = 32};
	char address[INET6_ADDRSTRLEN + 1];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	uint64_t prefix;

	if (len >= sizeof(address))
		return -EINVAL;
	memcpy(address, text, len);
	address[len] = '\0';
	if (inet_pton(AF_INET, address, n.address) != 1) {
		if (inet_pton(AF_INET6, address, n.address) != 1)
			return -EINVAL;
		n.family = 6;
		n.prefix = 128;
	}
	if (slash) {
		if (!read_number(slash + 1, size_units, 1, &prefix) || prefix > n.prefix)
			return -EINVAL;
		n.prefix = (uint8_t)prefix;
	}
	for (unsigned bit = n.prefix; bit < (n.family == 4 ? 32u : 128u); bit++)
		if (n.address[bit / 8] & (0x80 >> bit % 8))
			return -EINVAL;
	*network = n;
	return 0;
}

static bool is_interface_name(const char *text)
{
	return *text && strlen(text) < 16 && strcmp(text, ".") && strcmp(text, "..") && !strpbrk(text, "/: \t\n\v\f\r");
}

static bool is_instance_name(const char *text)
{
	return *text && strlen(text) <= INSTANCE_NAME_BYTES && text[0] != '.' && text[0] != '-' &&
	       !strpbrk(text, "/ \t\n\v\f\r");
}

/* What a string setting must be, NULL when `text` is that. */
const char *setting_fault(enum setting_index index, const char *text)
{
	const struct entry *e = &setting_table[index];
	size_t len = strlen(text);

	if (!bson_utf8_validate(text, len, false))
		return "must be UTF-8";
	for (const char *p = text; *p; p++)
		if (iscntrl((unsigned char)*p))
			return "must have no control characters";
	if ((e->type == PATH || e->low) && !len)
		return "must not be empty";
	if (e->high && len > e->high)
		return e->high == 63 ? "must have at most 63 bytes" : e->high == 255 ? "must have at most 255 bytes" : "must have at most 16384 bytes";
	switch (index) {
	case SETTING_database:
		return strpbrk(text, "/\\. \"$*<>:|?") ? "must have none of / \\ . \" $ * < > : | ? and no space"
						       : NULL;
	case SETTING_instance:
		return len && !is_instance_name(text) ? "must be the name of a directory: at most 63 bytes, no / and "
							"no space, no . or - in front"
						      : NULL;
	case SETTING_mongo:
		return strncmp(text, "mongodb://", 10) && strncmp(text, "mongodb+srv://", 14) && text[0] != '/'
			       ? "must begin with mongodb:// or mongodb+srv://, or be the path of a Unix socket"
			       : NULL;
	default:
		return NULL;
	}
}

void *setting_at(const struct settings *s, enum setting_index index)
{
	return (char *)s + setting_table[index].offset;
}

/* Adds the items of "a, b" to a list. */
static int list_set(struct settings_list *list, enum setting_index index, const char *at, const char *text,
		    struct settings_problem *problem)
{
	char value[120];

	for (const char *p = text;; p++) {
		size_t len;
		char *item;
		struct ends_network network;

		p += strspn(p, " \t");
		len = strcspn(p, ",");
		while (len && (p[len - 1] == ' ' || p[len - 1] == '\t'))
			len--;
		setting_list_add(list, p, len);
		item = list->items[list->count - 1];
		if (!*item)
			return setting_wrong(problem, "%s \"%s\": a name is missing before or after a comma", at,
					     setting_shown(text, value, sizeof(value)));
		if (!bson_utf8_validate(item, len, false))
			return setting_wrong(problem, "%s: must be UTF-8", at);
		if (setting_table[index].traits & NAME && !is_interface_name(item))
			return setting_wrong(problem,
					     "%s \"%s\": cannot be an interface: 1 to 15 bytes, no / : or space", at,
					     setting_shown(item, value, sizeof(value)));
		if (setting_table[index].traits & NET && settings_network(item, &network))
			return setting_wrong(problem,
					     "%s \"%s\": must be a network such as 10.0.0.0/8 or fd00::/8, with only "
					     "zeros behind the prefix",
					     at, setting_shown(item, value, sizeof(value)));
		for (size_t i = 0; i + 1 < list->count; i++)
			if (!strcmp(list->items[i], item))
				return setting_wrong(problem, "%s \"%s\": given twice", at,
						     setting_shown(item, value, sizeof(value)));
		p += strcspn(p, ",");
		if (!*p)
			return 0;
	}
}

/* Gives the setting in `layer` the value that `text` says. NULL text: a flag or level on the command line. */
int setting_set(struct layer *layer, enum setting_index index, const char *text, struct settings_problem *problem)
{
	static const char *const no[] = {"no", "off", "false", "0"}, *const yes[] = {"yes", "on", "true", "1"};
	const struct entry *e = &setting_table[index];
	struct settings *s = &layer->settings;
	bool again = layer->given[index];
	char at_buffer[320], value[120], low[32], high[32], words[120];
	const char *at = setting_place(layer, e, at_buffer, sizeof(at_buffer)), *fault;
	const struct unit *units = e->type == SIZE ? size_units : e->type == DURATION ? time_units : size_units;
	size_t nunits = e->type == SIZE ? ARRAY_SIZE(size_units) : e->type == DURATION ? ARRAY_SIZE(time_units) : 1;
	uint64_t number;
	int word;

	if (again && e->type != LIST && !(e->type == LEVEL && !text))
		return setting_wrong(
			problem, layer->source == FROM_FILE ? "%s: given twice, first in line %u" : "%s: given twice",
			at, s->origin[index].line);
	layer->given[index] = true;
	s->origin[index].source = layer->source;
	if (!again)
		s->origin[index].line = layer->line;
	switch (e->type) {
	case FLAG:
		if (!text) {
			*(bool *)setting_at(s, index) = true;
			return 0;
		}
		for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
			*(bool *)setting_at(s, index) = !strcmp(text, yes[i]);
			if (*(bool *)setting_at(s, index) || !strcmp(text, no[i]))
				return 0;
		}
		return setting_wrong(problem, "%s \"%s\": must be yes or no", at,
				     setting_shown(text, value, sizeof(value)));
	case LEVEL:
		number = *(unsigned *)setting_at(s, index) + 1u;
		if ((text && !read_number(text, units, nunits, &number)) || number > e->high)
			return setting_wrong(
				problem, "%s%s%s%s: must be %s %llu", at, text ? " \"" : "",
				text ? setting_shown(text, value, sizeof(value)) : "", text ? "\"" : "",
				text ? "a number from 0 to" : "given at most this often:", (unsigned long long)e->high);
		*(unsigned *)setting_at(s, index) = (unsigned)number;
		return 0;
	case NUMBER:
	case SIZE:
	case DURATION:
		if (e->words && !strcmp(text, e->words)) {
			*(uint64_t *)setting_at(s, index) = strcmp(text, "forever") ? 0 : SETTINGS_FOREVER;
			return 0;
		}
		if (read_number(text, units, nunits, &number) && number >= e->low && number <= e->high) {
			*(uint64_t *)setting_at(s, index) = number;
			return 0;
		}
		write_number(e->low, units, nunits, low, sizeof(low));
		write_number(e->high, units, nunits, high, sizeof(high));
		return setting_wrong(problem, "%s \"%s\": must be %s from %s to %s%s%s", at,
				     setting_shown(text, value, sizeof(value)),
				     e->type == SIZE	   ? "a number of bytes, such as 64M,"
				     : e->type == DURATION ? "a time with its unit (ms, s, m, h, d), such as 10s,"
							   : "a whole number",
				     low, high, e->words ? ", or " : "", e->words ? e->words : "");
	case CHOICE:
		word = word_index(e->words, text);
		if (word < 0) {
			setting_spell(e->words, words, sizeof(words));
			return setting_wrong(problem, "%s \"%s\": must be %s", at,
					     setting_shown(text, value, sizeof(value)), words);
		}
		*(int *)setting_at(s, index) = word;
		return 0;
	case STRING:
	case PATH:
	case SECRET:
		fault = setting_fault(index, text);
		if (fault)
			return setting_wrong(problem, "%s%s%s%s: %s", at, e->type == SECRET ? "" : " \"",
					     e->type == SECRET ? "" : setting_shown(text, value, sizeof(value)),
					     e->type == SECRET ? "" : "\"", fault);
		setting_string_set(setting_at(s, index), text);
		return 0;
	case LIST:
		return list_set(setting_at(s, index), index, at, text, problem);
	}
	return 0;
}

/* ---- values as text --------------------------------------------------------------------------------------------- */

/* The value as the config file has it, malloced; NULL when it has none. */
char *setting_text(const struct settings *s, enum setting_index index)
{
	const struct entry *e = &setting_table[index];
	const void *at = setting_at(s, index);
	uint64_t number;
	char text[64];

	switch (e->type) {
	case FLAG:
		return setting_strdup(*(const bool *)at ? "yes" : "no");
	case LEVEL:
		snprintf(text, sizeof(text), "%u", *(const unsigned *)at);
		return setting_strdup(text);
	case CHOICE:
		return setting_strdup(settings_word(index, *(const int *)at, text, sizeof(text)));
	case NUMBER:
	case SIZE:
	case DURATION:
		number = *(const uint64_t *)at;
		if (e->words && number == (strcmp(e->words, "forever") ? 0 : SETTINGS_FOREVER))
			return setting_strdup(e->words);
		write_number(number, e->type == DURATION ? time_units : size_units,
			     e->type == DURATION ? ARRAY_SIZE(time_units)
			     : e->type == SIZE	 ? ARRAY_SIZE(size_units)
						 : 1,
			     text, sizeof(text));
		return setting_strdup(text);
	case STRING:
	case PATH:
	case SECRET:
		return *(char *const *)at ? setting_strdup(*(char *const *)at) : NULL;
	case LIST: {
		const struct settings_list *list = at;
		size_t size = 1, used = 0;
		char *joined;

		if (!list->count)
			return NULL;
		for (size_t i = 0; i < list->count; i++)
			size += strlen(list->items[i]) + 2;
		joined = calloc(1, size);
		for (size_t i = 0; joined && i < list->count; i++)
			used += (size_t)snprintf(joined + used, size - used, "%s%s", i ? ", " : "", list->items[i]);
		return joined;
	}
	}
	return NULL;
}

bool settings_differ(const struct settings *a, const struct settings *b, enum setting_index index)
{
	CLEANUP_FREE char *x = setting_text(a, index), *y = NULL;
	bool differ;

	y = setting_text(b, index);
	differ = x && y ? strcmp(x, y) != 0 : x != y;
	if (x && setting_table[index].type == SECRET)
		explicit_bzero(x, strlen(x));
	if (y && setting_table[index].type == SECRET)
		explicit_bzero(y, strlen(y));
	return differ;
}

struct ends_network *settings_home(const struct settings *settings, size_t *count)
{
	struct ends_network *networks;

	*count = 0;
	if (!settings->home.count)
		return NULL;
	networks = calloc(settings->home.count, sizeof(*networks));
	for (size_t i = 0; networks && i < settings->home.count; i++)
		if (!settings_network(settings->home.items[i], &networks[*count]))
			++*count;
	return networks;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

char *setting_strdup(const char *text)
{
	char *copy = strdup(text);

	if (!copy) {
		fputs("xdp-recorder: out of memory\n", stderr);
		abort();
	}
	return copy;
}

void setting_string_set(char **where, const char *text)
{
	if (*where)
		explicit_bzero(*where, strlen(*where));
	free(*where);
	*where = text ? setting_strdup(text) : NULL;
}

void setting_list_add(struct settings_list *list, const char *text, size_t len)
{
	list->items = realloc(list->items, (list->count + 1) * sizeof(*list->items));
	if (!list->items || !(list->items[list->count] = strndup(text, len))) {
		fputs("xdp-recorder: out of memory\n", stderr);
		abort();
	}
	list->count++;
}

void setting_list_free(struct settings_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct settings_list){NULL, 0};
}

static void settings_clear(struct settings *s, enum setting_index index)
{
	switch (setting_table[index].type) {
	case STRING:
	case PATH:
	case SECRET:
		setting_string_set(setting_at(s, index), NULL);
		break;
	case LIST:
		setting_list_free(setting_at(s, index));
		break;
	default:
		break;
	}
}

void settings_free(struct settings *settings)
{
	if (!settings)
		return;
	for (int i = 0; i < SETTINGS; i++)
		settings_clear(settings, (enum setting_index)i);
	setting_list_free(&settings->arguments);
	memset(settings, 0, sizeof(*settings));
}

void setting_copy(struct settings *to, const struct settings *from, enum setting_index index)
{
	const struct settings_list *list = setting_at(from, index);

	switch (setting_table[index].type) {
	case FLAG:
		*(bool *)setting_at(to, index) = *(bool *)setting_at(from, index);
		break;
	case LEVEL:
		*(unsigned *)setting_at(to, index) = *(unsigned *)setting_at(from, index);
		break;
	case NUMBER:
	case SIZE:
	case DURATION:
		*(uint64_t *)setting_at(to, index) = *(uint64_t *)setting_at(from, index);
		break;
	case CHOICE:
		*(int *)setting_at(to, index) = *(int *)setting_at(from, index);
		break;
	case STRING:
	case PATH:
	case SECRET:
		setting_string_set(setting_at(to, index), *(char **)setting_at(from, index));
		break;
	case LIST:
		setting_list_free(setting_at(to, index));
		for (size_t i = 0; i < list->count; i++)
			setting_list_add(setting_at(to, index), list->items[i], strlen(list->items[i]));
		break;
	}
	to->origin[index] = from->origin[index];
}

void setting_wipe(char *argument)
{
	memset(argument, '*', strlen(argument));
}
