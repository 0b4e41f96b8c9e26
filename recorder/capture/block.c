/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/capture/block.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "recorder/capture/internal.h"

/* ---- keys ----------------------------------------------------------------------------------------------------------- */

static void key_of(struct rec_block_key *key, const struct block_entry *e)
{
	memset(key, 0, sizeof(*key));
	if (e->version == 6) {
		memcpy(key->addr, e->address, 16);
		key->prefix = e->length;
		return;
	}
	key->addr[10] = key->addr[11] = 0xff;
	memcpy(key->addr + 12, e->address, 4);
	key->prefix = e->length ? 1u << (32 - e->length) : 0;
}

static void entry_of(struct block_entry *e, const struct rec_block_key *key, uint32_t by)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	memset(e, 0, sizeof(*e));
	e->by = (uint8_t)by;
	if (memcmp(key->addr, mapped, sizeof(mapped))) {
		e->version = 6;
		memcpy(e->address, key->addr, 16);
		e->length = (uint8_t)key->prefix;
		return;
	}
	e->version = 4;
	memcpy(e->address, key->addr + 12, 4);
	e->length = key->prefix ? (uint8_t)(32 - __builtin_ctz(key->prefix)) : 0;
}

/* ---- descriptors ---------------------------------------------------------------------------------------------------- */

