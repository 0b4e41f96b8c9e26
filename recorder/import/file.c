/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file: opened, and read once for its identity and its faults before anything of it is stored. */
#include "recorder/import/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/source/linktype.h"
#include "recorder/source/savefile_input.h"

#define PIECE (256u << 10)
#define LOOK_EVERY 4096u /* packets between two looks at signals */

static bool is_stdin(const char *path)
{
	return !strcmp(path, "-");
}

/* The file's name without directory and what says how it is compressed: a sensor's name. */
static void name_sensor(struct import_file *file)
{
	static const char *const suffixes[] = {".gz", ".zst"};
	const struct settings *settings = file->import->settings;
	const char *slash = strrchr(file->path, '/'), *name = slash ? slash + 1 : file->path;
	size_t len;

	if (settings->origin[SETTING_sensor].source != FROM_DEFAULT)
		name = settings->sensor;
	else if (is_stdin(file->path))
		name = "stdin";
	len = strnlen(name, sizeof(file->sensor) - 1);
	for (size_t i = 0; i < ARRAY_SIZE(suffixes) && name != settings->sensor; i++) {
		size_t tail = strlen(suffixes[i]);

		if (len > tail && !memcmp(name + len - tail, suffixes[i], tail))
			len -= tail;
	}
	memcpy(file->sensor, name, len);
	for (size_t i = 0; i < len; i++)
		if ((uint8_t)file->sensor[i] < ' ' || file->sensor[i] == 127)
			file->sensor[i] = '?';
	if (!bson_utf8_validate(file->sensor, len, false))
		for (size_t i = 0; i < len; i++)
			if ((uint8_t)file->sensor[i] > 126)
				file->sensor[i] = '?';
}

static int say_errno(const char *path, const char *what)
{
	int err = -errno;

	log_error("%s: %s: %s", path, what, strerror(errno));
	return err;
}

/* An unlinked file that goes with its descriptor. */
static int temporary(const char *path)
{
	const char *dir = getenv("TMPDIR");
	int fd;

	if (!dir || !*dir)
		dir = "/var/tmp";
	fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	fd = -errno;
	log_error("%s: no temporary file can be made in %s: %s; TMPDIR names another directory", path, dir, strerror(errno));
	return fd;
}

static int copy(int from, int to, const char *path)
{
	CLEANUP_FREE char *piece = malloc(PIECE);
	ssize_t n;

	if (!piece)
		return -ENOMEM;
	while ((n = read(from, piece, PIECE)) > 0 || (n < 0 && errno == EINTR)) {
		for (ssize_t done = 0, w; done < n; done += w) {
			w = write(to, piece + done, (size_t)(n - done));
			if (w < 0)
				return say_errno(path, "cannot be copied to a temporary file");
		}
	}
	return n < 0 ? say_errno(path, "cannot be read") : 0;
}

int import_file_open(struct import_file *file, struct import *import, const char *path)
{
	CLEANUP_CLOSE int fd = -1;
	struct stat st;

	*file = (struct import_file){.import = import, .path = path, .fd = -1, .lock = -1};
	file->result.path = is_stdin(path) ? "stdin" : path;
	file->result.database = import->database;
	name_sensor(file);
	fd = is_stdin(path) ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return say_errno(path, "cannot be opened");
	if (fstat(fd, &st))
		return say_errno(path, "cannot be looked at");
	if (S_ISDIR(st.st_mode)) {
		log_error("%s: is a directory; name the capture files in it", path);
		return -EISDIR;
	}
	if (!S_ISREG(st.st_mode) || is_stdin(path)) { /* read twice: so it is copied */
		CLEANUP_CLOSE int whole = temporary(file->result.path);
		int err = whole < 0 ? whole : copy(fd, whole, file->result.path);

		if (err || fstat(whole, &st))
			return err ? err : -errno;
		file->path = file->result.path;
		close(fd);
		fd = TAKE_FD(whole);
	}
	file->size = (uint64_t)st.st_size;
	file->fd = TAKE_FD(fd);
	return 0;
}

static int again(const struct import_file *file)
{
	int fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 3);

	if (fd < 0 || lseek(fd, 0, SEEK_SET)) {
		int err = say_errno(file->path, "cannot be read from its beginning");

		if (fd >= 0)
			close(fd);
		return err;
	}
	return fd;
}

