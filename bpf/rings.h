// SPDX-License-Identifier: GPL-2.0-or-later
/* rings.h - a side's rings, one for each CPU: of the object that fills them and of the one that warms them. Sizes are placeholders, as in maps.h. */
#ifndef XDP_RECORDER_BPF_RINGS_H
#define XDP_RECORDER_BPF_RINGS_H

struct ring_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__uint(value_size, REC_RING_VALUE(REC_RING_MIN));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct ring_map);
} rings SEC(".maps");

#endif
