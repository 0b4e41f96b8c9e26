/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of migrations/: reading and checking them. migrate.c applies them. */
#include "recorder/db/migrate.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#include <openssl/evp.h>

#include "recorder/core/util.h"
#include "recorder/db/embedded.h"
#include "recorder/db/ensure.h"

#define FILE_MAX (1 << 20)

static bool hash(const char *bytes, size_t len, char hex[65])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	if (!EVP_Digest(bytes, len, digest, &n, EVP_sha256(), NULL) || n != 32)
		return false;
	*put_hex(hex, digest, n) = '\0';
	return true;
}

static const char *text_of(const bson_t *doc, const char *name)
{
	bson_iter_t it;

	return bson_iter_init_find(&it, doc, name) && BSON_ITER_HOLDS_UTF8(&it) ? bson_iter_utf8(&it, NULL) : NULL;
}

/* Each element is a document that is not empty. */
static bool is_list(const bson_t *doc, const char *name)
{
	bson_iter_t it, element;
	bson_t inside;

	if (!bson_iter_init_find(&it, doc, name) || !BSON_ITER_HOLDS_ARRAY(&it) || !bson_iter_recurse(&it, &element))
		return false;
	while (bson_iter_next(&element))
		if (!BSON_ITER_HOLDS_DOCUMENT(&element) || !ensure_inside(&element, &inside) || bson_empty(&inside))
			return false;
	return true;
}

/* Each element is a text that is not empty. */
static bool is_names(const bson_iter_t *list)
{
	bson_iter_t element;

	if (!BSON_ITER_HOLDS_ARRAY(list) || !bson_iter_recurse(list, &element))
		return false;
	while (bson_iter_next(&element))
		if (!BSON_ITER_HOLDS_UTF8(&element) || !*bson_iter_utf8(&element, NULL))
			return false;
	return true;
}

static bool only_fields(const bson_t *doc, const char *const *names, size_t count, const char **other)
{
	bson_iter_t it;

	if (!bson_iter_init(&it, doc))
		return false;
	while (bson_iter_next(&it)) {
		size_t i = 0;
		while (i < count && strcmp(names[i], bson_iter_key(&it)))
			i++;
		*other = bson_iter_key(&it);
		if (i == count)
			return false;
	}
	return true;
}

/* NULL, or what is wrong with a daily template. */
static const char *wrong_template(const bson_t *daily)
{
	static const char *const fields[] = {"family", "why", "options", "indexes", "drop"};
	static const char *const families[] = {"packets", "balance", "batches", "floods"};
	const char *family = text_of(daily, "family"), *other;
	bson_iter_t it;
	size_t i = 0;

	while (family && i < ARRAY_SIZE(families) && strcmp(family, families[i]))
		i++;
	if (!family || i == ARRAY_SIZE(families))
		return "daily: family must be packets, balance, batches or floods";
	if (!only_fields(daily, fields, ARRAY_SIZE(fields), &other))
		return "daily: only family, why, options, indexes and drop are known";
	if (!bson_iter_init_find(&it, daily, "options") || !BSON_ITER_HOLDS_DOCUMENT(&it))
		return "daily: options must be a document";
	if (!is_list(daily, "indexes"))
		return "daily: indexes must be a list of documents";
	if (bson_iter_init_find(&it, daily, "drop") && !is_names(&it))
		return "daily: drop must be a list of names";
	return NULL;
}

/* NULL, or what is wrong with the file. */
static const char *wrong_body(const bson_t *body, int32_t version)
{
	static const char *const fields[] = {"version", "name", "why", "commands", "daily"};
	const char *other, *wrong = NULL;
	bson_iter_t it, element;
	bson_t inside;

	if (!only_fields(body, fields, ARRAY_SIZE(fields), &other))
		return "only version, name, why, commands and daily are known";
	if (!bson_iter_init_find(&it, body, "version") || !BSON_ITER_HOLDS_NUMBER(&it) ||
	    bson_iter_as_int64(&it) != version)
		return "version must be the number in the file's name";
	if (!text_of(body, "name") || !*text_of(body, "name") || !text_of(body, "why") || !*text_of(body, "why"))
		return "name and why must be texts";
	if (!is_list(body, "commands"))
		return "commands must be a list of documents";
	if (!bson_has_field(body, "daily"))
		return NULL;
	if (!is_list(body, "daily"))
		return "daily must be a list of documents";
	if (bson_iter_init_find(&it, body, "daily") && bson_iter_recurse(&it, &element))
		while (!wrong && bson_iter_next(&element))
			wrong = ensure_inside(&element, &inside) ? wrong_template(&inside)
								 : "daily must be a list of documents";
	return wrong;
}

