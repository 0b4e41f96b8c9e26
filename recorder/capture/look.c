// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * look.c - is a capture's interface seen? And the same capture on another device of that name.
 *
 * Nothing tells of a link that somebody detached, and a message about an interface can be lost. So this only looks, and who
 * asks (process/watch.c) does so often. The newest look that found everything well is kept with the pins: when the
 * next process finds a hook off, that is where what it did not see begins.
 */
#include "recorder/capture/internal.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_arp.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "recorder/core/clock.h"

static void driver_of(const char *name, char out[32])
{
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq request = { .ifr_data = (void *)&info };
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	out[0] = 0;
	if (fd >= 0 && !ioctl(fd, SIOCETHTOOL, &request))
		snprintf(out, 32, "%.31s", info.driver);
}

int capture_look(struct capture *c, struct capture_look *out)
{
	struct capture_seen *seen = &c->meta->seen;
	struct link_facts f;
	bool well = true;
	int r;

	memset(out, 0, sizeof(*out));
	out->boot = clock_boot_ns(); /* before it looks: what is said of this moment was true at it or later */
	r = link_facts(&f, NULL, c->meta->ifindex);
	c->gone = r == -ENODEV;
	if (r)
		return c->gone ? 0 : r;
	out->there = true;
	out->up = f.flags & IFF_UP && f.flags & IFF_LOWER_UP;
	out->mtu = f.mtu;
	out->downs = f.downs;
	snprintf(out->name, sizeof(out->name), "%s", f.name);
	if (c->driver_of != f.index) { /* not each time: it can ask the device */
		driver_of(f.name, c->driver);
		c->driver_of = f.index;
	}
	memcpy(out->driver, c->driver, sizeof(out->driver));
	for (enum rec_side side = 0; side < REC_SIDES; side++) {
		out->on[side] = !(c->meta->sides & CAPTURE_SIDE(side)) || capture_attached(c, side) == 1;
		well &= out->on[side];
	}
	if (well && out->up)
		__atomic_store_n(&seen->looked, out->boot, __ATOMIC_RELEASE);
	return 0;
}

struct capture_seen *capture_seen(const struct capture *c)
{
	return &c->meta->seen;
}

uint64_t capture_seen_until(const struct capture *c, enum rec_side side)
{
	size_t size = REC_SIDES * (size_t)c->meta->cpus * sizeof(struct rec_seconds);
	const struct rec_seconds *seconds = mmap(NULL, size, PROT_READ, MAP_SHARED, c->map[CAPTURE_SECONDS], 0);
	uint64_t until = __atomic_load_n(&c->meta->seen.looked, __ATOMIC_ACQUIRE), sec;

	if (seconds == MAP_FAILED)
		return until;
	for (unsigned cpu = 0; cpu < c->meta->cpus; cpu++) {
		const struct rec_seconds *s = &seconds[side * c->meta->cpus + cpu];

		sec = __atomic_load_n(&s->slot[s->newest & (REC_SECONDS - 1)].sec, __ATOMIC_ACQUIRE);
		if (sec * NS_PER_SEC > until)
			until = sec * NS_PER_SEC;
	}
	munmap((void *)seconds, size);
	return until;
}

int capture_move(struct capture *c, struct capture_error *err)
{
	struct meta *m = c->meta;
	struct link_facts f, old;
	char other[512];
	int r;

	if (!link_facts(&old, NULL, m->ifindex))
		return -EALREADY;
	r = link_facts(&f, m->iface, 0);
	if (r)
		return capture_fail(err, r, "the interface %s is gone", m->iface);
	if (f.type != ARPHRD_ETHER && f.type != ARPHRD_LOOPBACK)
		return capture_fail(err, -EOPNOTSUPP, "%s is back without Ethernet headers (link type %u)", m->iface, f.type);
	if (c->pin_dir && pin_find_other(c->pin_dir, f.index, m->netns, other, sizeof(other)))
		return capture_fail(err, -EBUSY, "%s is back, and captured by another: %s", m->iface, other);
	/* In this order: a process that dies in between leaves a capture whose interface is gone, as it was. */
	for (enum rec_side side = 0; side < REC_SIDES; side++) {
		if (m->sides & CAPTURE_SIDE(side))
			hook_off(c, side); /* links of a device that another namespace has now */
		m->side[side].tc_handle = m->side[side].tc_priority = 0;
		if (c->prog[side] >= 0 && c->prog_vlan[side]) /* bound to the device that went */
			close(TAKE_FD(c->prog[side]));
	}
	m->clsact_ours = m->promisc_ours = 0;
	__atomic_store_n(&m->ifindex, f.index, __ATOMIC_RELEASE);
	c->gone = false;
	return 0;
}
