/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The reader of capture files: against libpcap on every capture there is, and against files made here byte by byte, of
 * which it is known what is in them.
 */
#include "recorder/source/savefile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pcap/pcap.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#include "tests/unit/savefile_make.h"

/* What came of reading one file with both. */
struct tally {
	unsigned files, packets, both_refuse, cut_off;
};

static void compare_packet(const char *path, pcap_t *pcap, const struct pcap_pkthdr *h, const u_char *bytes,
			   const struct savefile_packet *p)
{
	uint32_t snap = (uint32_t)pcap_snapshot(pcap);
	uint32_t cap = p->cap_len < snap ? p->cap_len : snap; /* libpcap cuts to the snapshot length, we keep what is there */
	uint32_t len = h->len > p->cap_len ? h->len : p->cap_len;
	/* libpcap's seconds of a pcap file are signed 32 bits, the format's are not; ns out of range: see savefile_pcap.c. */
	uint32_t sec = (uint32_t)h->ts.tv_sec;
	int64_t wall = (int64_t)sec * 1000000000 + (int32_t)(uint32_t)h->ts.tv_usec;

	if (h->caplen != cap || p->wire_len != len || (p->has_time && p->wall != wall) || memcmp(bytes, p->bytes, cap)) {
		print_error("%s: packet at byte %llu: captured %u/%u, length %u/%u, time %lld/%lld\n", path,
			    (unsigned long long)p->offset, h->caplen, p->cap_len, h->len, p->wire_len, (long long)wall,
			    (long long)p->wall);
		fail();
	}
}

/* Reads one file with both to its end. */
static void compare_file(const char *path, struct tally *t)
{
	char said[PCAP_ERRBUF_SIZE] = "";
	pcap_t *pcap = pcap_open_offline_with_tstamp_precision(path, PCAP_TSTAMP_PRECISION_NANO, said);
	struct savefile *file = NULL;
	struct savefile_error error = { "" };
	struct savefile_packet p;
	struct pcap_pkthdr *h;
	const u_char *bytes;
	int fd = open(path, O_RDONLY | O_CLOEXEC), theirs, ours;

	assert_true(fd >= 0);
	ours = savefile_open(&file, fd, path, &error);
	if (!pcap != !!ours) {
		print_error("%s: libpcap %s, we %s\n", path, pcap ? "opens it" : said, ours ? error.text : "open it");
		fail();
	}
	t->files++;
	if (ours) {
		assert_non_null(strstr(error.text, path));
		t->both_refuse++;
		return;
	}
	do {
		theirs = pcap_next_ex(pcap, &h, &bytes);
		ours = savefile_next(file, &p, &error);
		if (theirs == 1 && ours == 1) {
			compare_packet(path, pcap, h, bytes, &p);
			t->packets++;
		}
	} while (theirs == 1 && ours == 1);
	if ((theirs == PCAP_ERROR_BREAK) != (ours == 0)) {
		print_error("%s: libpcap ends with %d '%s', we with %d '%s'\n", path, theirs, pcap_geterr(pcap), ours, error.text);
		fail();
	}
	if (ours == -ENODATA)
		t->cut_off++;
	else if (ours < 0)
		print_message("%s: libpcap '%s', we '%s'\n", path, pcap_geterr(pcap), error.text);
	pcap_close(pcap);
	savefile_close(file);
}

static void compare_tree(const char *dir, struct tally *t)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[4096];

	if (!d)
		return;
	while ((e = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (e->d_name[0] != '.' && e->d_type == DT_DIR)
			compare_tree(path, t);
		else if (strstr(e->d_name, ".pcap"))
			compare_file(path, t);
	}
	closedir(d);
}

static void as_libpcap_reads_all_captures(void **state)
{
	const char *dir = getenv("XDP_RECORDER_PCAPS"), *source = getenv("XDP_RECORDER_SOURCE");
	struct tally t = { 0 };
	char path[4096];

	(void)state;
	snprintf(path, sizeof(path), "%s/../shared/pcaps", source ? source : ".");
	compare_tree(dir ? dir : path, &t);
	print_message("files %u packets %u refused by both %u cut off %u\n", t.files, t.packets, t.both_refuse, t.cut_off);
	if (!t.files)
		skip();
	assert_true(t.packets > t.files);
}

