/* SPDX-License-Identifier: GPL-2.0-or-later */
/* batches.h - for tests/db: batches made by hand, of UDP packets with a serial number in the source port. */
#ifndef TESTS_DB_BATCHES_H
#define TESTS_DB_BATCHES_H

#include "recorder/core/util.h"
#include "recorder/encode/document.h"
#include "recorder/ledger/canonical.h"
#include "recorder/source/batch.h"

#define MADE_DAY 20260131u
#define MADE_BOOT (1000 * NS_PER_SEC)
#define MADE_FRAME 42u

struct made {
	struct batch batch;
	struct batch_source source;
	struct batch_range range;
	struct batch_second second;
	uint8_t *bytes;
};

static inline void made_record(uint8_t *at, uint32_t i)
{
	static const uint8_t frame[MADE_FRAME] = {
		2,    0, 0, 0,	0, 1, 2,    0, 0,  0,  0, 2, 8,	  0,			   /* Ethernet */
		0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 203, 0, 113, 7, /* IPv4 */
		0,    0, 0, 53, 0, 8, 0,    0,						   /* UDP */
	};
	struct rec_head *head = (struct rec_head *)at;
	uint8_t *bytes = at + sizeof(*head);
	uint32_t sum = 0;

	memset(head, 0, sizeof(*head));
	head->time = MADE_BOOT + i * 1000ull;
	head->wire_len = MADE_FRAME;
	head->cap_len = MADE_FRAME;
	head->off[REC_L3] = 14;
	head->off[REC_L4] = 34;
	head->side = REC_RX;
	head->proto = 17;
	memcpy(bytes, frame, sizeof(frame));
	put_be16(bytes + 18, (uint16_t)(i * 7919));
	put_be16(bytes + 34, (uint16_t)i);
	put_be16(bytes + 30, (uint16_t)(i >> 4)); /* a few thousand remote hosts */
	for (unsigned w = 14; w < 34; w += 2)
		sum += get_be16(bytes + w);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	put_be16(bytes + 24, (uint16_t)~sum);
}

/* Batch `number` of a capture whose id is `id` 16 times, with n packets 1 us apart on MADE_DAY. */
static inline void make_batch(struct made *made, uint8_t id, uint64_t number, uint32_t n)
{
	const size_t stride = REC_RECORD_LEN(MADE_FRAME);
	struct batch *b = &made->batch;

	memset(made, 0, sizeof(*made));
	memset(made->source.capture, id, CAPTURE_ID_LEN);
	made->source.sensor = "test";
	made->source.iface = "veth0";
	made->source.cpus = 1;
	made->bytes = malloc(n * stride + 1);
	b->records = malloc((n + 1) * sizeof(*b->records));
	for (uint32_t i = 0; i < n; i++) {
		made_record(made->bytes + i * stride, i);
		b->records[i] = (const struct rec_head *)(made->bytes + i * stride);
	}
	made->range = (struct batch_range){.from = number * 1000000, .to = number * 1000000 + n * stride, .records = n};
	made->second =
		(struct batch_second){.sec = MADE_BOOT / NS_PER_SEC, .packets = n, .bytes = (uint64_t)n * MADE_FRAME};
	b->source = &made->source;
	b->number = number;
	b->day = MADE_DAY;
	b->mode = 1;
	b->version = ENCODE_VERSION;
	b->pair.boot = 1;
	b->pair.wall = clock_day_start(MADE_DAY) + 12 * 3600 * (int64_t)NS_PER_SEC - (int64_t)MADE_BOOT + 1;
	b->ranges = &made->range;
	b->nranges = 1;
	b->nrecords = n;
	b->seconds = &made->second;
	b->nseconds = 1;
	b->bytes = made->second.bytes;
	b->first_boot = MADE_BOOT;
	b->last_boot = MADE_BOOT + (n ? n - 1 : 0) * 1000ull;
	canonical_digest(b);
}

static inline void drop_batch(struct made *made)
{
	free(made->batch.records);
	free(made->bytes);
}

static inline int64_t made_first_ms(const struct made *made)
{
	return batch_wall(&made->batch, made->batch.first_boot) / 1000000;
}

static inline int64_t made_last_ms(const struct made *made)
{
	return batch_wall(&made->batch, made->batch.last_boot) / 1000000;
}

#endif
