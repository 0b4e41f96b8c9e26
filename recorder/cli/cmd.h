/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * cmd.h - the subcommands. Each gets settings that are sound by themselves, looks whether they fit the machine, does
 * its work and returns the exit status. Results go to stdout, messages to stderr.
 */
#ifndef XDP_RECORDER_CLI_CMD_H
#define XDP_RECORDER_CLI_CMD_H

#include "recorder/process/instance.h"
#include "recorder/settings/settings.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

int cmd_record(const struct settings *settings);
int cmd_stop(const struct settings *settings);
int cmd_status(const struct settings *settings);
int cmd_check(const struct settings *settings);
int cmd_migrate(const struct settings *settings);
int cmd_import(const struct settings *settings);
int cmd_print(const struct settings *settings);
int cmd_floods(const struct settings *settings);
int cmd_audit(const struct settings *settings);
int cmd_block(const struct settings *settings);

/* -D: a table of the interfaces. */
int cmd_list_interfaces(const struct settings *settings);

/* "xdp-recorder: ..." on stderr; returns `status`. */
int cmd_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* `mongo` or the message that none was given. */
bool cmd_has_database(const struct settings *settings);
/* The same, for what can also go to a file: a database or --write. */
bool cmd_has_target(const struct settings *settings);

/* The user of -Z is known. */
bool cmd_user_exists(const char *user);

/*
 * The instance that `stop` and `status` mean: the named one, else the only one. EXIT_DONE, EXIT_FAILED when there is
 * none (said), EXIT_USAGE when there are several (listed).
 */
int cmd_find_instance(const struct settings *settings, struct instance *instance);

#endif
