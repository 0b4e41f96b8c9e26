// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * foreign.c - captures that a build with another layout (REC_ABI) left pinned.
 *
 * Its rings cannot be read by this build, and its programs go on filling them. A second capture beside it would count every
 * packet in two accounts, and nobody would ever store what the first one holds. So nothing is made there: who comes is told
 * which program can store it, and how to throw it away.
 */
#include "recorder/capture/internal.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/stat.h>

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static void describe(const char *dir, const char *abi, const char *instance, struct capture_error *text)
{
	CLEANUP_CLOSE int fd = pin_get(dir, "meta");
	struct meta m = { 0 };
	char who[300], how[400];

	if (fd < 0 || pin_meta(fd, &m, offsetof(struct meta, build)) || strtoul(abi, NULL, 10) < 5)
		m.program[0] = m.version[0] = 0; /* older layouts do not say */
	m.program[sizeof(m.program) - 1] = m.version[sizeof(m.version) - 1] = 0;
	snprintf(who, sizeof(who), "%s%s%s%s", m.version[0] ? "version " : "another version", m.version, m.program[0] ? ", " : "",
		 m.program);
	if (m.program[0] && !access(m.program, X_OK) && !same_file(m.program, "/proc/self/exe"))
		snprintf(how, sizeof(how), "`%s stop %s --mongo URI` stores it", m.program, instance);
	else
		snprintf(how, sizeof(how), "only `stop %s --mongo URI` of that version stores it, and it is not installed any more",
			 instance);
	capture_fail(text, 0, "%s was captured by a build with another layout (%s, this one has %u; %s), and this build cannot read its "
		     "rings: %s; `xdp-recorder stop %s --discard` ends it and throws that away", dir, abi, REC_ABI, who, how, instance);
}

/* The first capture in an instance's directory, or the one of iface. */
static bool first_of(const char *instance_dir, const char *iface_dir, char *dir, size_t size)
{
	struct dirent *e;
	struct stat st;
	bool found = false;
	DIR *d;

	if (iface_dir) {
		snprintf(dir, size, "%s", iface_dir);
		return !stat(dir, &st);
	}
	d = opendir(instance_dir);
	while (d && !found && (e = readdir(d))) {
		found = e->d_name[0] != '.';
		if (found)
			snprintf(dir, size, "%s%s", instance_dir, e->d_name);
	}
	if (d)
		closedir(d);
	return found;
}

int capture_foreign(const char *bpffs, const char *instance, const char *iface, char *dir, size_t size,
		    struct capture_error *text)
{
	char root[PATH_MAX], all[PATH_MAX], one[PATH_MAX];
	struct dirent *e;
	int found = 0;
	DIR *d;

	snprintf(root, sizeof(root), "%s/xdp-recorder", bpffs ? bpffs : CAPTURE_BPFFS);
	d = opendir(root);
	while (d && !found && (e = readdir(d))) {
		char *end;
		unsigned long abi = strtoul(e->d_name, &end, 10);

		if (*end || end == e->d_name || abi == REC_ABI)
			continue;
		if (pin_path(all, sizeof(all), bpffs, (unsigned)abi, instance, "") ||
		    pin_path(one, sizeof(one), bpffs, (unsigned)abi, instance, iface ? iface : ""))
			continue;
		found = first_of(all, iface ? one : NULL, dir, size);
		if (found)
			describe(dir, e->d_name, instance, text);
	}
	if (d)
		closedir(d);
	return found;
}
