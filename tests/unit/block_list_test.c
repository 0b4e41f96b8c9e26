/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The block list as text, as sets, and as a file that is replaced as a whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "recorder/capture/block_store.h"
#include "recorder/core/util.h"

static struct block_entry entry(const char *text)
{
	struct block_problem problem;
	struct block_entry e;

	if (block_entry_read(&e, text, &problem))
		fail_msg("%s", problem.text);
	return e;
}

static struct block_list list_of(const char *words)
{
	CLEANUP_FREE char *copy = strdup(words);
	struct block_list list = {0};
	char *rest = copy, *word;

	while ((word = strtok_r(rest, " ", &rest))) {
		struct block_entry e = entry(word);

		assert_int_equal(block_list_append(&list, &e), 0);
	}
	block_list_sort(&list);
	return list;
}

static void is_list(const struct block_list *list, const char *want)
{
	char text[1024] = "", one[BLOCK_TEXT_MAX];

	for (size_t i = 0; i < list->count; i++) {
		block_entry_text(one, &list->entries[i]);
		strcat(strcat(text, i ? " " : ""), one);
	}
	assert_string_equal(text, want);
}

static void read_and_written(void **state)
{
	static const char *const same[][2] = {
		{"10.0.0.0/8", "10.0.0.0/8"},	    {"203.0.113.7", "203.0.113.7/32"}, {"0.0.0.0/0", "0.0.0.0/0"},
		{"2001:DB8::/32", "2001:db8::/32"}, {"::1", "::1/128"},		       {"::/0", "::/0"},
		{"128.0.0.0/1", "128.0.0.0/1"},	    {"fe80::/10", "fe80::/10"},	       {"::ffff:0:0/95", NULL},
	};
	char text[BLOCK_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i + 1 < ARRAY_SIZE(same); i++) {
		struct block_entry e = entry(same[i][0]);

		block_entry_text(text, &e);
		assert_string_equal(text, same[i][1]);
		assert_int_equal(e.by, BLOCK_EITHER);
	}
}

static void refused(void **state)
{
	static const char *const bad[][2] = {
		{"10.0.0.1/8", "the network is 10.0.0.0/8, the host 10.0.0.1/32"},
		{"2001:db8::1/64", "the network is 2001:db8::/64, the host 2001:db8::1/128"},
		{"10.0.0.0/33", "IPv4 has 0 to 32 bits"},
		{"::/129", "IPv6 has 0 to 128 bits"},
		{"10.0.0.0/", "0 to 32 bits"},
		{"10.0.0.0/-1", "0 to 32 bits"},
		{"10.0.0.0/8x", "0 to 32 bits"},
		{"10.0.0.0/99999999999999999999", "0 to 32 bits"},
		{"10.0.0", "must be an address or a network"},
		{"", "must be an address or a network"},
		{"host.example", "must be an address or a network"},
		{"::ffff:10.0.0.0/104", "10.0.0.0/8 is meant"},
		{"::ffff:10.1.2.3", "10.1.2.3/32 is meant"},
	};
	struct block_problem problem;
	struct block_entry e;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(block_entry_read(&e, bad[i][0], &problem), -EINVAL);
		if (!strstr(problem.text, bad[i][1]))
			fail_msg("%s: %s", bad[i][0], problem.text);
	}
}

static void lines(void **state)
{
	static const struct {
		const char *line;
		int result;
		unsigned by;
	} of[] = {
		{"10.0.0.0/8\n", 1, REC_BLOCK_SOURCE},
		{"  10.0.0.0/8\tdestination # why\r\n", 1, REC_BLOCK_DESTINATION},
		{"10.0.0.0/8 either 2026-11-29T17:00:00Z 1000\n", 1, BLOCK_EITHER},
		{"# nothing\n", 0, 0},
		{"   \n", 0, 0},
		{"10.0.0.0/8 both\n", -EINVAL, 0},
		{"10.0.0.0/8 either yesterday\n", -EINVAL, 0},
		{"10.0.0.0/8 either 2026-11-29T17:00:00Z me\n", -EINVAL, 0},
		{"10.0.0.0/8 either 2026-11-29T17:00:00Z 0 more\n", -EINVAL, 0},
		{"10.0.0.0/8, 11.0.0.0/8\n", -EINVAL, 0},
	};
	struct block_problem problem;
	char line[200], again[BLOCK_LINE_MAX];
	struct block_entry e, back;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(of); i++) {
		strcpy(line, of[i].line);
		assert_int_equal(block_line_read(&e, line, REC_BLOCK_SOURCE, &problem), of[i].result);
		if (of[i].result <= 0)
			continue;
		assert_int_equal(e.by, of[i].by);
		block_line_write(again, &e);
		assert_int_equal(block_line_read(&back, again, 0, &problem), 1);
		assert_memory_equal(&e, &back, sizeof(e));
	}
	strcpy(line, "10.0.0.0/8\n"); /* where the list must say it, and does not */
	assert_int_equal(block_line_read(&e, line, 0, &problem), -EINVAL);
}

