// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads capture files: what both formats share. The formats are in savefile_pcap.c and savefile_pcapng.c. */
#include "recorder/source/savefile.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "recorder/core/util.h"
#include "recorder/source/savefile_internal.h"

#define PCAPNG_MAGIC 0x0a0d0d0au
#define FILL_STEP (64u << 10)

uint16_t savefile_16(const struct savefile *f, const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return f->swap ? __builtin_bswap16(v) : v;
}

uint32_t savefile_32(const struct savefile *f, const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return f->swap ? __builtin_bswap32(v) : v;
}

uint64_t savefile_64(const struct savefile *f, const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return f->swap ? __builtin_bswap64(v) : v;
}

int savefile_fail(struct savefile *f, int err, const char *format, ...)
{
	int n = snprintf(f->error.text, sizeof(f->error.text), "%.120s: ", f->name);
	va_list args;

	va_start(args, format);
	vsnprintf(f->error.text + n, sizeof(f->error.text) - (size_t)n, format, args);
	va_end(args);
	return err;
}

static int grow(struct savefile *f, size_t size)
{
	size_t room = f->room ? f->room : FILL_STEP;
	uint8_t *bytes;

	while (room < size)
		room *= 2;
	if (room == f->room)
		return 0;
	bytes = realloc(f->bytes, room);
	if (!bytes)
		return savefile_fail(f, -ENOMEM, "no memory for a block of %zu bytes", size);
	f->bytes = bytes;
	f->room = room;
	return 0;
}

int savefile_fill(struct savefile *f, size_t at, size_t size, const char *what)
{
	struct savefile_input_error error;
	size_t done = 0, step = FILL_STEP;

	while (done < size) {
		size_t want = size - done < step ? size - done : step;
		ssize_t n = grow(f, at + done + want);

		if (!n)
			n = savefile_input_read(f->input, f->bytes + at + done, want, &error);
		else
			return (int)n;
		if (n < 0)
			return savefile_fail(f, (int)n, "%s", error.text);
		done += (size_t)n;
		f->offset += (uint64_t)n;
		if ((size_t)n == want) {
			step *= 2;
			continue;
		}
		if (!done && !savefile_input_torn(f->input))
			return 0;
		return savefile_fail(f, -ENODATA, "is cut off: it ends at byte %llu, in the middle of the %s at byte %llu",
				     (unsigned long long)f->offset, what, (unsigned long long)f->packet);
	}
	return 1;
}

struct savefile_if *savefile_add_interface(struct savefile *f)
{
	struct savefile_if *interface;

	if (f->ninterfaces == SAVEFILE_INTERFACES_MAX) {
		savefile_fail(f, -EBADMSG, "at byte %llu: more than %u interfaces; no more are read from one file",
			      (unsigned long long)f->packet, SAVEFILE_INTERFACES_MAX);
		return NULL;
	}
	if (f->ninterfaces == f->interfaces_room) {
		unsigned room = f->interfaces_room ? 2 * f->interfaces_room : 4;

		interface = reallocarray(f->interfaces, room, sizeof(*interface));
		if (!interface) {
			savefile_fail(f, -ENOMEM, "no memory for %u interfaces", room);
			return NULL;
		}
		f->interfaces = interface;
		f->interfaces_room = room;
	}
	interface = &f->interfaces[f->ninterfaces];
	memset(interface, 0, sizeof(*interface));
	snprintf(interface->public.name, sizeof(interface->public.name), "if%u", f->ninterfaces++);
	return interface;
}

/* Bytes of the UTF-8 character at p (RFC 3629); 0 where there is none, or one that is a control character. */
static unsigned character(const uint8_t *p, size_t len)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned n = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;
	uint32_t c;

	if (!n || n > len)
		return 0;
	if (n == 1)
		return p[0] >= 0x20 && p[0] != 0x7f;
	c = p[0] & (0x7fu >> n);
	for (unsigned i = 1; i < n; i++) {
		if (p[i] >> 6 != 2)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	return c >= least[n] && c <= 0x10ffff && c >> 11 != 0x1b && (c < 0x80 || c > 0x9f) ? n : 0;
}

void savefile_name(char *to, size_t room, const uint8_t *from, size_t len)
{
	size_t at = 0;

	for (size_t i = 0; i < len && from[i];) {
		unsigned n = character(from + i, len - i), take = n ? n : 1;

		if (at + take >= room)
			break;
		if (n)
			memcpy(to + at, from + i, n);
		else
			to[at] = '?';
		at += take;
		i += take;
	}
	to[at] = '\0';
}

void savefile_cut_fcs(struct savefile_packet *p, unsigned fcs)
{
	p->wire_len -= fcs < p->wire_len ? fcs : p->wire_len;
	if (p->cap_len > p->wire_len)
		p->cap_len = p->wire_len;
}

/* The first four bytes say which format it is. */
static int open_format(struct savefile *f)
{
	int rc = savefile_fill(f, 0, 4, "file header");
	uint32_t magic;

	if (!rc)
		return savefile_fail(f, -EBADMSG, "is empty; a capture file begins with a pcap or pcapng header");
	if (rc == -ENODATA)
		return savefile_fail(f, -EBADMSG, "is %llu bytes long%s; a capture file is at least 24",
				     (unsigned long long)f->offset, savefile_input_torn(f->input) ? " where its compressed data is cut off" : "");
	if (rc < 0)
		return rc;
	magic = savefile_32(f, f->bytes);
	rc = magic == PCAPNG_MAGIC ? savefile_pcapng_open(f) : savefile_pcap_open(f, magic);
	return rc == -ENODATA ? -EBADMSG : rc;
}

int savefile_open(struct savefile **out, int fd, const char *name, struct savefile_error *error)
{
	struct savefile *f = calloc(1, sizeof(*f));
	struct savefile_input_error said;
	int rc = -ENOMEM;

	if (f)
		f->name = strdup(name);
	if (!f || !f->name) {
		snprintf(error->text, sizeof(error->text), "%.120s: no memory to read it", name);
		goto failed;
	}
	rc = savefile_input_open(&f->input, fd, &said);
	if (rc)
		savefile_fail(f, rc, "%s", said.text);
	else
		rc = open_format(f);
	if (!rc) {
		*out = f;
		return 0;
	}
	*error = f->error;
failed:
	if (!f || !f->input)
		close(fd);
	savefile_close(f);
	return rc;
}

int savefile_next(struct savefile *f, struct savefile_packet *packet, struct savefile_error *error)
{
	int rc = f->failed;

	if (!rc) {
		rc = f->next(f, packet);
		if (rc < 0)
			f->failed = rc;
	}
	if (rc < 0) {
		*error = f->error;
	} else if (rc) {
		f->wall = packet->wall;
		/* No link has longer frames. tshark shows such a length so, too, and the database's `len` is an int32. */
		if (packet->wire_len > INT32_MAX)
			packet->wire_len = INT32_MAX;
	}
	return rc;
}

const struct savefile_interface *savefile_interface(const struct savefile *f, unsigned number)
{
	return number < f->ninterfaces ? &f->interfaces[number].public : NULL;
}

unsigned savefile_interfaces(const struct savefile *f)
{
	return f->ninterfaces;
}

uint64_t savefile_read_bytes(const struct savefile *f)
{
	return savefile_input_used(f->input);
}

const char *savefile_format(const struct savefile *f)
{
	return f->format;
}

void savefile_close(struct savefile *f)
{
	if (!f)
		return;
	savefile_input_close(f->input);
	free(f->interfaces);
	free(f->bytes);
	free(f->name);
	free(f);
}
