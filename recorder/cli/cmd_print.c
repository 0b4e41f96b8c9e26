/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cmd_print.c - what `print` was asked for; print_file.c and print_live.c do it. */
#include <unistd.h>

#include "recorder/capture/filter.h"
#include "recorder/cli/cmd.h"
#include "recorder/cli/printer.h"

int cmd_print(const struct settings *settings)
{
	struct filter_error error = {""};
	struct filter *filter = NULL;
	int status;

	/* -v asks for the tree here, not for messages. */
	log_set_level(settings->quiet ? LOG_WARNING : (enum log_level)settings->log_level);
	if (settings->read && settings->interfaces.count)
		return cmd_fail(EXIT_USAGE, "-i and -r exclude each other: packets come from an interface or a file");
	if (!settings->read && !settings->interfaces.count && settings->filter && !access(settings->filter, F_OK))
		return cmd_fail(EXIT_USAGE, "a file is named by -r: xdp-recorder print -r %s", settings->filter);
	if (!settings->read && !settings->interfaces.count)
		return cmd_fail(EXIT_USAGE, "where shall packets come from? -i IF (`xdp-recorder -D` lists them), or -r FILE");
	if (settings->json && settings->verbose)
		return cmd_fail(EXIT_USAGE, "--json and -v exclude each other: a JSON line has all fields");
	if (settings->filter && filter_compile(&filter, settings->filter, &error))
		return cmd_fail(EXIT_USAGE, "%s", error.text);
	status = settings->read ? print_file(settings, filter) : print_live(settings, filter);
	filter_free(filter);
	return status;
}
