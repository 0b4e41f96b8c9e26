// SPDX-License-Identifier: GPL-2.0-or-later
/* The pcapng format (draft-ietf-opsawg-pcapng): blocks with their length at both ends, in sections of either byte order. */
#include "recorder/source/savefile_internal.h"

#include <errno.h>
#include <stdio.h>

#include "recorder/core/clock.h"
#include "recorder/core/util.h"

#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define BLOCK_ENDS 12u /* type, length; length again */
#define SECTION_MIN 28u

/* Block types (draft, section 11.1). The section header's reads the same in both byte orders. */
enum { SECTION = 0x0a0d0d0a, INTERFACE = 1, PACKET = 2, SIMPLE = 3, ENHANCED = 6 };
/* Options. */
enum { OPT_END = 0, OPT_FLAGS = 2, IF_NAME = 2, IF_TSRESOL = 9, IF_FCSLEN = 13, IF_TSOFFSET = 14 };

#define TSRESOL_OF_2 0x80
#define TSRESOL_DEFAULT 6

/* One option; `at` is its offset in the block, -EBADMSG with the error set when it cannot be right. */
typedef int option_reader(struct savefile *f, uint32_t at, uint16_t code, uint16_t len, void *arg);

/* The options in block bytes [at, end). */
static int options(struct savefile *f, uint32_t at, uint32_t end, option_reader *reader, void *arg)
{
	while (end - at >= 4) {
		uint16_t code = savefile_16(f, f->bytes + at), len = savefile_16(f, f->bytes + at + 2);
		int rc;

		if (code == OPT_END)
			return 0;
		if (len > end - at - 4)
			return savefile_fail(f, -EBADMSG, "at byte %llu: option %u is %u bytes long, its block has room for %u",
					     (unsigned long long)(f->packet + at), code, len, end - at - 4);
		rc = reader(f, at + 4, code, len, arg);
		if (rc)
			return rc;
		at += 4 + ((len + 3u) & ~3u);
	}
	return 0;
}

static int option_length(struct savefile *f, uint32_t at, const char *name, uint16_t len, uint16_t right)
{
	if (len == right)
		return 0;
	return savefile_fail(f, -EBADMSG, "at byte %llu: %s is %u bytes long, not %u", (unsigned long long)(f->packet + at - 4),
			     name, len, right);
}

static int interface_option(struct savefile *f, uint32_t at, uint16_t code, uint16_t len, void *arg)
{
	struct savefile_if *interface = arg;
	int rc = 0;

	if (code == IF_NAME && len && f->bytes[at]) {
		savefile_name(interface->public.name, sizeof(interface->public.name), f->bytes + at, len);
	} else if (code == IF_TSRESOL) {
		rc = option_length(f, at, "if_tsresol", len, 1);
		if (!rc)
			interface->tsresol = f->bytes[at];
	} else if (code == IF_TSOFFSET) {
		rc = option_length(f, at, "if_tsoffset", len, 8);
		if (!rc)
			interface->tsoffset = (int64_t)savefile_64(f, f->bytes + at);
	} else if (code == IF_FCSLEN) {
		rc = option_length(f, at, "if_fcslen", len, 1);
		if (!rc)
			interface->fcs = f->bytes[at];
	}
	return rc;
}

static int flags_option(struct savefile *f, uint32_t at, uint16_t code, uint16_t len, void *arg)
{
	int rc;

	if (code != OPT_FLAGS)
		return 0;
	rc = option_length(f, at, "the flags option", len, 4);
	if (!rc)
		*(uint32_t *)arg = savefile_32(f, f->bytes + at);
	return rc;
}

static int too_short(struct savefile *f, const char *what, uint32_t length, uint32_t least)
{
	return savefile_fail(f, -EBADMSG, "at byte %llu: %s of %u bytes; it has at least %u", (unsigned long long)f->packet, what,
			     length, least);
}

static int interface_block(struct savefile *f, uint32_t length)
{
	struct savefile_if *interface;

	if (length < BLOCK_ENDS + 8)
		return too_short(f, "an interface description block", length, BLOCK_ENDS + 8);
	interface = savefile_add_interface(f);
	if (!interface)
		return f->ninterfaces == SAVEFILE_INTERFACES_MAX ? -EBADMSG : -ENOMEM;
	interface->tsresol = TSRESOL_DEFAULT;
	interface->public.linktype = savefile_16(f, f->bytes + 8);
	interface->public.snaplen = savefile_32(f, f->bytes + 12);
	return options(f, 16, length - 4, interface_option, interface);
}

