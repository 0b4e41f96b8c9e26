/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bucket_check.c - a bucket compared with what it must be, by other ways than it was made: its columns are decoded to
 * documents (bucket_read.h), each is compared with the one that documents mode makes of the record (document.h), and
 * _id, control and meta are made once more by libbson from these documents, their hosts from the texts in them.
 */
#include <stdio.h>

#include "recorder/core/util.h"
#include "recorder/encode/bucket_internal.h"
#include "recorder/encode/bucket_read.h"

/* A value as in BSON, copied. */
struct value {
	uint32_t len;
	uint8_t bytes[FIELD_TEXT_MAX + REC_CAP_MAX + 16];
};

struct host {
	uint8_t family, address[16];
};
#define HOSTS_EACH 6u /* in a document: the ends of three stacks */

struct check {
	const struct bucket_maker *maker;
	const uint32_t *position;
	uint32_t n, hosts;
	int error;
	bool unsorted; /* a packet is older than the one before it */
	int64_t ms;    /* of the last packet */
	struct bucket_problem *problem;
	struct host *host;					/* [n * HOSTS_EACH] */
	struct value smallest[PKT_FIELDS], largest[PKT_FIELDS]; /* len 0: no packet has the field */
};

static bool wrong(struct check *c, const char *what, const char *name, uint32_t index)
{
	snprintf(c->problem->text, sizeof(c->problem->text), "%s: %s at place %u, position %u", name, what, index,
		 index < c->n ? c->position[index] : 0);
	c->error = -EBADMSG;
	return false;
}

/* ---- the packets ----------------------------------------------------------------------------------------------------
 */

static uint32_t value_at(const bson_iter_t *it, const uint8_t **value)
{
	uint32_t head = 1 + (uint32_t)strlen(bson_iter_key(it)) + 1;

	*value = it->raw + it->off + head;
	return it->next_off - it->off - head;
}

static int compare_bytes(const uint8_t *a, size_t na, const uint8_t *b, size_t nb)
{
	int r = memcmp(a, b, na < nb ? na : nb);

	return r ? r : na < nb ? -1 : na > nb;
}

#define COMPARE_AS(type)                                                                                               \
	do {                                                                                                           \
		type x, y;                                                                                             \
		memcpy(&x, a, sizeof(x));                                                                              \
		memcpy(&y, b, sizeof(y));                                                                              \
		return x < y ? -1 : x > y;                                                                             \
	} while (0)

/* In BSON's order, BUCKETS.md section 3. */
static int compare_values(enum field_type type, const uint8_t *a, uint32_t na, const uint8_t *b, uint32_t nb)
{
	switch (type) {
	case FIELD_INT32:
		COMPARE_AS(int32_t);
	case FIELD_DATE:
		COMPARE_AS(int64_t);
	case FIELD_DOUBLE:
		COMPARE_AS(double);
	case FIELD_STRING:
		return compare_bytes(a + 4, na - 4, b + 4, nb - 4);
	default: /* length, subtype, bytes */
		return na != nb ? (na < nb ? -1 : 1) : memcmp(a + 4, b + 4, na - 4);
	}
}

static void note_value(struct check *c, unsigned field, const uint8_t *value, uint32_t len)
{
	struct value *kept[] = {&c->smallest[field], &c->largest[field]};

	for (int i = 0; i < 2; i++) {
		int order =
			kept[i]->len ? compare_values(fields[field].type, value, len, kept[i]->bytes, kept[i]->len) : 0;

		if (kept[i]->len && (i ? order <= 0 : order >= 0))
			continue;
		kept[i]->len = len;
		memcpy(kept[i]->bytes, value, len);
	}
}

static bool note_field(struct check *c, const bson_iter_t *it, unsigned *hint, uint32_t index)
{
	const uint8_t *value;
	uint32_t len = value_at(it, &value);
	unsigned field = field_find(bson_iter_key(it), *hint), bit = field & 63;

	if (field == PKT_FIELDS || len > sizeof(c->smallest[0].bytes))
		return wrong(c, "no such field, or too long", bson_iter_key(it), index);
	*hint = field;
	if (field == PKT_TS) {
		int64_t before = c->ms;

		memcpy(&c->ms, value, 8);
		c->unsorted |= index && c->ms < before;
	}
	note_value(c, field, value, len);
	if (field < PKT_WORD3 && (bit == PKT_LOCAL || bit == PKT_REMOTE)) {
		struct host *h = &c->host[c->hosts++];

		h->family = (uint8_t)text_read_address((const char *)value + 4, h->address);
		if (!h->family)
			return wrong(c, "no address", bson_iter_key(it), index);
	}
	return true;
}

