// SPDX-License-Identifier: GPL-2.0-or-later
/* maps.h - the maps of a capture, as recorder.bpf.c names them. recorder/capture makes them; the sizes here are placeholders. */
#ifndef XDP_RECORDER_BPF_MAPS_H
#define XDP_RECORDER_BPF_MAPS_H

#include "rings.h"

#define xchg(p, v) __sync_lock_test_and_set(p, v)
#define relaxed(x) (*(volatile __typeof__(x) *)&(x))
#define unlikely(x) __builtin_expect(!!(x), 0)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rec_seconds);
} seconds SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, union rec_desk);
} desk SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rec_policy);
} policy SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, REC_OWN_FLOWS);
	__type(key, struct rec_own_key);
	__type(value, __u32);
} own SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__uint(value_size, REC_KNOWN_VALUE(REC_RING_MIN));
} known SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} bell SEC(".maps");

#endif
