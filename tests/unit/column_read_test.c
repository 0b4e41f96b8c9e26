/* SPDX-License-Identifier: GPL-2.0-or-later */
/* encode/column_read.c and column_plain.c: the server's columns, columns of any values, and columns that are none. */
#include "recorder/encode/column_read.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "recorder/core/util.h"
#include "recorder/encode/column_plain.h"
#include "tests/lib/vectors.h"
#include "tests/unit/any_column.h"
#include "tests/unit/packets.h"

#define MOST 16384u

static struct vectors vectors;
static struct column_value values[MOST], again[MOST];
static uint8_t column[COLUMN_PLAIN_BOUND(MOST, 1 << 20) + 64];

static int set_up(void **state)
{
	(void)state;
	return vectors_load(&vectors) ? 0 : -1;
}

/* The column read is exactly these values; from memory that ends with it, for valgrind and sanitizers. */
static void reads_as(const char *name, const uint8_t *bytes, size_t len, const struct column_value *want, uint32_t n)
{
	uint8_t *exact = malloc(len);
	const char *problem = "";
	size_t at = 0;
	int got;

	assert_non_null(exact);
	memcpy(exact, bytes, len);
	got = column_read(exact, len, again, MOST, &problem, &at);
	if (got != (int)n)
		fail_msg("%s: %d values of %u; %s at %zu", name, got, n, problem, at);
	for (uint32_t i = 0; i < n; i++)
		if (!any_column_same(&again[i], &want[i]))
			fail_msg("%s: value %u is another", name, i);
	free(exact);
}

/* column_plain keeps its bound, and what it writes reads as what it was given. The length. */
static size_t there_and_back(const char *name, const struct column_value *v, uint32_t n, size_t bytes)
{
	size_t bound = COLUMN_PLAIN_BOUND(n, bytes), len;

	assert_true(bound + 64 <= sizeof(column));
	memset(column + bound, 0xa5, 64);
	len = column_plain(column, v, n);
	assert_true(len <= bound);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(column[bound + i], 0xa5);
	reads_as(name, column, len, v, n);
	return len;
}

static void the_servers_columns_are_read(void **state)
{
	uint32_t server = 0, n = 0;

	(void)state;
	for (uint32_t i = 0; i < vectors.n; i++) {
		const struct vector *v = &vectors.all[i];

		reads_as(v->name, v->column, v->len, v->values, v->n);
		server += v->from_server;
		n += v->n;
	}
	print_message("%u columns of the server, %u of ours that it took, %u values\n", server, vectors.n - server, n);
	assert_int_equal(server, 139);
	assert_int_equal(vectors.n, 139 + 42);
}

/* Equal bytes but for doubles of mixed decimals, whose scale the server chooses for each block. */
static void the_plain_encoder_packs_as_the_server(void **state)
{
	size_t theirs = 0, ours = 0, whole_theirs = 0, whole_ours = 0;
	unsigned equal = 0;

	(void)state;
	for (uint32_t i = 0; i < vectors.n; i++) {
		const struct vector *v = &vectors.all[i];
		size_t len = there_and_back(v->name, v->values, v->n, v->bytes);

		if (!v->from_server)
			continue;
		theirs += v->len;
		ours += len;
		if (len == v->len && !memcmp(column, v->column, len))
			equal++;
		else
			print_message("differs: %s, %zu bytes of %zu\n", v->name, len, v->len);
		if (strncmp(v->name, "double", 6)) {
			whole_theirs += v->len;
			whole_ours += len;
		}
	}
	print_message("%u of 139 are equal bytes; %zu bytes, the server's are %zu\n", equal, ours, theirs);
	assert_true(equal >= 133);
	assert_int_equal(whole_ours, whole_theirs);
}

static void any_values_go_there_and_back(void **state)
{
	uint64_t random = 5;
	uint8_t bytes[600];
	uint32_t most = 0;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		struct any_source source = {bytes, bytes + packets_random(&random) % sizeof(bytes)};
		char name[32];
		size_t sum = 0;
		uint32_t n;

		for (unsigned i = 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)packets_random(&random);
		n = any_column(values, round % 16 ? 400 : MOST, 0, source);
		for (uint32_t i = 0; i < n; i++)
			sum += values[i].len;
		snprintf(name, sizeof(name), "round %u", round);
		if (COLUMN_PLAIN_BOUND(n, sum) + 64 <= sizeof(column))
			there_and_back(name, values, n, sum);
		most = n > most ? n : most;
	}
	assert_true(most > 4096);
}

static void no_more_values_than_there_is_room(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < vectors.n; i++) {
		const struct vector *v = &vectors.all[i];

		again[v->n - 1].type = 0x55;
		assert_int_equal(column_read(v->column, v->len, again, v->n, NULL, NULL), v->n);
		again[v->n - 1].type = 0x55;
		assert_int_equal(column_read(v->column, v->len, again, v->n - 1, NULL, NULL), -E2BIG);
		assert_int_equal(again[v->n - 1].type, 0x55);
	}
	assert_int_equal(column_read((const uint8_t *)"", 1, NULL, 0, NULL, NULL), 0); /* a 00: no values */
}

