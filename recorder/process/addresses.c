/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which addresses are ours: the table that tells local from remote, read again every few seconds.
 */
#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/core/log.h"
#include "recorder/core/util.h"
#include "recorder/process/drainer.h"

#define OWN_ADDRESSES 256

static void add_address(const struct ifaddrs *i, struct ends_network *own, size_t *nown, uint8_t (*macs)[6],
			size_t *nmacs)
{
	if (!i->ifa_addr)
		return;
	if (i->ifa_addr->sa_family == AF_INET && *nown < OWN_ADDRESSES) {
		own[*nown] = (struct ends_network){.family = 4, .prefix = 32};
		memcpy(own[(*nown)++].address, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, 4);
	} else if (i->ifa_addr->sa_family == AF_INET6 && *nown < OWN_ADDRESSES) {
		own[*nown] = (struct ends_network){.family = 6, .prefix = 128};
		memcpy(own[(*nown)++].address, &((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr, 16);
	} else if (i->ifa_addr->sa_family == AF_PACKET && *nmacs < OWN_ADDRESSES) {
		const struct sockaddr_ll *ll = (const struct sockaddr_ll *)i->ifa_addr;

		if (ll->sll_halen == 6)
			memcpy(macs[(*nmacs)++], ll->sll_addr, 6);
	}
}

struct ends_table *addresses_read(const struct settings *settings)
{
	static struct ends_network own[OWN_ADDRESSES];
	static uint8_t macs[OWN_ADDRESSES][6];
	struct ifaddrs *all = NULL;
	size_t nown = 0, nmacs = 0, nhome = 0;
	CLEANUP_FREE struct ends_network *home = settings_home(settings, &nhome);

	if (getifaddrs(&all))
		log_warn("own addresses cannot be read: %s", strerror(errno));
	for (struct ifaddrs *i = all; i; i = i->ifa_next)
		add_address(i, own, &nown, macs, &nmacs);
	freeifaddrs(all);
	return ends_table_new(own, nown, (const uint8_t(*)[6])macs, nmacs, home, nhome);
}

/* The old table is kept until the end: batches that were encoded with it may be sent again. */
void addresses_refresh(struct drainer *d)
{
	struct ends_table *table = addresses_read(d->settings);
	struct retired *old;

	if (!table)
		return;
	if (d->ends && ends_table_equal(table, d->ends)) {
		ends_table_free(table);
		return;
	}
	old = d->ends ? malloc(sizeof(*old)) : NULL;
	if (d->ends && !old) {
		ends_table_free(table);
		return;
	}
	if (old) {
		*old = (struct retired){d->ends, d->retired};
		d->retired = old;
	}
	d->ends = table;
	if (d->mongo)
		mongo_sink_set_ends(d->mongo, table);
	if (d->file)
		file_sink_set_ends(d->file, table);
}

void addresses_free(struct drainer *d)
{
	while (d->retired) {
		struct retired *old = d->retired;

		d->retired = old->next;
		ends_table_free(old->table);
		free(old);
	}
	ends_table_free(d->ends);
}
