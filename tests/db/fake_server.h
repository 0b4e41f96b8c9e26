/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * fake_server.h - for tests/db: a server on the loopback that greets like MongoDB and then does what the test wants.
 */
#ifndef TESTS_DB_FAKE_SERVER_H
#define TESTS_DB_FAKE_SERVER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include <bson/bson.h>

#include "recorder/core/util.h"

enum fake_manner {
	FAKE_ANSWER,	  /* what `answer` says */
	FAKE_SILENT,	  /* reads, and says nothing */
	FAKE_CLOSE,	  /* ends the connection instead of an answer */
	FAKE_HALF,	  /* ends it in the middle of the answer */
	FAKE_GARBAGE,	  /* bytes that are no message */
	FAKE_HUGE,	  /* announces an answer of 2 GiB */
	FAKE_NEGATIVE,	  /* announces one of -1 bytes */
	FAKE_BROKEN_BSON, /* a message whose document is not one */
	FAKE_DRIP,	  /* a byte every 50 ms */
};

struct fake {
	int listener;
	uint16_t port;
	pthread_t thread;
	_Atomic enum fake_manner hello, command;
	int wire; /* maxWireVersion of the greeting, 0: 21 */
	const char *hello_more; /* JSON fields of the greeting, behind the usual ones; NULL */
	/* JSON of the answer to a command; called by many threads. NULL: {ok: 1}. */
	const char *(*answer)(struct fake *fake, const char *name, const bson_t *command);
	void *arg;
	_Atomic unsigned commands; /* that were no greeting */
	_Atomic bool ended;
	_Atomic int open;    /* connection threads */
	_Atomic int fds[64]; /* of the connections, + 1; 0 = free */
};

struct fake_connection {
	struct fake *fake;
	int fd;
};

static inline bool fake_read(int fd, void *out, size_t len)
{
	for (size_t n = 0; n < len;) {
		ssize_t got = recv(fd, (char *)out + n, len - n, 0);
		if (got <= 0)
			return false;
		n += (size_t)got;
	}
	return true;
}

static inline void fake_send(struct fake *fake, int fd, const uint8_t *bytes, size_t len, enum fake_manner manner)
{
	if (manner == FAKE_DRIP) {
		for (size_t i = 0; i < len && !fake->ended; i++) {
			send(fd, bytes + i, 1, MSG_NOSIGNAL);
			usleep(50000);
		}
		return;
	}
	while (len) {
		ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
		if (sent <= 0)
			return;
		bytes += sent;
		len -= (size_t)sent;
	}
}

static inline void put_le32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, 4);
}

/* Whether the connection goes on. */
static inline bool fake_reply(struct fake *fake, int fd, const uint8_t request[16], const char *json,
			      enum fake_manner manner)
{
	uint32_t id, opcode;
	uint8_t small[512] = {0}, *message = small;
	bson_error_t error;

	memcpy(&id, request + 4, 4);
	memcpy(&opcode, request + 12, 4);
	while (manner == FAKE_SILENT && !fake->ended)
		usleep(20000);
	if (manner == FAKE_SILENT || manner == FAKE_CLOSE)
		return false;
	if (manner == FAKE_GARBAGE) {
		for (size_t i = 0; i < 512; i++)
			message[i] = (uint8_t)(i * 167 + 13);
		put_le32(message, 512);
		fake_send(fake, fd, message, 512, manner);
		return true;
	}
	bson_t *doc = bson_new_from_json((const uint8_t *)json, -1, &error);
	if (!doc) {
		fprintf(stderr, "%s: %s\n", json, error.message);
		abort();
	}
	size_t before = opcode == 2004 ? 36 : 21, len = before + doc->len;
	message = calloc(1, len);
	put_le32(message, (uint32_t)len);
	put_le32(message + 8, id);
	put_le32(message + 12, opcode == 2004 ? 1 : 2013);
	if (opcode == 2004)
		put_le32(message + 32, 1);
	memcpy(message + before, bson_get_data(doc), doc->len);
	bson_destroy(doc);
	if (manner == FAKE_HUGE)
		put_le32(message, 0x7fffffff);
	if (manner == FAKE_NEGATIVE)
		put_le32(message, 0xffffffff);
	if (manner == FAKE_BROKEN_BSON)
		memset(message + before + 4, 0xee, len - before - 4);
	fake_send(fake, fd, message, manner == FAKE_HALF ? len / 2 : len, manner);
	free(message);
	return manner != FAKE_HALF;
}

