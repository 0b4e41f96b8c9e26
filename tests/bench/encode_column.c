/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * encode_column.c - what a value costs in each kind of column of a bucket of 1,000 packets: `encode_column_NAME figure
 * ns/value`, the least of many rounds over 16 buckets; beside it the plain encoder, and bytes. --smoke: one round.
 * encode_column NAME LEVEL (0, 1) alone writes one kind 1,000 times: for callgrind.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "recorder/encode/column.h"
#include "recorder/encode/column_plain.h"

enum { VALUES = 1000, BUCKETS = 16, ROUNDS = 300 };
enum kind { TIME, NS, CSUM, SEQ, ACK, WIN, FLAGS, IPID, LEN, GAPS, TTL, CONSTANT, ADDRESS, KINDS };
static const char *const names[KINDS] = {"time", "ns",	"csum", "seq", "ack",	   "win",    "flags",
					 "ipid", "len", "gaps", "ttl", "constant", "address"};

struct bucket {
	int64_t ms[VALUES];
	int32_t int32[VALUES];
	uint32_t uint32[VALUES];
	uint64_t missing[(VALUES + 63) / 64];
	struct column_event events[VALUES];
	struct column_text texts[VALUES];
	char text[VALUES][16];
	uint32_t count;
	struct column_value values[VALUES];
};
static struct bucket buckets[BUCKETS];
static uint8_t out[COLUMN_TEXTS_BOUND(VALUES, VALUES, 1 << 14)], plain[COLUMN_PLAIN_BOUND(VALUES, 1 << 14)];

static uint32_t below(uint32_t n)
{
	static uint64_t x = 1;

	x = x * 6364136223846793005 + 1442695040888963407;
	return (uint32_t)((x >> 32) * n >> 32);
}

/* One more value of a dense column, in flow order. */
static int64_t next(enum kind kind, int64_t before, bool first)
{
	switch (kind) {
	case TIME:
		return first ? 1790000000000 + below(10000) : before + (below(2) ? 0 : below(50));
	case NS:
		return below(1000000);
	case SEQ:
		return (uint32_t)(first ? below(UINT32_MAX) : before + (below(3) ? 1448 : below(1448)));
	case ACK:
		return (uint32_t)(first ? below(UINT32_MAX) : before + (below(3) ? 0 : 2896));
	case WIN:
		return first ? below(65536) : below(6) ? before : before + below(64) - 32;
	case FLAGS:
		return below(4) ? 16 : 24;
	case IPID:
		return first ? below(65536) : (before + 1) & 65535;
	case LEN:
		return below(3) ? 1500 : 52 + below(1449);
	default:
		return below(65536);
	}
}

static void make_dense(struct bucket *b, enum kind kind)
{
	uint32_t left = 0;
	int64_t now = 0;

	memset(b->missing, 0, sizeof(b->missing));
	for (uint32_t i = 0; i < VALUES; i++) {
		bool first = !left, gap = kind == GAPS && i && i / 50 % 4 == 3;

		left = left ? left - 1 : below(5) ? below(40) : below(500);
		if (!gap)
			now = next(kind, now, first);
		b->missing[i / 64] |= (uint64_t)gap << i % 64;
		b->ms[i] = now;
		b->int32[i] = (int32_t)now;
		b->uint32[i] = (uint32_t)now;
		b->values[i] = (struct column_value){.type = kind == TIME ? COLUMN_DATE : COLUMN_INT32, .number = now};
		if (gap)
			b->values[i].type = COLUMN_VALUE_MISSING;
		if (kind == SEQ || kind == ACK) {
			b->values[i].type = COLUMN_DOUBLE;
			b->values[i].real = (double)now;
		}
	}
}

static void make_sparse(struct bucket *b, enum kind kind)
{
	static const uint8_t ttls[] = {64, 57, 128, 117, 255, 54};
	uint32_t e = 0;

	b->count = 0;
	for (uint32_t i = 0; i < VALUES; i++) {
		if (!i || (kind != CONSTANT && !below(50))) {
			e = b->count++;
			b->events[e] = (struct column_event){.at = i, .value = ttls[below(6)]};
			b->texts[e] = (struct column_text){.at = i, .bytes = (uint8_t *)b->text[e]};
			b->texts[e].len =
				(uint32_t)snprintf(b->text[e], 16, "10.%u.%u.%u", below(4), below(4), below(256));
		}
		b->values[i] = (struct column_value){.type = COLUMN_INT32, .number = b->events[e].value};
		if (kind == ADDRESS) {
			b->values[i] = (struct column_value){.type = COLUMN_STRING, .len = b->texts[e].len};
			memcpy(b->values[i].small, b->text[e], 16);
		}
	}
}

