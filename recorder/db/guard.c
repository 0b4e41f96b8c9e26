/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/db/guard.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/un.h>

#include "recorder/core/clock.h"
#include "recorder/core/util.h"

/* Opcodes of the wire protocol that a server may send. */
enum { OP_REPLY = 1, OP_COMPRESSED = 2012, OP_MSG = 2013 };

#define STREAM_TYPE 0x7864 /* libmongoc's own are small numbers */
#define BUFFER_KEPT (1u << 18)
#define CONNECT_MS 3000

static _Thread_local const char *last_reason;
static _Thread_local uint64_t give_up_ns; /* boot ns, 0: no limit of the caller's */

const char *guard_reason(void)
{
	return last_reason;
}

void guard_reset(void)
{
	last_reason = NULL;
}

void guard_give_up(uint64_t boot_ns)
{
	give_up_ns = boot_ns;
}

/* ---- what a message must be -------------------------------------------------------------------------------- */

static uint32_t le32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

/* Every element lies within its document, to the last; libbson's iterator checks the lengths on its way. */
static bool well_formed(const uint8_t *data, size_t length, unsigned depth)
{
	bson_iter_t it;

	if (depth > GUARD_DEPTH || length < 5 || le32(data) != length || !bson_iter_init_from_data(&it, data, length))
		return false;
	while (bson_iter_next(&it)) {
		const uint8_t *inside = NULL;
		uint32_t len = 0;
		if (BSON_ITER_HOLDS_DOCUMENT(&it))
			bson_iter_document(&it, &len, &inside);
		else if (BSON_ITER_HOLDS_ARRAY(&it))
			bson_iter_array(&it, &len, &inside);
		else if (BSON_ITER_HOLDS_CODEWSCOPE(&it))
			return false; /* no answer has one */
		else
			continue;
		if (!inside || !well_formed(inside, len, depth + 1))
			return false;
	}
	return it.err_off == 0;
}

const char *guard_check(const uint8_t *message, size_t length)
{
	size_t before;

	if (length < GUARD_HEADER || length > GUARD_MESSAGE_MAX || le32(message) != length)
		return "the answer's length is impossible";
	switch (le32(message + 12)) {
	case OP_MSG: /* flags, kind 0, one document; no checksum, since none is asked for */
		before = GUARD_HEADER + 5;
		if (length < before + 5 || le32(message + GUARD_HEADER) & 1 || message[GUARD_HEADER + 4] != 0)
			return "the answer is no message of MongoDB's";
		break;
	case OP_REPLY: /* flags, cursor, start, number; one document */
		before = GUARD_HEADER + 20;
		if (length < before + 5 || le32(message + GUARD_HEADER + 16) != 1)
			return "the answer is no message of MongoDB's";
		break;
	case OP_COMPRESSED: /* opcode, length before compression, compressor */
		if (length < GUARD_HEADER + 9 || le32(message + GUARD_HEADER + 4) > GUARD_MESSAGE_MAX - GUARD_HEADER)
			return "the answer's length is impossible";
		return NULL;
	default:
		return "the answer is no message of MongoDB's";
	}
	return well_formed(message + before, length - before, 1) ? NULL : "the answer is a broken document";
}

/* ---- the stream -------------------------------------------------------------------------------------------- */

struct guarded {
	mongoc_stream_t stream; /* first */
	mongoc_stream_t *inner;
	struct guard *guard;
	bool tls;

	uint8_t *data;
	size_t have, size; /* bytes of the message under way, room for it */
	size_t length;	   /* of the whole message, 0 = not known yet */
	size_t given;	   /* bytes handed out of a checked message */
	bool checked;

	uint64_t limit; /* boot ns: what was sent must be answered by then, 0 = nothing was sent */
	bool timed_out, retry;
};

static struct guarded *guarded_of(mongoc_stream_t *stream)
{
	return container_of(stream, struct guarded, stream);
}

static ssize_t failed_with(struct guarded *g, const char *reason, int error)
{
	last_reason = reason;
	g->timed_out = error == ETIMEDOUT;
	errno = error;
	return -1;
}

static uint64_t after_ms(int32_t timeout_ms)
{
	uint64_t end = clock_boot_ns() + (uint64_t)timeout_ms * 1000000;

	return give_up_ns && give_up_ns < end ? give_up_ns : end;
}

/* Milliseconds for the next wait: 0 when time is up. */
static int32_t slice_until(uint64_t end)
{
	uint64_t now = clock_boot_ns();
	uint64_t ms = now < end ? (end - now) / 1000000 + 1 : 0;

	return ms > GUARD_SLICE_MS ? GUARD_SLICE_MS : (int32_t)ms;
}