static bool skip(bson_iter_t *it, bool *more)
{
	do {
		*more = bson_iter_next(it);
	} while (*more && (!strcmp(bson_iter_key(it), "_id") || !strcmp(bson_iter_key(it), "meta")));
	return *more;
}

static bool same_fields(struct check *c, uint32_t index, const bson_t *is, const bson_t *must)
{
	bson_iter_t a, b;
	unsigned hint = 0;
	bool more_a, more_b;

	if (!bson_iter_init(&a, is) || !bson_iter_init(&b, must))
		return wrong(c, "no document", "bucket", index);
	for (;;) {
		uint32_t len;

		skip(&a, &more_a);
		skip(&b, &more_b);
		if (!more_a && !more_b)
			return true;
		if (!more_b || (more_a && strcmp(bson_iter_key(&a), bson_iter_key(&b))))
			return wrong(c, more_b ? "another field in its stead" : "must not be there",
				     bson_iter_key(more_b ? &b : &a), index);
		if (!more_a)
			return wrong(c, "missing", bson_iter_key(&b), index);
		len = b.next_off - b.off;
		if (a.next_off - a.off != len || memcmp(a.raw + a.off, b.raw + b.off, len))
			return wrong(c, "another value", bson_iter_key(&b), index);
		if (!note_field(c, &b, &hint, index))
			return false;
	}
}

static bool each(void *arg, uint32_t index, const bson_t *document)
{
	struct check *c = arg;
	bson_t must = BSON_INITIALIZER;
	bool same;

	if (index >= c->n)
		return wrong(c, "more packets than the plan has", "control.count", index);
	c->error = document_encode(&must, c->maker->batch, c->maker->ends, c->position[index]);
	same = !c->error && same_fields(c, index, document, &must);
	bson_destroy(&must);
	return same;
}

/* ---- _id, control, meta ---------------------------------------------------------------------------------------------
 */

static void append_range(const struct check *c, bson_t *control, const char *name, const struct value *values)
{
	bson_t range;

	bson_append_document_begin(control, name, -1, &range);
	for (unsigned f = 0; f < PKT_FIELDS; f++) {
		const uint8_t *v = values[f].bytes;
		uint32_t len = values[f].len, at;
		int32_t number;
		int64_t date;
		double real;

		if (!len)
			continue;
		memcpy(&number, v, 4);
		switch (fields[f].type) {
		case FIELD_INT32:
			bson_append_int32(&range, fields[f].name, -1, number);
			break;
		case FIELD_DOUBLE:
			memcpy(&real, v, 8);
			bson_append_double(&range, fields[f].name, -1, real);
			break;
		case FIELD_DATE:
			memcpy(&date, v, 8);
			date -= values == c->smallest ? date % ((int64_t)c->maker->form.span_s * 1000) : 0;
			bson_append_date_time(&range, fields[f].name, -1, date);
			break;
		case FIELD_STRING:
			bson_append_utf8(&range, fields[f].name, -1, (const char *)v + 4, number - 1);
			break;
		default:
			at = 5;
			bson_append_binary(&range, fields[f].name, -1, v[4], v + at, len - at);
		}
	}
	bson_append_document_end(control, &range);
}

static int compare_hosts(const void *x, const void *y)
{
	return memcmp(x, y, sizeof(struct host));
}

static void append_meta(struct check *c, bson_t *to)
{
	const struct batch_source *source = c->maker->batch->source;
	bson_t meta, hosts;
	uint32_t count = 0;

	qsort(c->host, c->hosts, sizeof(*c->host), compare_hosts);
	bson_append_document_begin(to, "meta", -1, &meta);
	bson_append_array_begin(&meta, "hosts", -1, &hosts);
	for (uint32_t i = 0; i < c->hosts; i++) {
		char text[TEXT_ADDRESS_MAX], index[16];

		if (i && !compare_hosts(&c->host[i], &c->host[i - 1]))
			continue;
		snprintf(index, sizeof(index), "%u", count++);
		bson_append_utf8(&hosts, index, -1, text,
				 (int)text_address(text, c->host[i].address, c->host[i].family));
	}
	bson_append_array_end(&meta, &hosts);
	bson_append_utf8(&meta, "iface", -1, source->iface, -1);
	bson_append_utf8(&meta, "sensor", -1, source->sensor, -1);
	bson_append_document_end(to, &meta);
}

