/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * printer.h - what `print` does with a packet, wherever it comes from: as a line, a tree or JSON to stdout, until enough
 * are printed. One thread; one printer a process.
 */
#ifndef XDP_RECORDER_CLI_PRINTER_H
#define XDP_RECORDER_CLI_PRINTER_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "recorder/packet/ends.h"
#include "recorder/print/print.h"
#include "recorder/settings/settings.h"

struct filter; /* capture/filter.h */

#define PRINTER_BUFFER (256u << 10)

struct printer {
	const struct settings *settings;
	const struct filter *filter; /* NULL: none */
	struct ends_table *ends;     /* JSON only: who is local */
	struct print_style style;
	bool json, tree;
	bool terminal; /* stdout is one: each packet is shown at once */
	uint64_t printed;
	size_t used;
	char *buffer;
};

/* What is known of a packet beside its bytes. */
struct printer_packet {
	const struct rec_head *head;
	const uint8_t *bytes; /* head->cap_len header bytes */
	int64_t wall;	      /* ns since 1970 */
	const char *iface;
	bool side_known;
};

/* 0 or -ENOMEM. */
int printer_open(struct printer *printer, const struct settings *settings, const struct filter *filter);
void printer_close(struct printer *printer);

/* 0; 1: that was the last one (-c); -EPIPE: nobody reads any more; other -errno: cannot write. */
int printer_put(struct printer *printer, const struct printer_packet *packet);
/* Writes what is buffered; returns as printer_put does. */
int printer_flush(struct printer *printer);

/* The exit status for the end of printing: `err` is what printer_put or printer_flush gave. Says what was wrong. */
int printer_status(int err);

/* SIGINT, SIGTERM or SIGHUP came (after printer_catch_signals). */
void printer_catch_signals(void);
bool printer_stopped(void);

/* ---- print_file.c, print_live.c: exit status ---- */
int print_file(const struct settings *settings, const struct filter *filter);
int print_live(const struct settings *settings, const struct filter *filter);

#endif
