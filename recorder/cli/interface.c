/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/cli/interface.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <bpf/libbpf.h>

#include "recorder/capture/capture.h"
#include "recorder/core/util.h"

/* Generic netlink family "netdev" (Linux 6.3, include/uapi/linux/netdev.h), newer than Debian 12's headers. */
#define NETDEV_FAMILY "netdev"
#define NETDEV_GET 1
#define NETDEV_IFINDEX 1
#define NETDEV_XDP_FEATURES 3
#define XDP_FEATURE_BASIC 1u
#define XDP_FEATURE_RX_SG 32u

struct request {
	struct nlmsghdr head;
	struct genlmsghdr genl;
	uint8_t attributes[64];
};

static const struct nlattr *find_attribute(const void *data, size_t len, uint16_t type)
{
	const uint8_t *p = data;

	while (len >= NLA_HDRLEN) {
		const struct nlattr *a = (const struct nlattr *)p;
		size_t step = NLA_ALIGN((size_t)a->nla_len);

		if (a->nla_len < NLA_HDRLEN || a->nla_len > len)
			return NULL;
		if ((a->nla_type & NLA_TYPE_MASK) == type)
			return a;
		if (step > len)
			return NULL;
		p += step;
		len -= step;
	}
	return NULL;
}

/* One request with one attribute; the answer's attributes in `answer`. Their length or -errno. */
static int ask(int fd, uint16_t family, uint8_t command, uint16_t type, const void *value, size_t len, uint8_t *answer,
	       size_t size)
{
	struct request request = {.head = {.nlmsg_type = family, .nlmsg_flags = NLM_F_REQUEST},
				  .genl = {.cmd = command, .version = 1}};
	struct nlattr *a = (struct nlattr *)request.attributes;
	_Alignas(8) uint8_t buffer[8192];
	const struct nlmsghdr *head = (const struct nlmsghdr *)buffer;
	ssize_t n;

	a->nla_type = type;
	a->nla_len = (uint16_t)(NLA_HDRLEN + len);
	memcpy(a + 1, value, len);
	request.head.nlmsg_len = (uint32_t)(NLMSG_LENGTH(sizeof(struct genlmsghdr)) + NLA_ALIGN(NLA_HDRLEN + len));
	if (send(fd, &request, request.head.nlmsg_len, 0) < 0)
		return -errno;
	n = recv(fd, buffer, sizeof(buffer), 0);
	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(*head) || head->nlmsg_len > (size_t)n)
		return -EPROTO;
	if (head->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *error = NLMSG_DATA(head);

		return error->error ? error->error : -EPROTO;
	}
	if (head->nlmsg_len < NLMSG_LENGTH(sizeof(struct genlmsghdr)))
		return -EPROTO;
	n = head->nlmsg_len - (ssize_t)NLMSG_LENGTH(sizeof(struct genlmsghdr));
	if ((size_t)n > size)
		return -EMSGSIZE;
	memcpy(answer, (const uint8_t *)NLMSG_DATA(head) + GENL_HDRLEN, (size_t)n);
	return (int)n;
}

static void look_at_xdp(struct interface *interface)
{
	CLEANUP_CLOSE int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	struct timeval second = {1, 0};
	_Alignas(8) uint8_t answer[8192];
	const struct nlattr *a;
	uint32_t index = interface->index;
	uint16_t family;
	uint64_t features;
	int n;

	interface->xdp = interface->frags = ANSWER_UNKNOWN;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second)) ||
	    connect(fd, (struct sockaddr *)&kernel, sizeof(kernel)))
		return;
	n = ask(fd, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, NETDEV_FAMILY, sizeof(NETDEV_FAMILY),
		answer, sizeof(answer));
	a = n > 0 ? find_attribute(answer, (size_t)n, CTRL_ATTR_FAMILY_ID) : NULL;
	if (!a || a->nla_len < NLA_HDRLEN + sizeof(family))
		return;
	memcpy(&family, a + 1, sizeof(family));
	n = ask(fd, family, NETDEV_GET, NETDEV_IFINDEX, &index, sizeof(index), answer, sizeof(answer));
	a = n > 0 ? find_attribute(answer, (size_t)n, NETDEV_XDP_FEATURES) : NULL;
	if (!a || a->nla_len < NLA_HDRLEN + sizeof(features))
		return;
	memcpy(&features, a + 1, sizeof(features));
	interface->xdp = features & XDP_FEATURE_BASIC ? ANSWER_YES : ANSWER_NO;
	interface->frags = features & XDP_FEATURE_RX_SG ? ANSWER_YES : ANSWER_NO;
}

static uint32_t ethtool_value(int fd, struct ifreq *ifr, uint32_t command)
{
	struct ethtool_value value = {.cmd = command};

	ifr->ifr_data = (char *)&value;
	return ioctl(fd, SIOCETHTOOL, ifr) ? 0 : value.data;
}

int interface_look(struct interface *interface, const char *name)
{
	CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct interface i = {.index = if_nametoindex(name)};
	struct ethtool_drvinfo info = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq ifr = {0};

	if (!i.index || fd < 0)
		return -ENODEV;
	snprintf(i.name, sizeof(i.name), "%s", name);
	memcpy(ifr.ifr_name, i.name, sizeof(i.name));
	if (!ioctl(fd, SIOCGIFFLAGS, &ifr))
		i.flags = (unsigned short)ifr.ifr_flags;
	if (!ioctl(fd, SIOCGIFMTU, &ifr))
		i.mtu = (unsigned)ifr.ifr_mtu;
	ifr.ifr_data = (char *)&info;
	if (!ioctl(fd, SIOCETHTOOL, &ifr))
		snprintf(i.driver, sizeof(i.driver), "%.31s", info.driver);
	i.tso = ethtool_value(fd, &ifr, ETHTOOL_GTSO) != 0;
	i.lro = ethtool_value(fd, &ifr, ETHTOOL_GFLAGS) & ETH_FLAG_LRO;
	i.rxvlan = ethtool_value(fd, &ifr, ETHTOOL_GFLAGS) & ETH_FLAG_RXVLAN;
	i.physical = capture_wants_promisc(name, CAPTURE_SIDE(REC_RX));
	bpf_xdp_query_id((int)i.index, 0, &i.xdp_program);
	look_at_xdp(&i);
	*interface = i;
	return 0;
}

int interface_list(struct interface **list)
{
	struct if_nameindex *names = if_nameindex();
	struct interface *found;
	int count = 0, n = 0;

	if (!names)
		return -errno;
	while (names[count].if_index)
		count++;
	found = calloc((size_t)count + 1, sizeof(*found));
	for (int i = 0; found && i < count; i++)
		if (!interface_look(&found[n], names[i].if_name))
			n++;
	if_freenameindex(names);
	if (!found)
		return -ENOMEM;
	*list = found;
	return n;
}

const char *interface_rx(const struct interface *interface, const struct settings *settings, bool tcx)
{
	if (settings->direction == DIRECTION_OUT)
		return "-";
	if (settings->hook == HOOK_TC || (settings->hook == HOOK_AUTO && !interface->physical))
		return tcx && !settings->clsact ? "tcx" : "clsact";
	if (settings->generic || interface->xdp == ANSWER_NO)
		return "xdp generic";
	return interface->xdp == ANSWER_YES ? "xdp native" : "xdp";
}

const char *interface_tx(const struct settings *settings, bool tcx)
{
	if (settings->direction == DIRECTION_IN)
		return "-";
	return tcx && !settings->clsact ? "tcx" : "clsact";
}