/* `path` leads to the two documents. */
static bool same_documents(struct check *c, bson_iter_t *a, bson_iter_t *b, const char *path)
{
	for (;;) {
		bool more_a = bson_iter_next(a), more_b = bson_iter_next(b);
		char name[96];

		if (!more_a && !more_b)
			return true;
		snprintf(name, sizeof(name), "%s%s", path, bson_iter_key(more_b ? b : a));
		if (!more_a || !more_b || strcmp(bson_iter_key(a), bson_iter_key(b)))
			return wrong(c, more_b ? "missing or elsewhere" : "must not be there", name, c->n);
		if (bson_iter_type(a) == bson_iter_type(b) &&
		    (BSON_ITER_HOLDS_DOCUMENT(b) || BSON_ITER_HOLDS_ARRAY(b))) {
			bson_iter_t x, y;

			strncat(name, ".", sizeof(name) - strlen(name) - 1);
			if (!bson_iter_recurse(a, &x) || !bson_iter_recurse(b, &y) || !same_documents(c, &x, &y, name))
				return c->error ? false : wrong(c, "damaged", name, c->n);
			continue;
		}
		if (a->next_off - a->off != b->next_off - b->off ||
		    memcmp(a->raw + a->off, b->raw + b->off, b->next_off - b->off))
			return wrong(c, "another value", name, c->n);
	}
}

/* data holds the columns that control speaks of, in its order, and nothing else. */
static bool same_columns(struct check *c, const bson_t *bucket)
{
	bson_iter_t it, data;

	if (!bson_iter_init_find(&it, bucket, "data") || !BSON_ITER_HOLDS_DOCUMENT(&it) ||
	    !bson_iter_recurse(&it, &data))
		return wrong(c, "missing", "data", c->n);
	for (unsigned f = 0; f < PKT_FIELDS; f++) {
		if (!c->smallest[f].len)
			continue;
		if (!bson_iter_next(&data) || strcmp(bson_iter_key(&data), fields[f].name))
			return wrong(c, "missing or elsewhere", fields[f].name, c->n);
	}
	return !bson_iter_next(&data) || wrong(c, "must not be there", bson_iter_key(&data), c->n);
}

static bool same_head(struct check *c, const bson_t *bucket, uint32_t number)
{
	bson_t must = BSON_INITIALIZER, control, is = BSON_INITIALIZER;
	bson_iter_t a, b;
	bson_oid_t id;
	bool same;

	c->error = bucket_id(id.bytes, c->maker->batch, &c->maker->form, number);
	if (c->error)
		return false;
	bson_append_oid(&must, "_id", -1, &id);
	bson_append_document_begin(&must, "control", -1, &control);
	bson_append_int32(&control, "version", -1, c->unsorted ? c->maker->form.version : 2);
	append_range(c, &control, "min", c->smallest);
	append_range(c, &control, "max", c->largest);
	bson_append_int32(&control, "count", -1, (int32_t)c->n);
	bson_append_bool(&control, "closed", -1, true);
	bson_append_document_end(&must, &control);
	append_meta(c, &must);
	bson_copy_to_excluding_noinit(bucket, &is, "data", NULL);
	same = bson_iter_init(&a, &is) && bson_iter_init(&b, &must) && same_documents(c, &a, &b, "") &&
	       same_columns(c, bucket);
	bson_destroy(&is);
	bson_destroy(&must);
	return same || c->error || wrong(c, "damaged", "bucket", c->n);
}

int bucket_check(struct bucket_maker *m, const bson_t *bucket, uint32_t number, struct bucket_problem *problem)
{
	struct check *c;
	const char *what = "";
	int r;

	if (number >= m->buckets)
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->maker = m;
	c->problem = problem;
	c->position = bucket_positions(m, number, &c->n);
	c->host = calloc((size_t)c->n * HOSTS_EACH, sizeof(*c->host));
	r = c->host ? bucket_read(bucket, each, c, &what) : -ENOMEM;
	if (r == -EINVAL)
		wrong(c, what, "bucket", c->n);
	if (r == 0)
		same_head(c, bucket, number);
	r = r == -ENOMEM ? r : c->error;
	free(c->host);
	free(c);
	return r;
}
