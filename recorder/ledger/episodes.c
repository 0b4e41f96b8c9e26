/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/ledger/episodes.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/core/util.h"

#define NS 1000000000ll
#define TCP_RST 0x04
#define TCP_SYN 0x02
#define TCP_ACK 0x10

/* ---- kinds --------------------------------------------------------------------------------------------------- */

/* UDP services whose answers are sent at third parties (CISA alert TA14-017A). */
static const struct {
	int32_t port;
	const char *name;
} reflectors[] = {
	{17, "QOTD"},	 {19, "CharGEN"},   {53, "DNS"},	 {69, "TFTP"},	 {111, "portmapper"}, {123, "NTP"}, {137, "NetBIOS"},
	{161, "SNMP"},	 {389, "CLDAP"},    {520, "RIP"},	 {1900, "SSDP"}, {3702, "WS-Discovery"},
	{5353, "mDNS"},	 {11211, "memcached"},
};

static void name_tcp(char *out, size_t size, const struct flood_row *row)
{
	const char *what = "";

	if (row->flags_all >= 0) {
		if (row->flags_all & TCP_RST)
			what = " RST";
		else if ((row->flags_all & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
			what = " SYN ACK";
		else if (row->flags_all & TCP_SYN && !(row->flags_any & TCP_ACK))
			what = " SYN";
		else if (row->flags_any == TCP_ACK)
			what = " ACK";
	}
	snprintf(out, size, "TCP%s", what);
}

static void name_icmp(char *out, size_t size, const struct flood_row *row)
{
	const bool six = row->proto == IPPROTO_ICMPV6;
	const char *name = six ? "ICMPv6" : "ICMP";

	if (row->icmp_type < 0)
		snprintf(out, size, "%s", name);
	else if (row->icmp_type == (six ? 128 : 8))
		snprintf(out, size, "%s echo request", name);
	else if (row->icmp_type == (six ? 129 : 0))
		snprintf(out, size, "%s echo reply", name);
	else
		snprintf(out, size, "%s type %d", name, row->icmp_type);
}

static void name_udp(char *out, size_t size, const struct flood_row *row)
{
	snprintf(out, size, "UDP");
	for (size_t i = 0; i < ARRAY_SIZE(reflectors); i++)
		if (row->sport == reflectors[i].port && row->dport != row->sport)
			snprintf(out, size, "UDP from %s", reflectors[i].name);
}

static void name_kind(char *out, size_t size, const struct flood_row *row)
{
	if (row->fragments)
		snprintf(out, size, "fragments");
	else if (row->proto < 0 && row->etype == 0x0806)
		snprintf(out, size, "ARP");
	else if (row->proto < 0 && row->etype >= 0)
		snprintf(out, size, "EtherType %04x", (unsigned)row->etype);
	else if (row->proto < 0)
		snprintf(out, size, "not IP");
	else if (row->proto == IPPROTO_TCP)
		name_tcp(out, size, row);
	else if (row->proto == IPPROTO_UDP)
		name_udp(out, size, row);
	else if (row->proto == IPPROTO_ICMP || row->proto == IPPROTO_ICMPV6)
		name_icmp(out, size, row);
	else
		snprintf(out, size, "IP protocol %d", row->proto);
}

/* Into its own place; where all are taken, the smallest gives way, since only the largest is of interest. */
static void count_kind(struct episode *e, const char *name, uint64_t packets)
{
	unsigned least = 0;

	for (unsigned i = 0; i < EPISODE_KINDS; i++) {
		if (!strcmp(e->kind[i].name, name) || !e->kind[i].packets) {
			snprintf(e->kind[i].name, sizeof(e->kind[i].name), "%s", name);
			e->kind[i].packets += packets;
			return;
		}
		if (e->kind[i].packets < e->kind[least].packets)
			least = i;
	}
	if (e->kind[least].packets < packets) {
		snprintf(e->kind[least].name, sizeof(e->kind[least].name), "%s", name);
		e->kind[least].packets = packets;
	}
}

const char *episode_kind(const struct episode *e)
{
	unsigned most = 0;

	for (unsigned i = 1; i < EPISODE_KINDS; i++)
		if (e->kind[i].packets > e->kind[most].packets)
			most = i;
	return e->kind[most].name;
}

/* ---- the open ones, by key -------------------------------------------------------------------------------------- */

struct key {
	const uint8_t *capture;
	unsigned side;
	int32_t proto;
	bool from;
	const char *host;
};

static uint32_t hash_of(const struct key *k)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (unsigned i = 0; i < 16; i++)
		h = (h ^ k->capture[i]) * 16777619u;
	h = (h ^ k->side) * 16777619u;
	h = (h ^ (uint32_t)k->proto) * 16777619u;
	h = (h ^ k->from) * 16777619u;
	for (const char *c = k->host; *c; c++)
		h = (h ^ (uint8_t)*c) * 16777619u;
	return h;
}

static bool same(const struct episode *e, const struct key *k)
{
	return e->side == k->side && e->proto == k->proto && e->from == k->from && !strcmp(e->host, k->host) &&
	       !memcmp(e->capture, k->capture, sizeof(e->capture));
}

static uint32_t *slot_of(const struct episodes *e, const struct key *k)
{
	size_t at = hash_of(k) & (e->slots - 1);

	while (e->slot[at] && !same(&e->list[e->slot[at] - 1], k))
		at = (at + 1) & (e->slots - 1);
	return &e->slot[at];
}

static int start(struct episodes *e)
{
	if (e->slot)
		return 0;
	e->slots = 4 * EPISODE_MOST;
	e->slot = calloc(e->slots, sizeof(*e->slot));
	return e->slot ? 0 : -ENOMEM;
}

static struct episode *new_episode(struct episodes *e, const struct key *k, const struct flood_row *row)
{
	struct episode *n;

	if (e->count == e->room) {
		size_t room = e->room ? 2 * e->room : 64;

		n = realloc(e->list, room * sizeof(*n));
		if (!n)
			return NULL;
		e->list = n;
		e->room = room;
	}
	n = &e->list[e->count++];
	*n = (struct episode){.side = k->side, .proto = k->proto, .from = k->from, .first = row->first, .last = row->last};
	memcpy(n->capture, k->capture, sizeof(n->capture));
	snprintf(n->host, sizeof(n->host), "%s", k->host);
	snprintf(n->sensor, sizeof(n->sensor), "%s", row->sensor);
	snprintf(n->iface, sizeof(n->iface), "%s", row->iface);
	snprintf(n->other, sizeof(n->other), "%s", k->from ? row->dst : row->src);
	n->epoch = row->epoch;
	return n;
}

/* ---- adding up ------------------------------------------------------------------------------------------------------ */

static double span(int64_t first, int64_t last)
{
	double seconds = (double)(last - first) / NS;

	return seconds > EPISODE_LEAST_S ? seconds : EPISODE_LEAST_S;
}

double episode_seconds(const struct episode *e)
{
	return span(e->first, e->last);
}

static void end_epoch(struct episode *e)
{
	double secs = span(e->epoch_first, e->epoch_last);

	if ((double)e->epoch_packets / secs > e->peak_packets)
		e->peak_packets = (double)e->epoch_packets / secs;
	if (8 * (double)e->epoch_bytes / secs > e->peak_bits)
		e->peak_bits = 8 * (double)e->epoch_bytes / secs;
	e->others = e->epoch_rows > e->others ? e->epoch_rows : e->others;
	e->epoch_packets = e->epoch_bytes = 0;
	e->epoch_rows = 0;
}

static void add_row(struct episode *e, const struct flood_row *row)
{
	char name[EPISODE_HOST];
	const char *other = e->from ? row->dst : row->src;
	bool vague;

	if (row->epoch != e->epoch)
		end_epoch(e);
	e->epoch = row->epoch;
	if (!e->epoch_rows || row->first < e->epoch_first)
		e->epoch_first = row->first;
	if (!e->epoch_rows || row->last > e->epoch_last)
		e->epoch_last = row->last;
	e->epoch_packets += row->packets;
	e->epoch_bytes += row->bytes;
	e->epoch_rows++;
	e->first = row->first < e->first ? row->first : e->first;
	e->last = row->last > e->last ? row->last : e->last;
	e->packets += row->packets;
	e->bytes += row->bytes;
	e->of[row->by] += row->packets;
	e->why |= row->why;
	if (strcmp(e->other, other) != 0)
		e->other[0] = '\0';
	name_kind(name, sizeof(name), row);
	/* Without ports or type it says no more than the protocol: that goes for nothing beside one that says more. */
	vague = row->by != FLOOD_BY_FLOW && (row->proto == IPPROTO_UDP || row->proto == IPPROTO_ICMP || row->proto == IPPROTO_ICMPV6);
	count_kind(e, name, vague && !row->fragments ? 1 : row->packets);
}

int episodes_add(struct episodes *e, const struct flood_row *row)
{
	struct key k = {.capture = row->capture, .side = row->side, .proto = row->proto, .host = ""};
	struct episode *to = NULL;
	uint32_t *slot;

	if (start(e))
		return -ENOMEM;
	k.from = row->by == FLOOD_BY_SOURCE;
	if (e->count < EPISODE_MOST)
		k.host = k.from ? row->src : row->by == FLOOD_BY_PROTOCOL ? "" : row->dst;
	slot = slot_of(e, &k);
	if (*slot)
		to = &e->list[*slot - 1];
	if (!to || row->first > to->last + EPISODE_GAP_S * NS) {
		to = new_episode(e, &k, row);
		if (!to)
			return -ENOMEM;
		*slot = (uint32_t)e->count;
	}
	add_row(to, row);
	return 0;
}

/* ---- scans ------------------------------------------------------------------------------------------------------------ */

/* Those that can be of one scan stand together: of one source that is whole, then by time. */
static int by_source(const void *a, const void *b)
{
	const struct episode *x = a, *y = b;
	int c = memcmp(x->capture, y->capture, sizeof(x->capture));

	if (!c)
		c = (x->side > y->side) - (x->side < y->side);
	if (!c)
		c = (x->proto > y->proto) - (x->proto < y->proto);
	if (!c)
		c = strcmp(x->from ? x->host : x->other, y->from ? y->host : y->other);
	if (!c)
		c = (x->first > y->first) - (x->first < y->first);
	return c;
}

static bool of_one_scan(const struct episode *a, const struct episode *b)
{
	const char *x = a->from ? a->host : a->other, *y = b->from ? b->host : b->other;

	return *x && !strcmp(x, y) && a->side == b->side && a->proto == b->proto &&
	       !memcmp(a->capture, b->capture, sizeof(a->capture)) && b->first <= a->last + EPISODE_GAP_S * NS;
}

static void join(struct episode *to, const struct episode *e)
{
	to->last = e->last > to->last ? e->last : to->last;
	to->packets += e->packets;
	to->bytes += e->bytes;
	for (unsigned i = 0; i < FLOOD_BYS; i++)
		to->of[i] += e->of[i];
	for (unsigned i = 0; i < EPISODE_KINDS; i++)
		if (e->kind[i].packets)
			count_kind(to, e->kind[i].name, e->kind[i].packets);
	to->peak_packets += e->peak_packets; /* at once, as far as can be known */
	to->peak_bits += e->peak_bits;
	to->others += e->others;
	to->why |= e->why;
}

static int by_time(const void *a, const void *b)
{
	const struct episode *x = a, *y = b;

	return x->first != y->first ? (x->first > y->first) - (x->first < y->first) : strcmp(x->host, y->host);
}

void episodes_end(struct episodes *e)
{
	size_t n = 0;

	for (size_t i = 0; i < e->count; i++)
		end_epoch(&e->list[i]);
	if (e->count)
		qsort(e->list, e->count, sizeof(*e->list), by_source);
	for (size_t i = 0, end; i < e->count; i = end) {
		int64_t last = e->list[i].last;
		struct episode reach = e->list[i];

		for (end = i + 1; end < e->count && of_one_scan(&reach, &e->list[end]); end++) {
			last = e->list[end].last > last ? e->list[end].last : last;
			reach.last = last;
		}
		if (end - i < EPISODE_SCAN) {
			memmove(&e->list[n], &e->list[i], (end - i) * sizeof(*e->list));
			n += end - i;
			continue;
		}
		for (size_t k = i + 1; k < end; k++)
			join(&reach, &e->list[k]);
		if (!reach.from)
			memcpy(reach.host, e->list[i].other, sizeof(reach.host));
		reach.from = true;
		reach.other[0] = '\0';
		e->list[n++] = reach;
	}
	e->count = n;
	if (n)
		qsort(e->list, n, sizeof(*e->list), by_time);
}

void episodes_free(struct episodes *e)
{
	free(e->list);
	free(e->slot);
	*e = (struct episodes){0};
}
