/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/ledger/canonical.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdbool.h>

#include "recorder/core/util.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are hashed as they lie in memory");

struct canonical_record canonical_from(const struct batch *batch, const struct rec_head *h)
{
	return (struct canonical_record){
		.ts = batch_wall(batch, h->time),
		.wire_len = h->wire_len,
		.cap_len = h->cap_len < REC_CAP_MAX ? h->cap_len : REC_CAP_MAX,
		.marks = h->marks,
		.gso_segs = h->gso_segs,
		.gso_size = h->gso_size,
		.side = h->side ? REC_TX : REC_RX,
		.bytes = record_bytes(h),
	};
}

/* A record is one to three cache lines somewhere in a ring; nearly all end in the second. */
static inline void prefetch(const struct rec_head *record)
{
	__builtin_prefetch(record);
	__builtin_prefetch((const uint8_t *)record + 64);
}

static inline uint16_t canonical_marks(const struct canonical_record *r)
{
	return r->marks & ((1u << REC_MARKS) - 1) & ~REC_MARK_CSUM_NONE;
}

#define ORDER(a, b)                                                                                                    \
	do {                                                                                                           \
		if ((a) != (b))                                                                                        \
			return (a) < (b) ? -1 : 1;                                                                     \
	} while (0)

int canonical_compare(const struct canonical_record *a, const struct canonical_record *b)
{
	unsigned common = a->cap_len < b->cap_len ? a->cap_len : b->cap_len;
	int bytes;

	ORDER(a->ts, b->ts);
	ORDER(a->side, b->side);
	ORDER(a->wire_len, b->wire_len);
	bytes = common ? memcmp(a->bytes, b->bytes, common) : 0;
	if (bytes)
		return bytes;
	ORDER(a->cap_len, b->cap_len);
	ORDER(canonical_marks(a), canonical_marks(b));
	ORDER(a->gso_segs, b->gso_segs);
	ORDER(a->gso_size, b->gso_size);
	return 0;
}

/* ---- order: a natural merge sort by time, then the few records of one time among themselves ---------------------- */

struct item {
	uint64_t time;
	const struct rec_head *head;
};

/* The end of the ascending run that begins at `from`. */
static uint32_t run_end(const struct item *items, uint32_t from, uint32_t n)
{
	while (++from < n && items[from - 1].time <= items[from].time)
		;
	return from;
}

/* One pass: pairs of neighbouring runs from `in` merged to `out`. True when there was one run only. */
static bool merge_pass(const struct item *in, struct item *out, uint32_t n)
{
	bool single = true;

	for (uint32_t from = 0; from < n;) {
		uint32_t middle = run_end(in, from, n);
		uint32_t to = middle < n ? run_end(in, middle, n) : n;
		uint32_t a = from, b = middle, o = from;

		if (from > 0 || to > middle)
			single = false;
		while (a < middle && b < to) {
			bool second = in[b].time < in[a].time;

			out[o++] = in[second ? b : a];
			b += second;
			a += !second;
		}
		memcpy(out + o, in + a, (middle - a) * sizeof(*in));
		memcpy(out + o + (middle - a), in + b, (to - b) * sizeof(*in));
		from = to;
	}
	return single;
}

static int compare_items(const void *x, const void *y)
{
	static const struct batch_source nowhere;
	static const struct batch untimed = {.source = &nowhere}; /* the offset is the same for both */
	struct canonical_record a = canonical_from(&untimed, ((const struct item *)x)->head);
	struct canonical_record b = canonical_from(&untimed, ((const struct item *)y)->head);

	return canonical_compare(&a, &b);
}

static int compare_heads(const void *x, const void *y)
{
	const struct item a = {.head = *(const struct rec_head *const *)x}, b = {.head = *(const struct rec_head *const *)y};

	return compare_items(&a, &b);
}

#define SAMPLES 16u

/* Of one ring they are in order but for those of one time, and nothing needs to be moved. False: they are not. */
static bool order_in_place(struct batch *batch)
{
	const struct rec_head **r = batch->records;
	const uint32_t n = batch->nrecords;

	for (uint32_t i = 1; n >= SAMPLES && i < SAMPLES; i++) /* of several rings one stands behind the other: soon seen */
		if (r[(uint64_t)n * i / SAMPLES]->time < r[(uint64_t)n * (i - 1) / SAMPLES]->time)
			return false;
	for (uint32_t from = 0, to; from < n; from = to) {
		for (to = from + 1; to < n && r[to]->time == r[from]->time; to++)
			;
		if (to + 8 < n)
			prefetch(r[to + 8]);
		if (to - from > 1)
			qsort((void *)(r + from), to - from, sizeof(*r), compare_heads);
		if (to < n && r[to]->time < r[from]->time)
			return false;
	}
	return true;
}

