/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/cli/cmd.h"

int cmd_import(const struct settings *settings)
{
	(void)settings;
	return cmd_fail(EXIT_FAILED, "import is being written");
}