static bool make_room(struct guarded *g, size_t size)
{
	uint8_t *more;

	if (size <= g->size)
		return true;
	more = realloc(g->data, size);
	if (!more)
		return false;
	g->data = more;
	g->size = size;
	return true;
}

static void forget_message(struct guarded *g)
{
	g->have = g->given = g->length = 0;
	g->checked = false;
	g->limit = 0;
	if (g->size > BUFFER_KEPT) {
		free(g->data);
		g->data = NULL;
		g->size = 0;
	}
}

/*
 * Reads on until the message is whole and checked: 1. 0: nothing more now (timeout 0). -1: failed. Room is made as
 * bytes come, never for what is only announced.
 */
static int fill(struct guarded *g, int32_t timeout_ms)
{
	uint64_t end = timeout_ms > 0 ? after_ms(timeout_ms) : 0;

	if (end && g->limit && g->limit < end)
		end = g->limit;
	for (;;) {
		size_t target = g->length ? g->length : GUARD_HEADER;
		size_t piece = target - g->have;

		if (piece > BUFFER_KEPT)
			piece = BUFFER_KEPT;
		if (!make_room(g, g->have + piece))
			return (int)failed_with(g, "out of memory", ENOMEM);
		int32_t wait = timeout_ms < 0 ? GUARD_SLICE_MS : timeout_ms ? slice_until(end) : 0;
		if (g->guard->cancelled)
			return (int)failed_with(g, "ended", ECANCELED);
		if (timeout_ms > 0 && !wait)
			return (int)failed_with(g, "no answer in time", ETIMEDOUT);
		ssize_t n = mongoc_stream_read(g->inner, g->data + g->have, piece, wait ? 1 : 0, wait);
		if (n == 0 && wait)
			return (int)failed_with(g, "the server closed the connection", ECONNRESET);
		if (n <= 0) {
			bool again = mongoc_stream_should_retry(g->inner) || mongoc_stream_timed_out(g->inner);
			if (!again)
				return (int)failed_with(
					g, n ? "the connection broke" : "the server closed the connection", ECONNRESET);
			if (!timeout_ms)
				return 0;
			continue;
		}
		g->have += (size_t)n;
		if (!g->length && g->have >= GUARD_HEADER) {
			g->length = le32(g->data);
			if (g->length < GUARD_HEADER || g->length > GUARD_MESSAGE_MAX)
				return (int)failed_with(g, "the answer's length is impossible", EPROTO);
		}
		if (g->length && g->have == g->length) {
			const char *wrong = guard_check(g->data, g->length);
			if (wrong)
				return (int)failed_with(g, wrong, EPROTO);
			g->checked = true;
			return 1;
		}
	}
}

static ssize_t guarded_readv(mongoc_stream_t *stream, mongoc_iovec_t *iov, size_t count, size_t least,
			     int32_t timeout_ms)
{
	struct guarded *g = guarded_of(stream);
	size_t total = 0;

	g->retry = g->timed_out = false;
	if (!g->checked) {
		int filled = fill(g, timeout_ms);
		if (filled < 0)
			return -1;
		if (!filled) {
			g->retry = true;
			errno = EAGAIN;
			return -1;
		}
	}
	for (size_t i = 0; i < count && g->given < g->length; i++) {
		size_t n = g->length - g->given;
		if (n > iov[i].iov_len)
			n = iov[i].iov_len;
		memcpy(iov[i].iov_base, g->data + g->given, n);
		g->given += n;
		total += n;
	}
	if (g->given == g->length)
		forget_message(g);
	if (total < least)
		return failed_with(g, "the answer is shorter than it says", EPROTO);
	return (ssize_t)total;
}

/* One piece, until it is written or the time is up. In slices, so that a server which does not read cannot hold the
 * thread. */
static bool write_piece(struct guarded *g, mongoc_iovec_t piece, uint64_t end)
{
	while (piece.iov_len) {
		int32_t wait = slice_until(end);
		if (g->guard->cancelled)
			return failed_with(g, "ended", ECANCELED) == 0;
		if (!wait)
			return failed_with(g, "the server does not read", ETIMEDOUT) == 0;
		ssize_t n = mongoc_stream_writev(g->inner, &piece, 1, wait);
		if (n < 0 && !mongoc_stream_should_retry(g->inner) && !mongoc_stream_timed_out(g->inner))
			return failed_with(g, "the connection broke", EPIPE) == 0;
		if (n > 0) {
			piece.iov_base = (char *)piece.iov_base + n;
			piece.iov_len -= (size_t)n;
		}
	}
	return true;
}

/*
 * Normally the kernel takes all, or nearly all, at once: one call. What is left goes piece by piece. TLS wants its
 * bytes in one piece and waits for itself.
 */