int canonical_order(struct batch *batch)
{
	uint32_t n = batch->nrecords;
	struct item *items, *other, *sorted;
	CLEANUP_FREE struct item *memory = NULL;

	if (order_in_place(batch))
		return 0;
	memory = malloc(2 * (size_t)n * sizeof(*memory));
	if (!memory)
		return -ENOMEM;
	items = memory;
	other = memory + n;
	for (uint32_t i = 0; i < n; i++) {
		if (i + 8 < n)
			prefetch(batch->records[i + 8]);
		items[i] = (struct item){batch->records[i]->time, batch->records[i]};
	}
	while (!merge_pass(items, other, n)) {
		struct item *t = items;

		items = other;
		other = t;
	}
	sorted = items;
	for (uint32_t from = 0, to; from < n; from = to) {
		for (to = from + 1; to < n && sorted[to].time == sorted[from].time; to++)
			;
		if (to - from > 1)
			qsort(sorted + from, to - from, sizeof(*sorted), compare_items);
	}
	for (uint32_t i = 0; i < n; i++)
		batch->records[i] = sorted[i].head;
	return 0;
}

/* ---- digest ------------------------------------------------------------------------------------------------------ */

#define RECORD_HEAD 21u

/* Records are collected to blocks: a call of the library for each would cost more than the hash. */
struct canonical_hash {
	EVP_MD_CTX *context;
	bool failed;
	size_t length;
	uint8_t block[16384];
};

static __attribute__((noinline)) void flush(struct canonical_hash *h)
{
	if (EVP_DigestUpdate(h->context, h->block, h->length) != 1)
		h->failed = true;
	h->length = 0;
}

struct canonical_hash *canonical_begin(const uint8_t capture[CAPTURE_ID_LEN], const char *iface)
{
	struct canonical_hash *h = malloc(sizeof(*h));
	size_t length = strnlen(iface, 255);

	if (!h)
		return NULL;
	h->failed = false;
	h->context = EVP_MD_CTX_new();
	if (!h->context || EVP_DigestInit_ex(h->context, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(h->context);
		free(h);
		return NULL;
	}
	memcpy(h->block, capture, CAPTURE_ID_LEN);
	h->block[CAPTURE_ID_LEN] = (uint8_t)length;
	memcpy(h->block + CAPTURE_ID_LEN + 1, iface, length);
	h->length = CAPTURE_ID_LEN + 1 + length;
	return h;
}

static inline void add(struct canonical_hash *h, const struct canonical_record *r)
{
	uint16_t marks = canonical_marks(r);
	uint8_t *w;

	if (__builtin_expect(h->length + RECORD_HEAD + r->cap_len > sizeof(h->block), 0))
		flush(h);
	w = h->block + h->length;
	memcpy(w, &r->ts, 8);
	memcpy(w + 8, &r->wire_len, 4);
	memcpy(w + 12, &r->cap_len, 2);
	memcpy(w + 14, &marks, 2);
	memcpy(w + 16, &r->gso_segs, 2);
	memcpy(w + 18, &r->gso_size, 2);
	w[20] = r->side;
	if (r->cap_len)
		memcpy(w + RECORD_HEAD, r->bytes, r->cap_len);
	h->length += RECORD_HEAD + r->cap_len;
}

void canonical_add(struct canonical_hash *h, const struct canonical_record *r)
{
	if (r->cap_len > REC_CAP_MAX) {
		h->failed = true;
		return;
	}
	add(h, r);
}

int canonical_end(struct canonical_hash *h, uint8_t digest[DIGEST_LEN])
{
	uint8_t result[DIGEST_LEN];
	bool failed;

	flush(h);
	failed = h->failed || EVP_DigestFinal_ex(h->context, result, NULL) != 1;
	EVP_MD_CTX_free(h->context);
	free(h);
	if (failed)
		return -EIO;
	if (digest)
		memcpy(digest, result, DIGEST_LEN);
	return 0;
}

int canonical_digest(struct batch *batch)
{
	struct canonical_hash *h = canonical_begin(batch->source->capture, batch->source->iface);

	if (!h)
		return -EIO;
	for (uint32_t i = 0; i < batch->nrecords; i++) {
		struct canonical_record r = canonical_from(batch, batch->records[i]);

		if (i + 8 < batch->nrecords)
			prefetch(batch->records[i + 8]);
		add(h, &r);
	}
	return canonical_end(h, batch->digest);
}
