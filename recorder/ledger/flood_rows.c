/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/ledger/flood_rows.h"

#include <stdio.h>

#include "bpf/wire.h"
#include "recorder/core/util.h"
#include "recorder/packet/text.h"

void flood_id(uint8_t id[FLOOD_ID_LEN], const struct flood_epoch *epoch, uint32_t place)
{
	memcpy(id, epoch->source->capture, CAPTURE_ID_LEN);
	id[CAPTURE_ID_LEN] = (uint8_t)epoch->side;
	put_be32(id + CAPTURE_ID_LEN + 1, epoch->epoch);
	put_be32(id + CAPTURE_ID_LEN + 5, place);
}

uint32_t flood_day(const struct flood_epoch *epoch)
{
	return clock_day((int64_t)(epoch->sec * NS_PER_SEC) + clock_pair_offset(&epoch->pair));
}

static void append_int32(bson_t *out, const char *name, uint32_t value)
{
	bson_append_int32(out, name, -1, (int32_t)value);
}

static void append_int64(bson_t *out, const char *name, uint64_t value)
{
	bson_append_int64(out, name, -1, (int64_t)value);
}

static unsigned family_of(const struct rec_flood_key *key)
{
	return key->shape & 15;
}

static void append_address(bson_t *out, const char *name, const uint8_t *address, unsigned family)
{
	char text[TEXT_ADDRESS_MAX];
	unsigned len = family ? text_address(text, address, family) : text_mac(text, address);

	bson_append_utf8(out, name, -1, text, (int)len);
}

/* As rec_flood_prefix has cut it. */
static void append_network(bson_t *out, const char *name, const uint8_t *address, unsigned family)
{
	char text[TEXT_ADDRESS_MAX + 8];
	unsigned len;

	if (family) {
		len = text_address(text, address, family);
		len += (unsigned)snprintf(text + len, 8, "/%u", family == 6 ? 12 : 8);
	} else {
		len = (unsigned)snprintf(text, sizeof(text), "%02x:%02x:%02x/24", address[0], address[1], address[2]);
	}
	bson_append_utf8(out, name, -1, text, (int)len);
}

static void append_ends(bson_t *out, const struct rec_flood_key *key)
{
	const unsigned family = family_of(key);

	if (key->shape & REC_SHAPE_PROTOCOL)
		return;
	if (key->shape & REC_SHAPE_DEST)
		append_network(out, "src_net", key->src, family);
	else
		append_address(out, "src", key->src, family);
	if (key->shape & REC_SHAPE_SOURCE)
		append_network(out, "dst_net", key->dst, family);
	else
		append_address(out, "dst", key->dst, family);
}

static void append_ports(bson_t *out, const struct rec_flood_key *key, uint16_t marks)
{
	const uint8_t *sport = (const uint8_t *)&key->sport, *dport = (const uint8_t *)&key->dport;

	if (family_of(key))
		append_int32(out, "proto", key->proto);
	if (key->shape & 0xf0)
		return;
	if (!family_of(key)) {
		append_int32(out, "etype", get_be16(sport));
	} else if (key->proto == REC_IP_ICMP || key->proto == REC_IP_ICMP6) {
		append_int32(out, "icmp_type", sport[0]);
		append_int32(out, "icmp_code", sport[1]);
	} else if (!(marks & REC_MARK_FRAGMENT) || key->sport || key->dport) {
		append_int32(out, "sport", get_be16(sport));
		append_int32(out, "dport", get_be16(dport));
	}
}

static const char *const whys[] = {[REC_WHY_FLOW] = "flow",
				   [REC_WHY_DEST] = "destination",
				   [REC_WHY_SOURCE] = "source",
				   [REC_WHY_NEW] = "new conversation",
				   [REC_WHY_FULL] = "ring full",
				   [REC_WHY_ALL] = "counting only"};

const char *flood_why_name(unsigned why)
{
	return why < ARRAY_SIZE(whys) ? whys[why] : NULL;
}

unsigned flood_why_bit(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(whys); i++)
		if (whys[i] && !strcmp(whys[i], name))
			return 1u << i;
	return 0;
}

static void append_why(bson_t *out, unsigned why)
{
	char index[16];
	unsigned n = 0;
	bson_t list;

	bson_append_array_begin(out, "why", -1, &list);
	for (unsigned i = 0; i < ARRAY_SIZE(whys); i++) {
		if (!whys[i] || !(why >> i & 1))
			continue;
		snprintf(index, sizeof(index), "%u", n++);
		bson_append_utf8(&list, index, -1, whys[i], -1);
	}
	bson_append_array_end(out, &list);
}

static void append_time(bson_t *out, const char *ms_name, const char *ns_name, int64_t wall)
{
	bson_append_date_time(out, ms_name, -1, clock_ms(wall));
	bson_append_int32(out, ns_name, -1, clock_ms_rest(wall));
}

void flood_document(bson_t *out, const struct flood_epoch *epoch, uint32_t place, const struct rec_flood *flood)
{
	const struct rec_flood_key *key = &flood->key;
	const int64_t offset = clock_pair_offset(&epoch->pair);
	uint8_t id[FLOOD_ID_LEN];
	bson_t clock;

	flood_id(id, epoch, place);
	bson_append_binary(out, "_id", -1, BSON_SUBTYPE_BINARY, id, sizeof(id));
	append_time(out, "ts", "ns", (int64_t)flood->first + offset);
	append_time(out, "last", "last_ns", (int64_t)flood->last + offset);
	bson_append_utf8(out, "sensor", -1, epoch->source->sensor, -1);
	bson_append_utf8(out, "iface", -1, epoch->source->iface, -1);
	bson_append_utf8(out, "side", -1, epoch->side == REC_TX ? "tx" : "rx", -1);
	append_int64(out, "epoch", epoch->epoch);
	append_int64(out, "sec", epoch->sec);
	append_int32(out, "secs", (uint32_t)(epoch->end - epoch->sec));
	bson_append_utf8(out, "by", -1,
			 key->shape & REC_SHAPE_PROTOCOL ? "protocol"
			 : key->shape & REC_SHAPE_SOURCE ? "source"
			 : key->shape & REC_SHAPE_DEST	 ? "destination"
							 : "flow",
			 -1);
	append_ends(out, key);
	append_ports(out, key, flood->marks);
	append_int64(out, "packets", flood->packets);
	append_int64(out, "bytes", flood->bytes);
	append_int32(out, "len_min", flood->len_min);
	append_int32(out, "len_max", flood->len_max);
	if (key->proto == REC_IP_TCP) {
		append_int32(out, "flags_any", flood->flags_any);
		append_int32(out, "flags_all", flood->flags_all);
	}
	if (flood->marks & REC_MARK_FRAGMENT)
		bson_append_bool(out, "fragments", -1, true);
	append_why(out, flood->why);
	bson_append_document_begin(out, "clock", -1, &clock);
	append_int64(&clock, "boot", epoch->pair.boot);
	append_int64(&clock, "wall", (uint64_t)epoch->pair.wall);
	bson_append_document_end(out, &clock);
}