static inline bool fake_serve_one(struct fake *fake, int fd)
{
	static const char greeting[] =
		"\"isWritablePrimary\": true, \"ismaster\": true, \"helloOk\": true, \"maxBsonObjectSize\": 16777216, "
		"\"maxMessageSizeBytes\": 48000000, \"maxWriteBatchSize\": 100000, \"minWireVersion\": 0, \"ok\": 1";
	uint8_t header[16];
	uint32_t len, opcode;
	char hello[1024];

	if (!fake_read(fd, header, sizeof(header)))
		return false;
	memcpy(&len, header, 4);
	memcpy(&opcode, header + 12, 4);
	if (len < 16 || len > (64u << 20))
		return false;
	uint8_t *body = malloc(len);
	bool goes_on = fake_read(fd, body, len - 16);
	size_t at = opcode == 2004 ? 4 + strlen((char *)body + 4) + 1 + 8 : 5;
	uint32_t doc_len = 0;
	bson_t command;
	bson_iter_t it;

	if (goes_on && at + 4 < len - 16)
		memcpy(&doc_len, body + at, 4);
	if (goes_on && bson_init_static(&command, body + at, doc_len) && bson_iter_init(&it, &command) &&
	    bson_iter_next(&it)) {
		const char *name = bson_iter_key(&it);
		if (!strcmp(name, "hello") || !strcasecmp(name, "ismaster")) {
			snprintf(hello, sizeof(hello), "{%s, \"maxWireVersion\": %d%s%s}", greeting,
				 fake->wire ? fake->wire : 21, fake->hello_more ? ", " : "",
				 fake->hello_more ? fake->hello_more : "");
			goes_on = fake_reply(fake, fd, header, hello, fake->hello);
		} else {
			fake->commands++;
			const char *json = fake->answer ? fake->answer(fake, name, &command) : "{\"ok\": 1}";
			goes_on = fake_reply(fake, fd, header, json, fake->command);
		}
	}
	free(body);
	return goes_on;
}

static inline void *fake_serve(void *arg)
{
	struct fake_connection *connection = arg;

	while (!connection->fake->ended && fake_serve_one(connection->fake, connection->fd))
		;
	for (size_t i = 0; i < ARRAY_SIZE(connection->fake->fds); i++) {
		int mine = connection->fd + 1;
		atomic_compare_exchange_strong(&connection->fake->fds[i], &mine, 0);
	}
	close(connection->fd);
	connection->fake->open--;
	free(connection);
	return NULL;
}

static inline void *fake_listen(void *arg)
{
	struct fake *fake = arg;

	for (;;) {
		pthread_t thread;
		int fd = accept4(fake->listener, NULL, NULL, SOCK_CLOEXEC);
		if (fake->ended || fd < 0) {
			if (fd >= 0)
				close(fd);
			return NULL;
		}
		struct fake_connection *connection = malloc(sizeof(*connection));
		*connection = (struct fake_connection){fake, fd};
		fake->open++;
		for (size_t i = 0; i < ARRAY_SIZE(fake->fds); i++) {
			int none = 0;
			if (atomic_compare_exchange_strong(&fake->fds[i], &none, fd + 1))
				break;
		}
		if (pthread_create(&thread, NULL, fake_serve, connection))
			abort();
		pthread_detach(thread);
	}
}

static inline void fake_start(struct fake *fake)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);

	fake->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(fake->listener, (struct sockaddr *)&address, len) || listen(fake->listener, 64) ||
	    getsockname(fake->listener, (struct sockaddr *)&address, &len) ||
	    pthread_create(&fake->thread, NULL, fake_listen, fake))
		abort();
	fake->port = ntohs(address.sin_port);
}

static inline void fake_end(struct fake *fake)
{
	fake->ended = true;
	shutdown(fake->listener, SHUT_RDWR);
	pthread_join(fake->thread, NULL);
	close(fake->listener);
	while (fake->open) {
		for (size_t i = 0; i < ARRAY_SIZE(fake->fds); i++)
			if (fake->fds[i])
				shutdown(fake->fds[i] - 1, SHUT_RDWR);
		usleep(1000);
	}
}

#endif
