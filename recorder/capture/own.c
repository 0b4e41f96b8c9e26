// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * own.c - connections that are not to be recorded. The program asks policy.own_flows, then the list of database ports,
 * then the hash, so the order of writing is: hash, port, number; and backwards when one goes. The value in the
 * hash is the database's port of that connection.
 *
 * Ports are only added while connections are there (a port too many costs one look-up in vain), so that the list
 * never has a hole or misses a port for a moment; it is emptied with the last connection.
 */
#include "recorder/capture/internal.h"

#include <bpf/bpf.h>
#include <errno.h>

static struct rec_own_key reversed(const struct rec_own_key *k)
{
	struct rec_own_key r = { .sport = k->dport, .dport = k->sport, .proto = k->proto };

	memcpy(r.src, k->dst, sizeof(r.src));
	memcpy(r.dst, k->src, sizeof(r.dst));
	return r;
}

/* Entries in the hash, and whether one has this database port. */
static unsigned count(const struct capture *c, uint16_t port, bool *has_port)
{
	struct rec_own_key key, *at = NULL;
	unsigned n = 0;
	uint32_t value;

	*has_port = false;
	while (n < 2 * REC_OWN_FLOWS && !bpf_map_get_next_key(c->map[CAPTURE_OWN], at, &key)) {
		n++;
		at = &key;
		if (!bpf_map_lookup_elem(c->map[CAPTURE_OWN], &key, &value) && value == port)
			*has_port = true;
	}
	return n;
}

static int policy_write(struct capture *c, const struct rec_policy *p)
{
	uint32_t zero = 0;

	return bpf_map_update_elem(c->map[CAPTURE_POLICY], &zero, p, BPF_ANY);
}

static int policy_read(const struct capture *c, struct rec_policy *p)
{
	uint32_t zero = 0;

	return bpf_map_lookup_elem(c->map[CAPTURE_POLICY], &zero, p);
}

/* A place for the port, taking one whose last connection has gone when all are used. */
static int port_slot(const struct capture *c, const struct rec_policy *p, uint16_t port)
{
	bool used;

	for (unsigned i = 0; i < REC_OWN_PORTS; i++)
		if (!p->own_port[i] || p->own_port[i] == port)
			return (int)i;
	for (unsigned i = 0; i < REC_OWN_PORTS; i++) {
		count(c, p->own_port[i], &used);
		if (!used)
			return (int)i;
	}
	return -ENOSPC;
}

int capture_own_add(struct capture *c, const struct rec_own_key *key)
{
	struct rec_own_key back = reversed(key);
	uint32_t value = key->dport;
	struct rec_policy p;
	bool used;
	int err, slot;

	if (key->proto != 6 || !key->dport || !key->sport)
		return -EINVAL;
	err = policy_read(c, &p);
	if (err)
		return err;
	slot = port_slot(c, &p, key->dport);
	if (slot < 0)
		return slot;
	err = bpf_map_update_elem(c->map[CAPTURE_OWN], key, &value, BPF_ANY);
	if (err)
		return err == -E2BIG ? -ENOSPC : err;
	err = bpf_map_update_elem(c->map[CAPTURE_OWN], &back, &value, BPF_ANY);
	if (err) {
		bpf_map_delete_elem(c->map[CAPTURE_OWN], key);
		return err == -E2BIG ? -ENOSPC : err;
	}
	p.own_port[slot] = key->dport;
	p.own_flows = count(c, key->dport, &used);
	return policy_write(c, &p);
}

int capture_own_del(struct capture *c, const struct rec_own_key *key)
{
	struct rec_own_key back = reversed(key);
	struct rec_policy p;
	bool used;
	int err;

	bpf_map_delete_elem(c->map[CAPTURE_OWN], key);
	bpf_map_delete_elem(c->map[CAPTURE_OWN], &back);
	err = policy_read(c, &p);
	if (err)
		return err;
	p.own_flows = count(c, 0, &used);
	if (!p.own_flows)
		memset(p.own_port, 0, sizeof(p.own_port));
	return policy_write(c, &p);
}

int capture_own_clear(struct capture *c)
{
	struct rec_policy p = { 0 };
	struct rec_own_key key;
	int err = policy_write(c, &p);

	for (unsigned i = 0; i < 2 * REC_OWN_FLOWS && !bpf_map_get_next_key(c->map[CAPTURE_OWN], NULL, &key); i++)
		bpf_map_delete_elem(c->map[CAPTURE_OWN], &key);
	return err;
}

int capture_own_databases(const char *pin_dir, void (*each)(void *arg, const uint8_t address[16]), void *arg)
{
	CLEANUP_CLOSE int fd = pin_get(pin_dir, "own");
	struct rec_own_key key, *at = NULL;
	uint32_t port;

	if (fd < 0)
		return fd;
	for (unsigned n = 0; n < 2 * REC_OWN_FLOWS && !bpf_map_get_next_key(fd, at, &key); n++) {
		at = &key;
		if (!bpf_map_lookup_elem(fd, &key, &port) && port == key.dport)
			each(arg, key.dst);
	}
	return 0;
}
