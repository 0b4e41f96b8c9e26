/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * settings.h - what the user asked for: settings.def as a struct, and the four places that values come from.
 *
 * Precedence: command line, environment (XDP_RECORDER_<NAME>, - written as _; an empty one counts as unset), config
 * file, default. Parsing is strict: the first mistake ends it with one line that names the setting, where the value
 * came from, the value (never a secret's) and what would be right. A struct settings owns its strings; after
 * settings_load or settings_from_bson succeeded it is not changed, so any thread may read it.
 */
#ifndef XDP_RECORDER_SETTINGS_SETTINGS_H
#define XDP_RECORDER_SETTINGS_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <bson/bson.h>

#include "recorder/core/log.h"

struct ends_network; /* packet/ends.h */

/* Subcommands, as bits. */
enum settings_command {
	SETTINGS_RECORD = 1 << 0,
	SETTINGS_MIGRATE = 1 << 1,
	SETTINGS_CHECK = 1 << 2,
	SETTINGS_STATUS = 1 << 3,
	SETTINGS_STOP = 1 << 4,
	SETTINGS_IMPORT = 1 << 5,
	SETTINGS_PRINT = 1 << 6,
	SETTINGS_FLOODS = 1 << 7,
	SETTINGS_AUDIT = 1 << 8,
	SETTINGS_BLOCK = 1 << 9,
};

/* The values of the CHOICE settings, in the order of their words. */
enum settings_direction { DIRECTION_IN, DIRECTION_OUT, DIRECTION_INOUT };
enum settings_hook { HOOK_AUTO, HOOK_XDP, HOOK_TC };
enum settings_storage { STORAGE_AUTO, STORAGE_BUCKETS, STORAGE_DOCUMENTS };
enum settings_outage { ON_OUTAGE_WAIT, ON_OUTAGE_END };
enum settings_by { BY_EITHER, BY_SOURCE, BY_DESTINATION };
enum settings_color { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };

#define SETTINGS_FOREVER UINT64_MAX

struct settings_list {
	char **items;
	size_t count;
};

/* SETTING_<member>: index of each setting. */
enum setting_index {
#define SETTING(type, member, ...) SETTING_##member,
#include "recorder/settings/settings.def"
#undef SETTING
	SETTINGS
};

/* Where a value came from; the higher wins. */
enum settings_source { FROM_DEFAULT, FROM_FILE, FROM_ENVIRONMENT, FROM_COMMAND_LINE };

struct settings_origin {
	enum settings_source source;
	unsigned line; /* of the config file */
};

/*
 * The members, with their units: bool generic, clsact, tap, no_promiscuous, detach, keep, quiet; int (enums above)
 * direction, hook, storage, on_outage, log_level; uint64_t count, ring_size (bytes, 0 = by rule), batch_packets (0 = by mode),
 * in_flight, bucket_span (s, 0 = by the rate), database_wait_ms (SETTINGS_FOREVER), batch_age_ms (0 = by mode);
 * bool check_buckets; char * instance, user, database, sensor (never NULL
 * after settings_load, instance "" when no interface is named), mongo, mongo_file, test_clock (NULL when not given);
 * struct settings_list interfaces, home. `mongo` holds the URI also when it was read from mongo_file.
 */
struct settings {
#define SETTING_FLAG bool
#define SETTING_LEVEL unsigned
#define SETTING_NUMBER uint64_t
#define SETTING_SIZE uint64_t
#define SETTING_DURATION uint64_t
#define SETTING_CHOICE int
#define SETTING_STRING char *
#define SETTING_PATH char *
#define SETTING_SECRET char *
#define SETTING_LIST struct settings_list
#define SETTING(type, member, ...) SETTING_##type member;
#include "recorder/settings/settings.def"
#undef SETTING
#undef SETTING_FLAG
#undef SETTING_LEVEL
#undef SETTING_NUMBER
#undef SETTING_SIZE
#undef SETTING_DURATION
#undef SETTING_CHOICE
#undef SETTING_STRING
#undef SETTING_PATH
#undef SETTING_SECRET
#undef SETTING_LIST
	/* Arguments that are no options: the instance of `stop` and `status`, the files of `import`. */
	struct settings_list arguments;
	struct settings_origin origin[SETTINGS];
};

/* One line about what is wrong; empty when nothing is. */
struct settings_problem {
	char text[600];
};

/*
 * Fills `settings` (which needs no initialisation) for `command` from argv[0..argc), the arguments behind the
 * subcommand. Overwrites secrets in argv and takes them out of the environment. Returns 0 or -EINVAL with the problem;
 * `settings` is then empty (settings_free does no harm). When --help or --version was given, nothing behind it is
 * looked at.
 */
int settings_load(struct settings *settings, enum settings_command command, int argc, char **argv,
		  struct settings_problem *problem);

/*
 * For SIGHUP: a new struct with the config file and the file of --mongo-file read again; command line and environment
 * as they were. `old` is unchanged, and still in force on -EINVAL.
 */
int settings_reload(struct settings *fresh, const struct settings *old, enum settings_command command,
		    struct settings_problem *problem);

/* True when the two have different values of this setting. */
bool settings_differ(const struct settings *a, const struct settings *b, enum setting_index index);
const char *settings_name(enum setting_index index);

/* Accepts NULL and what was freed already; secrets are wiped. */
void settings_free(struct settings *settings);

/*
 * Everything, secrets included, for the other process of ours and nobody else: an initialised `out` gets one field for
 * each setting. Reading checks each type and range again; unknown or missing fields are -EINVAL: both sides are one
 * executable.
 */
void settings_to_bson(const struct settings *settings, bson_t *out);
int settings_from_bson(struct settings *settings, const bson_t *in, struct settings_problem *problem);

/* The effective configuration of `command` for the database (`sensors`): no secret, no command-line matters. */
void settings_to_bson_redacted(const struct settings *settings, enum settings_command command, bson_t *out);

/* What --dump-config prints: what `command` takes, in the form that --config reads, each with its origin. */
void settings_dump(const struct settings *settings, enum settings_command command, FILE *out);
/* The options of `command`, for its help. */
void settings_help(enum settings_command command, FILE *out);

/* From log-level, quiet and verbose. */
enum log_level settings_log_level(const struct settings *settings);

/* The words of a CHOICE setting, e.g. settings_word(SETTING_hook, HOOK_TC) = "tc". */
const char *settings_word(enum setting_index index, int value, char *buffer, size_t size);

/* `home` as networks: malloced, `*count` of them; NULL when there are none or no memory. */
struct ends_network *settings_home(const struct settings *settings, size_t *count);

/* One network as text, "10.0.0.0/8", "fd00::/8", or an address alone: 0 or -EINVAL. Bits behind the prefix must be 0.
 */
int settings_network(const char *text, struct ends_network *network);

/* The word of `words` (NULL-terminated array) nearest to `text`, NULL when none is near. */
const char *settings_nearest(const char *text, const char *const *words);

/* The directory of --spool where it says nothing: <state>/spool/INSTANCE. malloced; NULL: no memory. */
char *settings_default_spool(const char *instance);

#endif
