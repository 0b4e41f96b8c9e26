/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * print_rings.h - the unprivileged half of `print -i`: reads the rings of captures that another process made and ends,
 * merges them by time and prints.
 */
#ifndef XDP_RECORDER_CLI_PRINT_RINGS_H
#define XDP_RECORDER_CLI_PRINT_RINGS_H

#include "recorder/capture/capture.h"
#include "recorder/cli/printer.h"

#define RINGS_CAPTURES 32u /* at most */

struct rings;

/* Maps rings, desks and bells of the captures; they may be closed afterwards. 0 or -errno. */
int rings_open(struct rings **out, struct capture *const *captures, unsigned n);
void rings_close(struct rings *rings);

/* Until the printer has enough or a signal came: then what is there is printed first. Returns as printer_put does. */
int rings_print(struct rings *rings, struct printer *printer, uint64_t *printed);

#endif
