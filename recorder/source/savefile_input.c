// SPDX-License-Identifier: GPL-2.0-or-later
/* The bytes of a capture file, plain or compressed: see savefile_input.h. */
#include "recorder/source/savefile_input.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <zlib.h>
#include <zstd.h>

#include "recorder/core/util.h"

#define INPUT_BYTES (128u << 10)
#define MAGIC_BYTES 4u

enum kind { PLAIN, GZIP, ZSTD };

struct savefile_input {
	int fd;
	enum kind kind;
	bool ended;    /* read(2) has said so */
	bool within;   /* a gzip member or zstd frame has begun and not ended */
	bool padded;   /* zeros behind the last gzip member were met */
	uint64_t read; /* bytes from the descriptor */
	size_t at, have; /* bytes[at, have) are not used yet */
	z_stream gzip;
	ZSTD_DStream *zstd;
	uint8_t bytes[INPUT_BYTES];
};

static int input_error(struct savefile_input_error *error, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int input_error(struct savefile_input_error *error, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return err;
}

/* Reads behind bytes[have). 0 or -errno; at the end sets `ended`. */
static int more(struct savefile_input *in, struct savefile_input_error *error)
{
	struct pollfd ready = { .fd = in->fd, .events = POLLIN };
	ssize_t n;

	while ((n = read(in->fd, in->bytes + in->have, sizeof(in->bytes) - in->have)) < 0) {
		if (errno == EAGAIN)
			poll(&ready, 1, -1);
		else if (errno != EINTR)
			return input_error(error, -errno, "cannot be read: %s", strerror(errno));
	}
	in->ended = n == 0;
	in->have += (size_t)n;
	in->read += (uint64_t)n;
	return 0;
}

/* Sees to it that there is at least one byte, or the end. */
static int refill(struct savefile_input *in, struct savefile_input_error *error)
{
	if (in->at < in->have || in->ended)
		return 0;
	in->at = in->have = 0;
	return more(in, error);
}

static int gzip_damaged(const struct savefile_input *in, struct savefile_input_error *error, const char *why)
{
	return input_error(error, -EBADMSG, "the gzip data is damaged at byte %llu of the compressed file: %s",
			   (unsigned long long)savefile_input_used(in), why);
}

/* Behind a member: another one, zeros up to the end (padding of tapes, gzip(1) skips it too), or the end. */
static int gzip_between(struct savefile_input *in, struct savefile_input_error *error)
{
	while (in->at < in->have && !in->bytes[in->at]) {
		in->at++;
		in->padded = true;
	}
	if (in->at == in->have)
		return 0;
	if (in->padded || in->bytes[in->at] != 0x1f)
		return gzip_damaged(in, error, "what follows the end of the data is not another gzip member");
	inflateReset(&in->gzip);
	in->within = true;
	return 0;
}

/* Uncompresses what is there. Bytes made, 0 when more input is needed or the end is reached; -errno. */
static ssize_t gzip_some(struct savefile_input *in, uint8_t *to, size_t size, struct savefile_input_error *error)
{
	z_stream *z = &in->gzip;
	int rc;

	if (!in->within) {
		rc = gzip_between(in, error);
		if (rc || !in->within)
			return rc;
	}
	z->next_in = in->bytes + in->at;
	z->avail_in = (uInt)(in->have - in->at);
	z->next_out = to;
	z->avail_out = size > INT32_MAX ? INT32_MAX : (uInt)size;
	size = z->avail_out;
	rc = inflate(z, Z_NO_FLUSH);
	in->at = in->have - z->avail_in;
	if (rc == Z_STREAM_END)
		in->within = false;
	else if (rc == Z_MEM_ERROR)
		return input_error(error, -ENOMEM, "no memory to uncompress it");
	else if (rc != Z_OK && rc != Z_BUF_ERROR)
		return gzip_damaged(in, error, z->msg ? z->msg : "its data cannot be uncompressed");
	return (ssize_t)(size - z->avail_out);
}

static ssize_t zstd_some(struct savefile_input *in, uint8_t *to, size_t size, struct savefile_input_error *error)
{
	ZSTD_inBuffer from = { in->bytes, in->have, in->at };
	ZSTD_outBuffer out = { to, size, 0 };
	size_t rc = ZSTD_decompressStream(in->zstd, &out, &from);

	if (ZSTD_isError(rc))
		return input_error(error, -EBADMSG, "the zstd data is damaged at byte %llu of the compressed file: %s",
				   (unsigned long long)savefile_input_used(in), ZSTD_getErrorName(rc));
	/* Having begun nothing it asks for a header: that is not the middle of a frame. */
	if (from.pos > in->at || out.pos)
		in->within = rc != 0;
	in->at = from.pos;
	return (ssize_t)out.pos;
}

static ssize_t plain_some(struct savefile_input *in, uint8_t *to, size_t size)
{
	size_t n = in->have - in->at < size ? in->have - in->at : size;

	memcpy(to, in->bytes + in->at, n);
	in->at += n;
	return (ssize_t)n;
}

ssize_t savefile_input_read(struct savefile_input *in, void *to, size_t size, struct savefile_input_error *error)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = refill(in, error);
		size_t before = in->at;

		if (n)
			return n;
		if (in->kind == PLAIN)
			n = plain_some(in, (uint8_t *)to + done, size - done);
		else if (in->kind == GZIP)
			n = gzip_some(in, (uint8_t *)to + done, size - done, error);
		else
			n = zstd_some(in, (uint8_t *)to + done, size - done, error);
		if (n < 0)
			return n;
		done += (size_t)n;
		if (n || in->at != before)
			continue;
		if (in->at < in->have)
			return input_error(error, -EBADMSG, "the data cannot be uncompressed: it makes no progress at byte %llu",
					   (unsigned long long)savefile_input_used(in));
		if (in->ended)
			break;
	}
	return (ssize_t)done;
}

