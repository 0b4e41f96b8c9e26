/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/cli/block_reach.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "recorder/capture/capture.h"
#include "recorder/core/util.h"
#include "recorder/packet/text.h"

#define ANCESTORS_MAX 64
#define SOCKETS_MAX 256
#define TCP_ESTABLISHED 1u
#define SSH_PORT 22u

void reach_add(struct reach *reach, unsigned version, const uint8_t *address, const char *what)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct reach_address *a;

	if (version == 6 && !memcmp(address, mapped, sizeof(mapped))) {
		version = 4;
		address += 12;
	}
	for (size_t i = 0; i < reach->count; i++)
		if (reach->list[i].version == version && !memcmp(reach->list[i].address, address, version == 4 ? 4 : 16))
			return;
	if (reach->count == reach->room) {
		size_t room = reach->room ? 2 * reach->room : 32;

		a = realloc(reach->list, room * sizeof(*a));
		if (!a)
			return;
		reach->list = a;
		reach->room = room;
	}
	a = &reach->list[reach->count++];
	memset(a, 0, sizeof(*a));
	a->version = (uint8_t)version;
	memcpy(a->address, address, version == 4 ? 4 : 16);
	snprintf(a->what, sizeof(a->what), "%s", what);
}

static void add_text(struct reach *reach, const char *text, const char *what)
{
	uint8_t address[16] = {0};
	unsigned version = text_read_address(text, address);

	if (version)
		reach_add(reach, version, address, what);
}

/* ---- the databases ---------------------------------------------------------------------------------------------------- */

static void add_database(void *arg, const uint8_t address[16])
{
	reach_add(arg, 6, address, "a recording's database");
}

/* ---- the session ------------------------------------------------------------------------------------------------------ */

/* As the kernel prints it: 4-byte words in host order. */
static bool read_hex(const char *text, uint8_t address[16], unsigned *version)
{
	size_t len = strspn(text, "0123456789ABCDEFabcdef");

	if (len != 8 && len != 32)
		return false;
	for (size_t i = 0; i < len / 8; i++) {
		char part[9] = "";
		uint32_t word;

		memcpy(part, text + 8 * i, 8);
		word = (uint32_t)strtoul(part, NULL, 16);
		memcpy(address + 4 * i, &word, 4);
	}
	*version = len == 8 ? 4 : 6;
	return true;
}

/* The peers of established connections to `port`, or of the sockets (inodes), in one of the files net/tcp and net/tcp6. */
static void add_peers(struct reach *reach, const char *path, unsigned port, const unsigned long *sockets, size_t nsockets,
		      const char *what)
{
	FILE *file = fopen(path, "re");
	char line[512], remote[64];
	uint8_t address[16] = {0};

	while (file && fgets(line, sizeof(line), file)) {
		unsigned local_port, state, version;
		unsigned long inode;
		bool wanted;

		if (sscanf(line, " %*d: %*[0-9A-Fa-f]:%X %63[0-9A-Fa-f]:%*X %X %*s %*s %*s %*u %*u %lu", &local_port, remote, &state,
			   &inode) != 4 ||
		    state != TCP_ESTABLISHED)
			continue;
		wanted = port && local_port == port;
		for (size_t i = 0; i < nsockets; i++)
			wanted |= sockets[i] == inode;
		if (wanted && read_hex(remote, address, &version))
			reach_add(reach, version, address, what);
	}
	if (file)
		fclose(file);
}

static size_t sockets_of(int pid, unsigned long out[SOCKETS_MAX])
{
	char path[64], link[400], to[64];
	struct dirent *entry;
	size_t n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	while (dir && n < SOCKETS_MAX && (entry = readdir(dir))) {
		ssize_t len;

		snprintf(link, sizeof(link), "%s/%s", path, entry->d_name);
		len = readlink(link, to, sizeof(to) - 1);
		if (len <= 0)
			continue;
		to[len] = '\0';
		n += sscanf(to, "socket:[%lu]", &out[n]) == 1;
	}
	if (dir)
		closedir(dir);
	return n;
}

static int parent_of(int pid)
{
	char path[64], line[512], *behind;
	int parent = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	if (!file)
		return 0;
	/* "pid (name) state parent": a name can hold anything, the last bracket ends it */
	if (fgets(line, sizeof(line), file) && (behind = strrchr(line, ')')))
		sscanf(behind, ") %*c %d", &parent);
	fclose(file);
	return parent;
}

