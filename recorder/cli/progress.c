/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/cli/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "recorder/core/clock.h"

#define BAR 24u
#define WIDTH 80u /* of a terminal that does not say */
#define CLEAR "\r\033[K"

static const char *amount(char out[16], uint64_t n)
{
	if (n < 10000)
		snprintf(out, 16, "%llu", (unsigned long long)n);
	else if (n < 10000000)
		snprintf(out, 16, "%.1fk", (double)n / 1e3);
	else
		snprintf(out, 16, "%.1fM", (double)n / 1e6);
	return out;
}

static const char *left(char out[16], double seconds)
{
	unsigned s = seconds > 359999 ? 359999 : (unsigned)(seconds + 0.5);

	if (s >= 3600)
		snprintf(out, 16, "%u:%02u:%02u", s / 3600, s / 60 % 60, s % 60);
	else
		snprintf(out, 16, "%u:%02u", s / 60, s % 60);
	return out;
}

char *progress_line(char *out, size_t size, unsigned width, const char *name, const char *what, uint64_t done,
		    uint64_t total, uint64_t packets, double seconds, uint64_t packets_in_them)
{
	double share = total ? (double)(done > total ? total : done) / (double)total : 0;
	unsigned full = (unsigned)(share * BAR);
	char bar[BAR + 1], n[16], rate[16], eta[16] = "-:--", tail[160];
	size_t used, most = width > size - 1 ? size - 1 : width;

	for (unsigned i = 0; i < BAR; i++)
		bar[i] = i < full ? '#' : '.';
	bar[BAR] = '\0';
	if (share > 0.01 && seconds > 0.5)
		left(eta, seconds * (1 - share) / share);
	snprintf(tail, sizeof(tail), " %s [%s] %3.0f %%  %s packets  %s/s  %s left", what, bar, share * 100,
		 amount(n, packets), amount(rate, seconds > 0 ? (uint64_t)((double)packets_in_them / seconds) : 0), eta);
	used = strlen(tail);
	/* The end of a name says more than its beginning. */
	if (used < most) {
		size_t room = most - used, len = strlen(name);

		snprintf(out, size, "%s%s", len > room ? name + len - room : name, tail);
	} else {
		snprintf(out, size, "%.*s", (int)most, tail + 1);
	}
	return out;
}

void progress_init(struct progress *progress, bool quiet)
{
	*progress = (struct progress){.on = !quiet && isatty(STDERR_FILENO)};
}

void progress_draw(struct progress *progress, const char *name, const char *what, uint64_t done, uint64_t total,
		   uint64_t packets)
{
	uint64_t now = clock_boot_ns();
	struct winsize window = {0};
	unsigned width = WIDTH;
	char line[300];

	if (!progress->on)
		return;
	if (progress->name != name || packets < progress->began_packets) {
		progress->name = name;
		progress->began_ns = now;
		progress->began_packets = packets;
	}
	if (!ioctl(STDERR_FILENO, TIOCGWINSZ, &window) && window.ws_col)
		width = window.ws_col;
	progress_line(line, sizeof(line), width - 1, name, what, done, total, packets,
		      (double)(now - progress->began_ns) / 1e9, packets - progress->began_packets);
	fprintf(stderr, CLEAR "%s", line);
	fflush(stderr);
	progress->drawn = true;
}

void progress_clear(struct progress *progress)
{
	if (!progress->drawn)
		return;
	fputs(CLEAR, stderr);
	fflush(stderr);
	progress->drawn = false;
}
