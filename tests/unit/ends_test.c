/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/packet/ends.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct ends_network network(const char *text, unsigned prefix)
{
	struct ends_network n = {.family = strchr(text, ':') ? 6 : 4, .prefix = (uint8_t)prefix};

	assert_int_equal(inet_pton(n.family == 6 ? AF_INET6 : AF_INET, text, n.address), 1);
	return n;
}

static bool local_source_ports(const struct ends_table *t, const char *src, const char *dst, uint16_t sport,
			       uint16_t dport)
{
	struct packet p = {.outer.key = {.family = strchr(src, ':') ? 6 : 4, .sport = sport, .dport = dport}};

	memcpy(p.outer.key.src, network(src, 0).address, 16);
	memcpy(p.outer.key.dst, network(dst, 0).address, 16);
	return ends_source_is_local(t, &p);
}

static bool local_source(const struct ends_table *t, const char *src, const char *dst)
{
	return local_source_ports(t, src, dst, 1000, 2000);
}

static bool local_mac(const struct ends_table *t, const char *src, const char *dst)
{
	struct packet p = {0};

	memcpy(p.outer.key.smac, src, 6);
	memcpy(p.outer.key.dmac, dst, 6);
	return ends_source_is_local(t, &p);
}

static void without_a_table_the_lower(void **state)
{
	struct ends_table *t = ends_table_new(NULL, 0, NULL, 0, NULL, 0);

	(void)state;
	assert_non_null(t);
	assert_true(local_source(t, "10.0.0.1", "10.0.0.2"));
	assert_false(local_source(t, "10.0.0.2", "10.0.0.1"));
	assert_true(local_source(t, "9.255.255.255", "128.0.0.0")); /* unsigned */
	assert_true(local_source(t, "2001:db8::1", "2001:db8::2"));
	assert_false(local_source(t, "2001:db8:0:1::", "2001:db8::ffff"));
	assert_true(local_source_ports(t, "10.0.0.1", "10.0.0.1", 1, 2));
	assert_false(local_source_ports(t, "10.0.0.1", "10.0.0.1", 2, 1));
	assert_true(local_mac(t, "\0\0\0\0\0\1", "\0\0\0\0\0\2"));
	assert_false(local_mac(t, "\0\0\0\0\0\2", "\0\0\0\0\0\1"));
	ends_table_free(t);
}

static void own_before_home_before_lower(void **state)
{
	struct ends_network own[] = {network("192.0.2.9", 32), network("192.0.2.200", 24), network("fe80::9", 128)};
	struct ends_network home[] = {network("192.0.2.77", 24), network("10.0.0.0", 8), network("10.1.0.0", 16),
				      network("2001:db8::", 32)};
	struct ends_table *t = ends_table_new(own, 3, NULL, 0, home, 4);

	(void)state;
	/* own, against a home address that is lower */
	assert_true(local_source(t, "192.0.2.9", "10.0.0.1"));
	assert_false(local_source(t, "10.0.0.1", "192.0.2.9"));
	assert_true(local_source(t, "fe80::9", "2001:db8::1"));
	/* an own address is one address, whatever its prefix */
	assert_false(local_source(t, "192.0.2.200", "192.0.2.9") && local_source(t, "192.0.2.201", "192.0.2.200"));
	assert_true(local_source(t, "192.0.2.200", "192.0.2.1"));
	assert_false(local_source(t, "192.0.2.201", "192.0.2.1")); /* neither own: both home: lower */
	/* both own: the next rules */
	assert_true(local_source(t, "192.0.2.9", "192.0.2.200"));
	assert_false(local_source(t, "192.0.2.200", "192.0.2.9"));
	/* home; networks' host bits do not matter; the edges are in */
	assert_true(local_source(t, "192.0.2.0", "1.2.3.4"));
	assert_true(local_source(t, "192.0.2.255", "1.2.3.4"));
	assert_false(local_source(t, "192.0.3.0", "1.2.3.4"));
	assert_true(local_source(t, "10.255.255.255", "1.2.3.4")); /* behind the network inside it */
	assert_false(local_source(t, "11.0.0.0", "9.0.0.1"));
	assert_false(local_source(t, "1.2.3.4", "10.1.2.3"));
	assert_true(local_source(t, "2001:db8:ffff::1", "2001:db7::1"));
	assert_false(local_source(t, "2001:db9::1", "2001:db7::1"));
	/* both home: lower */
	assert_true(local_source(t, "10.0.0.1", "192.0.2.1"));
	ends_table_free(t);
}

