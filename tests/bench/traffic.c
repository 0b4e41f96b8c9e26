/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/bench/traffic.h"

#include <math.h>

#include "recorder/core/util.h"
#include "tests/unit/packets.h"

static uint64_t random_state = 0x2545f4914f6cdd1dull;

uint32_t traffic_below(uint32_t n)
{
	return (uint32_t)((packets_random(&random_state) >> 32) * n >> 32);
}

#define below traffic_below

static double uniform(void)
{
	return ((double)(packets_random(&random_state) >> 11) + 1) / 9007199254740993.0;
}

static double zipf_inside[INSIDE], zipf_outside[OUTSIDE];

static void zipf_init(double *sums, unsigned n, double exponent)
{
	double sum = 0;

	for (unsigned i = 0; i < n; i++)
		sums[i] = sum += pow(i + 1, -exponent);
}

static unsigned zipf(const double *sums, unsigned n)
{
	double x = uniform() * sums[n - 1];
	unsigned low = 0;

	while (n > 1) {
		unsigned half = n / 2;

		low += sums[low + half - 1] < x ? half : 0;
		n -= half;
	}
	return low;
}

struct flow {
	uint32_t inside, outside, left, seq[2], ts[2];
	uint16_t port, service;
	uint8_t proto, six, scan, fresh;
	uint16_t vlan;
};

static void flow_new(struct flow *f)
{
	double kind = uniform(), packets = pow(uniform(), -1 / 1.1);

	memset(f, 0, sizeof(*f));
	f->inside = zipf(zipf_inside, INSIDE);
	f->outside = zipf(zipf_outside, OUTSIDE);
	f->left = packets > FLOW_MAX ? FLOW_MAX : (uint32_t)packets;
	f->six = below(100) < 15;
	f->proto = kind < 0.70 ? 6 : kind < 0.96 ? 17 : 1;
	f->scan = f->proto == 6 && below(100) < 4;
	if (f->scan)
		f->left = 1;
	f->port = (uint16_t)(32768 + below(28000));
	f->service = f->proto == 17 && below(2) ? 53 : (uint16_t)(below(4) ? 443 : 1 + below(9000));
	f->vlan = f->inside % 3 == 0 ? (uint16_t)(100 + f->inside % 7) : 0;
	f->seq[0] = (uint32_t)packets_random(&random_state);
	f->seq[1] = (uint32_t)packets_random(&random_state);
	f->ts[0] = (uint32_t)packets_random(&random_state);
	f->ts[1] = (uint32_t)packets_random(&random_state);
	f->fresh = 1;
}

static uint8_t *put_mac(uint8_t *b, uint32_t host, bool inside)
{
	b[0] = 2;
	b[1] = inside;
	put_be32(b + 2, inside ? host : 1); /* what is outside comes from one router */
	return b + 6;
}

static uint8_t *put_address(uint8_t *b, uint32_t host, bool inside, bool six)
{
	if (six) {
		put_be64(b, inside ? 0x20010db800010000ull : 0x2a00145000000000ull | host * 2654435761u >> 8);
		put_be64(b + 8, inside ? 0x021122fffe000000ull | host : host % 3 ? host : 0x9abc000000001234ull | host);
		return b + 16;
	}
	put_be32(b, inside ? 0x0a000000 + host : 0x17000000 + host * 2654435761u % 0xb0000000);
	return b + 4;
}