static int map_table(struct block_maps *maps, int fd, struct capture_error *err)
{
	void *p = mmap(NULL, sizeof(struct rec_blocks), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return capture_fail(err, -errno, "cannot map the block list's table: %s", strerror(errno));
	maps->table = p;
	return 0;
}

int block_maps_open(struct block_maps *maps, const char *pin_dir, struct capture_error *err)
{
	CLEANUP_CLOSE int table = pin_get(pin_dir, "blocks");
	int r;

	*maps = (struct block_maps){.entries = pin_get(pin_dir, "block_entries"), .counts = pin_get(pin_dir, "block_counts")};
	r = table < 0 ? table : maps->entries < 0 ? maps->entries : maps->counts < 0 ? maps->counts : 0;
	if (r)
		r = capture_fail(err, r, "cannot open the block list in %s: %s", pin_dir, strerror(-r));
	else
		r = map_table(maps, table, err);
	if (r)
		block_maps_close(maps);
	return r;
}

int block_maps_of(struct block_maps *maps, const struct capture *c, struct capture_error *err)
{
	int r;

	*maps = (struct block_maps){.entries = dup(c->map[MAP_BLOCK_ENTRIES]), .counts = dup(c->map[MAP_BLOCK_COUNTS])};
	r = maps->entries < 0 || maps->counts < 0 ? capture_fail(err, -errno, "no descriptor left: %s", strerror(errno))
						  : map_table(maps, c->map[MAP_BLOCKS], err);
	if (r)
		block_maps_close(maps);
	return r;
}

void block_maps_close(struct block_maps *maps)
{
	if (maps->entries >= 0)
		close(maps->entries);
	if (maps->counts >= 0)
		close(maps->counts);
	if (maps->table)
		munmap(maps->table, sizeof(*maps->table));
	*maps = (struct block_maps){.entries = -1, .counts = -1};
}

/* ---- the table of lengths --------------------------------------------------------------------------------------------- */

/* What the table should say of a list. */
struct lengths {
	uint32_t by, all4;
	bool length6[129];
	uint32_t length4[1u << 16];
};

static struct lengths *lengths_of(const struct block_list *list)
{
	struct lengths *l = calloc(1, sizeof(*l));

	for (size_t i = 0; l && i < list->count; i++) {
		const struct block_entry *e = &list->entries[i];
		uint32_t first = get_be16(e->address), last = first;

		l->by |= e->by;
		if (e->version == 6) {
			l->length6[e->length] = true;
			continue;
		}
		if (!e->length) {
			l->all4 = 1;
			continue;
		}
		if (e->length < 16)
			last = first | 0xffffu >> e->length;
		for (uint32_t at = first; at <= last; at++)
			l->length4[at] |= 1u << (32 - e->length);
	}
	return l;
}

/* Until no program runs any more that began before: synchronize_rcu by another name. */
static void wait_for_programs(void)
{
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
		usleep(500000); /* nohz_full kernels refuse it: longer than any program can run */
}

/* Longest first, into the list that is not in force; then it is. */
static void put_length6(struct rec_blocks *table, const bool length6[129])
{
	struct rec_block_length *in_force = table->length6[table->which6 & 1], *to = table->length6[~table->which6 & 1];
	size_t bytes = sizeof(table->length6[0]);
	unsigned n = 0;

	memset(to, 0, bytes);
	for (int length = 128; length >= 0; length--) {
		if (!length6[length])
			continue;
		for (int bit = 0; bit < length; bit++)
			((uint8_t *)to[n].mask)[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
		to[n++].prefix = (uint32_t)length;
	}
	to[n].prefix = REC_BLOCK_END;
	if (!memcmp(in_force, to, (n + 1) * sizeof(*to)))
		return;
	__atomic_store_n(&table->which6, ~table->which6 & 1, __ATOMIC_SEQ_CST);
	wait_for_programs(); /* the former may be written again */
}

/* `more`: what is there stays. Bits before `by`, which opens the door. */
static void put_table(struct rec_blocks *table, struct lengths *l, bool more, size_t entries)
{
	const struct rec_block_length *is = table->length6[table->which6 & 1];

	if (more) {
		for (unsigned i = 0; table->by && is[i].prefix != REC_BLOCK_END; i++)
			l->length6[is[i].prefix] = true;
		l->by |= table->by;
		l->all4 |= table->all4;
	}
	if (!l->by)
		__atomic_store_n(&table->by, 0, __ATOMIC_SEQ_CST);
	put_length6(table, l->length6);
	for (unsigned i = 0; i < ARRAY_SIZE(l->length4); i++) {
		uint32_t word = more ? l->length4[i] | table->length4[i] : l->length4[i];

		if (word != table->length4[i])
			__atomic_store_n(&table->length4[i], word, __ATOMIC_RELAXED);
	}
	__atomic_store_n(&table->all4, l->all4, __ATOMIC_SEQ_CST);
	__atomic_store_n(&table->entries, (uint32_t)entries, __ATOMIC_SEQ_CST);
	__atomic_store_n(&table->by, l->by, __ATOMIC_SEQ_CST);
}

/* ---- entries -------------------------------------------------------------------------------------------------------- */

int block_maps_read(const struct block_maps *maps, struct block_list *out)
{
	struct rec_block_key key, *at = NULL;
	struct block_entry e;
	uint32_t by;
	int err = 0;

	while (!err && !bpf_map_get_next_key(maps->entries, at, &key)) {
		at = &key;
		if (bpf_map_lookup_elem(maps->entries, &key, &by))
			continue;
		entry_of(&e, &key, by);
		err = block_list_append(out, &e);
	}
	if (err)
		block_list_free(out);
	else
		block_list_sort(out);
	return err;
}

static int put_entry(struct block_maps *maps, const struct block_entry *e, struct capture_error *err)
{
	struct rec_block_key key;
	char text[BLOCK_TEXT_MAX];
	uint32_t by = e->by;
	int r;

	key_of(&key, e);
	r = bpf_map_update_elem(maps->entries, &key, &by, BPF_ANY);
	if (!r)
		return 0;
	block_entry_text(text, e);
	return capture_fail(err, r, "cannot enter %s: %s", text,
			    r == -E2BIG ? "the list has more entries than the kernel's map" : strerror(-r));
}

int block_maps_add(struct block_maps *maps, const struct block_list *list, struct capture_error *err)
{
	CLEANUP_FREE struct lengths *lengths = lengths_of(list);
	struct block_list is = {0};
	int r = lengths ? block_maps_read(maps, &is) : -ENOMEM;
	size_t entries = is.count;

	if (r)
		return capture_fail(err, r, "cannot read the block list: %s", strerror(-r));
	for (size_t i = 0; !r && i < list->count; i++) {
		const struct block_entry *e = &list->entries[i], *there = block_list_find(&is, e);

		if (there && there->by == e->by)
			continue;
		r = put_entry(maps, e, err);
		entries += !r && !there;
	}
	block_list_free(&is);
	if (!r)
		put_table(maps->table, lengths, true, entries);
	return r;
}

static size_t count_bytes(void)
{
	int cpus = libbpf_num_possible_cpus();

	return (cpus > 0 ? (size_t)cpus : 1) * sizeof(struct rec_count);
}

int block_maps_count(const struct block_maps *maps, const struct block_entry *entry, struct rec_count *count)
{
	CLEANUP_FREE struct rec_count *each = calloc(1, count_bytes());
	struct rec_block_key key;

	*count = (struct rec_count){0};
	if (!each)
		return -ENOMEM;
	key_of(&key, entry);
	if (bpf_map_lookup_elem(maps->counts, &key, each))
		return 0;
	for (size_t i = 0; i < count_bytes() / sizeof(*each); i++) {
		count->packets += each[i].packets;
		count->bytes += each[i].bytes;
	}
	return 0;
}

int block_maps_trim(struct block_maps *maps, const struct block_list *list, block_gone *gone, void *arg,
		    struct capture_error *err)
{
	CLEANUP_FREE struct lengths *lengths = lengths_of(list);
	struct block_list is = {0}, extra = {0};
	struct rec_block_key key;
	struct rec_count count;
	int r = lengths ? block_maps_read(maps, &is) : -ENOMEM;

	if (!r)
		r = block_list_without(&extra, &is, list);
	block_list_free(&is);
	if (r)
		return capture_fail(err, r, "cannot read the block list: %s", strerror(-r));
	for (size_t i = 0; i < extra.count; i++) {
		key_of(&key, &extra.entries[i]);
		bpf_map_delete_elem(maps->entries, &key);
	}
	put_table(maps->table, lengths, false, list->count);
	if (extra.count)
		wait_for_programs(); /* then the counters stand still */
	for (size_t i = 0; i < extra.count; i++) {
		if (gone && !block_maps_count(maps, &extra.entries[i], &count))
			gone(arg, &extra.entries[i], &count);
		key_of(&key, &extra.entries[i]);
		bpf_map_delete_elem(maps->counts, &key);
	}
	block_list_free(&extra);
	return 0;
}

unsigned block_maps_entries(const struct capture *c)
{
	struct block_maps maps;
	unsigned entries;

	if (block_maps_of(&maps, c, NULL))
		return 0;
	entries = __atomic_load_n(&maps.table->entries, __ATOMIC_RELAXED);
	block_maps_close(&maps);
	return entries;
}
