/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * bucket.c - from a batch to its cuts. The packets are grouped once for the whole batch (flow.h); a bucket is a piece
 * of that order, all pieces of a batch of one size, so that none is nearly empty.
 */
#include "recorder/encode/bucket_internal.h"

#include <limits.h>
#include <openssl/evp.h>

#include "recorder/core/util.h"

#define NS 1000000000u

struct bucket_maker *bucket_maker_new(void)
{
	struct bucket_maker *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->flows = flow_maker_new();
	/* Large and mostly untouched: the lists' memory is the system's until a bucket needs it. */
	m->gather = calloc(1, sizeof(*m->gather));
	m->key_seen = calloc(FLOW_MOST, sizeof(*m->key_seen));
	if (!m->flows || !m->gather || !m->key_seen) {
		bucket_maker_free(m);
		return NULL;
	}
	return m;
}

void bucket_maker_free(struct bucket_maker *m)
{
	if (!m)
		return;
	flow_maker_free(m->flows);
	free(m->gather);
	free(m->key_seen);
	free(m->sorted);
	free(m->rare);
	free(m->rare_sorted);
	free(m->rare_field);
	free(m->host4);
	free(m->host6);
	free(m->host4_room);
	free(m->host6_room);
	command_buffer_free(&m->one);
	command_buffer_free(&m->kept);
	free(m);
}

uint32_t bucket_cut(const struct bucket_maker *m, uint32_t bucket, uint32_t *first)
{
	uint64_t rows = m->flow.rows;

	*first = (uint32_t)(rows * bucket / m->buckets);
	return (uint32_t)(rows * (bucket + 1) / m->buckets) - *first;
}

const uint32_t *bucket_positions(const struct bucket_maker *m, uint32_t bucket, uint32_t *count)
{
	uint32_t first;

	*count = bucket_cut(m, bucket, &first);
	return m->positions + first;
}

int bucket_id(uint8_t id[BUCKET_ID_LEN], const struct batch *batch, const struct bucket_form *form, uint32_t bucket)
{
	uint64_t wall = (uint64_t)batch_wall(batch, batch->records[0]->time);
	uint8_t name[CAPTURE_ID_LEN + 8 + 1 + 4], hash[EVP_MAX_MD_SIZE];

	memcpy(name, batch->source->capture, CAPTURE_ID_LEN);
	put_be64(name + CAPTURE_ID_LEN, batch->number);
	name[CAPTURE_ID_LEN + 8] = form->salt;
	put_be32(name + CAPTURE_ID_LEN + 9, bucket);
	if (EVP_Digest(name, sizeof(name), hash, NULL, EVP_sha256(), NULL) != 1)
		return -ENOMEM;
	put_be32(id, (uint32_t)(wall / NS - wall / NS % form->span_s));
	memcpy(id + 4, hash, 8);
	return 0;
}

/* The batch is in canonical order, hence in the order of time: its ends say whether it is in one span. */
static int check_span(struct bucket_maker *m)
{
	const struct row *row = m->flow.row;
	int64_t first = row[0].wall, last = row[m->flow.rows - 1].wall;

	if (!m->form.span_s || first < 0 || last < first || last / NS > INT32_MAX)
		return -ERANGE;
	if (first / NS / m->form.span_s != last / NS / m->form.span_s)
		return -ERANGE;
	m->base_s = (uint64_t)first / NS;
	m->base_s -= m->base_s % m->form.span_s;
	return 0;
}

/* *at for `n` elements of `size`; what it held is lost. */
static bool renew(void *at, size_t n, size_t size)
{
	void **p = at;

	free(*p);
	*p = calloc(n, size);
	return *p;
}

static int make_room(struct bucket_maker *m)
{
	size_t rares = m->flow.rares, hosts = 2 * GATHER_ROOM + m->flow.addresses;

	if (rares > m->rare_cap) {
		m->rare_cap = 0;
		if (!renew(&m->rare, rares, sizeof(*m->rare)) ||
		    !renew(&m->rare_sorted, rares, sizeof(*m->rare_sorted)) ||
		    !renew(&m->rare_field, rares, sizeof(*m->rare_field)))
			return -ENOMEM;
		m->rare_cap = rares;
	}
	if (hosts > m->host_cap) {
		m->host_cap = 0;
		if (!renew(&m->host4, hosts, sizeof(*m->host4)) || !renew(&m->host6, hosts, sizeof(*m->host6)) ||
		    !renew(&m->host4_room, hosts, sizeof(*m->host4_room)) ||
		    !renew(&m->host6_room, hosts, sizeof(*m->host6_room)))
			return -ENOMEM;
		m->host_cap = hosts;
	}
	return 0;
}

/*
 * Version 2: positions in the order of time, which nearly always is that of the positions; a bit for each position puts
 * them in order at one step for each. Then what the clock disagrees with is moved.
 */
static void sort_cut(uint64_t *bits, const struct row *row, const uint32_t *from, uint32_t *to, uint32_t n)
{
	uint32_t done = 0;

	for (uint32_t i = 0; i < n; i++)
		bits[from[i] >> 6] |= 1ull << (from[i] & 63);
	for (uint32_t word = 0; done < n; word++) {
		for (; bits[word]; bits[word] &= bits[word] - 1)
			to[done++] = 64 * word + (uint32_t)__builtin_ctzll(bits[word]);
	}
	for (uint32_t i = 1; i < n; i++) {
		uint32_t position = to[i], j = i;

		for (; j && row[to[j - 1]].wall > row[position].wall; j--)
			to[j] = to[j - 1];
		to[j] = position;
	}
}

static int sort_by_time(struct bucket_maker *m)
{
	uint64_t bits[FLOW_MOST / 64] = {0};

	if (m->flow.rows > m->sorted_cap) {
		m->sorted_cap = 0;
		if (!renew(&m->sorted, m->flow.rows, sizeof(*m->sorted)))
			return -ENOMEM;
		m->sorted_cap = m->flow.rows;
	}
	for (uint32_t b = 0; b < m->buckets; b++) {
		uint32_t first, n = bucket_cut(m, b, &first);

		sort_cut(bits, m->flow.row, m->flow.order + first, m->sorted + first, n);
	}
	memset(m->key_seen, 0, m->flow.keys * sizeof(*m->key_seen));
	m->positions = m->sorted;
	return 0;
}

int bucket_plan(struct bucket_maker *m, const struct batch *batch, const struct ends_table *ends,
		const struct bucket_form *form)
{
	int r;

	m->buckets = 0;
	m->kept_bucket = UINT32_MAX;
	m->batch = batch;
	m->ends = ends;
	m->form = *form;
	m->iface = strlen(batch->source->iface);
	m->sensor = strlen(batch->source->sensor);
	if (m->iface > DOCUMENT_NAME_MAX || m->sensor > DOCUMENT_NAME_MAX)
		return -ENAMETOOLONG;
	r = flow_make(m->flows, batch, ends, &m->flow);
	if (r < 0 || !m->flow.rows)
		return r;
	r = check_span(m);
	if (r == 0)
		r = make_room(m);
	if (r < 0)
		return r;
	m->buckets = (m->flow.rows + BUCKET_PACKETS / 2) / BUCKET_PACKETS;
	m->buckets += !m->buckets;
	m->positions = m->flow.order;
	if (form->version == 2)
		r = sort_by_time(m);
	if (r < 0) {
		m->buckets = 0;
		return r;
	}
	return (int)m->buckets;
}
