/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/core/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "recorder/core/clock.h"

static atomic_int level = LOG_INFO;
static const char *_Atomic role;

void log_set_level(enum log_level value)
{
	atomic_store(&level, value);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load(&level);
}

void log_set_role(const char *value)
{
	atomic_store(&role, value);
}

void log_atv(enum log_level at, const char *format, va_list args)
{
	static const char *const names[] = {"error", "warning", "info", "debug", "trace"};
	char line[1024];
	const char *who = atomic_load(&role);
	int n;

	if ((int)at > atomic_load(&level))
		return;
	n = snprintf(line, sizeof(line), "%s%s%s: ", who ? who : "", who ? " " : "", names[at]);
	vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
	n = (int)strlen(line);
	while (n > 0 && line[n - 1] == '\n')
		n--;
	line[n++] = '\n';
	/* One write keeps the lines of two processes apart. Nobody is left to tell when stderr is gone. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		return;
}

void log_at(enum log_level at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_atv(at, format, args);
	va_end(args);
}

void log_limited(struct log_limit *limit, unsigned seconds, enum log_level at, const char *format, ...)
{
	uint64_t now = clock_boot_ns();
	uint64_t next = __atomic_load_n(&limit->next_ns, __ATOMIC_RELAXED);
	uint64_t held;
	char text[900];
	va_list args;

	if (now < next || !__atomic_compare_exchange_n(&limit->next_ns, &next, now + seconds * NS_PER_SEC, 0,
						       __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
		__atomic_add_fetch(&limit->held, 1, __ATOMIC_RELAXED);
		return;
	}
	held = __atomic_exchange_n(&limit->held, 0, __ATOMIC_RELAXED);
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (held)
		log_at(at, "%s (%llu more like this held back)", text, (unsigned long long)held);
	else
		log_at(at, "%s", text);
}
