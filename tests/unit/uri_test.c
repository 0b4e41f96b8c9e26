/* SPDX-License-Identifier: GPL-2.0-or-later */
/* db/uri.c and the checks of db/guard.c: what leaves hides secrets, what comes in is whole. */
#include "recorder/db/uri.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "recorder/core/util.h"
#include "recorder/db/connect.h"
#include "recorder/db/guard.h"

static void redacted(void **state)
{
	static const struct {
		const char *uri, *shown;
	} cases[] = {
		{"mongodb://host", "mongodb://host"},
		{"mongodb://host:27017/db?tls=true", "mongodb://host:27017/db?tls=true"},
		{"mongodb://user@host/", "mongodb://user@host/"},
		{"mongodb://user:secret@host/", "mongodb://user:***@host/"},
		{"mongodb://user:secret@h1:1,h2:2/db?replicaSet=r", "mongodb://user:***@h1:1,h2:2/db?replicaSet=r"},
		{"mongodb+srv://user:secret@host", "mongodb+srv://user:***@host"},
		{"mongodb://user:@host/", "mongodb://user:***@host/"},
		/* Passwords that somebody forgot to encode. */
		{"mongodb://user:se@cret@host/", "mongodb://user:***@host/"},
		{"mongodb://user:se/cret@host/", "mongodb://user:***@host/"},
		{"mongodb://user:se?cret@host/", "mongodb://user:***@host/"},
		{"mongodb://user:se?cr@et:x@host/", "mongodb://user:***@host/"},
		{"user:secret@host", "user:***@host"},
		{"http://user:secret@host", "http://user:***@host"},
		/* Options. */
		{"mongodb://h/?tlsCertificateKeyFilePassword=secret&tls=true",
		 "mongodb://h/?tlsCertificateKeyFilePassword=***&tls=true"},
		{"mongodb://h/?a=b;authMechanismProperties=AWS_SESSION_TOKEN:secret",
		 "mongodb://h/?a=b;authMechanismProperties=***"},
		{"", ""},
		{"/run/x.sock", "/run/x.sock"},
	};
	char out[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_ptr_equal(uri_redacted(cases[i].uri, out, sizeof(out)), out);
		assert_string_equal(out, cases[i].shown);
	}
}

/* Whatever the size of the buffer: no overrun, and never a piece of the password. */
static void redacted_into_little_room(void **state)
{
	char out[64];

	(void)state;
	for (size_t size = 1; size < sizeof(out); size++) {
		memset(out, 0x55, sizeof(out));
		uri_redacted("mongodb://user:secret@host/?password=secret", out, size);
		assert_non_null(memchr(out, 0, size));
		assert_null(strstr(out, "sec"));
		for (size_t i = size; i < sizeof(out); i++)
			assert_int_equal(out[i], 0x55);
	}
}

static void redacted_in_texts(void **state)
{
	static const struct {
		const char *text, *shown;
	} cases[] = {
		{"nothing here", "nothing here"},
		{"cannot reach mongodb://u:secret@h/: refused", "cannot reach mongodb://u:***@h/: refused"},
		{"'mongodb://u:s@cret@h' and mongodb://u:secret@i", "'mongodb://u:***@h' and mongodb://u:***@i"},
		{"mongodb://u:x@h", "mongodb://u:*@h"},
		{"a://b", "a://b"},
	};
	char text[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		strcpy(text, cases[i].text);
		uri_redact_text(text);
		assert_string_equal(text, cases[i].shown);
	}
}

static void paths(void **state)
{
	char out[64];

	(void)state;
	assert_true(uri_from_path("/run/a b/m.sock", out, sizeof(out)));
	assert_string_equal(out, "mongodb://%2Frun%2Fa%20b%2Fm.sock");
	assert_false(uri_from_path("/run/a b/m.sock", out, 20));
}

/* ---- messages ---------------------------------------------------------------------------------------------- */

struct message {
	uint8_t bytes[4096];
	size_t length;
};

static void set32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, 4);
}