/* A stamp in the interface's units since its offset; 128 bits hold every product here: 2^64 x 10^9 < 2^94. */
static void set_time(const struct savefile_if *interface, uint64_t stamp, struct savefile_packet *packet)
{
	unsigned power = interface->tsresol & 0x7f;
	unsigned __int128 ns = stamp;
	__int128 wall;

	if (interface->tsresol & TSRESOL_OF_2) {
		ns = ns * NS_PER_SEC >> power;
	} else {
		for (; power < 9; power++)
			ns *= 10;
		for (; power > 9 && ns; power--)
			ns /= 10;
	}
	wall = (__int128)ns + (__int128)interface->tsoffset * (__int128)NS_PER_SEC;
	packet->has_time = true;
	packet->time_changed = wall > INT64_MAX || wall < INT64_MIN;
	packet->wall = wall > INT64_MAX ? INT64_MAX : wall < INT64_MIN ? INT64_MIN : (int64_t)wall;
}

/* The section's interface `number`, as the packet's; NULL with the error set. */
static const struct savefile_if *interface_of(struct savefile *f, uint32_t number, struct savefile_packet *packet)
{
	unsigned there = f->ninterfaces - f->section;

	if (number >= there) {
		savefile_fail(f, -EBADMSG, "at byte %llu: a packet of interface %u; its section has described %u so far",
			      (unsigned long long)f->packet, number, there);
		return NULL;
	}
	packet->interface = f->section + number;
	return &f->interfaces[packet->interface];
}

/* The packet's bytes at `at` of the block, at most up to `end`. */
static int take_bytes(struct savefile *f, struct savefile_packet *packet, uint32_t at, uint32_t end)
{
	if (packet->cap_len > end - at)
		return savefile_fail(f, -EBADMSG, "at byte %llu: a packet of %u captured bytes; its block has room for %u",
				     (unsigned long long)f->packet, packet->cap_len, end - at);
	packet->bytes = f->bytes + at;
	if (packet->wire_len < packet->cap_len)
		packet->wire_len = packet->cap_len;
	return 0;
}

/* Enhanced packet block, and the old packet block, which differs in the interface number. */
static int packet_block(struct savefile *f, uint32_t type, uint32_t length, struct savefile_packet *packet)
{
	const uint8_t *b = f->bytes;
	const struct savefile_if *interface;
	uint32_t flags = 0;
	int rc;

	if (length < BLOCK_ENDS + 20)
		return too_short(f, "a packet block", length, BLOCK_ENDS + 20);
	interface = interface_of(f, type == ENHANCED ? savefile_32(f, b + 8) : savefile_16(f, b + 8), packet);
	if (!interface)
		return -EBADMSG;
	set_time(interface, (uint64_t)savefile_32(f, b + 12) << 32 | savefile_32(f, b + 16), packet);
	packet->cap_len = savefile_32(f, b + 20);
	packet->wire_len = savefile_32(f, b + 24);
	rc = take_bytes(f, packet, 28, length - 4);
	if (!rc)
		rc = options(f, 28 + ((packet->cap_len + 3) & ~3u), length - 4, flags_option, &flags);
	if (rc)
		return rc;
	packet->direction = (flags & 3) == 3 ? 0 : (int8_t)(flags & 3);
	savefile_cut_fcs(packet, flags >> 5 & 0xf ? flags >> 5 & 0xf : interface->fcs);
	return 1;
}

/* A simple packet block has no captured length: it is what the interface's snapshot length leaves of the packet. */
static int simple_block(struct savefile *f, uint32_t length, struct savefile_packet *packet)
{
	const struct savefile_if *interface;
	int rc;

	if (length < BLOCK_ENDS + 4)
		return too_short(f, "a simple packet block", length, BLOCK_ENDS + 4);
	interface = interface_of(f, 0, packet);
	if (!interface)
		return -EBADMSG;
	packet->wire_len = packet->cap_len = savefile_32(f, f->bytes + 8);
	if (interface->public.snaplen && packet->cap_len > interface->public.snaplen)
		packet->cap_len = interface->public.snaplen;
	packet->wall = f->wall;
	rc = take_bytes(f, packet, 12, length - 4);
	if (rc)
		return rc;
	savefile_cut_fcs(packet, interface->fcs);
	return 1;
}