int import_file_rewind(const struct import_file *file, struct savefile **savefile)
{
	struct savefile_error error;
	int fd = again(file), err = fd < 0 ? fd : savefile_open(savefile, fd, file->path, &error);

	if (fd < 0 || !err)
		return err;
	log_error("%s", error.text);
	close(fd);
	return err;
}

void import_file_close(struct import_file *file)
{
	import_rows_free(TAKE_PTR(file->rows));
	free(TAKE_PTR(file->captures));
	if (file->fd >= 0)
		close(TAKE_FD(file->fd));
}

void import_say(struct import_file *file, bool reading, uint64_t done, uint64_t packets, bool now)
{
	static uint64_t at; /* of the call before that knew it */
	const struct import_view *view = file->import->view;
	uint64_t time = clock_boot_ns();

	if (done)
		at = done;
	if (!view->progress || (!now && time - file->said_ns < NS_PER_SEC / 10))
		return;
	file->said_ns = time;
	view->progress(view->arg, &(struct import_progress){.path = file->path, .reading = reading, .done = at,
							    .size = file->size, .packets = packets, .total = file->total});
}

/* ---- the first pass ------------------------------------------------------------------------------------------------ */

static bool stopped(struct import_file *file)
{
	uv_run(&file->import->loop, UV_RUN_NOWAIT);
	return file->import->signals;
}

static int digest_all(struct import_file *file, struct savefile_input *input, EVP_MD_CTX *context, uint8_t *piece)
{
	struct savefile_input_error error;
	ssize_t n;

	while ((n = savefile_input_read(input, piece, PIECE, &error)) > 0) {
		if (EVP_DigestUpdate(context, piece, (size_t)n) != 1)
			return -EIO;
		file->bytes += (uint64_t)n;
		import_say(file, true, savefile_input_used(input), 0, false);
		if (stopped(file))
			return -ECANCELED;
	}
	if (n < 0)
		log_error("%s: %s", file->path, error.text);
	return (int)n;
}

/* SHA-256 of the uncompressed bytes: the same file is the same capture however it is packed. */
static int digest_file(struct import_file *file)
{
	CLEANUP_FREE uint8_t *piece = malloc(PIECE);
	struct savefile_input_error error = {"out of memory"};
	struct savefile_input *input = NULL;
	EVP_MD_CTX *context;
	int fd = again(file), err = -ENOMEM;

	if (fd < 0)
		return fd;
	context = EVP_MD_CTX_new();
	if (piece && context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1)
		err = savefile_input_open(&input, fd, &error);
	if (err) {
		log_error("%s: %s", file->path, error.text);
		close(fd);
	} else {
		err = digest_all(file, input, context, piece);
	}
	if (!err && EVP_DigestFinal_ex(context, file->hash, NULL) != 1)
		err = -EIO;
	savefile_input_close(input);
	EVP_MD_CTX_free(context);
	return err;
}

static int refuse_linktype(const struct import_file *file, const struct savefile_interface *interface)
{
	char type[120];

	log_error("%s: %s is of link type %s, the recorder reads Ethernet (1, EN10MB): nothing of this file is imported; capture on an "
		  "Ethernet interface, or convert it (`editcap -T ether` if its frames are Ethernet's)",
		  file->path, interface->name, linktype_text(interface->linktype, type, sizeof(type)));
	return -EPROTONOSUPPORT;
}

/* Captures are made as interfaces are named; strings are pointed to once the array stands still. */
static int take_interfaces(struct import_file *file, const struct savefile *savefile)
{
	unsigned n = savefile_interfaces(savefile);
	struct import_capture *more;

	if (n <= file->ncaptures)
		return 0;
	more = realloc(file->captures, n * sizeof(*more));
	if (!more)
		return -ENOMEM;
	memset(more + file->ncaptures, 0, (n - file->ncaptures) * sizeof(*more));
	for (unsigned i = file->ncaptures; i < n; i++)
		memcpy(more[i].iface, savefile_interface(savefile, i)->name, sizeof(more[i].iface));
	file->captures = more;
	file->ncaptures = n;
	return 0;
}

