// SPDX-License-Identifier: GPL-2.0-or-later
/* The pcap format (draft-ietf-opsawg-pcap): a file header of 24 bytes, then records. */
#include "recorder/source/savefile_internal.h"

#include <errno.h>
#include <stdio.h>

#include "recorder/core/clock.h"
#include "recorder/core/util.h"

#define MAGIC_US 0xa1b2c3d4u
#define MAGIC_NS 0xa1b23c4du
#define MAGIC_MODIFIED 0xa1b2cd34u /* Alexey Kuznetzov's patched libpcap: 8 more bytes a record */
#define FILE_HEAD 24u
#define RECORD_HEAD 16u
#define RECORD_HEAD_MODIFIED 24u
#define FCS_PRESENT 0x04000000u /* of the link type word: its top four bits say how many 16-bit words */

/*
 * A fraction that is no fraction (a damaged or made-up file) is taken as tshark takes it: the ns are a signed 32-bit number,
 * of us times 1,000 modulo 2^32.
 */
static void set_time(const struct savefile *f, struct savefile_packet *packet, uint32_t sec, uint32_t fraction)
{
	int32_t ns = (int32_t)(f->nanoseconds ? fraction : fraction * 1000u);

	packet->wall = (int64_t)sec * (int64_t)NS_PER_SEC + ns;
	packet->time_changed = fraction >= (f->nanoseconds ? 1000000000u : 1000000u);
	packet->has_time = true;
}

/* Files before version 2.3 have the two lengths the other way round, those of 2.3 may have (draft, "minor version"). */
static void set_lengths(const struct savefile *f, struct savefile_packet *packet)
{
	uint32_t cap = savefile_32(f, f->bytes + 8), wire = savefile_32(f, f->bytes + 12);
	bool swapped = f->minor < 3 || (f->minor == 3 && cap > wire);

	packet->cap_len = swapped ? wire : cap;
	packet->wire_len = swapped ? cap : wire;
}

static int pcap_next(struct savefile *f, struct savefile_packet *packet)
{
	int rc;

	f->packet = f->offset;
	rc = savefile_fill(f, 0, f->record_head, "record header");
	if (rc <= 0)
		return rc;
	*packet = (struct savefile_packet){ .offset = f->packet };
	set_time(f, packet, savefile_32(f, f->bytes), savefile_32(f, f->bytes + 4));
	set_lengths(f, packet);
	if (packet->cap_len > SAVEFILE_BLOCK_MAX)
		return savefile_fail(f, -EBADMSG,
				     "at byte %llu: a packet of %u captured bytes; at most %u can be right (the file is damaged)",
				     (unsigned long long)(f->packet + 8), packet->cap_len, SAVEFILE_BLOCK_MAX);
	rc = savefile_fill(f, f->record_head, packet->cap_len, "packet");
	if (rc < 0)
		return rc;
	if (!rc)
		return savefile_fail(f, -ENODATA, "is cut off: it ends at byte %llu, behind the header of the packet at byte %llu",
				     (unsigned long long)f->offset, (unsigned long long)f->packet);
	packet->bytes = f->bytes + f->record_head;
	if (packet->wire_len < packet->cap_len)
		packet->wire_len = packet->cap_len;
	savefile_cut_fcs(packet, f->interfaces[0].fcs);
	return 1;
}

static int magic_number(struct savefile *f, uint32_t magic)
{
	uint32_t turned = __builtin_bswap32(magic);

	f->swap = turned == MAGIC_US || turned == MAGIC_NS || turned == MAGIC_MODIFIED;
	if (f->swap)
		magic = turned;
	if (magic != MAGIC_US && magic != MAGIC_NS && magic != MAGIC_MODIFIED)
		return savefile_fail(f, -EBADMSG,
				     "is not a capture file: it begins with %02x %02x %02x %02x, not with the magic number of pcap "
				     "or pcapng (nor with that of gzip or zstd)",
				     f->bytes[0], f->bytes[1], f->bytes[2], f->bytes[3]);
	f->nanoseconds = magic == MAGIC_NS;
	f->record_head = magic == MAGIC_MODIFIED ? RECORD_HEAD_MODIFIED : RECORD_HEAD;
	return 0;
}

int savefile_pcap_open(struct savefile *f, uint32_t magic)
{
	struct savefile_if *interface;
	uint32_t link;
	int rc = magic_number(f, magic);

	if (!rc)
		rc = savefile_fill(f, 4, FILE_HEAD - 4, "file header");
	if (rc <= 0)
		return rc ? rc : savefile_fail(f, -EBADMSG, "is 4 bytes long; a pcap file has a header of %u", FILE_HEAD);
	f->minor = savefile_16(f, f->bytes + 6);
	if (savefile_16(f, f->bytes + 4) != 2)
		return savefile_fail(f, -EBADMSG, "at byte 4: pcap version %u.%u; 2.4 is read, and 2.0 to 2.3",
				     savefile_16(f, f->bytes + 4), f->minor);
	interface = savefile_add_interface(f);
	if (!interface)
		return -ENOMEM;
	link = savefile_32(f, f->bytes + 20);
	interface->public.snaplen = savefile_32(f, f->bytes + 16);
	interface->public.linktype = (uint16_t)link;
	if (link & FCS_PRESENT)
		interface->fcs = (uint8_t)(2 * (link >> 28));
	f->next = pcap_next;
	snprintf(f->format, sizeof(f->format), "pcap%s", savefile_input_kind(f->input));
	return 0;
}