/* Writes the frame's headers; the frame's length on the wire is *wire. */
static unsigned put_packet(uint8_t *start, struct flow *f, bool out, uint32_t *wire)
{
	uint8_t *b = start, options[40];
	unsigned n = 0, payload = below(3) ? 1400 + below(49) : below(600), l4;
	bool syn = f->fresh && f->proto == 6, pure = f->proto == 6 && (syn || below(3) == 0);

	if (pure)
		payload = 0;
	if (f->proto == 17 && f->service == 53)
		payload = 30 + below(150);
	if (syn) {
		memcpy(options, "\2\4\5\xb4\4\2\10\12____\0\0\0\0\1\3\3\7", 20);
		put_be32(options + 8, f->ts[!out]);
		n = 20;
	} else if (f->proto == 6) {
		memcpy(options, "\1\1\10\12", 4);
		put_be32(options + 4, f->ts[!out] += below(3));
		put_be32(options + 8, f->ts[out]);
		n = 12;
		if (pure && below(100) < 8) {
			memcpy(options + 12, "\1\1\5\12", 4);
			put_be32(options + 16, f->seq[out] + 1448);
			put_be32(options + 20, f->seq[out] + 2896);
			n = 24;
		}
	}
	l4 = f->proto == 6 ? 20 + n : 8;
	b = out ? put_mac(put_mac(b, f->outside, false), f->inside, true)
		: put_mac(put_mac(b, f->inside, true), f->outside, false);
	if (f->vlan) {
		put_be16(b, 0x8100);
		put_be16(b + 2, f->vlan);
		b += 4;
	}
	put_be16(b, f->six ? 0x86dd : 0x0800);
	b += 2;
	*wire = (uint32_t)(b - start) + (f->six ? 40 : 20) + l4 + payload;
	if (f->six) {
		put_be32(b, 0x60000000 | f->port * 13u % 0xfffff);
		put_be16(b + 4, (uint16_t)(l4 + payload));
		b[6] = f->proto == 1 ? 58 : f->proto;
		b[7] = out ? 64 : 50;
		b += 8;
	} else {
		uint64_t sum = 0;

		memset(b, 0, 12);
		b[0] = 0x45;
		put_be16(b + 2, (uint16_t)(20 + l4 + payload));
		put_be16(b + 4, (uint16_t)packets_random(&random_state));
		b[6] = 0x40;
		b[8] = out ? 64 : 50;
		b[9] = f->proto;
		b += 12;
		put_address(put_address(b, out ? f->inside : f->outside, out, false), out ? f->outside : f->inside,
			    !out, false);
		for (int i = -12; i < 8; i += 2)
			sum += get_be16(b + i);
		sum = (sum & 0xffff) + (sum >> 16);
		put_be16(b - 2, (uint16_t) ~((sum & 0xffff) + (sum >> 16)));
	}
	b = put_address(b, out ? f->inside : f->outside, out, f->six);
	b = put_address(b, out ? f->outside : f->inside, !out, f->six);
	if (f->proto == 1) {
		b[0] = f->six ? (out ? 128 : 129) : (out ? 8 : 0);
		b[1] = 0;
		put_be16(b + 2, (uint16_t)packets_random(&random_state));
		put_be16(b + 4, f->port);
		put_be16(b + 6, (uint16_t)f->seq[0]++);
		b += 8;
	} else {
		put_be16(b, out ? f->port : f->service);
		put_be16(b + 2, out ? f->service : f->port);
		if (f->proto == 17) {
			put_be16(b + 4, (uint16_t)(8 + payload));
			put_be16(b + 6, (uint16_t)packets_random(&random_state));
			b += 8;
		} else {
			put_be32(b + 4, f->seq[!out]);
			put_be32(b + 8, syn ? 0 : f->seq[out]);
			put_be16(b + 12, (uint16_t)((5 + n / 4) << 12 | (syn ? 2 : payload ? 0x18 : 0x10)));
			put_be16(b + 14, (uint16_t)(500 + below(20)));
			put_be16(b + 16, (uint16_t)packets_random(&random_state));
			put_be16(b + 18, 0);
			memcpy(b + 20, options, n);
			f->seq[!out] += payload;
			b += 20 + n;
		}
	}
	f->fresh = 0;
	return (unsigned)(b - start);
}

/* ---- records as they lie in rings ------------------------------------------------------------------------------- */

void trace_add(struct trace *t, const struct rec_slot *slot, unsigned ring)
{
	struct rec_head *h = (struct rec_head *)(t->ring[ring] + t->used[ring]);

	memcpy(h, slot, sizeof(*h) + slot->head.cap_len);
	h->time = t->time += 1 + below(600);
	t->used[ring] += REC_RECORD_LEN(slot->head.cap_len);
	t->header_bytes += slot->head.cap_len;
	t->records[t->n++] = h;
}

void trace_init(struct trace *t)
{
	memset(t, 0, sizeof(*t));
	t->time = 1000000000;
	t->records = calloc(PACKETS, sizeof(*t->records));
	for (unsigned i = 0; i < RINGS; i++)
		t->ring[i] = calloc(PACKETS, REC_RECORD_MAX);
}

void trace_free(struct trace *t)
{
	free(t->records);
	for (unsigned i = 0; i < RINGS; i++)
		free(t->ring[i]);
}

void traffic_flows(struct trace *t, bool rest)
{
	traffic_flows_of(t, rest, LIVE);
}

void traffic_flows_of(struct trace *t, bool rest, unsigned live)
{
	static struct flow flows[LIVE];

	zipf_init(zipf_inside, INSIDE, 1.0);
	zipf_init(zipf_outside, OUTSIDE, 1.1);
	for (unsigned i = 0; i < live; i++)
		flow_new(&flows[i]);
	while (t->n < PACKETS) {
		struct flow *f;
		bool out;
		unsigned ring;

		if (rest && below(TRAFFIC_REST_EVERY) == 0) {
			traffic_rest(t);
			continue;
		}
		f = &flows[below(live)];
		out = f->fresh ? below(4) != 0 : below(2);
		ring = (f->port ^ f->service) % 2 + (out ? 2 : 0);

		for (unsigned train = 1 + below(24); train && t->n < PACKETS; train--) {
			struct rec_slot slot = {0};

			slot.head.cap_len = (uint16_t)put_packet(slot.bytes, f, out, &slot.head.wire_len);
			slot.head.side = out;
			trace_add(t, &slot, ring);
			if (rest && t->n < PACKETS)
				traffic_noise(t);
			if (--f->left == 0) {
				flow_new(f);
				break;
			}
		}
	}
}

void trace_by_rings(struct trace *t)
{
	const struct rec_head **batch = calloc(BATCH, sizeof(*batch));

	for (uint32_t first = 0; first < t->n; first += BATCH) {
		uint32_t n = t->n - first < BATCH ? t->n - first : BATCH, to = 0;

		for (unsigned ring = 0; ring < RINGS; ring++)
			for (uint32_t i = first; i < first + n; i++) {
				const uint8_t *p = (const uint8_t *)t->records[i];

				if (p >= t->ring[ring] && p < t->ring[ring] + t->used[ring])
					batch[to++] = t->records[i];
			}
		memcpy(t->records + first, batch, n * sizeof(*batch));
	}
	free(batch);
}
