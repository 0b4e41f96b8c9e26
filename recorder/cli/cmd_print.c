/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/cli/cmd.h"

int cmd_print(const struct settings *settings)
{
	(void)settings;
	return cmd_fail(EXIT_FAILED, "print is being written");
}
