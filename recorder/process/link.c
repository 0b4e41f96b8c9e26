/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/process/link.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEADER offsetof(struct link_message, fd)

int link_send(int socket, enum link_type type, uint32_t arg, const void *payload, size_t len, int fd)
{
	uint32_t header[3] = {(uint32_t)type, arg, (uint32_t)len};
	struct iovec iov[2] = {{header, sizeof(header)}, {(void *)payload, len}};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

	if (len > LINK_PAYLOAD_MAX)
		return -EMSGSIZE;
	if (fd >= 0) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	while (sendmsg(socket, &msg, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int link_receive(int socket, struct link_message *m)
{
	uint32_t header[3];
	struct iovec iov[2] = {{header, sizeof(header)}, {m->payload, sizeof(m->payload)}};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr msg = {
		.msg_iov = iov,
		.msg_iovlen = 2,
		.msg_control = control.bytes,
		.msg_controllen = CMSG_LEN(sizeof(int)), /* CMSG_SPACE has room for a second one, which nobody would close */
	};
	ssize_t n;

	_Static_assert(HEADER == sizeof(header), "the header is the first three members");
	do
		n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	if (n == 0)
		return 0;
	m->fd = -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			memcpy(&m->fd, CMSG_DATA(c), sizeof(m->fd));
	m->type = header[0];
	m->arg = header[1];
	m->len = header[2];
	if ((size_t)n < sizeof(header) || m->len != (size_t)n - sizeof(header) || (msg.msg_flags & MSG_TRUNC)) {
		if (m->fd >= 0)
			close(m->fd);
		m->fd = -1;
		return -EBADMSG;
	}
	return 1;
}
