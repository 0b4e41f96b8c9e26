/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * log.h - the one logger. Lines go to stderr: "<level>: <text>". Any thread; each line is one write.
 *
 * Secrets never reach it: who logs a URI calls uri_redacted() (db/connect.h) first.
 */
#ifndef XDP_RECORDER_CORE_LOG_H
#define XDP_RECORDER_CORE_LOG_H

#include <stdarg.h>
#include <stdint.h>

/* LOG_TRACE: what libraries say of themselves (libbpf: a thousand lines a load). */
enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/* Messages above `level` are dropped. Default LOG_INFO. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* A word in front of each line, "keeper" or "drainer"; NULL for none. The string is kept, not copied. */
void log_set_role(const char *role);

void log_at(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_atv(enum log_level level, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_WARNING, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
#define log_trace(...) log_at(LOG_TRACE, __VA_ARGS__)

/* At most one line each `seconds` of a call site; what was held back is counted in the next line. */
struct log_limit {
	uint64_t next_ns;
	uint64_t held;
};
void log_limited(struct log_limit *limit, unsigned seconds, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#endif
