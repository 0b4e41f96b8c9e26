/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The recorder's own connections to its database: found by looking at this process's own TCP sockets, whoever in the
 * process made them, and told to the keeper, who alone may change what the kernel filters. So exactly the 5-tuples that
 * exist are filtered, and nothing has to be hooked into libmongoc.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "recorder/core/log.h"
#include "recorder/process/drainer.h"

#define FDS 256 /* descriptors looked at; the drainer has a few dozen */

static bool put_address(const struct sockaddr_storage *from, uint8_t address[16], uint16_t *port)
{
	if (from->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)from;

		memset(address, 0, 10);
		address[10] = address[11] = 0xff;
		memcpy(address + 12, &in->sin_addr, 4);
		*port = in->sin_port;
		return true;
	}
	if (from->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;

		memcpy(address, &in6->sin6_addr, 16);
		*port = in6->sin6_port;
		return true;
	}
	return false;
}

/* True when `fd` is a connected TCP socket; its 5-tuple, as packets that leave here have it. */
static bool tuple_of(int fd, struct rec_own_key *key)
{
	struct sockaddr_storage local, remote;
	socklen_t local_len = sizeof(local), remote_len = sizeof(remote);
	int type;
	socklen_t type_len = sizeof(type);

	memset(key, 0, sizeof(*key));
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) || type != SOCK_STREAM)
		return false;
	if (getsockname(fd, (struct sockaddr *)&local, &local_len) ||
	    getpeername(fd, (struct sockaddr *)&remote, &remote_len))
		return false;
	key->proto = IPPROTO_TCP;
	return put_address(&local, key->src, &key->sport) && put_address(&remote, key->dst, &key->dport);
}

static bool contains(const struct rec_own_key *keys, unsigned n, const struct rec_own_key *key)
{
	for (unsigned i = 0; i < n; i++)
		if (memcmp(&keys[i], key, sizeof(*key)) == 0)
			return true;
	return false;
}

void own_scan(struct drainer *d)
{
	static struct rec_own_key found[REC_OWN_FLOWS / 2];
	unsigned n = 0;

	for (int fd = 3; fd < FDS && n < REC_OWN_FLOWS / 2; fd++)
		if (tuple_of(fd, &found[n]))
			n++;
	if (!d->own)
		d->own = calloc(REC_OWN_FLOWS / 2, sizeof(*d->own));
	if (!d->own)
		return;
	/* A message that cannot be sent now (the keeper is stopped) is sent by a later scan. */
	for (unsigned i = 0; i < n; i++)
		if (!contains(d->own, d->nowns, &found[i]) && d->nowns < REC_OWN_FLOWS / 2 &&
		    link_send(d->link, LINK_OWN_ADD, 0, &found[i], sizeof(found[i]), -1) == 0)
			d->own[d->nowns++] = found[i];
	for (unsigned i = d->nowns; i-- > 0;)
		if (!contains(found, n, &d->own[i]) &&
		    link_send(d->link, LINK_OWN_DEL, 0, &d->own[i], sizeof(d->own[i]), -1) == 0)
			d->own[i] = d->own[--d->nowns];
}