static void sets(void **state)
{
	struct block_list a = list_of("10.0.0.0/8 2001:db8::/32 10.0.0.0/16 9.0.0.0/8 10.0.0.0/8"), b = list_of("10.0.0.0/16 11.0.0.0/8"), c = {0};
	struct block_entry e = entry("10.0.0.0/16");

	(void)state;
	is_list(&a, "9.0.0.0/8 10.0.0.0/8 10.0.0.0/16 2001:db8::/32");
	b.entries[0].by = REC_BLOCK_SOURCE;
	assert_int_equal(block_list_with(&c, &a, &b), 0);
	is_list(&c, "9.0.0.0/8 10.0.0.0/8 10.0.0.0/16 11.0.0.0/8 2001:db8::/32");
	assert_int_equal(block_list_find(&c, &e)->by, REC_BLOCK_SOURCE);
	block_list_free(&c);
	assert_int_equal(block_list_without(&c, &a, &b), 0);
	is_list(&c, "9.0.0.0/8 10.0.0.0/8 2001:db8::/32");
	assert_null(block_list_find(&c, &e));
	block_list_free(&a);
	block_list_free(&b);
	block_list_free(&c);
}

static void last_stays(void **state)
{
	struct block_list list = {0};
	struct block_entry e = entry("10.0.0.0/8");

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		e.by = (uint8_t)(i == 999 ? REC_BLOCK_SOURCE : BLOCK_EITHER);
		e.uid = i;
		assert_int_equal(block_list_append(&list, &e), 0);
	}
	block_list_sort(&list);
	assert_int_equal(list.count, 1);
	assert_int_equal(list.entries[0].by, REC_BLOCK_SOURCE);
	assert_int_equal(list.entries[0].uid, 999);
	block_list_free(&list);
}

static void covering(void **state)
{
	struct block_list list = list_of("10.0.0.0/8 10.1.0.0/16 192.0.2.1 2001:db8::/32");
	static const struct {
		const char *host, *entry;
	} of[] = {{"10.1.2.3", "10.0.0.0/8"}, {"11.0.0.0", NULL}, {"192.0.2.1", "192.0.2.1/32"}, {"192.0.2.0", NULL}, {"2001:db8:ffff::", "2001:db8::/32"}, {"2001:db9::", NULL}};
	char text[BLOCK_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(of); i++) {
		struct block_entry host = entry(of[i].host);
		const struct block_entry *e = block_list_covering(&list, host.version, host.address);

		assert_true(!e == !of[i].entry);
		if (!e)
			continue;
		block_entry_text(text, e);
		assert_string_equal(text, of[i].entry);
	}
	block_list_free(&list);
}

static void write_text(const char *dir, const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

struct seen {
	unsigned n;
	uint64_t last;
	char json[64];
};

static int see(void *arg, uint64_t stamp, const char *json)
{
	struct seen *s = arg;

	assert_true(stamp > s->last);
	s->last = stamp;
	s->n++;
	snprintf(s->json, sizeof(s->json), "%s", json);
	return 0;
}

static void store(void **state)
{
	char dir[] = "/tmp/block-store-XXXXXX", path[PATH_MAX], command[100];
	struct block_list list = list_of("10.0.0.0/8 2001:db8::/32"), back = {0};
	struct block_problem problem;
	struct block_store s;
	struct seen seen = {0};
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(block_store_open(&s, dir, &problem), 0);
	assert_int_equal(block_store_read(&s, &back, &problem), 0);
	assert_int_equal(back.count, 0);
	/* written beside, then in its place */
	assert_int_equal(block_store_prepare(&s, &list, &problem), 0);
	assert_int_equal(block_store_read(&s, &back, &problem), 0);
	assert_int_equal(back.count, 0);
	assert_int_equal(block_store_commit(&s, &problem), 0);
	assert_int_equal(block_store_read(&s, &back, &problem), 0);
	is_list(&back, "10.0.0.0/8 2001:db8::/32");
	assert_memory_equal(back.entries, list.entries, 2 * sizeof(*list.entries));
	block_list_free(&back);
	/* a mistake in it is named, and nothing of it counts */
	write_text(dir, "block.list", "10.0.0.0/8 either\n10.0.0.1/8 either\n");
	assert_int_equal(block_store_read(&s, &back, &problem), -EINVAL);
	assert_non_null(strstr(problem.text, "line 2: "));
	assert_int_equal(back.count, 0);
	/* changes: rising, whole lines only */
	assert_int_equal(block_changes_read(dir, 0, see, &seen), 0);
	assert_int_equal(seen.n, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(block_store_tell(&s, i == 2 ? "{\"c\": 1}" : "{}", &problem), 0);
	assert_int_equal(block_changes_read(dir, 0, see, &seen), 0);
	assert_int_equal(seen.n, 3);
	assert_string_equal(seen.json, "{\"c\": 1}");
	assert_int_equal(block_changes_read(dir, seen.last, see, &seen), 0);
	assert_int_equal(seen.n, 3);
	write_text(dir, "block.changes", "7 {}\n99 {\"half");
	seen = (struct seen){0};
	assert_int_equal(block_changes_read(dir, 0, see, &seen), 0);
	assert_int_equal(seen.n, 1);
	/* it does not grow for ever: the newest stay */
	for (unsigned i = 0; i < 120; i++) {
		static char json[45000];

		memset(json, ' ', sizeof(json) - 1);
		assert_int_equal(block_store_tell(&s, json, &problem), 0);
	}
	assert_int_equal(block_store_tell(&s, "{\"newest\": 1}", &problem), 0);
	seen = (struct seen){0};
	assert_int_equal(block_changes_read(dir, 0, see, &seen), 0);
	assert_string_equal(seen.json, "{\"newest\": 1}");
	snprintf(path, sizeof(path), "%s/block.changes", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_in_range(st.st_size, 1 << 20, 5 << 20);
	block_store_close(&s);
	block_list_free(&list);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_and_written), cmocka_unit_test(refused),	cmocka_unit_test(lines), cmocka_unit_test(sets),
		cmocka_unit_test(last_stays),	    cmocka_unit_test(covering), cmocka_unit_test(store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