/* Cut off anywhere, with more behind it, or with a byte changed: refused with a reason, or other values, never more. */
static void damaged_columns(void **state)
{
	unsigned refused = 0, taken = 0;

	(void)state;
	for (uint32_t i = 0; i < vectors.n; i++) {
		const struct vector *v = &vectors.all[i];
		const char *problem;
		size_t at;

		if (v->len > 400)
			continue;
		for (size_t len = 0; len < v->len; len++) {
			uint8_t *exact = malloc(len ? len : 1);

			memcpy(exact, v->column, len);
			problem = NULL;
			assert_int_equal(column_read(exact, len, again, MOST, &problem, &at), -EINVAL);
			assert_non_null(problem);
			assert_true(at <= len);
			free(exact);
		}
		memcpy(column, v->column, v->len);
		column[v->len] = 0;
		assert_int_equal(column_read(column, v->len + 1, again, MOST, &problem, &at), -EINVAL);
		assert_string_equal(problem, "bytes behind the end");
		assert_int_equal(at, v->len - 1);
		for (size_t byte = 0; byte < v->len; byte++)
			for (unsigned bit = 0; bit < 8; bit++) {
				int n;

				column[byte] ^= (uint8_t)(1u << bit);
				problem = NULL;
				n = column_read(column, v->len, again, MOST, &problem, &at);
				assert_true(n >= 0 || n == -E2BIG || (problem && at <= v->len));
				n < 0 ? refused++ : taken++;
				column[byte] ^= (uint8_t)(1u << bit);
			}
	}
	assert_true(refused > 1000 && taken > 1000);
}

static void what_is_refused(void **state)
{
	static const struct {
		const char *problem;
		size_t at;
		const char *hex;
	} bad[] = {
		{"no end", 0, ""},
		{"no end", 6, "100007000000"},
		{"a literal", 0, "1000070000"},
		{"a literal", 0, "140000"}, /* no such type */
		{"a literal with a name", 0, "10410007000000"},
		{"a literal with a name", 0, "10"},
		{"a literal", 0, "0200000000000000"},	  /* a string without NUL */
		{"a literal", 0, "02000200000061620000"}, /* its NUL is none */
		{"a literal", 0, "0200ffffff7f0000"},
		{"a literal", 0, "0200000000800000"},
		{"a literal", 0, "0500ffffffff0000"},
		{"a literal", 0, "05000100000000"},	  /* a binary cut off */
		{"a literal", 0, "03000400000000"},	  /* an object of 4 bytes */
		{"a literal", 0, "0b006100"},		  /* half a regex */
		{"a literal", 0, "0c000200000061000102"}, /* a DBPointer */
		{"a control byte", 0, "2000"},
		{"a control byte", 6, "10000700000070"},
		{"a control byte", 6, "100007000000e0"},
		{"interleaved mode", 0, "f0050000000000"},
		{"a block cut off", 7, "1000070000008001000000000000"},
		{"a block cut off", 15, "100007000000810100000000000000"},
		{"a selector", 7, "1000070000008000000000000000000000"}, /* 0 */
		{"a selector", 7, "10000700000080a70000000000000000"},	 /* 7 with extension 10 */
		{"a selector", 7, "10000700000080e80000000000000000"},	 /* 8 with extension 14 */
		{"a number before the first literal", 1, "80010000000000000000"},
		{"a number before the first literal", 1, "800f0000000000000000"}, /* 120 times 0 */
		{"a change of what cannot change", 3, "0a00800e0100000000000000"},
		{"a number of more than 64 bits", 7, "10000700000080d81f010000000000000"},
		{"a scale that does not hold the value before", 10,
		 "01000000000000000080900e0000000000000000"}, /* -0 */
		{"a scale that does not hold the value before", 10, "0100000000000000f07f900e0000000000000000"},
		{"a scale that does not hold the value before", 10,
		 "01009a9999999999b93f900e0000000000000000"}, /* 0.1 */
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		uint32_t len;
		uint8_t *bytes = vectors_hex(bad[i].hex, &len), *exact = malloc(len ? len : 1);
		const char *problem = "none";
		size_t at = 0;

		memcpy(exact, bytes, len);
		if (column_read(exact, len, again, MOST, &problem, &at) != -EINVAL || strcmp(problem, bad[i].problem) ||
		    at != bad[i].at)
			fail_msg("%s: %s at %zu, not %s at %zu", bad[i].hex, problem, at, bad[i].problem, bad[i].at);
		free(exact);
		free(bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_servers_columns_are_read),
		cmocka_unit_test(the_plain_encoder_packs_as_the_server),
		cmocka_unit_test(any_values_go_there_and_back),
		cmocka_unit_test(no_more_values_than_there_is_room),
		cmocka_unit_test(damaged_columns),
		cmocka_unit_test(what_is_refused),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
