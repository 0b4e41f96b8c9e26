/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/ledger/gap.h"

#include <stdio.h>

#include "recorder/core/util.h"

static const char *const whys[GAP_WHYS] = {
	[GAP_NONE] = "none",	       [GAP_GONE] = "interface gone", [GAP_DOWN] = "link down",
	[GAP_DETACHED] = "detached",   [GAP_REBOOT] = "reboot",	      [GAP_NOT_RECORDING] = "not recording",
};

static const char *const texts[GAP_WHYS] = {
	[GAP_NONE] = "",
	[GAP_GONE] = "the interface was not there",
	[GAP_DOWN] = "the link was down",
	[GAP_DETACHED] = "somebody had taken the recorder's hook off",
	[GAP_REBOOT] = "the machine was started anew",
	[GAP_NOT_RECORDING] = "the interface was not recorded",
};

static const char *const bys[GAP_BYS] = {
	[GAP_BY_EVENT] = "event", [GAP_BY_LOOK] = "last look", [GAP_BY_COUNT] = "carrier counter",
	[GAP_BY_PINS] = "last packet or look before", [GAP_BY_BALANCE] = "last balance second",
};

const char *gap_why_name(enum gap_why why)
{
	return why < GAP_WHYS ? whys[why] : "";
}

const char *gap_by_name(enum gap_by by)
{
	return by < GAP_BYS ? bys[by] : "";
}

static const char *side_name(int side)
{
	return side == REC_TX ? "tx" : "rx";
}

size_t gap_id(uint8_t id[GAP_ID_MAX], const struct gap *gap)
{
	char kind[17];
	int n = snprintf(kind, sizeof(kind), "gap%s%s%s", gap->before ? "-before" : "", gap->side < 0 ? "" : "-",
			 gap->side < 0 ? "" : side_name(gap->side));

	memcpy(id, gap->source->capture, CAPTURE_ID_LEN);
	put_be64(id + CAPTURE_ID_LEN, gap->id_boot);
	memcpy(id + CAPTURE_ID_LEN + 8, kind, (size_t)n);
	return CAPTURE_ID_LEN + 8 + (size_t)n;
}

static void append_former(bson_t *out, const struct gap *gap)
{
	bson_t child;

	BSON_APPEND_DOCUMENT_BEGIN(out, "former", &child);
	BSON_APPEND_BINARY(&child, "capture", BSON_SUBTYPE_BINARY, gap->former, CAPTURE_ID_LEN);
	BSON_APPEND_INT64(&child, "last_batch", (int64_t)gap->last_batch);
	BSON_APPEND_INT64(&child, "unaccounted", gap->unaccounted);
	bson_append_document_end(out, &child);
}

void gap_document(bson_t *out, const struct gap *gap)
{
	uint8_t id[GAP_ID_MAX];
	size_t length = gap_id(id, gap);
	char text[160];

	BSON_APPEND_BINARY(out, "_id", BSON_SUBTYPE_BINARY, id, (uint32_t)length);
	BSON_APPEND_DATE_TIME(out, "ts", clock_ms(gap->begin));
	BSON_APPEND_INT32(out, "ns", clock_ms_rest(gap->begin));
	BSON_APPEND_UTF8(out, "kind", "gap");
	BSON_APPEND_UTF8(out, "sensor", gap->source->sensor);
	BSON_APPEND_UTF8(out, "iface", gap->source->iface);
	if (gap->side >= 0)
		BSON_APPEND_UTF8(out, "side", side_name(gap->side));
	if (gap->open)
		snprintf(text, sizeof(text), "nothing can be seen: %s", texts[gap->why]);
	else
		snprintf(text, sizeof(text), "nothing could be seen for %.3f s: %s", (double)(gap->end - gap->begin) / 1e9,
			 texts[gap->why]);
	BSON_APPEND_UTF8(out, "text", text);
	BSON_APPEND_UTF8(out, "why", whys[gap->why]);
	BSON_APPEND_UTF8(out, "by", bys[gap->by]);
	BSON_APPEND_DATE_TIME(out, "begin", clock_ms(gap->begin));
	if (gap->open)
		BSON_APPEND_NULL(out, "end");
	else
		BSON_APPEND_DATE_TIME(out, "end", clock_ms(gap->end + 999999)); /* not a moment too early */
	BSON_APPEND_BINARY(out, "capture", BSON_SUBTYPE_BINARY, gap->source->capture, CAPTURE_ID_LEN);
	if (gap->former)
		append_former(out, gap);
}
