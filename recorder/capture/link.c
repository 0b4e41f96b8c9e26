// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * link.c - what the kernel says of an interface, by rtnetlink: it answers for the network namespace of the process,
 * while /sys/class/net answers for the one in which /sys was mounted.
 */
#include "recorder/capture/internal.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <sys/socket.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

#define ANSWER (64u << 10) /* one message of a dump, or one link with all its attributes */

static int netlink_ask(int fd, void *request, size_t length)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	if (sendto(fd, request, length, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	return 0;
}

static int netlink_open(void)
{
	struct timeval patience = { .tv_sec = 5 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

static void take_attribute(struct link_facts *f, const struct rtattr *a)
{
	size_t n = RTA_PAYLOAD(a);

	switch (a->rta_type & NLA_TYPE_MASK) {
	case IFLA_IFNAME:
		snprintf(f->name, sizeof(f->name), "%.*s", (int)n, (const char *)RTA_DATA(a));
		break;
	case IFLA_MTU:
		memcpy(&f->mtu, RTA_DATA(a), sizeof(f->mtu));
		break;
	case IFLA_CARRIER_DOWN_COUNT:
		memcpy(&f->downs, RTA_DATA(a), sizeof(f->downs));
		break;
	case IFLA_PARENT_DEV_NAME: /* 00e77ed8e64d "rtnetlink: add IFLA_PARENT_[DEV|DEV_BUS]_NAME", 5.14 */
		f->physical = true;
		break;
	case IFLA_LINKINFO: {
		const struct rtattr *b = RTA_DATA(a);
		int left = (int)n;

		for (; RTA_OK(b, left); b = RTA_NEXT(b, left))
			if (b->rta_type == IFLA_INFO_KIND)
				snprintf(f->kind, sizeof(f->kind), "%.*s", (int)RTA_PAYLOAD(b), (const char *)RTA_DATA(b));
		break;
	}
	}
}

int link_facts(struct link_facts *out, const char *name, unsigned ifindex)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
		char attributes[64];
	} ask = { .h = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)), .nlmsg_type = RTM_GETLINK,
			 .nlmsg_flags = NLM_F_REQUEST, .nlmsg_seq = 1 },
		  .i = { .ifi_family = AF_UNSPEC, .ifi_index = name ? 0 : (int)ifindex } };
	struct link_facts f = { 0 };
	CLEANUP_FREE char *answer = NULL;
	CLEANUP_CLOSE int fd = -1;
	struct nlmsghdr *h;
	ssize_t n;
	int err;

	if (name) {
		struct rtattr *a = (struct rtattr *)((char *)&ask + NLMSG_ALIGN(ask.h.nlmsg_len));
		size_t length = strlen(name) + 1;

		if (length == 1 || length > IFNAMSIZ)
			return -ENODEV;
		a->rta_type = IFLA_IFNAME;
		a->rta_len = (unsigned short)RTA_LENGTH(length);
		memcpy(RTA_DATA(a), name, length);
		ask.h.nlmsg_len = NLMSG_ALIGN(ask.h.nlmsg_len) + (unsigned)RTA_LENGTH(length);
	} else if (!ifindex) {
		return -ENODEV;
	}
	answer = malloc(ANSWER);
	if (!answer)
		return -ENOMEM;
	fd = netlink_open();
	if (fd < 0)
		return fd;
	err = netlink_ask(fd, &ask, ask.h.nlmsg_len);
	if (err)
		return err;
	n = recv(fd, answer, ANSWER, 0);
	if (n < 0)
		return -errno;
	h = (struct nlmsghdr *)answer;
	if (!NLMSG_OK(h, n))
		return -EPROTO;
	if (h->nlmsg_type == NLMSG_ERROR)
		return ((struct nlmsgerr *)NLMSG_DATA(h))->error ?: -EPROTO;
	if (h->nlmsg_type != RTM_NEWLINK)
		return -EPROTO;

	struct ifinfomsg *info = NLMSG_DATA(h);
	struct rtattr *a = IFLA_RTA(info);
	int left = (int)IFLA_PAYLOAD(h);

	f.index = (unsigned)info->ifi_index;
	f.type = info->ifi_type;
	f.flags = info->ifi_flags;
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
		take_attribute(&f, a);
	if (f.kind[0])
		f.physical = false;
	*out = f;
	return 0;
}

int netns_cookie(uint64_t *out)
{
	socklen_t size = sizeof(*out);
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, out, &size) ? -errno : 0;
}

static int count_filters(int fd, char *answer, unsigned ifindex, unsigned parent)
{
	struct {
		struct nlmsghdr h;
		struct tcmsg t;
	} ask = { .h = { .nlmsg_len = sizeof(ask), .nlmsg_type = RTM_GETTFILTER,
			 .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP, .nlmsg_seq = 2 },
		  .t = { .tcm_family = AF_UNSPEC, .tcm_ifindex = (int)ifindex,
			 .tcm_parent = TC_H_MAKE(TC_H_CLSACT, parent) } };
	int count = 0, err = netlink_ask(fd, &ask, sizeof(ask));

	if (err)
		return err;
	for (;;) {
		ssize_t n = recv(fd, answer, ANSWER, 0);
		struct nlmsghdr *h = (struct nlmsghdr *)answer;

		if (n < 0)
			return -errno;
		for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return count;
			if (h->nlmsg_type == NLMSG_ERROR)
				return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
			if (h->nlmsg_type == RTM_NEWTFILTER && ((struct tcmsg *)NLMSG_DATA(h))->tcm_handle)
				count++;
		}
	}
}

int clsact_filters(unsigned ifindex)
{
	CLEANUP_FREE char *answer = malloc(ANSWER);
	CLEANUP_CLOSE int fd = netlink_open();
	int in, out;

	if (!answer)
		return -ENOMEM;
	if (fd < 0)
		return fd;
	in = count_filters(fd, answer, ifindex, TC_H_MIN_INGRESS);
	if (in < 0)
		return in;
	out = count_filters(fd, answer, ifindex, TC_H_MIN_EGRESS);
	return out < 0 ? out : in + out;
}

bool capture_wants_promisc(const char *iface, unsigned sides)
{
	struct link_facts f;

	return sides & CAPTURE_SIDE(REC_RX) && !link_facts(&f, iface, 0) && f.physical;
}