static ssize_t guarded_writev(mongoc_stream_t *stream, mongoc_iovec_t *iov, size_t count, int32_t timeout_ms)
{
	struct guarded *g = guarded_of(stream);
	bool slices = timeout_ms > 0 && !g->tls;
	size_t total = 0;
	ssize_t n;

	g->retry = g->timed_out = false;
	if (g->guard->cancelled)
		return failed_with(g, "ended", ECANCELED);
	g->limit = timeout_ms > 0 ? after_ms(timeout_ms) : 0;
	n = mongoc_stream_writev(g->inner, iov, count, slices ? slice_until(g->limit) : timeout_ms);
	if (!slices) {
		g->retry = n <= 0 && mongoc_stream_should_retry(g->inner);
		return n < 0 && !g->retry ? failed_with(g, "the connection broke", EPIPE) : n;
	}
	if (n < 0 && !mongoc_stream_should_retry(g->inner) && !mongoc_stream_timed_out(g->inner))
		return failed_with(g, "the connection broke", EPIPE);
	size_t written = n > 0 ? (size_t)n : 0;
	for (size_t i = 0; i < count; i++) {
		size_t begin = total;
		total += iov[i].iov_len;
		if (total <= written)
			continue;
		size_t skip = written > begin ? written - begin : 0;
		mongoc_iovec_t piece = {.iov_base = (char *)iov[i].iov_base + skip, .iov_len = iov[i].iov_len - skip};
		if (!write_piece(g, piece, g->limit))
			return -1;
	}
	return (ssize_t)total;
}

static void guarded_destroy(mongoc_stream_t *stream)
{
	struct guarded *g = guarded_of(stream);

	mongoc_stream_destroy(g->inner);
	free(g->data);
	bson_free(g);
}

static int guarded_close(mongoc_stream_t *stream)
{
	return mongoc_stream_close(guarded_of(stream)->inner);
}

static int guarded_flush(mongoc_stream_t *stream)
{
	return mongoc_stream_flush(guarded_of(stream)->inner);
}

static int guarded_setsockopt(mongoc_stream_t *stream, int level, int name, void *value, mongoc_socklen_t len)
{
	return mongoc_stream_setsockopt(guarded_of(stream)->inner, level, name, value, len);
}

static mongoc_stream_t *guarded_base(mongoc_stream_t *stream)
{
	return guarded_of(stream)->inner;
}

static bool guarded_check_closed(mongoc_stream_t *stream)
{
	return mongoc_stream_check_closed(guarded_of(stream)->inner);
}

static bool guarded_timed_out(mongoc_stream_t *stream)
{
	return guarded_of(stream)->timed_out;
}

static bool guarded_should_retry(mongoc_stream_t *stream)
{
	return guarded_of(stream)->retry;
}

static mongoc_stream_t *guard_stream(mongoc_stream_t *inner, struct guard *guard, bool tls)
{
	struct guarded *g = bson_malloc0(sizeof(*g));

	g->inner = inner;
	g->guard = guard;
	g->tls = tls;
	g->stream = (mongoc_stream_t){
		.type = STREAM_TYPE,
		.destroy = guarded_destroy,
		.close = guarded_close,
		.flush = guarded_flush,
		.writev = guarded_writev,
		.readv = guarded_readv,
		.setsockopt = guarded_setsockopt,
		.get_base_stream = guarded_base,
		.check_closed = guarded_check_closed,
		.failed = guarded_destroy,
		.timed_out = guarded_timed_out,
		.should_retry = guarded_should_retry,
	};
	return &g->stream;
}

/* ---- connecting -------------------------------------------------------------------------------------------- */

static mongoc_stream_t *no_connection(bson_error_t *error, const char *host, const char *reason)
{
	last_reason = reason;
	bson_set_error(error, MONGOC_ERROR_STREAM, MONGOC_ERROR_STREAM_CONNECT, "%s: %s", host, reason);
	return NULL;
}

static mongoc_stream_t *try_address(int family, int type, int protocol, const struct sockaddr *address, socklen_t len,
				    int32_t timeout_ms, int *why)
{
	mongoc_socket_t *socket = mongoc_socket_new(family, type, protocol);

	if (!socket) {
		*why = errno;
		return NULL;
	}
	if (!mongoc_socket_connect(socket, address, len, bson_get_monotonic_time() + timeout_ms * 1000ll))
		return mongoc_stream_socket_new(socket);
	*why = mongoc_socket_errno(socket);
	mongoc_socket_destroy(socket);
	return NULL;
}

static const char *why_not(int error)
{
	return !error || error == ETIMEDOUT || error == EINPROGRESS || error == EAGAIN ? "no answer to connecting"
										       : strerrordesc_np(error);
}

