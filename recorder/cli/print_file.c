/* SPDX-License-Identifier: GPL-2.0-or-later */
/* print_file.c - `print -r FILE`: capture files, without privileges. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "recorder/capture/filter.h"
#include "recorder/cli/cmd.h"
#include "recorder/cli/printer.h"
#include "recorder/source/linktype.h"
#include "recorder/source/native.h"
#include "recorder/source/savefile.h"

#define OUTBOUND 2 /* epb_flags */

struct reading {
	struct printer printer;
	struct savefile *file;
	const char *name;
	uint64_t other_link; /* packets that are not Ethernet */
	unsigned other_interface;
};

static int say_other_link(const struct reading *r)
{
	const struct savefile_interface *interface = savefile_interface(r->file, r->other_interface);
	char type[120];

	return cmd_fail(EXIT_FAILED, "%s: %llu packet%s not printed: interface %s has link type %s, and print takes Ethernet (1, EN10MB)",
			r->name, (unsigned long long)r->other_link, r->other_link == 1 ? " is" : "s are", interface->name,
			linktype_text(interface->linktype, type, sizeof(type)));
}

static int put(struct reading *r, const struct savefile_packet *packet)
{
	const struct savefile_interface *interface = savefile_interface(r->file, packet->interface);
	struct native_slot slot;
	struct printer_packet out = {
		.wall = packet->wall,
		.iface = interface->name,
		.side_known = packet->direction != 0,
	};
	struct rec_head *head;

	if (interface->linktype != SAVEFILE_ETHERNET) {
		if (!r->other_link++)
			r->other_interface = packet->interface;
		return 0;
	}
	if (!filter_match(r->printer.filter, packet->bytes, packet->cap_len, packet->wire_len))
		return 0;
	head = native_record(&slot, packet->bytes, packet->cap_len, packet->wire_len, (uint64_t)packet->wall, 0);
	if (packet->direction == OUTBOUND)
		head->side = REC_TX;
	if (packet->time_changed)
		head->marks |= REC_MARK_TIME;
	out.head = head;
	out.bytes = (const uint8_t *)(head + 1);
	r->printer.style.iface = savefile_interfaces(r->file) > 1;
	return printer_put(&r->printer, &out);
}

/* Everything that the file gives; what is wrong with the file is said behind the packets before it. */
static int read_all(struct reading *r)
{
	struct savefile_error error = {""};
	struct savefile_packet packet;
	int err = 0, more = 0, status;

	while (!printer_stopped() && (more = savefile_next(r->file, &packet, &error)) > 0) {
		err = put(r, &packet);
		if (err)
			break;
	}
	if (err >= 0) {
		int last = printer_flush(&r->printer);

		err = last ? last : err;
	}
	status = printer_status(err);
	if (status || err || printer_stopped())
		return status;
	if (more < 0)
		status = cmd_fail(EXIT_FAILED, "%s", error.text);
	return r->other_link ? say_other_link(r) : status;
}

int print_file(const struct settings *settings, const struct filter *filter)
{
	bool standard = !strcmp(settings->read, "-");
	struct reading r = {.name = standard ? "stdin" : settings->read};
	struct savefile_error error = {""};
	int fd = standard ? dup(STDIN_FILENO) : open(settings->read, O_RDONLY | O_CLOEXEC), status;

	if (fd < 0)
		return cmd_fail(EXIT_FAILED, "cannot read %s: %s", r.name, strerror(errno));
	if (savefile_open(&r.file, fd, r.name, &error))
		return cmd_fail(EXIT_FAILED, "%s", error.text);
	if (printer_open(&r.printer, settings, filter)) {
		savefile_close(r.file);
		return cmd_fail(EXIT_FAILED, "out of memory");
	}
	r.printer.style.date = true;
	printer_catch_signals();
	status = read_all(&r);
	printer_close(&r.printer);
	savefile_close(r.file);
	return status;
}
