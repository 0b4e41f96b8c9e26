/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What several subcommands need. */
#include "recorder/cli/cmd.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>

#include "recorder/cli/unsent.h"
#include "recorder/core/util.h"

#define INSTANCES_MAX 256

int cmd_fail(int status, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fprintf(stderr, "xdp-recorder: %s\n", text);
	return status;
}

bool cmd_has_database(const struct settings *settings)
{
	if (settings->mongo)
		return true;
	cmd_fail(EXIT_USAGE, "no database is named: --mongo URI, --mongo-file FILE or XDP_RECORDER_MONGO");
	return false;
}

bool cmd_has_target(const struct settings *settings)
{
	if (settings->mongo || settings->write)
		return true;
	cmd_fail(EXIT_USAGE, "no database is named and no file: --mongo URI, --mongo-file FILE or XDP_RECORDER_MONGO, or --write FILE");
	return false;
}

bool cmd_user_exists(const char *user)
{
	return getpwnam(user) != NULL;
}

int cmd_find_instance(const struct settings *settings, struct instance *instance)
{
	CLEANUP_FREE struct instance *list = NULL;
	int count;

	if (settings->instance[0]) {
		if (instance_look(instance, settings->instance))
			return EXIT_USAGE;
		if (instance->keeper || instance->pinned || instance->foreign)
			return EXIT_DONE;
		unsent_tell(instance->name);
		return cmd_fail(EXIT_FAILED, "instance %s is not there: no process, nothing pinned", instance->name);
	}
	list = calloc(INSTANCES_MAX, sizeof(*list));
	count = list ? instance_list(list, INSTANCES_MAX) : -ENOMEM;
	if (count < 0)
		return cmd_fail(EXIT_FAILED, "cannot list the instances: %s", strerror(-count));
	if (count == 0) {
		unsent_tell(NULL);
		return cmd_fail(EXIT_FAILED, "nothing is being recorded here");
	}
	if (count > 1) {
		cmd_fail(EXIT_USAGE, "there are %d instances, name one:", count);
		for (int i = 0; i < count; i++) {
			if (list[i].keeper)
				fprintf(stderr, "  %s (process %d)\n", list[i].name, (int)list[i].keeper);
			else
				fprintf(stderr, "  %s (no process, capture is pinned)\n", list[i].name);
		}
		return EXIT_USAGE;
	}
	*instance = list[0];
	return EXIT_DONE;
}
