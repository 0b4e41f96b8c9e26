/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/core/witness.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#include "recorder/core/clock.h"
#include "recorder/core/util.h"

static int parse_link(const struct nlmsghdr *header, struct witness *out)
{
	const struct rtattr *attr = IFLA_RTA((struct ifinfomsg *)NLMSG_DATA(header));
	unsigned len = (unsigned)IFLA_PAYLOAD(header);
	struct rtnl_link_stats64 stats;

	if (header->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *e = NLMSG_DATA(header);

		return e->error ? e->error : -EPROTO;
	}
	for (; RTA_OK(attr, len); attr = RTA_NEXT(attr, len)) {
		size_t bytes = RTA_PAYLOAD(attr);

		if (attr->rta_type != IFLA_STATS64)
			continue;
		memset(&stats, 0, sizeof(stats));
		memcpy(&stats, RTA_DATA(attr), bytes < sizeof(stats) ? bytes : sizeof(stats));
		*out = (struct witness){
			.boot = clock_boot_ns(),
			.rx_packets = stats.rx_packets,
			.rx_bytes = stats.rx_bytes,
			.rx_dropped = stats.rx_dropped,
			.tx_packets = stats.tx_packets,
			.tx_bytes = stats.tx_bytes,
			.tx_dropped = stats.tx_dropped,
		};
		return 0;
	}
	return -ENODATA;
}

int witness_read(const char *iface, struct witness *out)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
	} request = {
		.header = {.nlmsg_len = sizeof(request), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST},
		.info = {.ifi_family = AF_UNSPEC, .ifi_index = (int)if_nametoindex(iface)},
	};
	_Alignas(8) char reply[16384];
	CLEANUP_CLOSE int fd = -1;
	ssize_t n;

	if (!request.info.ifi_index)
		return -ENODEV;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return -errno;
	if (send(fd, &request, sizeof(request), 0) < 0)
		return -errno;
	n = recv(fd, reply, sizeof(reply), 0);
	if (n < 0)
		return -errno;
	if (!NLMSG_OK((struct nlmsghdr *)reply, (unsigned)n))
		return -EPROTO;
	return parse_link((struct nlmsghdr *)reply, out);
}