static bool number_of(const char *file, int32_t *version)
{
	if (strlen(file) < 11 || strspn(file, "0123456789") != 4 || file[4] != '-' ||
	    strcmp(file + strlen(file) - 5, ".json"))
		return false;
	*version = atoi(file);
	return *version > 0;
}

static enum db_result add(struct migrations *migrations, const char *file, const char *bytes, size_t len,
			  struct db_problem *problem)
{
	struct migration m = {0};
	bson_error_t error;
	const char *wrong;

	if (!number_of(file, &m.version))
		return db_problem_set(problem, DB_FATAL, "migration %s: the name must be NNNN-name.json", file);
	m.body = bson_new_from_json((const uint8_t *)bytes, (ssize_t)len, &error);
	if (!m.body)
		return db_problem_set(problem, DB_FATAL, "migration %s: %s", file, error.message);
	wrong = wrong_body(m.body, m.version);
	if (!wrong && m.version != (int32_t)migrations->count + 1)
		wrong = "numbers must be 1, 2, 3 ... without gap or repetition";
	if (!wrong && !hash(bytes, len, m.checksum))
		wrong = "its checksum cannot be computed";
	if (!wrong) {
		struct migration *list = realloc(migrations->list, (migrations->count + 1) * sizeof(*list));
		if (list)
			migrations->list = list;
		m.name = strdup(text_of(m.body, "name"));
		m.why = strdup(text_of(m.body, "why"));
		if (!list || !m.name || !m.why)
			wrong = "out of memory";
	}
	if (wrong) {
		bson_destroy(m.body);
		free(m.name);
		free(m.why);
		return db_problem_set(problem, DB_FATAL, "migration %s: %s", file, wrong);
	}
	migrations->list[migrations->count++] = m;
	return DB_OK;
}

static enum db_result add_file(struct migrations *migrations, const char *dir, const char *name,
			       struct db_problem *problem)
{
	CLEANUP_FREE char *path = NULL;
	CLEANUP_FREE char *bytes = malloc(FILE_MAX);
	enum db_result result;

	if (asprintf(&path, "%s/%s", dir, name) < 0) {
		path = NULL;
		return db_problem_set(problem, DB_FATAL, "out of memory");
	}
	FILE *in = fopen(path, "re");
	if (!in || !bytes) {
		result = db_problem_set(problem, DB_FATAL, "migration %s: %s", path, strerror(errno));
	} else {
		size_t len = fread(bytes, 1, FILE_MAX, in);
		result = ferror(in) || len == FILE_MAX
				 ? db_problem_set(problem, DB_FATAL,
						  "migration %s: it cannot be read, or has more than %d bytes", path,
						  FILE_MAX - 1)
				 : add(migrations, name, bytes, len, problem);
	}
	if (in)
		fclose(in);
	return result;
}

static int is_json(const struct dirent *entry)
{
	size_t len = strlen(entry->d_name);

	return len > 5 && !strcmp(entry->d_name + len - 5, ".json");
}

enum db_result migrations_load(struct migrations *migrations, const char *dir, struct db_problem *problem)
{
	enum db_result result = DB_OK;
	struct dirent **entries;

	*migrations = (struct migrations){0};
	if (dir) {
		int n = scandir(dir, &entries, is_json, alphasort);
		if (n < 0)
			return db_problem_set(problem, DB_FATAL, "migrations in %s: %s", dir, strerror(errno));
		for (int i = 0; i < n; i++) {
			if (result == DB_OK)
				result = add_file(migrations, dir, entries[i]->d_name, problem);
			free(entries[i]);
		}
		free(entries);
	} else {
		for (size_t i = 0; result == DB_OK && i < embedded_migrations_count; i++)
			result = add(migrations, embedded_migrations[i].name, embedded_migrations[i].bytes,
				     embedded_migrations[i].length, problem);
	}
	if (result == DB_OK && !migrations->count)
		result = db_problem_set(problem, DB_FATAL, "there are no migrations in %s", dir ? dir : "this program");
	if (result != DB_OK)
		migrations_free(migrations);
	return result;
}

void migrations_free(struct migrations *migrations)
{
	for (size_t i = 0; i < migrations->count; i++) {
		bson_destroy(migrations->list[i].body);
		free(migrations->list[i].name);
		free(migrations->list[i].why);
	}
	free(migrations->list);
	*migrations = (struct migrations){0};
}

bool migrations_daily(const struct migrations *migrations, const char *family, bson_t *out)
{
	bson_iter_t it, element;
	bson_t inside;
	bool found = false;

	for (size_t i = migrations->count; !found && i-- > 0;) {
		if (!bson_iter_init_find(&it, migrations->list[i].body, "daily") || !bson_iter_recurse(&it, &element))
			continue;
		while (bson_iter_next(&element))
			if (ensure_inside(&element, &inside) && !strcmp(text_of(&inside, "family"), family))
				found = ensure_inside(&element, out);
	}
	return found;
}