static int uncompressor(struct savefile_input *in, struct savefile_input_error *error)
{
	const uint8_t *b = in->bytes;

	if (in->have >= 2 && b[0] == 0x1f && b[1] == 0x8b) {
		if (inflateInit2(&in->gzip, 15 + 16) != Z_OK)
			return input_error(error, -ENOMEM, "no memory to uncompress it");
		in->kind = GZIP;
		in->within = true;
	} else if (in->have >= 4 && ((b[0] == 0x28 && b[1] == 0xb5 && b[2] == 0x2f && b[3] == 0xfd) ||
				     ((b[0] & 0xf0) == 0x50 && b[1] == 0x2a && b[2] == 0x4d && b[3] == 0x18))) {
		/* The second is a skippable frame, with which pzstd begins. */
		in->zstd = ZSTD_createDStream();
		if (!in->zstd)
			return input_error(error, -ENOMEM, "no memory to uncompress it");
		in->kind = ZSTD;
	}
	return 0;
}

int savefile_input_open(struct savefile_input **out, int fd, struct savefile_input_error *error)
{
	struct savefile_input *in = calloc(1, sizeof(*in));
	int rc = 0;

	if (!in)
		return input_error(error, -ENOMEM, "no memory to read it");
	in->fd = fd;
	while (!rc && !in->ended && in->have < MAGIC_BYTES)
		rc = more(in, error);
	if (!rc)
		rc = uncompressor(in, error);
	if (rc) {
		in->fd = -1;
		savefile_input_close(in);
		return rc;
	}
	*out = in;
	return 0;
}

bool savefile_input_torn(const struct savefile_input *in)
{
	return in->within;
}

uint64_t savefile_input_used(const struct savefile_input *in)
{
	return in->read - (in->have - in->at);
}

const char *savefile_input_kind(const struct savefile_input *in)
{
	return in->kind == GZIP ? " (gzip)" : in->kind == ZSTD ? " (zstd)" : "";
}

void savefile_input_close(struct savefile_input *in)
{
	if (!in)
		return;
	if (in->kind == GZIP)
		inflateEnd(&in->gzip);
	ZSTD_freeDStream(in->zstd);
	if (in->fd >= 0)
		close(in->fd);
	free(in);
}