static int check_interfaces(const struct import_file *file, const struct savefile *savefile)
{
	for (unsigned i = 0; i < file->ncaptures; i++) {
		const struct savefile_interface *interface = savefile_interface(savefile, i);

		if (interface->linktype != SAVEFILE_ETHERNET && (file->captures[i].packets || !file->total))
			return refuse_linktype(file, interface);
	}
	return 0;
}

static int count_all(struct import_file *file, struct savefile *savefile)
{
	struct savefile_packet packet;
	struct savefile_error error;
	int got, err = 0;

	while (!err && (got = savefile_next(savefile, &packet, &error)) == 1) {
		err = take_interfaces(file, savefile);
		if (!err)
			file->captures[packet.interface].packets++;
		if (++file->total % LOOK_EVERY == 0 && stopped(file))
			return -ECANCELED;
	}
	if (err)
		return err;
	if (got == -ENODATA) {
		file->torn = true;
		snprintf(file->tear, sizeof(file->tear), "%s", error.text);
	} else if (got < 0) {
		log_error("%s", error.text);
		return got;
	}
	err = take_interfaces(file, savefile);
	return err ? err : check_interfaces(file, savefile);
}

/* The first 16 bytes of SHA-256(hash of the bytes, filter's text and a zero, interface number, IMPORT_VERSION). */
static int make_id(const struct import_file *file, uint32_t number, uint8_t id[CAPTURE_ID_LEN])
{
	const char *filter = file->import->settings->filter ? file->import->settings->filter : "";
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	uint8_t tail[6], out[HASH_LEN];
	bool ok;

	put_be32(tail, number);
	put_be16(tail + 4, IMPORT_VERSION);
	ok = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
	     EVP_DigestUpdate(context, file->hash, sizeof(file->hash)) == 1 &&
	     EVP_DigestUpdate(context, filter, strlen(filter) + 1) == 1 &&
	     EVP_DigestUpdate(context, tail, sizeof(tail)) == 1 && EVP_DigestFinal_ex(context, out, NULL) == 1;
	EVP_MD_CTX_free(context);
	if (!ok)
		return -EIO;
	memcpy(id, out, CAPTURE_ID_LEN);
	return 0;
}

/* No interface has this number: the import itself. */
#define WHOLE UINT32_MAX

static int identify(struct import_file *file)
{
	int err = make_id(file, WHOLE, file->id);

	for (unsigned i = 0; !err && i < file->ncaptures; i++) {
		struct import_capture *capture = &file->captures[i];

		capture->source.sensor = file->sensor;
		capture->source.iface = capture->iface;
		capture->source.cpus = 1;
		err = make_id(file, i, capture->source.capture);
	}
	if (err)
		log_error("%s: its identity cannot be computed", file->path);
	return err;
}

/* It was read twice: hashed and counted. Who still writes it would make a capture of bytes that are not those of its id. */
static int check_unchanged(struct import_file *file, const struct stat *before)
{
	struct stat now;

	if (fstat(file->fd, &now))
		return say_errno(file->path, "cannot be looked at");
	if (now.st_size == before->st_size && now.st_mtim.tv_sec == before->st_mtim.tv_sec &&
	    now.st_mtim.tv_nsec == before->st_mtim.tv_nsec)
		return 0;
	log_error("%s: is being written: it changed while it was read; nothing of it is imported, do it when it is whole", file->path);
	return -EBUSY;
}

int import_file_read(struct import_file *file)
{
	struct savefile *savefile;
	struct stat before;
	int err = fstat(file->fd, &before) ? say_errno(file->path, "cannot be looked at") : digest_file(file);

	if (!err)
		err = import_file_rewind(file, &savefile);
	if (err)
		return err;
	file->size = (uint64_t)before.st_size;
	snprintf(file->format, sizeof(file->format), "%s", savefile_format(savefile));
	err = count_all(file, savefile);
	savefile_close(savefile);
	if (!err)
		err = check_unchanged(file, &before);
	if (!err)
		err = identify(file);
	if (!err && !(file->rows = import_rows_new()))
		err = -ENOMEM;
	if (err == -ENOMEM)
		log_error("%s: out of memory", file->path);
	return err;
}