/* Whoever of our ancestors has a connection is what brings the keys here: sshd on any port, in any namespace; sudo hides SSH_CONNECTION. */
static void add_session(struct reach *reach)
{
	const char *ssh = getenv("SSH_CONNECTION");
	unsigned long sockets[SOCKETS_MAX];
	char first[TEXT_ADDRESS_MAX], path[64];
	int pid = getpid();

	if (ssh && sscanf(ssh, "%47s", first) == 1)
		add_text(reach, first, "the other end of this session (SSH_CONNECTION)");
	for (unsigned i = 0; i < ANCESTORS_MAX && pid > 1; i++, pid = parent_of(pid)) {
		size_t n = sockets_of(pid, sockets);

		snprintf(path, sizeof(path), "/proc/%d/net/tcp", pid);
		add_peers(reach, path, 0, sockets, n, "the other end of this session");
		snprintf(path, sizeof(path), "/proc/%d/net/tcp6", pid);
		add_peers(reach, path, 0, sockets, n, "the other end of this session");
	}
	add_peers(reach, "/proc/net/tcp", SSH_PORT, NULL, 0, "the other end of an SSH session");
	add_peers(reach, "/proc/net/tcp6", SSH_PORT, NULL, 0, "the other end of an SSH session");
}

/* ---- the host --------------------------------------------------------------------------------------------------------- */

static void add_gateways(struct reach *reach)
{
	FILE *file = fopen("/proc/net/route", "re");
	char line[512], hex[64], to[64];
	uint8_t address[16] = {0};
	unsigned version;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%*s %63s %63s", to, hex) == 2 && !strcmp(to, "00000000") && strcmp(hex, "00000000") &&
		    read_hex(hex, address, &version))
			reach_add(reach, 4, address, "the default gateway");
	if (file)
		fclose(file);
	file = fopen("/proc/net/ipv6_route", "re");
	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63s 00 %*s %*s %63s", to, hex) != 2 || strspn(to, "0") != 32 || strspn(hex, "0") == 32)
			continue;
		for (unsigned i = 0; i < 16; i++)
			sscanf(hex + 2 * (size_t)i, "%2hhx", &address[i]);
		reach_add(reach, 6, address, "the default gateway");
	}
	if (file)
		fclose(file);
}

static void add_own(struct reach *reach)
{
	struct ifaddrs *list = NULL;

	add_text(reach, "127.0.0.1", "the loopback");
	add_text(reach, "::1", "the loopback");
	if (getifaddrs(&list))
		return;
	for (struct ifaddrs *i = list; i; i = i->ifa_next) {
		if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET)
			reach_add(reach, 4, (const uint8_t *)&((struct sockaddr_in *)i->ifa_addr)->sin_addr, "an address of this host");
		if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET6)
			reach_add(reach, 6, (const uint8_t *)&((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr, "an address of this host");
	}
	freeifaddrs(list);
}

void reach_look(struct reach *reach, char *const *pin_dirs)
{
	for (; *pin_dirs; pin_dirs++)
		capture_own_databases(*pin_dirs, add_database, reach);
	add_session(reach);
	add_gateways(reach);
	add_own(reach);
}

void reach_free(struct reach *reach)
{
	free(reach->list);
	memset(reach, 0, sizeof(*reach));
}

unsigned reach_check(const struct reach *reach, const struct block_list *entries, FILE *out)
{
	char network[BLOCK_TEXT_MAX], address[TEXT_ADDRESS_MAX];
	unsigned n = 0;

	for (size_t i = 0; i < entries->count; i++)
		if (!entries->entries[i].length) {
			block_entry_text(network, &entries->entries[i]);
			fprintf(out, "xdp-recorder: %s is everybody\n", network);
			n++;
		}
	for (size_t i = 0; i < reach->count; i++) {
		const struct reach_address *a = &reach->list[i];
		const struct block_entry *e = block_list_covering(entries, a->version, a->address);

		if (!e)
			continue;
		block_entry_text(network, e);
		address[text_address(address, a->address, a->version)] = '\0';
		fprintf(out, "xdp-recorder: %s would cut off %s: %s\n", network, address, a->what);
		n++;
	}
	return n;
}