/* A section header tells the byte order, also that of its own length. `have` bytes of it are read. */
static int section_start(struct savefile *f, size_t have)
{
	uint32_t magic;
	int rc = savefile_fill(f, have, 12 - have, "section header");

	if (rc <= 0)
		return rc;
	f->swap = false;
	magic = savefile_32(f, f->bytes + 8);
	f->swap = magic == __builtin_bswap32(BYTE_ORDER_MAGIC);
	if (!f->swap && magic != BYTE_ORDER_MAGIC)
		return savefile_fail(f, -EBADMSG, "at byte %llu: the byte order mark is %02x %02x %02x %02x, not 1a 2b 3c 4d or 4d 3c 2b 1a",
				     (unsigned long long)(f->packet + 8), f->bytes[8], f->bytes[9], f->bytes[10], f->bytes[11]);
	return 1;
}

static int section_block(struct savefile *f)
{
	uint16_t major = savefile_16(f, f->bytes + 12), minor = savefile_16(f, f->bytes + 14);

	/* 1.2 is what some writers call 1.0 (draft, section 4.1). */
	if (major != 1 || (minor != 0 && minor != 2))
		return savefile_fail(f, -EBADMSG, "at byte %llu: pcapng version %u.%u; 1.0 is read",
				     (unsigned long long)(f->packet + 12), major, minor);
	f->section = f->ninterfaces;
	return 0;
}

/* The length stands behind the type and at the block's end. */
static int check_length(struct savefile *f, uint32_t type, uint32_t length)
{
	uint32_t least = type == SECTION ? SECTION_MIN : BLOCK_ENDS;

	if (length >= least && length % 4 == 0 && length <= SAVEFILE_BLOCK_MAX)
		return 0;
	return savefile_fail(f, -EBADMSG, "at byte %llu: a block of %u bytes; its length is a multiple of 4 from %u to %u",
			     (unsigned long long)f->packet, length, least, SAVEFILE_BLOCK_MAX);
}

/* The next block, whole, in f->bytes, of which `have` bytes are read already. 1, 0 at the end, or -errno. */
static int block(struct savefile *f, size_t have, uint32_t *type, uint32_t *length)
{
	uint32_t again;
	size_t head = 8;
	int rc = 1;

	*type = *length = 0;
	f->packet = f->offset - have;
	if (!have)
		rc = savefile_fill(f, 0, 4, "block");
	if (rc <= 0)
		return rc;
	*type = savefile_32(f, f->bytes);
	if (*type == SECTION) {
		head = 12;
		rc = section_start(f, 4);
	} else {
		rc = savefile_fill(f, 4, 4, "block");
	}
	if (rc > 0) {
		*length = savefile_32(f, f->bytes + 4);
		rc = check_length(f, *type, *length);
		if (rc)
			return rc;
		rc = savefile_fill(f, head, *length - head, "block");
	}
	if (rc < 0)
		return rc;
	if (!rc)
		return savefile_fail(f, -ENODATA, "is cut off: it ends at byte %llu, in the middle of the block at byte %llu",
				     (unsigned long long)f->offset, (unsigned long long)f->packet);
	again = savefile_32(f, f->bytes + *length - 4);
	if (again == *length)
		return 1;
	return savefile_fail(f, -EBADMSG, "at byte %llu: the block's length is %u, at its end (byte %llu) it is %u; they must be equal",
			     (unsigned long long)f->packet, *length, (unsigned long long)(f->packet + *length - 4), again);
}

static int pcapng_next(struct savefile *f, struct savefile_packet *packet)
{
	uint32_t type, length;
	int rc;

	while ((rc = block(f, 0, &type, &length)) > 0) {
		*packet = (struct savefile_packet){ .offset = f->packet };
		rc = 0;
		if (type == SECTION)
			rc = section_block(f);
		else if (type == INTERFACE)
			rc = interface_block(f, length);
		else if (type == ENHANCED || type == PACKET)
			rc = packet_block(f, type, length, packet);
		else if (type == SIMPLE)
			rc = simple_block(f, length, packet);
		if (rc)
			return rc;
	}
	return rc;
}

int savefile_pcapng_open(struct savefile *f)
{
	uint32_t type, length;
	int rc = block(f, 4, &type, &length);

	if (rc > 0)
		rc = section_block(f);
	f->next = pcapng_next;
	snprintf(f->format, sizeof(f->format), "pcapng%s", savefile_input_kind(f->input));
	return rc;
}