static struct made made;

/* A descriptor of the bytes; through a pipe fed by a thread when `pipe` (sizes beyond the pipe's own buffer too). */
struct feed {
	int fd;
	const uint8_t *bytes;
	size_t len;
};

static void *feed(void *arg)
{
	struct feed *f = arg;

	for (size_t at = 0; at < f->len;) {
		/* Small writes: the reader has to put heads together. */
		ssize_t n = write(f->fd, f->bytes + at, f->len - at < 97 ? f->len - at : 97);

		if (n < 0)
			break;
		at += (size_t)n;
	}
	close(f->fd);
	return NULL;
}

static int memory(const void *bytes, size_t len)
{
	int fd = memfd_create("savefile_test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), (ssize_t)len);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static struct savefile_error error;

static struct savefile *opened(void)
{
	struct savefile *file = NULL;

	if (savefile_open(&file, memory(made.bytes, made.len), "made", &error)) {
		print_error("%s\n", error.text);
		fail();
	}
	return file;
}

static struct savefile_packet next(struct savefile *file)
{
	struct savefile_packet p = { 0 };

	if (savefile_next(file, &p, &error) != 1) {
		print_error("no packet: %s\n", error.text);
		fail();
	}
	return p;
}

static void ends(struct savefile *file, int with, const char *text)
{
	struct savefile_packet p;

	error.text[0] = '\0';
	for (int twice = 0; twice < 2; twice++) {
		assert_int_equal(savefile_next(file, &p, &error), with);
		if (text && !strstr(error.text, text)) {
			print_error("'%s' does not say '%s'\n", error.text, text);
			fail();
		}
	}
	savefile_close(file);
}

static void refused(int with, const char *text)
{
	struct savefile *file = NULL;

	assert_int_equal(savefile_open(&file, memory(made.bytes, made.len), "made", &error), with);
	assert_null(file);
	if (!strstr(error.text, text)) {
		print_error("'%s' does not say '%s'\n", error.text, text);
		fail();
	}
}

static void begin(bool big)
{
	memset(&made, 0, sizeof(made));
	made.big = big;
}

static void pcap_in_all_its_forms(void **state)
{
	static const struct {
		uint32_t magic;
		unsigned pad;
		int64_t unit;
	} form[] = { { 0xa1b2c3d4, 0, 1000 }, { 0xa1b23c4d, 0, 1 }, { 0xa1b2cd34, 8, 1000 } };

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		struct savefile *file;
		struct savefile_packet p;

		begin(i & 1);
		made_head(&made, form[i / 2].magic, 4, 96, 1);
		made_record(&made, 1, 2, 60, 1500, form[i / 2].pad);
		made_record(&made, UINT32_MAX, 999999, 0, 0, form[i / 2].pad);
		made_record(&made, 3, 0, 5, 4, form[i / 2].pad);
		made_record(&made, 4, 0, 5, 0x80000000, form[i / 2].pad);
		file = opened();
		assert_string_equal(savefile_format(file), "pcap");
		assert_int_equal(savefile_interfaces(file), 1);
		assert_string_equal(savefile_interface(file, 0)->name, "if0");
		assert_int_equal(savefile_interface(file, 0)->snaplen, 96);
		assert_int_equal(savefile_interface(file, 0)->linktype, SAVEFILE_ETHERNET);
		assert_null(savefile_interface(file, 1));
		p = next(file);
		assert_int_equal(p.wall, 1000000000 + 2 * form[i / 2].unit);
		assert_true(p.has_time && !p.time_changed);
		assert_int_equal(p.cap_len, 60);
		assert_int_equal(p.wire_len, 1500);
		assert_int_equal(p.offset, 24);
		assert_int_equal(p.bytes[0], 1);
		assert_int_equal(p.bytes[59], 60);
		p = next(file);
		assert_int_equal(p.wall, UINT32_MAX * 1000000000ll + 999999 * form[i / 2].unit);
		assert_int_equal(p.cap_len, 0);
		p = next(file);
		assert_int_equal(p.wire_len, 5); /* never below what is there */
		p = next(file);
		assert_int_equal(p.wire_len, INT32_MAX);
		assert_int_equal(savefile_read_bytes(file), made.len);
		ends(file, 0, NULL);
	}
}

static void fractions_out_of_range_as_tshark_takes_them(void **state)
{
	/* tshark 4.0.17 -T fields -e frame.time_epoch on these very files; its ns are a signed 32-bit number. */
	static const struct {
		uint32_t magic, fraction;
		int64_t ns;
		bool changed;
	} stamp[] = {
		{ 0xa1b2c3d4, 999999, 999999000, false },      { 0xa1b2c3d4, 1000000, 1000000000, true },
		{ 0xa1b2c3d4, 1500000, 1500000000, true },     { 0xa1b2c3d4, 5000000, 705032704, true },
		{ 0xa1b2c3d4, 0x7fffffff, -1000, true },       { 0xa1b2c3d4, 0xfffffc18, -1000000, true },
		{ 0xa1b23c4d, 999999999, 999999999, false },   { 0xa1b23c4d, 1000000000, 1000000000, true },
		{ 0xa1b23c4d, 0x7fffffff, 2147483647, true },  { 0xa1b23c4d, 0x80000000, -2147483648ll, true },
		{ 0xa1b23c4d, 0xffffffff, -1, true },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(stamp) / sizeof(stamp[0]); i++) {
		struct savefile *file;
		struct savefile_packet p;

		begin(false);
		made_head(&made, stamp[i].magic, 4, 0, 1);
		made_record(&made, 1000, stamp[i].fraction, 4, 4, 0);
		file = opened();
		p = next(file);
		assert_int_equal(p.wall, 1000000000000ll + stamp[i].ns);
		assert_int_equal(p.time_changed, stamp[i].changed);
		ends(file, 0, NULL);
	}
}

static void pcap_older_versions_turn_the_lengths(void **state)
{
	struct savefile *file;
	struct savefile_packet p;

	(void)state;
	for (uint16_t minor = 2; minor <= 4; minor++) {
		begin(false);
		made_head(&made, 0xa1b2c3d4, minor, 0, 1);
		made_record(&made, 1, 2, 60, 60, 0);
		if (minor < 4) {
			memcpy(made.bytes + 24 + 8, &(uint32_t){ 1500 }, 4);
			memcpy(made.bytes + 24 + 12, &(uint32_t){ 60 }, 4);
		}
		file = opened();
		p = next(file);
		assert_int_equal(p.cap_len, 60);
		assert_int_equal(p.wire_len, minor < 4 ? 1500 : 60);
		ends(file, 0, NULL);
	}
}

static void the_check_sequence_is_not_the_packet(void **state)
{
	struct savefile *file;
	struct savefile_packet p;

	(void)state;
	begin(true);
	made_head(&made, 0xa1b2c3d4, 4, 96, 0x24000001); /* 2 words, said to be there */
	made_record(&made, 1, 0, 64, 64, 0);
	made_record(&made, 1, 0, 96, 1518, 0);
	made_record(&made, 1, 0, 96, 98, 0);
	made_record(&made, 1, 0, 3, 3, 0);
	file = opened();
	p = next(file);
	assert_int_equal(p.cap_len, 60);
	assert_int_equal(p.wire_len, 60);
	p = next(file);
	assert_int_equal(p.cap_len, 96);
	assert_int_equal(p.wire_len, 1514);
	p = next(file);
	assert_int_equal(p.cap_len, 94);
	assert_int_equal(p.wire_len, 94);
	p = next(file);
	assert_int_equal(p.wire_len, 0);
	ends(file, 0, NULL);

	begin(false);
	made_head(&made, 0xa1b2c3d4, 4, 96, 0x20000001); /* a number, but not said to be there */
	made_record(&made, 1, 0, 64, 64, 0);
	file = opened();
	assert_int_equal(next(file).cap_len, 64);
	ends(file, 0, NULL);

	begin(false);
	made_section(&made);
	made_interface(&made, 1, 0, NULL, -1, 0, 4);
	made_enhanced(&made, 0, 1, 64, 64, -1);
	made_enhanced(&made, 0, 1, 64, 64, 2 << 5); /* the packet's own flags win */
	file = opened();
	assert_int_equal(next(file).wire_len, 60);
	assert_int_equal(next(file).wire_len, 62);
	ends(file, 0, NULL);
}

static void pcapng_sections_and_interfaces(void **state)
{
	struct savefile *file;
	struct savefile_packet p;

	(void)state;
	for (int first = 0; first < 2; first++) {
		begin(first);
		made_section(&made);
		made_interface(&made, 1, 0, "eth0", 9, 0, -1);
		made_interface(&made, 105, 100, "wl\x01\xffn\xc3\xa4", -1, 0, -1);
		made_enhanced(&made, 1, 5, 8, 8, 1);
		made_end(&made, made_begin(&made, 0x80000bad)); /* unknown */
		made_enhanced(&made, 0, 7, 7, 9, 2);
		made.big = !first;
		made_section(&made);
		made_interface(&made, 1, 6, NULL, -1, 10, -1);
		made_old(&made, 0, 3, 6, 60);
		made_simple(&made, 6, 60);
		made_enhanced(&made, 0, 0x100000002, 1, 1, 3);
		file = opened();
		assert_string_equal(savefile_format(file), "pcapng");
		p = next(file);
		assert_int_equal(p.interface, 1);
		assert_int_equal(p.wall, 5000);
		assert_int_equal(p.direction, 1);
		assert_string_equal(savefile_interface(file, 0)->name, "eth0");
		assert_string_equal(savefile_interface(file, 1)->name, "wl??n\xc3\xa4");
		assert_int_equal(savefile_interface(file, 1)->linktype, 105);
		p = next(file);
		assert_int_equal(p.interface, 0);
		assert_int_equal(p.wall, 7);
		assert_int_equal(p.direction, 2);
		assert_int_equal(p.cap_len, 7);
		assert_int_equal(p.wire_len, 9);
		assert_int_equal(p.bytes[6], 7);
		assert_int_equal(savefile_interfaces(file), 2);
		p = next(file);
		assert_int_equal(p.interface, 2);
		assert_int_equal(p.wall, 10000003000ll);
		assert_int_equal(p.wire_len, 60);
		assert_string_equal(savefile_interface(file, 2)->name, "if2");
		p = next(file);
		assert_false(p.has_time);
		assert_int_equal(p.wall, 10000003000ll);
		assert_int_equal(p.cap_len, 6);
		assert_int_equal(p.wire_len, 60);
		p = next(file);
		assert_int_equal(p.wall, 10000000000ll + 4294967298000ll);
		assert_int_equal(p.direction, 0);
		ends(file, 0, NULL);
	}
}

static void all_units_of_time(void **state)
{
	static const struct {
		int tsresol;
		int64_t offset;
		uint64_t stamp;
		int64_t wall;
		bool changed;
	} time[] = {
		{ 0, 0, 1700000000, 1700000000000000000, false },
		{ 0, 0, UINT64_MAX, INT64_MAX, true },
		{ 6, 0, 1700000000123456, 1700000000123456000, false },
		{ 9, 0, 1700000000123456789, 1700000000123456789, false },
		{ 9, 0, INT64_MAX, INT64_MAX, false },
		{ 9, 0, 1ull << 63, INT64_MAX, true },
		{ 12, 0, 18000000000123456789ull, 18000000000123456, false },
		{ 19, 0, UINT64_MAX, 1844674407, false },
		{ 28, 0, UINT64_MAX, 1, false },
		{ 29, 0, UINT64_MAX, 0, false },
		{ 127, 0, UINT64_MAX, 0, false },
		{ 127, 5, UINT64_MAX, 5000000000, false },
		{ 0x80, 0, 7, 7000000000, false },
		{ 0x80 | 10, -5, 1000, -4023437500, false },
		{ 0x80 | 32, 0, 1700000000ull << 32 | 1u << 31, 1700000000500000000, false },
		{ 0x80 | 64, 0, 1ull << 63, 500000000, false },
		{ 0x80 | 93, 0, UINT64_MAX, 1, false },
		{ 0x80 | 94, 0, UINT64_MAX, 0, false },
		{ 0x80 | 127, 0, UINT64_MAX, 0, false },
		{ 9, INT64_MAX, UINT64_MAX, INT64_MAX, true },
		{ 9, INT64_MIN, 0, INT64_MIN, true },
		{ 9, -9223372036, 0, -9223372036000000000, false },
	};
	struct savefile *file;
	struct savefile_packet p;

	(void)state;
	begin(false);
	made_section(&made);
	for (unsigned i = 0; i < sizeof(time) / sizeof(time[0]); i++) {
		made_interface(&made, 1, 0, NULL, time[i].tsresol, time[i].offset, -1);
		made_enhanced(&made, i, time[i].stamp, 4, 4, -1);
	}
	file = opened();
	for (unsigned i = 0; i < sizeof(time) / sizeof(time[0]); i++) {
		p = next(file);
		if (p.wall != time[i].wall || p.time_changed != time[i].changed) {
			print_error("resolution %d stamp %llu: %lld %d\n", time[i].tsresol, (unsigned long long)time[i].stamp,
				    (long long)p.wall, p.time_changed);
			fail();
		}
	}
	ends(file, 0, NULL);
}

/* The file's bytes in two members, the second from `half` on, with what may stand behind or before. */
static size_t gzip_members(uint8_t *to, size_t room, size_t half)
{
	size_t done = 0;

	for (int member = 0; member < 2; member++) {
		z_stream z = { .next_in = made.bytes + (member ? half : 0),
			       .avail_in = (uInt)(member ? made.len - half : half),
			       .next_out = to + done,
			       .avail_out = (uInt)(room - done) };

		assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
		assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
		done = room - z.avail_out;
		deflateEnd(&z);
	}
	return done;
}

static size_t zstd_frames(uint8_t *to, size_t room, size_t half)
{
	static const uint8_t skippable[] = { 0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c' };
	size_t done = sizeof(skippable), n;

	memcpy(to, skippable, sizeof(skippable));
	n = ZSTD_compress(to + done, room - done, made.bytes, half, 3);
	assert_false(ZSTD_isError(n));
	done += n;
	n = ZSTD_compress(to + done, room - done, made.bytes + half, made.len - half, 3);
	assert_false(ZSTD_isError(n));
	return done + n;
}

static void many_packets(void)
{
	begin(false);
	made_head(&made, 0xa1b2c3d4, 4, 0, 1);
	for (uint32_t i = 0; i < 500; i++)
		made_record(&made, i, i, 20 + i % 80, 1500, 0);
}

/* Reads it from a pipe; gives the packets. */
static unsigned through_pipe(const uint8_t *bytes, size_t len, int end, const char *format, const char *text)
{
	struct savefile *file;
	struct savefile_packet p;
	struct feed f = { .bytes = bytes, .len = len };
	unsigned packets = 0;
	pthread_t thread;
	int fds[2], rc;

	assert_int_equal(pipe(fds), 0);
	f.fd = fds[1];
	assert_int_equal(pthread_create(&thread, NULL, feed, &f), 0);
	rc = savefile_open(&file, fds[0], "pipe", &error);
	if (rc)
		print_error("%s\n", error.text);
	assert_int_equal(rc, 0);
	assert_string_equal(savefile_format(file), format);
	while ((rc = savefile_next(file, &p, &error)) == 1) {
		assert_int_equal(p.wall, packets * 1000001000ll);
		assert_int_equal(p.cap_len, 20 + packets % 80);
		assert_int_equal(p.bytes[p.cap_len - 1], (uint8_t)(packets + p.cap_len - 1));
		packets++;
	}
	if (rc != end || (text && !strstr(error.text, text))) {
		print_error("%d '%s'\n", rc, rc ? error.text : "");
		fail();
	}
	if (!rc)
		assert_int_equal(savefile_read_bytes(file), len);
	savefile_close(file);
	pthread_join(thread, NULL);
	return packets;
}

static void compressed_through_a_pipe(void **state)
{
	static uint8_t packed[1 << 16];
	size_t n;

	(void)state;
	many_packets();
	assert_int_equal(through_pipe(made.bytes, made.len, 0, "pcap", NULL), 500);
	n = gzip_members(packed, sizeof(packed), 777);
	assert_int_equal(through_pipe(packed, n, 0, "pcap (gzip)", NULL), 500);
	memset(packed + n, 0, 512);
	assert_int_equal(through_pipe(packed, n + 512, 0, "pcap (gzip)", NULL), 500);
	packed[n] = 'x';
	assert_int_equal(through_pipe(packed, n + 1, -EBADMSG, "pcap (gzip)", "not another gzip member"), 500);
	assert_in_range(through_pipe(packed, n - 9, -ENODATA, "pcap (gzip)", "cut off"), 1, 500);
	assert_in_range(through_pipe(packed, n / 2, -ENODATA, "pcap (gzip)", "cut off"), 1, 499);
	packed[n - 8] ^= 1; /* its check sum */
	assert_in_range(through_pipe(packed, n, -EBADMSG, "pcap (gzip)", "gzip data is damaged at byte"), 1, 500);
	n = zstd_frames(packed, sizeof(packed), 777);
	assert_int_equal(through_pipe(packed, n, 0, "pcap (zstd)", NULL), 500);
	assert_in_range(through_pipe(packed, n - 3, -ENODATA, "pcap (zstd)", "cut off"), 1, 500);
	packed[n] = 'x';
	packed[n + 1] = packed[n + 2] = packed[n + 3] = packed[n + 4] = 'y';
	assert_int_equal(through_pipe(packed, n + 5, -EBADMSG, "pcap (zstd)", "zstd data is damaged at byte"), 500);
}

static void what_cannot_be_a_capture(void **state)
{
	(void)state;
	begin(false);
	refused(-EBADMSG, "made: is empty");
	made_bytes(&made, "abc", 3);
	refused(-EBADMSG, "is 3 bytes long");
	made_bytes(&made, "defghijklmnopqrstuvwxyz", 23);
	refused(-EBADMSG, "begins with 61 62 63 64");
	begin(false);
	made_head(&made, 0xa1b2c3d4, 4, 0, 1);
	made.bytes[4] = 3;
	refused(-EBADMSG, "at byte 4: pcap version 3.4; 2.4 is read");
	made.bytes[4] = 2;
	made.len = 23;
	refused(-EBADMSG, "ends at byte 23, in the middle of the file header");
	begin(false);
	made_section(&made);
	made.bytes[8] = 0;
	refused(-EBADMSG, "at byte 8: the byte order mark is 00 3c 2b 1a");
	begin(false);
	made_section(&made);
	made.bytes[12] = 2;
	refused(-EBADMSG, "at byte 12: pcapng version 2.0");
	begin(false);
	made_section(&made);
	made.bytes[4] = 24;
	refused(-EBADMSG, "at byte 0: a block of 24 bytes; its length is a multiple of 4 from 28");
}

static void damaged_pcap(void **state)
{
	struct savefile *file;

	(void)state;
	begin(false);
	made_head(&made, 0xa1b2c3d4, 4, 0, 1);
	made_record(&made, 1, 2, 60, 60, 0);
	made_record(&made, 1, 2, 60, 60, 0);
	for (size_t len = 24 + 76 + 1; len < 24 + 2 * 76; len++) {
		made.len = len;
		file = opened();
		next(file);
		ends(file, -ENODATA, "at byte 100");
	}
	made.len = 24 + 2 * 76;
	memcpy(made.bytes + 100 + 8, &(uint32_t){ SAVEFILE_BLOCK_MAX + 1 }, 4);
	file = opened();
	next(file);
	ends(file, -EBADMSG, "at byte 108: a packet of 16777217 captured bytes; at most 16777216");
	memcpy(made.bytes + 100 + 8, &(uint32_t){ SAVEFILE_BLOCK_MAX }, 4);
	file = opened();
	next(file);
	ends(file, -ENODATA, "ends at byte 176, in the middle of the packet at byte 100");
}

/* A good file with one 32-bit word at `at` changed must end, behind `packets` packets, with `text`. */
static void changed(size_t at, uint32_t value, unsigned packets, const char *text)
{
	struct savefile *file;
	uint32_t was;

	memcpy(&was, made.bytes + at, 4);
	memcpy(made.bytes + at, &value, 4);
	file = opened();
	for (unsigned i = 0; i < packets; i++)
		next(file);
	ends(file, -EBADMSG, text);
	memcpy(made.bytes + at, &was, 4);
}

static void damaged_pcapng(void **state)
{
	size_t interface, packet, simple;
	struct savefile *file;

	(void)state;
	begin(false);
	made_section(&made);
	interface = made.len; /* 28 */
	made_interface(&made, 1, 0, "eth0", 9, 1, 4);
	packet = made.len;
	made_enhanced(&made, 0, 1, 10, 10, 1);
	simple = made.len;
	made_simple(&made, 8, 8);
	file = opened();
	next(file);
	next(file);
	ends(file, 0, NULL);

	changed(interface + 4, 19, 0, "at byte 28: a block of 19 bytes; its length is a multiple of 4 from 12 to 16777216");
	changed(interface + 4, 0xfffffffc, 0, "at byte 28: a block of 4294967292 bytes");
	changed(packet - 4, 8, 0, "at byte 28: the block's length is 60, at its end (byte 84) it is 8");
	changed(interface + 16, 2 | 100u << 16, 0, "at byte 44: option 2 is 100 bytes long, its block has room for 36");
	changed(interface + 24, 9 | 2u << 16, 0, "at byte 52: if_tsresol is 2 bytes long, not 1");
	changed(interface + 32, 13 | 0u << 16, 0, "at byte 60: if_fcslen is 0 bytes long, not 1");
	changed(interface + 40, 14 | 4u << 16, 0, "at byte 68: if_tsoffset is 4 bytes long, not 8");
	changed(packet + 8, 1, 0, "at byte 88: a packet of interface 1; its section has described 1 so far");
	changed(packet + 20, 21, 0, "at byte 88: a packet of 21 captured bytes; its block has room for 20");
	changed(packet + 20, 0xffffffff, 0, "at byte 88: a packet of 4294967295 captured bytes");
	changed(packet + 40, 2 | 3u << 16, 0, "the flags option is 3 bytes long, not 4");
	changed(simple + 8, 9, 1, "a packet of 9 captured bytes; its block has room for 8");
	for (size_t len = packet + 1; len < simple; len++) {
		made.len = len;
		file = opened();
		ends(file, -ENODATA, "in the middle of the block at byte 88");
	}
	begin(false);
	made_section(&made);
	made_simple(&made, 8, 8);
	file = opened();
	ends(file, -EBADMSG, "at byte 28: a packet of interface 0; its section has described 0 so far");
}

static void interfaces_are_bounded(void **state)
{
	static const uint8_t description[20] = { 1, 0, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 20 };
	int fd;
	struct savefile *file = NULL;

	(void)state;
	begin(false);
	made_section(&made);
	fd = memory(made.bytes, made.len);
	assert_int_equal(lseek(fd, 0, SEEK_END), 28);
	for (unsigned i = 0; i < 65537; i++)
		assert_int_equal(write(fd, description, 20), 20);
	lseek(fd, 0, SEEK_SET);
	assert_int_equal(savefile_open(&file, fd, "made", &error), 0);
	ends(file, -EBADMSG, "more than 65536 interfaces");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_libpcap_reads_all_captures),
		cmocka_unit_test(pcap_in_all_its_forms),
		cmocka_unit_test(fractions_out_of_range_as_tshark_takes_them),
		cmocka_unit_test(pcap_older_versions_turn_the_lengths),
		cmocka_unit_test(the_check_sequence_is_not_the_packet),
		cmocka_unit_test(pcapng_sections_and_interfaces),
		cmocka_unit_test(all_units_of_time),
		cmocka_unit_test(compressed_through_a_pipe),
		cmocka_unit_test(what_cannot_be_a_capture),
		cmocka_unit_test(damaged_pcap),
		cmocka_unit_test(damaged_pcapng),
		cmocka_unit_test(interfaces_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
