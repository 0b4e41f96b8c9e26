/* SPDX-License-Identifier: GPL-2.0-or-later */
/* traffic.h - sends frames over an interface of the lab by a packet socket. */
#ifndef XDP_RECORDER_TESTS_TRAFFIC_H
#define XDP_RECORDER_TESTS_TRAFFIC_H

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bpf/frames.h"

static inline int traffic_open(const char *iface)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(iface) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: it receives nothing */

	if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Frames sent: all, or fewer after an error. */
static inline unsigned traffic_send(int fd, const struct frame *f, unsigned times)
{
	unsigned n = 0;

	while (n < times && send(fd, f->bytes, f->len, 0) == (ssize_t)f->len)
		n++;
	return n;
}

static inline unsigned traffic(const char *iface, const struct frame *f, unsigned times)
{
	int fd = traffic_open(iface);
	unsigned n = fd < 0 ? 0 : traffic_send(fd, f, times);

	if (fd >= 0)
		close(fd);
	return n;
}

#endif
