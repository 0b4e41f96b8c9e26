// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * pin.c - the directory that holds a capture. bpffs is world-writable where distributions mount it (mode 1777), so
 * each directory of ours must be a real one, owned by us, closed to others: else somebody could hand us his maps.
 */
#include "recorder/capture/internal.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#ifndef BPF_FS_MAGIC
#define BPF_FS_MAGIC 0xcafe4a11
#endif

#define ROOT "xdp-recorder"

static bool in_bpffs(const char *path)
{
	struct statfs s;

	return !statfs(path, &s) && (unsigned long)s.f_type == BPF_FS_MAGIC;
}

/* Copies the parent of path to out; false at the top. */
static bool parent(const char *path, char *out, size_t size)
{
	const char *slash;

	snprintf(out, size, "%s", path);
	while (strlen(out) > 1 && out[strlen(out) - 1] == '/')
		out[strlen(out) - 1] = 0;
	slash = strrchr(out, '/');
	if (!slash || slash == out)
		return false;
	out[slash - out] = 0;
	return true;
}

static int make(const char *dir, int depth, struct capture_error *err)
{
	char up[PATH_MAX];
	struct stat st;
	int r;

	if (lstat(dir, &st)) {
		if (errno != ENOENT)
			return capture_fail(err, -errno, "%s: %s", dir, strerror(errno));
		if (depth > 8 || !parent(dir, up, sizeof(up)))
			return capture_fail(err, -EINVAL, "%s: not inside a bpf filesystem", dir);
		r = make(up, depth + 1, err);
		if (r)
			return r;
		if (!in_bpffs(up))
			return capture_fail(err, -EINVAL, "%s is not a bpf filesystem: mount -t bpf bpf %s", up, CAPTURE_BPFFS);
		if (!mkdir(dir, 0700))
			return 0;
		if (errno != EEXIST)
			return capture_fail(err, -errno, "cannot make %s: %s", dir, strerror(errno));
		if (lstat(dir, &st))
			return capture_fail(err, -errno, "%s: %s", dir, strerror(errno));
	}
	if (!S_ISDIR(st.st_mode))
		return capture_fail(err, -ENOTDIR, "%s is not a directory", dir);
	/* The mount's own directory may be anybody's; what is below it must be ours. */
	if (in_bpffs(dir) && parent(dir, up, sizeof(up)) && in_bpffs(up) && (st.st_uid != geteuid() || st.st_mode & 077))
		return capture_fail(err, -EACCES, "%s must be owned by uid %u with mode 0700: somebody else made it", dir,
				    (unsigned)geteuid());
	return 0;
}

int pin_dir_make(const char *dir, struct capture_error *err)
{
	int r = dir[0] == '/' ? make(dir, 0, err) : capture_fail(err, -EINVAL, "%s: the pin directory must be absolute", dir);

	if (!r && !in_bpffs(dir))
		return capture_fail(err, -EINVAL, "%s is not in a bpf filesystem: mount -t bpf bpf %s", dir, CAPTURE_BPFFS);
	return r;
}

int pin_dir_remove(const char *dir)
{
	char path[PATH_MAX], up[PATH_MAX];
	struct dirent *e;
	DIR *d;
	int err = 0;

	/* Entries go while we read: start again until a pass finds nothing. */
	for (int found = 1; found && !err;) {
		found = 0;
		d = opendir(dir);
		if (!d)
			return -errno;
		while ((e = readdir(d))) {
			if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
				continue;
			snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
			if (unlink(path))
				err = errno == ENOENT ? 0 : -errno;
			else
				found = 1;
		}
		closedir(d);
	}
	if (err)
		return err;
	if (rmdir(dir))
		return -errno;
	/* instance, abi, root: as far as they are empty, and never the mount or anything not made by us */
	snprintf(path, sizeof(path), "%s", dir);
	for (int i = 0; i < 3 && parent(path, up, sizeof(up)) && strstr(up, "/" ROOT); i++) {
		if (!in_bpffs(up) || rmdir(up))
			break;
		snprintf(path, sizeof(path), "%s", up);
	}
	return 0;
}

int pin_fd(const char *dir, const char *name, int fd, struct capture_error *err)
{
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	r = bpf_obj_pin(fd, path);
	return r ? capture_fail(err, r, "cannot pin %s: %s", path, strerror(-r)) : 0;
}

