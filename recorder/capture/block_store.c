/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/capture/block_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "recorder/core/clock.h"
#include "recorder/core/util.h"

#define LOCK_WAIT_MS 10000
#define CHANGES_MAX (1L << 22) /* bytes; then the older half goes */

static int wrong(struct block_problem *problem, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int wrong(struct block_problem *problem, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(problem->text, sizeof(problem->text), format, args);
	va_end(args);
	return err;
}

static void path_of(char out[PATH_MAX], const char *dir, const char *name)
{
	snprintf(out, PATH_MAX, "%s/%s", dir, name);
}

int block_store_open(struct block_store *store, const char *dir, struct block_problem *problem)
{
	char path[PATH_MAX];

	store->lock = -1;
	if (strlen(dir) >= sizeof(store->dir))
		return wrong(problem, -ENAMETOOLONG, "%.100s...: too long for a directory's name", dir);
	strcpy(store->dir, dir);
	if (mkdir(dir, 0755) && errno != EEXIST)
		return wrong(problem, -errno, "cannot make %.150s: %s", dir, strerror(errno));
	path_of(path, dir, "block.lock");
	store->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (store->lock < 0)
		return wrong(problem, -errno, "cannot open %.150s: %s", path, strerror(errno));
	for (int waited = 0; flock(store->lock, LOCK_EX | LOCK_NB); waited += 10) {
		if (errno != EWOULDBLOCK || waited >= LOCK_WAIT_MS) {
			close(TAKE_FD(store->lock));
			return wrong(problem, -EBUSY, "%.150s: another process has been changing the block list for %d s", path,
				     LOCK_WAIT_MS / 1000);
		}
		usleep(10000);
	}
	return 0;
}

void block_store_close(struct block_store *store)
{
	if (store->lock >= 0)
		close(TAKE_FD(store->lock));
}

/* ---- the list ------------------------------------------------------------------------------------------------------- */

int block_file_read(const char *name, struct block_list *list, unsigned by, struct block_problem *problem)
{
	FILE *file = strcmp(name, "-") ? fopen(name, "re") : stdin;
	struct block_problem fault;
	struct block_entry entry;
	char line[512];
	unsigned number = 0;
	int err = 0, n;

	if (!file)
		return wrong(problem, -errno, "cannot read %.150s: %s", name, strerror(errno));
	while (!err && fgets(line, sizeof(line), file)) {
		number++;
		if (!strchr(line, '\n') && !feof(file)) {
			err = wrong(problem, -EINVAL, "%.100s, line %u: longer than %zu bytes", name, number, sizeof(line) - 2);
			break;
		}
		n = block_line_read(&entry, line, by, &fault);
		if (n < 0)
			err = wrong(problem, n, "%.60s, line %u: %.160s", name, number, fault.text);
		else if (n && block_list_append(list, &entry))
			err = wrong(problem, -ENOMEM, "%.100s, line %u: no memory for it", name, number);
	}
	if (!err && ferror(file))
		err = wrong(problem, -EIO, "cannot read %.150s: %s", name, strerror(errno));
	if (file != stdin)
		fclose(file);
	if (err)
		block_list_free(list);
	return err;
}

int block_store_read(const struct block_store *store, struct block_list *list, struct block_problem *problem)
{
	char path[PATH_MAX];
	int err;

	path_of(path, store->dir, "block.list");
	err = block_file_read(path, list, 0, problem);
	if (err == -ENOENT)
		return 0;
	block_list_sort(list);
	return err;
}

int block_store_prepare(const struct block_store *store, const struct block_list *list, struct block_problem *problem)
{
	char path[PATH_MAX], line[BLOCK_LINE_MAX];
	FILE *file;
	int err = 0;

	path_of(path, store->dir, "block.list.new");
	file = fopen(path, "we");
	if (!file)
		return wrong(problem, -errno, "cannot write %.150s: %s", path, strerror(errno));
	fputs("# The block list of xdp-recorder on this host. `xdp-recorder block add|del` changes it, at once; what is written\n"
	      "# here by hand counts from the next start of a recording or the next change.\n", file);
	for (size_t i = 0; i < list->count; i++) {
		block_line_write(line, &list->entries[i]);
		fputs(line, file);
	}
	if (fflush(file) || fsync(fileno(file)))
		err = -errno;
	if (fclose(file) && !err)
		err = -errno;
	if (!err)
		return 0;
	unlink(path);
	return wrong(problem, err, "cannot write %.150s: %s", path, strerror(-err));
}

int block_store_commit(const struct block_store *store, struct block_problem *problem)
{
	char from[PATH_MAX], to[PATH_MAX];
	CLEANUP_CLOSE int dir = open(store->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	path_of(from, store->dir, "block.list.new");
	path_of(to, store->dir, "block.list");
	if (rename(from, to))
		return wrong(problem, -errno, "cannot rename %.150s: %s", from, strerror(errno));
	if (dir >= 0)
		fsync(dir); /* the list counts already; at worst a crash brings the former one back */
	return 0;
}

/* ---- changes -------------------------------------------------------------------------------------------------------- */

static int newest(void *arg, uint64_t stamp, const char *json)
{
	(void)json;
	*(uint64_t *)arg = stamp;
	return 0;
}

struct halving {
	FILE *to;
	long skip;
};

static int keep_newer(void *arg, uint64_t stamp, const char *json)
{
	struct halving *h = arg;

	h->skip -= (long)strlen(json) + 21;
	return h->skip > 0 || fprintf(h->to, "%llu %s\n", (unsigned long long)stamp, json) > 0 ? 0 : -EIO;
}

/* The older half goes. What goes wrong leaves the file as it is: it is longer then, no more. */
static void halve(const struct block_store *store, const char *path)
{
	char fresh[PATH_MAX];
	struct halving h = {.skip = CHANGES_MAX / 2};
	int err;

	path_of(fresh, store->dir, "block.changes.new");
	h.to = fopen(fresh, "we");
	if (!h.to)
		return;
	err = block_changes_read(store->dir, 0, keep_newer, &h);
	if (fclose(h.to) || err || rename(fresh, path))
		unlink(fresh);
}

int block_store_tell(const struct block_store *store, const char *json, struct block_problem *problem)
{
	char path[PATH_MAX];
	uint64_t last = 0, stamp = (uint64_t)clock_wall_ns();
	FILE *file;
	int err;

	path_of(path, store->dir, "block.changes");
	block_changes_read(store->dir, 0, newest, &last);
	if (stamp <= last)
		stamp = last + 1; /* the clock was set back */
	file = fopen(path, "ae");
	if (!file)
		return wrong(problem, -errno, "cannot write %.150s: %s", path, strerror(errno));
	fprintf(file, "%llu %s\n", (unsigned long long)stamp, json);
	err = fflush(file) || fsync(fileno(file)) ? -errno : 0;
	if (!err && ftell(file) > CHANGES_MAX)
		halve(store, path);
	fclose(file);
	return err ? wrong(problem, err, "cannot write %.150s: %s", path, strerror(-err)) : 0;
}

int block_changes_read(const char *dir, uint64_t after, int (*each)(void *arg, uint64_t stamp, const char *json), void *arg)
{
	CLEANUP_FREE char *line = malloc(BLOCK_CHANGE_MAX + 32);
	char path[PATH_MAX], *end;
	int err = 0;
	FILE *file;

	path_of(path, dir, "block.changes");
	file = fopen(path, "re");
	if (!file || !line) {
		err = !line ? -ENOMEM : errno == ENOENT ? 0 : -errno;
		if (file)
			fclose(file);
		return err;
	}
	while (!err && fgets(line, BLOCK_CHANGE_MAX + 32, file)) {
		unsigned long long stamp = strtoull(line, &end, 10);
		size_t len = strlen(line);

		if (line[len - 1] != '\n')
			break; /* still being written */
		line[len - 1] = '\0';
		if (stamp > after && *end == ' ')
			err = each(arg, stamp, end + 1);
	}
	fclose(file);
	return err;
}
