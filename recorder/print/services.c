/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * services.c - names of ports, from the machine's list of services (getservent(3), /etc/services as a rule). The list is
 * read once, at the first question: a table of 65,536 places for each protocol, of which only the used pages take memory.
 */
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/print/names.h"

enum { TCP, UDP, SCTP, DCCP, LISTS };

static char *names[LISTS][65536];

static int list_of(const char *protocol)
{
	static const char *const words[LISTS] = {"tcp", "udp", "sctp", "dccp"};

	for (int i = 0; i < LISTS; i++)
		if (!strcmp(protocol, words[i]))
			return i;
	return -1;
}

/* The first name of a port counts. Without memory a port stays a number. */
static void load(void)
{
	struct servent *entry;

	setservent(1);
	while ((entry = getservent())) {
		int list = list_of(entry->s_proto);
		uint16_t port = ntohs((uint16_t)entry->s_port);

		if (list >= 0 && !names[list][port])
			names[list][port] = strdup(entry->s_name);
	}
	endservent();
}

const char *name_service(unsigned proto, uint16_t port)
{
	static bool loaded;

	if (!loaded) {
		loaded = true;
		load();
	}
	switch (proto) {
	case IPPROTO_TCP:
		return names[TCP][port];
	case IPPROTO_UDP:
		return names[UDP][port];
	case IPPROTO_SCTP:
		return names[SCTP][port];
	case IPPROTO_DCCP:
		return names[DCCP][port];
	}
	return NULL;
}