int pin_get(const char *dir, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return bpf_obj_get(path);
}

int pin_unlink(const char *dir, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return unlink(path) && errno != ENOENT ? -errno : 0;
}

const char *pin_link_name(enum rec_side side)
{
	return side == REC_RX ? "link_rx" : "link_tx";
}

void pin_ring_name(char out[32], enum rec_side side, unsigned cpu)
{
	snprintf(out, 32, "ring_%s_%u", side == REC_RX ? "rx" : "tx", cpu);
}

struct meta *meta_map(int fd)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);
	void *p;

	if (bpf_obj_get_info_by_fd(fd, &info, &size) || info.value_size < sizeof(struct meta))
		return NULL;
	p = mmap(NULL, sizeof(struct meta), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

void meta_unmap(struct meta *m)
{
	if (m)
		munmap(m, sizeof(*m));
}

int pin_meta(int fd, struct meta *out, size_t need)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info), zero = 0;
	CLEANUP_FREE char *value = NULL;

	if (bpf_obj_get_info_by_fd(fd, &info, &size) || info.value_size < need)
		return -ESTALE;
	value = malloc(info.value_size);
	if (!value || bpf_map_lookup_elem(fd, &zero, value))
		return -ENOMEM;
	memset(out, 0, sizeof(*out));
	memcpy(out, value, need);
	return 0;
}

/* Is the capture in dir one of this interface? Only the members that never move are read: its meta may be of another size. */
static bool is_of(const char *dir, unsigned ifindex, uint64_t netns)
{
	CLEANUP_CLOSE int fd = pin_get(dir, "meta");
	struct meta m;

	return fd >= 0 && !pin_meta(fd, &m, offsetof(struct meta, sides)) && m.magic == META_MAGIC && m.ifindex == ifindex &&
	       m.netns == netns;
}

/* Walks `depth` levels of directories below dir. */
static int find(const char *dir, int depth, const char *except, unsigned ifindex, uint64_t netns, char *out, size_t size)
{
	char path[PATH_MAX];
	struct dirent *e;
	int found = 0;
	DIR *d;

	if (!depth) {
		if (!strcmp(dir, except) || !is_of(dir, ifindex, netns))
			return 0;
		snprintf(out, size, "%s", dir);
		return 1;
	}
	d = opendir(dir);
	if (!d)
		return 0;
	while (!found && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		found = find(path, depth - 1, except, ifindex, netns, out, size);
	}
	closedir(d);
	return found;
}

int pin_find_other(const char *dir, unsigned ifindex, uint64_t netns, char *out, size_t size)
{
	char root[PATH_MAX], up[PATH_MAX];

	/* <root>/<abi>/<instance>/<iface> */
	snprintf(root, sizeof(root), "%s", dir);
	for (int i = 0; i < 3; i++) {
		if (!parent(root, up, sizeof(up)))
			return 0;
		memcpy(root, up, sizeof(root));
	}
	if (strlen(root) < sizeof(ROOT) || strcmp(root + strlen(root) - strlen("/" ROOT), "/" ROOT))
		return 0;
	return find(root, 3, dir, ifindex, netns, out, size);
}

int capture_pin_path(char *out, size_t size, const char *bpffs, const char *instance, const char *iface)
{
	return pin_path(out, size, bpffs, REC_ABI, instance, iface);
}

int pin_path(char *out, size_t size, const char *bpffs, unsigned abi, const char *instance, const char *iface)
{
	const char *part[2] = { instance, iface };
	int n = snprintf(out, size, "%s/" ROOT "/%u", bpffs ? bpffs : CAPTURE_BPFFS, abi);

	for (int i = 0; i < 2; i++) {
		if (n < 0 || (size_t)n >= size)
			return -ENAMETOOLONG;
		n += snprintf(out + n, size - (size_t)n, "/");
		for (const char *c = part[i]; *c; c++) {
			if ((size_t)n + 4 >= size)
				return -ENAMETOOLONG;
			n += snprintf(out + n, size - (size_t)n, *c == '.' || *c == '/' || *c == '%' ? "%%%02x" : "%c",
				      (unsigned char)*c);
		}
	}
	return (size_t)n < size ? 0 : -ENAMETOOLONG;
}