static void multicast_makes_the_sender_local(void **state)
{
	struct ends_network home[] = {network("0.0.0.0", 0), network("::", 0)};
	struct ends_network own[] = {network("224.0.0.251", 32), network("ff02::fb", 128)};
	struct ends_table *t = ends_table_new(own, 2, NULL, 0, home, 2);
	const uint8_t mac[1][6] = {{2, 0, 0, 0, 0, 9}};

	(void)state;
	/* never local, not even where it is named as own */
	assert_true(local_source(t, "239.255.0.9", "224.0.0.251"));
	assert_true(local_source(t, "240.0.0.1", "239.0.0.1"));
	assert_true(local_source(t, "255.0.0.1", "255.255.255.255"));
	assert_false(local_source(t, "223.255.255.255", "223.255.255.254")); /* below multicast */
	assert_true(local_source(t, "ff02::ffff", "ff02::fb"));
	ends_table_free(t);

	t = ends_table_new(NULL, 0, mac, 1, NULL, 0);
	assert_true(local_mac(t, "\xfe\0\0\0\0\1", "\xff\xff\xff\xff\xff\xff"));
	assert_true(local_mac(t, "\xfe\0\0\0\0\1", "\1\0\x5e\0\0\1"));
	assert_true(local_mac(t, "\2\0\0\0\0\x9", "\0\0\0\0\0\1"));
	assert_false(local_mac(t, "\0\0\0\0\0\1", "\2\0\0\0\0\x9"));
	ends_table_free(t);
}

/* Membership against the plain way, over many networks that overlap. */
static void many_networks_as_the_plain_way(void **state)
{
	struct ends_network home[500];
	struct ends_table *t;
	uint64_t random = 42;
	unsigned differ = 0, inside = 0;

	(void)state;
	for (unsigned i = 0; i < 500; i++) {
		random = random * 6364136223846793005ull + 1442695040888963407ull;
		home[i] = (struct ends_network){.family = 4, .prefix = (uint8_t)(8 + (random >> 60))};
		home[i].address[0] = (uint8_t)(1 + (random >> 32) % 200);
		home[i].address[1] = (uint8_t)(random >> 40);
		home[i].address[2] = (uint8_t)(random >> 48);
	}
	t = ends_table_new(NULL, 0, NULL, 0, home, 500);
	for (unsigned i = 0; i < 100000; i++) {
		struct packet p = {
			.outer.key = {.family = 4, .dst = {0, 0, 0, 1}}}; /* outside, and lower: decides only by home */
		bool plain = false;

		random = random * 6364136223846793005ull + 1442695040888963407ull;
		memcpy(p.outer.key.src, (uint8_t *)&random + 4, 4);
		for (unsigned n = 0; n < 500 && !plain; n++) {
			uint32_t a, b, mask = ~(UINT32_MAX >> home[n].prefix);

			memcpy(&a, p.outer.key.src, 4);
			memcpy(&b, home[n].address, 4);
			plain = !((ntohl(a) ^ ntohl(b)) & mask);
		}
		inside += plain;
		differ += plain != ends_source_is_local(t, &p);
	}
	assert_int_equal(differ, 0);
	assert_in_range(inside, 1000, 99000); /* the control: both answers were given */
	ends_table_free(t);
	ends_table_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_table_the_lower),
		cmocka_unit_test(own_before_home_before_lower),
		cmocka_unit_test(multicast_makes_the_sender_local),
		cmocka_unit_test(many_networks_as_the_plain_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
