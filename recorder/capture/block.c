/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/capture/block.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "recorder/capture/internal.h"

#define CHUNK 4096u /* entries by one call */

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

/*
 * Everything in a hash, by as few calls as it takes: a list of 100,000 is read in a twentieth of the time that asking for each takes. `size`
 * is that of a value. 0, -errno, or what `each` returned.
 */
static int read_all(int fd, size_t size, int (*each)(void *arg, const struct rec_block_key *key, const void *value), void *arg)
{
	CLEANUP_FREE struct rec_block_key *keys = malloc(CHUNK * sizeof(*keys));
	CLEANUP_FREE uint8_t *values = malloc(CHUNK * size);
	uint32_t place[8], next[8], count;
	bool first = true;
	int err = keys && values ? 0 : -ENOMEM, last;

	while (!err) {
		count = CHUNK;
		last = bpf_map_lookup_batch(fd, first ? NULL : place, next, keys, values, &count, NULL);
		if (last && last != -ENOENT)
			return last;
		for (uint32_t i = 0; !err && i < count; i++)
			err = each(arg, &keys[i], values + i * size);
		if (last)
			break;
		memcpy(place, next, sizeof(place));
		first = false;
	}
	return err;
}

static int append_read(void *arg, const struct rec_block_key *key, const void *value)
{
	struct block_entry e;
	uint32_t by;

	memcpy(&by, value, sizeof(by));
	entry_of(&e, key, by);
	return block_list_append(arg, &e);
}

int block_maps_read(const struct block_maps *maps, struct block_list *out)
{
	int err = read_all(maps->entries, sizeof(uint32_t), append_read, out);

	if (err)
		block_list_free(out);
	else
		block_list_sort(out);
	return err;
}

/* Entries that the kernel gets by one call. */
struct chunk {
	struct rec_block_key keys[CHUNK];
	uint32_t by[CHUNK];
	uint32_t count;
};

static int put_chunk(struct block_maps *maps, struct chunk *chunk, struct capture_error *err)
{
	uint32_t count = chunk->count;
	char text[BLOCK_TEXT_MAX];
	struct block_entry e;
	int r = count ? bpf_map_update_batch(maps->entries, chunk->keys, chunk->by, &count, NULL) : 0;

	if (!r) {
		chunk->count = 0;
		return 0;
	}
	entry_of(&e, &chunk->keys[count < chunk->count ? count : 0], 0);
	block_entry_text(text, &e);
	return capture_fail(err, r, "cannot enter %s: %s", text,
			    r == -E2BIG ? "the list has more entries than the kernel's map" : strerror(-r));
}

int block_maps_add(struct block_maps *maps, const struct block_list *list, struct capture_error *err)
{
	CLEANUP_FREE struct lengths *lengths = lengths_of(list);
	CLEANUP_FREE struct chunk *chunk = calloc(1, sizeof(*chunk));
	struct block_list is = {0};
	int r = lengths && chunk ? block_maps_read(maps, &is) : -ENOMEM;
	size_t entries = is.count;

	if (r)
		return capture_fail(err, r, "cannot read the block list: %s", strerror(-r));
	for (size_t i = 0; !r && i < list->count; i++) {
		const struct block_entry *e = &list->entries[i], *there = block_list_find(&is, e);

		if (there && there->by == e->by)
			continue;
		entries += !there;
		chunk->by[chunk->count] = e->by;
		key_of(&chunk->keys[chunk->count++], e);
		if (chunk->count == CHUNK)
			r = put_chunk(maps, chunk, err);
	}
	if (!r)
		r = put_chunk(maps, chunk, err);
	block_list_free(&is);
	if (!r)
		put_table(maps->table, lengths, true, entries);
	return r;
}

/* ---- counters ------------------------------------------------------------------------------------------------------- */

static size_t count_bytes(void)
{
	int cpus = libbpf_num_possible_cpus();

	return (cpus > 0 ? (size_t)cpus : 1) * sizeof(struct rec_count);
}

static struct rec_count sum_of(const struct rec_count *each)
{
	struct rec_count sum = {0};

	for (size_t i = 0; i < count_bytes() / sizeof(*each); i++) {
		sum.packets += each[i].packets;
		sum.bytes += each[i].bytes;
	}
	return sum;
}

int block_maps_count(const struct block_maps *maps, const struct block_entry *entry, struct rec_count *count)
{
	CLEANUP_FREE struct rec_count *each = calloc(1, count_bytes());
	struct rec_block_key key;

	if (!each)
		return -ENOMEM;
	key_of(&key, entry);
	*count = (struct rec_count){0};
	if (!bpf_map_lookup_elem(maps->counts, &key, each))
		*count = sum_of(each);
	return 0;
}

struct counting {
	block_count *each;
	void *arg;
};

static int count_read(void *arg, const struct rec_block_key *key, const void *value)
{
	struct counting *c = arg;
	struct rec_count sum = sum_of(value);
	struct block_entry e;

	entry_of(&e, key, 0);
	c->each(c->arg, &e, &sum);
	return 0;
}

int block_maps_counts(const struct block_maps *maps, block_count *each, void *arg)
{
	struct counting c = {each, arg};

	return read_all(maps->counts, count_bytes(), count_read, &c);
}

/* ---- what goes ------------------------------------------------------------------------------------------------------ */

struct trimming {
	const struct block_list *list;
	struct block_list gone; /* their counters go, too */
	block_count *each;
	void *arg;
	int err;
};

static void trim_count(void *arg, const struct block_entry *entry, const struct rec_count *count)
{
	struct trimming *t = arg;

	if (block_list_find(t->list, entry))
		return;
	if (t->each)
		t->each(t->arg, entry, count);
	if (block_list_append(&t->gone, entry))
		t->err = -ENOMEM;
}

static void delete_all(int fd, const struct block_list *list)
{
	struct rec_block_key key;

	for (size_t i = 0; i < list->count; i++) {
		key_of(&key, &list->entries[i]);
		bpf_map_delete_elem(fd, &key);
	}
}

int block_maps_trim(struct block_maps *maps, const struct block_list *list, block_count *gone, void *arg,
		    struct capture_error *err)
{
	CLEANUP_FREE struct lengths *lengths = lengths_of(list);
	struct trimming t = {.list = list, .each = gone, .arg = arg};
	struct block_list is = {0}, extra = {0};
	int r = lengths ? block_maps_read(maps, &is) : -ENOMEM;

	if (!r)
		r = block_list_without(&extra, &is, list);
	block_list_free(&is);
	if (r)
		return capture_fail(err, r, "cannot read the block list: %s", strerror(-r));
	delete_all(maps->entries, &extra);
	put_table(maps->table, lengths, false, list->count);
	if (extra.count)
		wait_for_programs(); /* then the counters stand still */
	block_list_free(&extra);
	r = block_maps_counts(maps, trim_count, &t);
	r = r ? r : t.err;
	delete_all(maps->counts, &t.gone);
	block_list_free(&t.gone);
	return r ? capture_fail(err, r, "cannot read the counters of the block list: %s", strerror(-r)) : 0;
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
