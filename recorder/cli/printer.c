/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/cli/printer.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "recorder/cli/cmd.h"
#include "recorder/core/util.h"
#include "recorder/encode/json.h"
#include "recorder/source/native.h"

#define LONGEST (PRINT_TREE_MAX > JSON_LINE_MAX + 1 ? PRINT_TREE_MAX : JSON_LINE_MAX + 1)
_Static_assert(PRINTER_BUFFER >= 2 * LONGEST, "a packet always fits");

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
	(void)number;
	stopped = 1;
}

void printer_catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: whoever waits is woken */

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

bool printer_stopped(void)
{
	return stopped;
}

static bool wants_color(const struct settings *settings, bool terminal)
{
	const char *no_color = getenv("NO_COLOR"); /* no-color.org: present and not empty */

	if (settings->color != COLOR_AUTO)
		return settings->color == COLOR_ALWAYS;
	return terminal && !(no_color && *no_color);
}

int printer_open(struct printer *printer, const struct settings *settings, const struct filter *filter)
{
	size_t homes = 0;
	CLEANUP_FREE struct ends_network *home = settings_home(settings, &homes);

	*printer = (struct printer){
		.settings = settings,
		.filter = filter,
		.json = settings->json,
		.tree = settings->verbose > 0,
		.terminal = isatty(STDOUT_FILENO),
		.buffer = malloc(PRINTER_BUFFER),
		.ends = ends_table_new(NULL, 0, NULL, 0, home, homes),
	};
	printer->style.color = wants_color(settings, printer->terminal);
	printer->style.numeric = settings->numeric > 0;
	signal(SIGPIPE, SIG_IGN);
	if (printer->buffer && printer->ends)
		return 0;
	printer_close(printer);
	return -ENOMEM;
}

void printer_close(struct printer *printer)
{
	free(printer->buffer);
	ends_table_free(printer->ends);
	printer->buffer = NULL;
	printer->ends = NULL;
}

int printer_flush(struct printer *printer)
{
	size_t done = 0;

	while (done < printer->used) {
		ssize_t n = write(STDOUT_FILENO, printer->buffer + done, printer->used - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	printer->used = 0;
	return 0;
}

static size_t put_json(struct printer *printer, char *at, struct packet *p, const struct printer_packet *packet)
{
	struct json_source source = {.iface = packet->iface};
	bool out = ends_source_is_local(printer->ends, p);
	size_t n;

	if (packet->side_known && out != (p->outer.key.side == REC_TX))
		packet_set(p, PKT_SIDE);
	n = json_line(at, p, packet->wall, out, &source);
	at[n++] = '\n';
	return n;
}

int printer_put(struct printer *printer, const struct printer_packet *packet)
{
	char *at = printer->buffer + printer->used;
	struct native_slot slot;
	struct rec_head cut = *packet->head;
	const uint8_t *bytes = packet->bytes;
	uint64_t snaplen = printer->settings->snaplen;
	struct packet p;

	if (snaplen && snaplen < cut.cap_len) {
		struct rec_head *made = native_record(&slot, bytes, (uint32_t)snaplen, cut.wire_len, cut.time, 0);

		cut.cap_len = made->cap_len;
		cut.marks |= made->marks;
		bytes = (const uint8_t *)(made + 1);
	}
	packet_decode(&p, &cut, bytes);
	printer->style.side = packet->side_known;
	printer->printed++;
	if (printer->json) {
		printer->used += put_json(printer, at, &p, packet);
	} else {
		struct print_packet one = {&p, packet->wall, packet->iface, printer->printed, bytes, cut.cap_len};

		printer->used += (printer->tree ? print_tree : print_line)(at, &one, &printer->style);
	}
	if (printer->terminal || PRINTER_BUFFER - printer->used < LONGEST) {
		int err = printer_flush(printer);

		if (err)
			return err;
	}
	return printer->settings->count && printer->printed >= printer->settings->count;
}

int printer_status(int err)
{
	if (err >= 0 || err == -EPIPE) /* who reads has enough: head(1) and the like */
		return EXIT_DONE;
	return cmd_fail(EXIT_FAILED, "cannot write the packets: %s", strerror(-err));
}
