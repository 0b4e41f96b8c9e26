/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The blocks that we write: as libpcap and our own reader read them, and as they are read back. */
#include "recorder/encode/pcapng.h"

#include <pcap/pcap.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "bpf/abi.h"
#include "recorder/source/savefile.h"

static uint8_t file[256 << 10];
static size_t length;

static uint8_t packet_bytes[REC_CAP_MAX];

static void begin(void)
{
	const struct pcapng_interface interface = { "eth0", "capture 00ff", "tcp port 80", 65535 };

	length = pcapng_section(file, "x86_64", "Linux 6.18", "xdp-recorder 0.1.0");
	assert_in_range(length, 28, PCAPNG_SECTION_MAX);
	length += pcapng_interface(file + length, &interface);
	for (unsigned i = 0; i < REC_CAP_MAX; i++)
		packet_bytes[i] = (uint8_t)(i * 7 + 1);
}

static struct pcapng_packet packet(uint32_t cap)
{
	return (struct pcapng_packet){ .interface = 0, .wall = 1700000000123456789 + cap, .wire_len = cap + 1000, .cap_len = cap,
				       .bytes = packet_bytes, .direction = cap % 3, .id = cap };
}

static int to_memory(void)
{
	int fd = memfd_create("pcapng_test", MFD_CLOEXEC);

	assert_int_equal(write(fd, file, length), (ssize_t)length);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

static void all_lengths_as_others_read_them(void **state)
{
	const struct pcapng_statistics statistics = { 0, 1700000000123456789, 5, 4, 3, 2 };
	char said[PCAP_ERRBUF_SIZE];
	struct pcap_pkthdr *h;
	const u_char *bytes;
	struct savefile *ours;
	struct savefile_packet p;
	struct savefile_error error;
	pcap_t *pcap;

	(void)state;
	begin();
	for (uint32_t cap = 0; cap <= REC_CAP_MAX; cap++) {
		struct pcapng_packet one = packet(cap);
		size_t n = pcapng_packet(file + length, &one);

		assert_true(n % 4 == 0 && n <= PCAPNG_PACKET_MAX);
		length += n;
	}
	length += pcapng_statistics(file + length, &statistics);
	pcap = pcap_fopen_offline_with_tstamp_precision(fdopen(to_memory(), "r"), PCAP_TSTAMP_PRECISION_NANO, said);
	assert_non_null(pcap);
	assert_int_equal(pcap_datalink(pcap), DLT_EN10MB);
	assert_int_equal(savefile_open(&ours, to_memory(), "ours", &error), 0);
	for (uint32_t cap = 0; cap <= REC_CAP_MAX; cap++) {
		struct pcapng_packet one = packet(cap);

		assert_int_equal(pcap_next_ex(pcap, &h, &bytes), 1);
		assert_int_equal(h->caplen, cap);
		assert_int_equal(h->len, cap + 1000);
		assert_int_equal(h->ts.tv_sec * 1000000000ll + h->ts.tv_usec, one.wall);
		assert_memory_equal(bytes, packet_bytes, cap);
		assert_int_equal(savefile_next(ours, &p, &error), 1);
		assert_int_equal(p.cap_len, cap);
		assert_int_equal(p.wire_len, cap + 1000);
		assert_int_equal(p.wall, one.wall);
		assert_int_equal(p.direction, one.direction);
		assert_memory_equal(p.bytes, packet_bytes, cap);
	}
	assert_int_equal(pcap_next_ex(pcap, &h, &bytes), PCAP_ERROR_BREAK);
	assert_int_equal(savefile_next(ours, &p, &error), 0);
	assert_string_equal(savefile_interface(ours, 0)->name, "eth0");
	assert_int_equal(savefile_interface(ours, 0)->snaplen, 65535);
	savefile_close(ours);
	pcap_close(pcap);
}

static void long_texts_are_cut(void **state)
{
	char *text = malloc(100001);
	const struct pcapng_interface interface = { text, text, text, 0 };
	size_t n;

	(void)state;
	memset(text, 'x', 100000);
	text[100000] = '\0';
	length = pcapng_section(file, text, text, text);
	assert_true(length <= PCAPNG_SECTION_MAX && pcapng_whole(file, length) == (int)length);
	n = pcapng_interface(file + length, &interface);
	assert_true(n <= PCAPNG_INTERFACE_MAX && pcapng_whole(file + length, n) == (int)n);
	free(text);
}

static void before_1970_is_1970(void **state)
{
	struct pcapng_packet one = packet(4);
	struct savefile *ours;
	struct savefile_packet p;
	struct savefile_error error;

	(void)state;
	begin();
	one.wall = -1;
	length += pcapng_packet(file + length, &one);
	assert_int_equal(savefile_open(&ours, to_memory(), "ours", &error), 0);
	assert_int_equal(savefile_next(ours, &p, &error), 1);
	assert_int_equal(p.wall, 0);
	savefile_close(ours);
}

/* Every cut of a block is "its rest is missing", every changed length or type is none of ours. */
static void read_back(void **state)
{
	struct pcapng_packet one = packet(77);
	const uint8_t *value;
	uint64_t id;
	uint16_t len;
	uint8_t *b;
	int n;

	(void)state;
	begin();
	b = file + length;
	length += pcapng_packet(b, &one);
	n = pcapng_whole(b, (size_t)(file + length - b));
	assert_int_equal(n, file + length - b);
	assert_int_equal(pcapng_kind(b), PCAPNG_PACKET);
	for (int have = 0; have < n; have++)
		assert_int_equal(pcapng_whole(b, (size_t)have), 0);
	pcapng_set_interface(b, 9);
	assert_int_equal(pcapng_packet_interface(b), 9);
	value = pcapng_option(b, PCAPNG_PACKET_ID, &len);
	assert_non_null(value);
	assert_int_equal(len, 8);
	memcpy(&id, value, 8);
	assert_int_equal(id, 77);
	assert_null(pcapng_option(b, 99, &len));
	value = pcapng_option(file, PCAPNG_APPLICATION, &len);
	assert_non_null(value);
	assert_memory_equal(value, "xdp-recorder 0.1.0", 18);
	b[0] ^= 0x40;
	assert_int_equal(pcapng_whole(b, (size_t)n), -1);
	b[0] ^= 0x40;
	b[n - 4] ^= 4;
	assert_int_equal(pcapng_whole(b, (size_t)n), -1);
	b[n - 4] ^= 4;
	b[4] ^= 1;
	assert_int_equal(pcapng_whole(b, (size_t)n), -1);
	b[4] ^= 1;
	b[21] = 1; /* captured bytes beyond the block */
	assert_int_equal(pcapng_whole(b, (size_t)n), -1);
	file[8] = 0; /* the section's byte order mark */
	assert_int_equal(pcapng_whole(file, length), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_lengths_as_others_read_them),
		cmocka_unit_test(long_texts_are_cut),
		cmocka_unit_test(before_1970_is_1970),
		cmocka_unit_test(read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
