/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * raw.c - how many packets need `raw` beside their fields, and what a document takes: on the synthetic heavy-tailed mix with
 * all that a network carries besides (traffic.h), and on each Ethernet capture (XDP_RECORDER_PCAPS). Bytes are those of a
 * packet's document within the insert command. --smoke: the captures' sum only. Exit status 1 when the mix misses its aim.
 */
#include <bson/bson.h>
#include <stdio.h>

#include "recorder/encode/document.h"
#include "recorder/packet/fields.h"
#include "tests/bench/traffic.h"
#include "tests/unit/packets.h"

#define AIM 0.1 /* percent of the mix that may need raw */

static const struct batch_source source = {.capture = {1, 2, 3}, .sensor = "sensor-one", .iface = "enp3s0"};
static struct ends_table *ends;

/* Packets with `raw` by the first of these marks that they have; what has none of them is in the last. */
static const uint16_t reasons[] = {REC_MARK_TRUNCATED, REC_MARK_MALFORMED, REC_MARK_LONG, REC_MARK_UNKNOWN, 0};
enum { REASONS = sizeof(reasons) / sizeof(*reasons) };
struct share {
	uint64_t packets, raw, bytes;
	uint64_t because[REASONS];
};

static void count(struct share *s, const struct rec_head *record)
{
	static struct command_buffer command;
	struct batch batch = {.source = &source, .number = 1, .version = ENCODE_VERSION, .records = &record, .nrecords = 1};
	static uint64_t empty;
	struct packet p;
	unsigned reason = 0;
	uint32_t next;

	if (!empty) {
		document_command(&command, "packets_20260101", &batch, ends, 0, 0, NULL, 1 << 20, 10000, &next);
		empty = command.len;
	}
	if (document_command(&command, "packets_20260101", &batch, ends, 0, 1, NULL, 1 << 20, 10000, &next) != 1)
		abort();
	s->packets++;
	s->bytes += command.len - empty;
	packet_decode(&p, record, record_bytes(record));
	if (!packet_has(&p, PKT_RAW))
		return;
	s->raw++;
	while (reasons[reason] && !(p.marks & reasons[reason]))
		reason++;
	s->because[reason]++;
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void print(const char *name, const struct share *s)
{
	printf("%s packets %lu raw %.4f percent document %.1f bytes/packet\n", name, s->packets, percent(s->raw, s->packets),
	       s->packets ? (double)s->bytes / (double)s->packets : 0);
}

static void print_reasons(const char *name, const struct share *s)
{
	for (unsigned i = 0; i < REASONS; i++) {
		char mark[FIELD_TEXT_MAX];
		int length = (int)fields_marks(mark, reasons[i]);

		printf("%s.because.%.*s %.4f percent\n", name, reasons[i] ? length : 4, reasons[i] ? mark : "none",
		       percent(s->because[i], s->packets));
	}
}

static void captured(void *arg, const uint8_t *frame, uint32_t cap, uint32_t wire)
{
	struct share *s = arg;
	struct rec_slot slot;

	packets_record(&slot, frame, cap, wire, REC_RX);
	count(s, &slot.head);
}

static void add(struct share *sum, const struct share *s)
{
	sum->packets += s->packets;
	sum->raw += s->raw;
	sum->bytes += s->bytes;
	for (unsigned i = 0; i < REASONS; i++)
		sum->because[i] += s->because[i];
}

/* Each file under `directory`; those without an Ethernet frame are left out. */
static void captures(const char *directory, size_t root, bool each, struct share *sum)
{
	struct dirent **names;
	int n = scandir(directory, &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		struct share s = {0};
		char path[4096];
		struct stat st;

		snprintf(path, sizeof(path), "%s/%s", directory, names[i]->d_name);
		if (names[i]->d_name[0] != '.' && stat(path, &st) == 0) {
			if (S_ISDIR(st.st_mode))
				captures(path, root, each, sum);
			else
				packets_file(path, captured, &s);
		}
		if (s.packets && each)
			print(path + root + 1, &s);
		add(sum, &s);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

int main(int argc, char **argv)
{
	static const struct ends_network home[] = {{.address = {10}, .family = 4, .prefix = 8},
						   {.address = {0x20, 0x01, 0x0d, 0xb8}, .family = 6, .prefix = 32}};
	bool smoke = argc == 2 && !strcmp(argv[1], "--smoke");
	struct share mix = {0}, sum = {0};
	struct trace t;

	if (argc > 1 && !smoke) {
		fprintf(stderr, "usage: %s [--smoke]\n", argv[0]);
		return 2;
	}
	ends = ends_table_new(NULL, 0, NULL, 0, home, 2);
	if (!ends)
		return 1;
	printf("# mix: %d packets, " TRAFFIC_TEXT "; one train in %d of another kind (ARP, NDP, ICMP errors, fragments, tunnels, ESP, "
	       "SCTP, PPPoE, MPLS...), seldom IGMP, VRRP, OSPF, LLDP, STP and damaged packets\n",
	       PACKETS, INSIDE, OUTSIDE, LIVE, FLOW_MAX, TRAFFIC_REST_EVERY);
	trace_init(&t);
	traffic_flows(&t, true);
	for (uint32_t i = 0; i < t.n; i++)
		count(&mix, t.records[i]);
	trace_free(&t);
	if (packets_captures())
		captures(packets_captures(), strlen(packets_captures()), !smoke, &sum);
	else
		printf("# no captures: set XDP_RECORDER_PCAPS\n");
	ends_table_free(ends);
	print("raw.mix", &mix);
	print_reasons("raw.mix", &mix);
	print("raw.captures", &sum);
	print_reasons("raw.captures", &sum);
	printf("raw_share_captures %.4f percent\n", percent(sum.raw, sum.packets));
	printf("raw_share %.4f percent\n", percent(mix.raw, mix.packets));
	return percent(mix.raw, mix.packets) >= AIM;
}
