// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * promisc.c - the promiscuous flag of the interface. It must hold while no process of ours lives, so it is the
 * administrative flag (as `ip link set IF promisc on`), not a packet socket's membership; whether it was us who set it
 * stands in the pinned meta, written before the flag is. A capture that is not pinned shall leave nothing behind: there it is
 * a packet socket's membership, which others' flags and memberships stand beside.
 */
#include "recorder/capture/internal.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static int change(const char *iface, short set, short clear)
{
	struct ifreq r = { 0 };
	CLEANUP_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	memcpy(r.ifr_name, iface, strnlen(iface, IFNAMSIZ - 1));
	if (ioctl(fd, SIOCGIFFLAGS, &r))
		return -errno;
	if ((r.ifr_flags & set) == set && !(r.ifr_flags & clear))
		return 1; /* as it was */
	r.ifr_flags = (short)((r.ifr_flags | set) & ~clear);
	return ioctl(fd, SIOCSIFFLAGS, &r) ? -errno : 0;
}

/* A socket that receives nothing (protocol 0) and is a member of the interface's promiscuous group; -errno. */
static int membership(unsigned ifindex)
{
	struct packet_mreq member = { .mr_ifindex = (int)ifindex, .mr_type = PACKET_MR_PROMISC };
	CLEANUP_CLOSE int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &member, sizeof(member)))
		return -errno;
	return TAKE_FD(fd);
}

int promisc_set(struct capture *c, struct capture_error *err)
{
	uint32_t before = c->meta->promisc_ours;
	struct link_facts f; /* its name may have changed */
	int r;

	if (!c->meta->promisc)
		return 0;
	if (!c->pin_dir) {
		if (c->promisc < 0)
			c->promisc = membership(c->meta->ifindex);
		return c->promisc >= 0 ? 0 : capture_fail(err, c->promisc, "cannot set %s promiscuous: %s (without it: -p)",
							  c->meta->iface, strerror(-c->promisc));
	}
	c->meta->promisc_ours = 1;
	r = link_facts(&f, NULL, c->meta->ifindex);
	if (!r)
		r = change(f.name, IFF_PROMISC, 0);
	if (r == 1)
		c->meta->promisc_ours = before; /* somebody else's, unless it was ours already */
	if (r >= 0)
		return 0;
	c->meta->promisc_ours = before;
	return capture_fail(err, r, "cannot set %s promiscuous: %s (without it: -p)", c->meta->iface, strerror(-r));
}

int promisc_restore(struct capture *c)
{
	struct link_facts f;
	int r;

	if (c->promisc >= 0)
		close(TAKE_FD(c->promisc));
	if (!c->meta->promisc_ours)
		return 0;
	r = link_facts(&f, NULL, c->meta->ifindex);
	if (!r)
		r = change(f.name, 0, IFF_PROMISC);
	if (r < 0 && r != -ENODEV)
		return r;
	c->meta->promisc_ours = 0;
	return 0;
}
