/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Blocks of a pcapng file: see pcapng.h. The machine is little-endian, as the rest of the recorder takes it to be. */
#include "recorder/encode/pcapng.h"

#include <string.h>

#include "recorder/encode/bytes.h"

#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define LINKTYPE_ETHERNET 1u
#define HEAD 8u /* type, length */

/* Options (draft-ietf-opsawg-pcapng, sections 4.1, 4.2, 4.3, 4.6). */
enum {
	OPT_END = 0,
	SHB_HARDWARE = 2,
	SHB_OS = 3,
	SHB_USERAPPL = 4,
	IF_NAME = 2,
	IF_DESCRIPTION = 3,
	IF_TSRESOL = 9,
	IF_FILTER = 11,
	EPB_FLAGS = 2,
	EPB_PACKETID = 5,
	ISB_IFRECV = 4,
	ISB_IFDROP = 5,
	ISB_FILTERACCEPT = 6,
	ISB_USRDELIV = 8,
};

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return v;
}

/* `n` bytes and zeros up to a multiple of 4. */
static uint8_t *put_padded(uint8_t *w, const void *bytes, size_t n)
{
	size_t padded = (n + 3) & ~(size_t)3;

	if (n)
		memcpy(w, bytes, n);
	memset(w + n, 0, padded - n);
	return w + padded;
}

static uint8_t *put_option(uint8_t *w, uint16_t code, const void *value, size_t len)
{
	w = put16(w, code);
	w = put16(w, (uint16_t)len);
	return put_padded(w, value, len);
}

/* Nothing when there is no text. */
static uint8_t *put_text(uint8_t *w, uint16_t code, const char *text)
{
	size_t len = text ? strnlen(text, PCAPNG_TEXT_MAX) : 0;

	return len ? put_option(w, code, text, len) : w;
}

/* The end of options and of the block that begins at `at`. */
static size_t put_end(uint8_t *at, uint8_t *w)
{
	uint32_t length;

	w = put32(w, OPT_END);
	length = (uint32_t)(w + 4 - at);
	put32(at + 4, length);
	put32(w, length);
	return length;
}

static uint8_t *put_stamp(uint8_t *w, int64_t wall)
{
	uint64_t stamp = wall < 0 ? 0 : (uint64_t)wall;

	w = put32(w, (uint32_t)(stamp >> 32));
	return put32(w, (uint32_t)stamp);
}

size_t pcapng_section(uint8_t *at, const char *hardware, const char *os, const char *application)
{
	uint8_t *w = put32(at, PCAPNG_SECTION) + 4;

	w = put32(w, BYTE_ORDER_MAGIC);
	w = put16(w, 1); /* version 1.0 */
	w = put16(w, 0);
	w = put64(w, UINT64_MAX); /* section length: not known */
	w = put_text(w, SHB_HARDWARE, hardware);
	w = put_text(w, SHB_OS, os);
	w = put_text(w, SHB_USERAPPL, application);
	return put_end(at, w);
}

size_t pcapng_interface(uint8_t *at, const struct pcapng_interface *interface)
{
	uint8_t *w = put32(at, PCAPNG_INTERFACE) + 4;
	uint8_t resolution = 9;

	w = put32(w, LINKTYPE_ETHERNET); /* and 16 reserved bits */
	w = put32(w, interface->snaplen);
	w = put_text(w, IF_NAME, interface->name);
	w = put_text(w, IF_DESCRIPTION, interface->description);
	if (interface->filter && *interface->filter) {
		size_t len = strnlen(interface->filter, PCAPNG_FILTER_MAX);

		w = put16(w, IF_FILTER);
		w = put16(w, (uint16_t)(len + 1));
		*w = 0; /* a pcap-filter expression; it pads together with the text */
		memmove(w + 1, interface->filter, len);
		memset(w + 1 + len, 0, 3);
		w += (len + 1 + 3) & ~(size_t)3;
	}
	w = put_option(w, IF_TSRESOL, &resolution, 1);
	return put_end(at, w);
}

size_t pcapng_packet(uint8_t *at, const struct pcapng_packet *p)
{
	uint8_t *w = put32(at, PCAPNG_PACKET) + 4;
	uint32_t flags = p->direction;

	w = put32(w, p->interface);
	w = put_stamp(w, p->wall);
	w = put32(w, p->cap_len);
	w = put32(w, p->wire_len);
	w = put_padded(w, p->bytes, p->cap_len);
	if (flags)
		w = put_option(w, EPB_FLAGS, &flags, 4);
	if (p->id)
		w = put_option(w, EPB_PACKETID, &p->id, 8);
	return put_end(at, w);
}

void pcapng_set_interface(uint8_t *packet_block, uint32_t interface)
{
	put32(packet_block + HEAD, interface);
}

size_t pcapng_statistics(uint8_t *at, const struct pcapng_statistics *s)
{
	uint8_t *w = put32(at, PCAPNG_STATISTICS) + 4;

	w = put32(w, s->interface);
	w = put_stamp(w, s->wall);
	w = put_option(w, ISB_IFRECV, &s->received, 8);
	w = put_option(w, ISB_IFDROP, &s->dropped, 8);
	w = put_option(w, ISB_FILTERACCEPT, &s->accepted, 8);
	w = put_option(w, ISB_USRDELIV, &s->delivered, 8);
	return put_end(at, w);
}

/* ---- reading back ---------------------------------------------------------------------------------------------- */

/* Bytes between the block's head and its options. */
static int fixed(enum pcapng_kind kind)
{
	switch (kind) {
	case PCAPNG_SECTION:
		return 16;
	case PCAPNG_INTERFACE:
		return 8;
	case PCAPNG_STATISTICS:
		return 12;
	case PCAPNG_PACKET:
		return 20;
	}
	return -1;
}

enum pcapng_kind pcapng_kind(const uint8_t *block)
{
	return (enum pcapng_kind)get32(block);
}

int pcapng_whole(const uint8_t *at, size_t have)
{
	uint32_t length;
	int before;

	if (have < HEAD)
		return 0;
	before = fixed(pcapng_kind(at));
	length = get32(at + 4);
	if (before < 0 || length < HEAD + (uint32_t)before + 4 || length % 4 || length > PCAPNG_BLOCK_MAX)
		return -1;
	if (have < length)
		return 0;
	if (get32(at + length - 4) != length || (pcapng_kind(at) == PCAPNG_SECTION && get32(at + HEAD) != BYTE_ORDER_MAGIC))
		return -1;
	if (pcapng_kind(at) == PCAPNG_PACKET && get32(at + 20) > length - HEAD - 20 - 4)
		return -1;
	return (int)length;
}

const uint8_t *pcapng_option(const uint8_t *block, unsigned code, uint16_t *len)
{
	uint32_t end = get32(block + 4) - 4, at = HEAD + (uint32_t)fixed(pcapng_kind(block));

	if (pcapng_kind(block) == PCAPNG_PACKET)
		at += (get32(block + 20) + 3) & ~3u;
	while (at + 4 <= end) {
		uint16_t is = get16(block + at), n = get16(block + at + 2);

		at += 4;
		if (is == OPT_END || n > end - at)
			return NULL;
		if (is == code) {
			*len = n;
			return block + at;
		}
		at += (n + 3u) & ~3u;
	}
	return NULL;
}

uint32_t pcapng_packet_interface(const uint8_t *packet_block)
{
	return get32(packet_block + HEAD);
}
