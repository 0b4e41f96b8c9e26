// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * error.c - the texts of errors; libbpf's messages on their way to the one logger; what capabilities are missing.
 *
 * libbpf warns about things that we try on purpose (a feature that the kernel may not have), and prints the verifier's
 * log when a load fails. So during a load its messages are held back and come out as errors only when the load was not
 * a trial.
 */
#include "recorder/capture/internal.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>

#include "recorder/core/log.h"

int capture_fail(struct capture_error *err, int code, const char *format, ...)
{
	va_list args;

	if (err) {
		va_start(args, format);
		vsnprintf(err->text, sizeof(err->text), format, args);
		va_end(args);
	}
	return code;
}

/* The end of what libbpf said is what matters: the verifier's last lines. */
#define HELD 8192
static __thread struct {
	bool on;
	size_t used;
	char text[HELD];
} held;

static int libbpf_print(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[4096];
	size_t n;

	vsnprintf(line, sizeof(line), format, args);
	n = strlen(line);
	while (n && line[n - 1] == '\n')
		line[--n] = 0;
	if (!n)
		return 0;
	log_trace("libbpf: %s", line);
	if (!held.on || level == LIBBPF_DEBUG)
		return 0;
	if (n > HELD / 2) {
		memmove(line, line + n - HELD / 2, HELD / 2 + 1);
		n = HELD / 2;
	}
	if (held.used + n + 2 > HELD) {
		memmove(held.text, held.text + held.used - HELD / 2 + 2, HELD / 2 - 2);
		held.used = HELD / 2 - 2;
	}
	memcpy(held.text + held.used, line, n);
	held.used += n;
	held.text[held.used++] = '\n';
	return 0;
}

void libbpf_log_init(void)
{
	libbpf_set_print(libbpf_print);
}

void libbpf_log_begin(void)
{
	held.on = true;
	held.used = 0;
}

void libbpf_log_end(int failed)
{
	char *line, *next;

	held.on = false;
	if (!failed || !held.used)
		return;
	held.text[held.used - 1] = 0;
	for (line = held.text; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		log_error("%s", line);
	}
	held.used = 0;
}

int capture_missing_caps(char *out, size_t size)
{
	static const struct {
		unsigned number;
		const char *name;
	} wanted[] = { { CAP_BPF, "CAP_BPF" }, { CAP_NET_ADMIN, "CAP_NET_ADMIN" }, { CAP_PERFMON, "CAP_PERFMON" } };
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	size_t used = 0;
	int missing = 0;

	if (size)
		out[0] = 0;
	if (syscall(SYS_capget, &header, data))
		return -errno;
	for (unsigned i = 0; i < ARRAY_SIZE(wanted); i++) {
		unsigned n = wanted[i].number;

		if (data[n / 32].effective >> n % 32 & 1)
			continue;
		missing++;
		if (used < size)
			used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", wanted[i].name);
	}
	return missing;
}
