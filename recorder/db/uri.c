/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The half of connect.h that is only about text: hiding secrets in URIs. Pure. */
#include "recorder/db/connect.h"

#include <stdio.h>
#include <strings.h>

#include "recorder/core/util.h"
#include "recorder/db/uri.h"

static const char hidden[] = "***";

/* Options whose values are secret, or hold secrets among other things. */
static bool secret_option(const char *name, size_t len)
{
	static const char *const names[] = {"tlscertificatekeyfilepassword", "sslclientcertificatekeypassword",
					    "authmechanismproperties", "proxypassword", "password"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (len == strlen(names[i]) && !strncasecmp(name, names[i], len))
			return true;
	return false;
}

struct text {
	char *at;
	size_t left; /* with the NUL */
};

static void put(struct text *out, const char *bytes, size_t len)
{
	if (!out->left)
		return;
	if (len >= out->left)
		len = out->left - 1;
	memcpy(out->at, bytes, len);
	out->at += len;
	out->left -= len;
	*out->at = '\0';
}

static void put_options(struct text *out, const char *at)
{
	while (*at) {
		size_t len = strcspn(at, "&;");
		const char *equals = memchr(at, '=', len);

		if (equals && secret_option(at, (size_t)(equals - at))) {
			put(out, at, (size_t)(equals - at) + 1);
			put(out, hidden, strlen(hidden));
		} else {
			put(out, at, len);
		}
		at += len;
		if (*at)
			put(out, at++, 1);
	}
}

/*
 * Where the user part ends: at the last '@' of the whole string, since a password that somebody forgot to encode may
 * hold any character. An '@' that stands in an option of a URI without a user hides too much; that is the safe side.
 */
char *uri_redacted(const char *uri, char *out, size_t size)
{
	struct text text = {out, size};
	const char *scheme = strstr(uri, "://");
	const char *from = scheme ? scheme + 3 : uri;
	const char *end = strrchr(from, '@');

	if (size)
		*out = '\0';
	if (end) {
		const char *colon = memchr(from, ':', (size_t)(end - from));
		put(&text, uri, (size_t)((colon ? colon : end) - uri));
		if (colon) {
			put(&text, ":", 1);
			put(&text, hidden, strlen(hidden));
		}
		from = end;
	} else {
		put(&text, uri, (size_t)(from - uri));
	}
	const char *options = strchr(from, '?');
	if (!options) {
		put(&text, from, strlen(from));
		return out;
	}
	put(&text, from, (size_t)(options - from) + 1);
	put_options(&text, options + 1);
	return out;
}

void uri_redact_text(char *text)
{
	for (char *at = text; (at = strstr(at, "://"));) {
		char *from = at + 3;
		size_t len = strcspn(from, " \t\n'\"`<>");
		char *end = memrchr(from, '@', len);
		char *colon = end ? memchr(from, ':', (size_t)(end - from)) : NULL;

		if (colon && (size_t)(end - colon) > strlen(hidden)) {
			memcpy(colon + 1, hidden, strlen(hidden));
			memmove(colon + 1 + strlen(hidden), end, strlen(end) + 1);
		} else if (colon) {
			memset(colon + 1, '*', (size_t)(end - colon - 1));
		}
		at = from;
	}
}

bool uri_from_path(const char *path, char *out, size_t size)
{
	static const char hex[] = "0123456789ABCDEF";
	struct text text = {out, size};

	put(&text, "mongodb://", 10);
	for (const unsigned char *p = (const unsigned char *)path; *p; p++) {
		bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
			     strchr("-._~", *p);
		char escaped[3] = {'%', hex[*p >> 4], hex[*p & 15]};

		put(&text, plain ? (const char *)p : escaped, plain ? 1 : 3);
	}
	return text.left > 1;
}