static struct message message_of(const bson_t *doc, uint32_t opcode)
{
	struct message m = {.length = (opcode == 1 ? 36 : 21) + doc->len};

	set32(m.bytes, (uint32_t)m.length);
	set32(m.bytes + 12, opcode);
	if (opcode == 1)
		set32(m.bytes + 32, 1);
	memcpy(m.bytes + m.length - doc->len, bson_get_data(doc), doc->len);
	return m;
}

static bson_t *nested(unsigned depth)
{
	bson_t *doc = bson_new(), *outer;

	while (depth-- > 0) {
		outer = bson_new();
		BSON_APPEND_DOCUMENT(outer, "d", doc);
		bson_destroy(doc);
		doc = outer;
	}
	return doc;
}

static void messages_that_are_right(void **state)
{
	bson_t *doc = BCON_NEW("ok", BCON_INT32(1), "a", "[", "x", "{", "y", BCON_DOUBLE(1), "}", "]", "t", "text");
	struct message m;

	(void)state;
	m = message_of(doc, 2013);
	assert_null(guard_check(m.bytes, m.length));
	m = message_of(doc, 1);
	assert_null(guard_check(m.bytes, m.length));
	bson_destroy(doc);
	doc = nested(GUARD_DEPTH - 1);
	m = message_of(doc, 2013);
	assert_null(guard_check(m.bytes, m.length));
	bson_destroy(doc);
}

static void messages_that_are_wrong(void **state)
{
	bson_t *doc = BCON_NEW("ok", BCON_INT32(1), "a", "[", "x", "{", "y", BCON_DOUBLE(1), "}", "]", "t", "text");
	struct message right = message_of(doc, 2013), m;

	(void)state;
	for (size_t length = 0; length < right.length; length++) { /* cut short, and saying so or not */
		m = right;
		assert_non_null(guard_check(m.bytes, length));
		set32(m.bytes, (uint32_t)length);
		assert_non_null(guard_check(m.bytes, length));
	}
	m = right;
	set32(m.bytes + 12, 2004);
	assert_non_null(guard_check(m.bytes, m.length));
	m = right;
	m.bytes[16] = 1; /* a checksum */
	assert_non_null(guard_check(m.bytes, m.length));
	m = right;
	m.bytes[20] = 1; /* a sequence of documents */
	assert_non_null(guard_check(m.bytes, m.length));
	m = message_of(doc, 1);
	set32(m.bytes + 32, 2);
	assert_non_null(guard_check(m.bytes, m.length));
	bson_destroy(doc);
	doc = nested(GUARD_DEPTH + 1);
	m = message_of(doc, 2013);
	assert_non_null(guard_check(m.bytes, m.length));
	bson_destroy(doc);
}

/* Each byte changed in all the ways that matter; under ASan nothing is read outside. Many stay right, none may hurt. */
static void messages_with_any_byte_changed(void **state)
{
	static const uint8_t values[] = {0, 1, 2, 3, 4, 5, 0x0b, 0x0c, 0x0f, 0x10, 0x7f, 0x80, 0xff};
	bson_t *doc = BCON_NEW("ok", BCON_INT32(1), "a", "[", "x", "{", "y", BCON_DOUBLE(1), "}", "]", "t", "text");
	struct message right = message_of(doc, 2013);
	unsigned wrong = 0;

	(void)state;
	for (size_t at = 0; at < right.length; at++)
		for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
			uint8_t *exact = malloc(right.length);
			memcpy(exact, right.bytes, right.length);
			exact[at] = values[v];
			wrong += guard_check(exact, right.length) != NULL;
			free(exact);
		}
	assert_true(wrong > 100);
	bson_destroy(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(redacted),
		cmocka_unit_test(redacted_into_little_room),
		cmocka_unit_test(redacted_in_texts),
		cmocka_unit_test(paths),
		cmocka_unit_test(messages_that_are_right),
		cmocka_unit_test(messages_that_are_wrong),
		cmocka_unit_test(messages_with_any_byte_changed),
	};

	return cmocka_run_group_tests_name("uri", tests, NULL, NULL);
}