static mongoc_stream_t *connect_path(const char *path, int32_t timeout_ms, bson_error_t *error)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mongoc_stream_t *stream;
	int why = 0;

	if (strlen(path) >= sizeof(address.sun_path))
		return no_connection(error, path, "the path of the socket is too long");
	memcpy(address.sun_path, path, strlen(path));
	stream = try_address(AF_UNIX, SOCK_STREAM, 0, (struct sockaddr *)&address, sizeof(address), timeout_ms, &why);
	return stream ? stream : no_connection(error, path, why_not(why));
}

static mongoc_stream_t *connect_tcp(const mongoc_host_list_t *host, int32_t timeout_ms, bson_error_t *error)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list;
	mongoc_stream_t *stream = NULL;
	char port[8];
	int why = 0;

	snprintf(port, sizeof(port), "%u", host->port);
	int failed = getaddrinfo(host->host, port, &hints, &list);
	if (failed)
		return no_connection(error, host->host_and_port, gai_strerror(failed));
	uint64_t end = after_ms(timeout_ms);
	for (struct addrinfo *a = list; a && !stream; a = a->ai_next) {
		uint64_t now = clock_boot_ns();
		if (now < end) /* one limit for all of a host's addresses */
			stream = try_address(a->ai_family, a->ai_socktype, a->ai_protocol, a->ai_addr, a->ai_addrlen,
					     (int32_t)((end - now) / 1000000) + 1, &why);
	}
	freeaddrinfo(list);
	return stream ? stream : no_connection(error, host->host_and_port, why_not(why));
}

/* The settings of the URI, as libmongoc's own connections would use them. */
static mongoc_stream_t *add_tls(mongoc_stream_t *stream, const mongoc_uri_t *uri, const char *host, int32_t timeout_ms,
				bson_error_t *error)
{
	mongoc_ssl_opt_t options = *mongoc_ssl_opt_get_default();
	bool insecure = mongoc_uri_get_option_as_bool(uri, MONGOC_URI_TLSINSECURE, false);
	mongoc_stream_t *tls;

	options.pem_file = mongoc_uri_get_option_as_utf8(uri, MONGOC_URI_TLSCERTIFICATEKEYFILE, NULL);
	options.pem_pwd = mongoc_uri_get_option_as_utf8(uri, MONGOC_URI_TLSCERTIFICATEKEYFILEPASSWORD, NULL);
	options.ca_file = mongoc_uri_get_option_as_utf8(uri, MONGOC_URI_TLSCAFILE, NULL);
	options.weak_cert_validation =
		insecure || mongoc_uri_get_option_as_bool(uri, MONGOC_URI_TLSALLOWINVALIDCERTIFICATES, false);
	options.allow_invalid_hostname =
		insecure || mongoc_uri_get_option_as_bool(uri, MONGOC_URI_TLSALLOWINVALIDHOSTNAMES, false);
	tls = mongoc_stream_tls_new_with_hostname(stream, host, &options, 1);
	if (!tls) {
		mongoc_stream_destroy(stream);
		return no_connection(error, host, "TLS cannot be set up; check the files named in the URI");
	}
	if (!mongoc_stream_tls_handshake_block(tls, host, timeout_ms, error)) {
		mongoc_stream_destroy(tls);
		return NULL;
	}
	return tls;
}

static void note_port(struct guard *guard, uint16_t port)
{
	for (size_t i = 0; i < ARRAY_SIZE(guard->port); i++) {
		uint16_t none = 0;
		if (guard->port[i] == port || atomic_compare_exchange_strong(&guard->port[i], &none, port))
			return;
	}
}

mongoc_stream_t *guard_connect(const mongoc_uri_t *uri, const mongoc_host_list_t *host, void *arg, bson_error_t *error)
{
	struct guard *guard = arg;
	int32_t timeout_ms = mongoc_uri_get_option_as_int32(uri, MONGOC_URI_CONNECTTIMEOUTMS, CONNECT_MS);
	mongoc_stream_t *stream;

	if (guard->cancelled)
		return no_connection(error, host->host_and_port, "ended");
	if (give_up_ns) {
		uint64_t now = clock_boot_ns(), left_ms = give_up_ns > now ? (give_up_ns - now) / 1000000 : 0;

		if (!left_ms)
			return no_connection(error, host->host_and_port, "no answer in time");
		timeout_ms = left_ms < (uint64_t)timeout_ms ? (int32_t)left_ms : timeout_ms;
	}
	if (host->family == AF_UNIX)
		return (stream = connect_path(host->host, timeout_ms, error)) ? guard_stream(stream, guard, false)
									      : NULL;
	note_port(guard, htons(host->port));
	stream = connect_tcp(host, timeout_ms, error);
	if (stream && guard->connected)
		guard->connected(guard->connected_arg);
	bool tls = mongoc_uri_get_tls(uri);
	if (stream && tls)
		stream = add_tls(stream, uri, host->host, timeout_ms, error);
	return stream ? guard_stream(stream, guard, tls) : NULL;
}
