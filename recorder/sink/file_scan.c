// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading back a file that is to be continued. What a killed process leaves behind its last whole packet is the beginning of one;
 * what a machine leaves that lost power can also be zeros. Both are cut off. Anything else that is not ours is an error:
 * it is somebody's data.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "recorder/core/util.h"
#include "recorder/encode/document.h"
#include "recorder/encode/json.h"
#include "recorder/encode/pcapng.h"
#include "recorder/sink/file_internal.h"

#define SCAN_BYTES (1u << 20)
#define UNIT_MAX (JSON_LINE_MAX > PCAPNG_BLOCK_MAX ? JSON_LINE_MAX : PCAPNG_BLOCK_MAX)
_Static_assert(UNIT_MAX < SCAN_BYTES, "a block or line fits the buffer");

struct scan {
	struct file_sink *sink;
	struct file_problem *problem;
	uint64_t size;
	uint64_t offset; /* of bytes[0] in the file */
	size_t at, have;
	unsigned *section; /* captures of the section's interfaces */
	uint8_t bytes[SCAN_BYTES];
};

static int refuse(const struct scan *s, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int refuse(const struct scan *s, int err, const char *format, ...)
{
	int n = snprintf(s->problem->text, sizeof(s->problem->text), "%.120s: ", s->sink->name);
	va_list args;

	va_start(args, format);
	vsnprintf(s->problem->text + n, sizeof(s->problem->text) - (size_t)n, format, args);
	va_end(args);
	return err;
}

static uint64_t here(const struct scan *s)
{
	return s->offset + s->at;
}

/* As much as fits behind what is not used yet. 0 or -errno. */
static int refill(struct scan *s)
{
	memmove(s->bytes, s->bytes + s->at, s->have - s->at);
	s->offset += s->at;
	s->have -= s->at;
	s->at = 0;
	while (s->have < SCAN_BYTES && s->offset + s->have < s->size) {
		ssize_t n = pread(s->sink->fd, s->bytes + s->have, SCAN_BYTES - s->have, (off_t)(s->offset + s->have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return refuse(s, n ? -errno : -EIO, "cannot be read back: %s", strerror(n ? errno : EIO));
		s->have += (size_t)n;
	}
	return 0;
}

/* Nothing but zeros up to the end: what a file system makes of blocks that were never written. 1, 0 or -errno. */
static int zeros_to_the_end(struct scan *s)
{
	int err;

	for (;;) {
		for (; s->at < s->have; s->at++)
			if (s->bytes[s->at])
				return 0;
		if (here(s) == s->size)
			return 1;
		err = refill(s);
		if (err)
			return err;
	}
}

static int not_ours(struct scan *s, const char *right)
{
	uint64_t at = here(s);
	int zeros = s->bytes[s->at] ? 0 : zeros_to_the_end(s);

	if (zeros < 0)
		return zeros;
	if (zeros)
		return 0;
	if (!at)
		return refuse(s, -EEXIST, "is there already and is not a recording of this program (%s): name another file, or move it "
			      "away", right);
	return refuse(s, -EBADMSG, "is damaged at byte %llu (there should be %s): name another file, or move it away",
		      (unsigned long long)at, right);
}

static int hex_digit(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(uint8_t *to, size_t bytes, const uint8_t *from)
{
	for (size_t i = 0; i < bytes; i++) {
		int high = hex_digit(from[2 * i]), low = hex_digit(from[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		to[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* ---- pcapng ---------------------------------------------------------------------------------------------------- */

static bool scan_section(struct scan *s, const uint8_t *b)
{
	struct file_sink *f = s->sink;
	uint16_t len;
	const uint8_t *application = pcapng_option(b, PCAPNG_APPLICATION, &len);

	if (!application || len < strlen(FILE_APPLICATION) || memcmp(application, FILE_APPLICATION, strlen(FILE_APPLICATION)))
		return false;
	f->section = true;
	f->section_at = here(s);
	f->interfaces = 0;
	for (unsigned i = 0; i < f->ncaptures; i++)
		f->captures[i].interface = FILE_NO_INTERFACE;
	return true;
}

/* 1, 0: not ours, -ENOMEM */
static int scan_interface(struct scan *s, const uint8_t *b)
{
	static const size_t skip = sizeof(FILE_DESCRIPTION) - 1;
	struct file_sink *f = s->sink;
	uint8_t id[CAPTURE_ID_LEN];
	uint16_t len;
	const uint8_t *text = pcapng_option(b, PCAPNG_DESCRIPTION, &len);
	struct file_capture *capture;
	unsigned *section;

	if (!text || len != skip + 2 * CAPTURE_ID_LEN || memcmp(text, FILE_DESCRIPTION, skip) ||
	    !read_hex(id, CAPTURE_ID_LEN, text + skip))
		return 0;
	capture = file_capture_of(f, id);
	section = capture ? reallocarray(s->section, f->interfaces + 1, sizeof(*section)) : NULL;
	if (!section)
		return refuse(s, -ENOMEM, "no memory");
	s->section = section;
	section[f->interfaces] = (unsigned)(capture - f->captures);
	capture->interface = f->interfaces++;
	capture->interface_at = here(s);
	return 1;
}

static bool scan_packet(struct scan *s, const uint8_t *b)
{
	struct file_capture *capture;
	uint32_t interface = pcapng_packet_interface(b);
	uint16_t len;
	const uint8_t *value = pcapng_option(b, PCAPNG_PACKET_ID, &len);
	uint64_t id;

	if (interface >= s->sink->interfaces || !value || len != 8)
		return false;
	memcpy(&id, value, 8);
	capture = &s->sink->captures[s->section[interface]];
	capture->number = id >> 24;
	capture->position = id & 0xffffff;
	return true;
}

/* 1: go on behind it; 0: the file's good part ends here; -errno */
static int scan_block(struct scan *s)
{
	static const uint8_t section[] = { 0x0a, 0x0d, 0x0d, 0x0a };
	const uint8_t *b = s->bytes + s->at;
	int length = pcapng_whole(b, s->have - s->at), rc = 1;

	if (!length && (here(s) || !memcmp(b, section, s->have < sizeof(section) ? s->have : sizeof(section))))
		return 0;
	if (length <= 0 || (!here(s) && pcapng_kind(b) != PCAPNG_SECTION))
		return not_ours(s, here(s) ? "a pcapng block of the kinds it writes" : "pcapng that it wrote");
	if (pcapng_kind(b) == PCAPNG_SECTION)
		rc = scan_section(s, b);
	else if (pcapng_kind(b) == PCAPNG_INTERFACE)
		rc = scan_interface(s, b);
	else if (pcapng_kind(b) == PCAPNG_PACKET)
		rc = scan_packet(s, b);
	if (!rc)
		return not_ours(s, here(s) ? "a block with its capture's or packet's identity" : "pcapng that it wrote");
	if (rc > 0)
		s->at += (size_t)length;
	return rc;
}

/* ---- JSON lines ------------------------------------------------------------------------------------------------ */

static int scan_line(struct scan *s)
{
	static const char head[] = "{\"_id\":\"";
	const uint8_t *line = s->bytes + s->at, *end = memchr(line, '\n', s->have - s->at);
	size_t have = s->have - s->at, same = have < sizeof(head) - 1 ? have : sizeof(head) - 1;
	uint8_t id[PACKET_ID_LEN];
	struct file_capture *capture;
	bool ours = !memcmp(line, head, same) && (end || have <= JSON_LINE_MAX);

	/* Of a torn line what is there of the _id must be one: else it is somebody's data without a newline. */
	for (size_t i = same; ours && !end && i < have && i < same + 2 * sizeof(id); i++)
		ours = hex_digit(line[i]) >= 0;
	if (!ours)
		return not_ours(s, here(s) ? "a line that begins with {\"_id\":\"" : "JSON lines that it wrote");
	if (!end)
		return 0;
	if ((size_t)(end - line) < sizeof(head) + 2 * sizeof(id) || !read_hex(id, sizeof(id), line + sizeof(head) - 1))
		return not_ours(s, "a line with a packet's _id");
	capture = file_capture_of(s->sink, id);
	if (!capture)
		return refuse(s, -ENOMEM, "no memory");
	/* capture (16), number (6), version (2), position (4): encode/document.h */
	capture->number = get_be64(id + 14) & 0xffffffffffff;
	capture->position = get_be32(id + 24);
	s->at += (size_t)(end - line) + 1;
	return 1;
}

int file_scan(struct file_sink *f, uint64_t size, struct file_problem *problem)
{
	struct scan *s = malloc(sizeof(*s));
	int rc = 1;

	if (!s) {
		snprintf(problem->text, sizeof(problem->text), "%.120s: no memory to read it back", f->name);
		return -ENOMEM;
	}
	s->sink = f;
	s->problem = problem;
	s->size = size;
	s->offset = 0;
	s->at = s->have = 0;
	s->section = NULL;
	while (rc > 0 && here(s) < size) {
		rc = s->have - s->at < UNIT_MAX + 1 ? refill(s) : 0;
		if (!rc) {
			f->end = here(s); /* before: looking for zeros moves on */
			rc = f->format == FILE_PCAPNG ? scan_block(s) : scan_line(s);
		}
	}
	if (rc > 0)
		f->end = here(s);
	free(s->section);
	free(s);
	return rc < 0 ? rc : 0;
}