static size_t write_one(const struct bucket *b, enum kind kind)
{
	int64_t wide[2];
	int32_t range[2];
	uint8_t *end;

	switch (kind) {
	case TIME:
		end = column_date(out, b->ms, VALUES, wide);
		break;
	case SEQ:
	case ACK:
		end = column_double(out, b->uint32, NULL, VALUES, (uint32_t *)range);
		break;
	case TTL:
	case CONSTANT:
		end = column_events(out, COLUMN_INT32, b->events, b->count, VALUES, wide);
		break;
	case ADDRESS:
		end = column_texts(out, COLUMN_STRING, b->texts, b->count, VALUES, (uint32_t *)range);
		break;
	default:
		end = column_int32(out, b->int32, kind == GAPS ? b->missing : NULL, VALUES, range);
	}
	return (size_t)(end - out);
}

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ns for each value; level: of enum column_level, or -1: plain. */
static double measure(enum kind kind, int level, unsigned rounds, size_t *bytes)
{
	uint64_t least = UINT64_MAX;

	if (level >= 0)
		column_use((enum column_level)level);
	for (unsigned round = 0; round < rounds; round++) {
		uint64_t start = clock_ns(), took;

		*bytes = 0;
		for (unsigned b = 0; b < BUCKETS; b++)
			*bytes += level < 0 ? column_plain(plain, buckets[b].values, VALUES)
					    : write_one(&buckets[b], kind);
		took = clock_ns() - start;
		least = took < least ? took : least;
	}
	return (double)least / (BUCKETS * VALUES);
}

static void make(enum kind kind)
{
	for (unsigned b = 0; b < BUCKETS; b++)
		if (kind < TTL)
			make_dense(&buckets[b], kind);
		else
			make_sparse(&buckets[b], kind);
}

static int alone(const char *name, int level)
{
	size_t bytes = 0;

	column_use((enum column_level)level);
	for (enum kind kind = 0; kind < KINDS; kind++)
		if (!strcmp(name, names[kind])) {
			make(kind);
			for (unsigned i = 0; i < 1000; i++)
				bytes += write_one(&buckets[i % BUCKETS], kind);
		}
	printf("%s %zu bytes\n", name, bytes);
	return bytes == 0;
}

int main(int argc, char **argv)
{
	unsigned rounds = argc == 2 && !strcmp(argv[1], "--smoke") ? 1 : ROUNDS;
	double sum[COLUMN_BEST + 2] = {0};
	size_t total[2] = {0};

	if (argc == 3)
		return alone(argv[1], atoi(argv[2]));
	if (column_use(COLUMN_BEST) != COLUMN_BEST)
		printf("# no AVX-512 here: the figures without a level's name are those of the best there is\n");
	for (enum kind kind = 0; kind < KINDS; kind++) {
		size_t bytes[COLUMN_BEST + 2];
		double ns[COLUMN_BEST + 2];

		make(kind);
		for (int level = -1; level <= COLUMN_BEST; level++)
			ns[level + 1] = measure(kind, level, level < 0 ? rounds / 10 + 1 : rounds, &bytes[level + 1]);
		printf("encode_column_%s %.3f ns/value\n", names[kind], ns[COLUMN_BEST + 1]);
		printf("encode_column_%s_avx2 %.3f ns/value\n", names[kind], ns[COLUMN_AVX2 + 1]);
		printf("encode_column_%s_sse2 %.3f ns/value\n", names[kind], ns[1]);
		printf("encode_column_%s_plain %.1f ns/value\n", names[kind], ns[0]);
		printf("encode_column_%s_size %.3f bytes/value\n", names[kind], (double)bytes[COLUMN_BEST + 1] / (BUCKETS * VALUES));
		for (unsigned i = 0; i < COLUMN_BEST + 2; i++)
			sum[i] += ns[i];
		total[0] += bytes[0];
		total[1] += bytes[COLUMN_BEST + 1];
	}
	printf("encode_column_plain_to_best %.1f ratio\n", sum[0] / sum[COLUMN_BEST + 1]);
	printf("encode_column_plain_to_avx2 %.1f ratio\n", sum[0] / sum[COLUMN_AVX2 + 1]);
	printf("encode_column_plain_to_sse2 %.1f ratio\n", sum[0] / sum[1]);
	printf("encode_column_size_to_plain %.4f ratio\n", (double)total[1] / (double)total[0]);
	return 0;
}
