/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * spool.c - what a packet costs on its way to the disk beside its way to the database, on the heavy-tailed mix in
 * batches of 65,536: CPU of forming buckets (the direct way), of packing into the spool, of reading it back; bytes; and
 * with the disk's time, how many MB and packets a second a thread keeps. The directory is $TMPDIR or /var/tmp, a disk
 * and no tmpfs where that can be told. Prints `NAME figure unit`.
 *
 * usage: spool [--smoke]
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/encode/bucket.h"
#include "recorder/ledger/canonical.h"
#include "recorder/sink/spool_internal.h"
#include "tests/bench/traffic.h"

#define BATCH_PACKETS 65536u
#define COMMAND_BYTES 1000000u

static const struct batch_source source = {.capture = {1, 2, 3}, .sensor = "sensor-one", .iface = "enp3s0", .cpus = 4};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

static void direct(struct bucket_maker *maker, const struct ends_table *ends, struct batch *batch)
{
	static struct command_buffer command;
	struct bucket_form form = {.span_s = 31536000, .version = 3, .raw = true};
	int n = bucket_plan(maker, batch, ends, &form);

	if (n < 1)
		abort();
	for (uint32_t first = 0, next; first < (uint32_t)n; first = next)
		if (bucket_command(maker, &command, "packets_20260101", first, COMMAND_BYTES, 10000, &next) < 1)
			abort();
}

static uint64_t read_back(struct spool *s, unsigned batches)
{
	uint64_t begin = now_ns(CLOCK_THREAD_CPUTIME_ID);

	for (unsigned i = 0; i < batches; i++) {
		struct spool_record record;
		struct spool_batch kept;
		uint8_t *raw;
		int err;

		if (spool_store_next(s->store, &record) != 1 ||
		    !(raw = spool_unpack(&record.head, record.payload, &err)) ||
		    spool_batch_unpack(&kept, raw, record.head.raw))
			abort();
		spool_batch_drop(&kept);
		free(raw);
	}
	begin = now_ns(CLOCK_THREAD_CPUTIME_ID) - begin;
	spool_store_commit(s->store);
	return begin;
}

int main(int argc, char **argv)
{
	const unsigned rounds = argc > 1 && !strcmp(argv[1], "--smoke") ? 1 : 5;
	const char *tmp = getenv("TMPDIR");
	struct bucket_maker *maker = bucket_maker_new();
	struct ends_table *ends = ends_table_new(NULL, 0, NULL, 0, NULL, 0);
	struct spool_store_options options = {.bytes = (uint64_t)4 << 30};
	struct batch_range range = {0};
	struct batch_second second = {0};
	struct spool s = {0};
	struct spool_store_counts counts;
	struct trace trace;
	char place[128];
	uint64_t cpu[3] = {0}, wall = 0, packets = 0, raw = 0;

	log_set_level(LOG_ERROR);
	snprintf(place, sizeof(place), "%s/spool-bench-XXXXXX", tmp ? tmp : "/var/tmp");
	if (!maker || !ends || !mkdtemp(place))
		return 1;
	options.dir = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	options.name = place;
	if (options.dir < 0 || spool_store_open(&s.store, &options))
		return 1;
	trace_init(&trace);
	traffic_flows(&trace, false);
	for (unsigned round = 0; round < rounds; round++) {
		unsigned batches = 0;

		for (uint32_t at = 0; at + BATCH_PACKETS <= trace.n; at += BATCH_PACKETS, batches++) {
			struct batch batch = {.source = &source,
					      .number = batches + 1,
					      .day = 20260101,
					      .mode = 2,
					      .version = 2,
					      .span_s = 3600,
					      .form = 3,
					      .raw = true,
					      .ranges = &range,
					      .nranges = 1,
					      .seconds = &second,
					      .nseconds = 1,
					      .records = trace.records + at,
					      .nrecords = BATCH_PACKETS};
			uint64_t t[3] = {now_ns(CLOCK_THREAD_CPUTIME_ID)}, w;

			batch.pair.wall = (int64_t)1767225600 * (int64_t)NS_PER_SEC;
			direct(maker, ends, &batch);
			t[1] = now_ns(CLOCK_THREAD_CPUTIME_ID);
			w = now_ns(CLOCK_MONOTONIC);
			if (spool_put_batch(&s, &batch, false))
				return 1;
			wall += now_ns(CLOCK_MONOTONIC) - w;
			t[2] = now_ns(CLOCK_THREAD_CPUTIME_ID);
			cpu[0] += t[1] - t[0];
			cpu[1] += t[2] - t[1];
			packets += BATCH_PACKETS;
			raw += spool_batch_size(&batch);
		}
		cpu[2] += read_back(&s, batches);
	}
	spool_store_counts(s.store, &counts);
	printf("spool.direct_cpu %.0f ns/packet\nspool.spool_cpu %.0f ns/packet\nspool.of_direct %.2f times\n",
	       (double)cpu[0] / (double)packets, (double)cpu[1] / (double)packets, (double)cpu[1] / (double)cpu[0]);
	printf("spool.read_cpu %.0f ns/packet\nspool.records %.1f bytes/packet\nspool.bytes %.1f bytes/packet\n",
	       (double)cpu[2] / (double)packets, (double)raw / (double)packets,
	       (double)counts.appended_bytes / (double)packets);
	printf("spool.rate %.0f packets/s\nspool.throughput %.0f MB/s\n", (double)packets * 1e9 / (double)wall,
	       (double)raw * 1e3 / (double)wall);
	spool_scratch_free(&s);
	spool_store_close(s.store);
	trace_free(&trace);
	bucket_maker_free(maker);
	ends_table_free(ends);
	return rmdir(place) ? 1 : 0;
}
