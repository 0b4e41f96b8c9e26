/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * native.h - makes the record of a frame in user space with the kernel's own parser (bpf/parse.h): for frames that
 * BPF_PROG_RUN does not take, and for reading files without privileges. Equal to what the BPF program makes of the same
 * bytes: tests/bpf/native_test. No allocation, any thread.
 */
#ifndef XDP_RECORDER_SOURCE_NATIVE_H
#define XDP_RECORDER_SOURCE_NATIVE_H

#include "bpf/abi.h"

/* Room for one record and what the parser may touch behind it. */
struct native_slot {
	_Alignas(8) unsigned char bytes[512];
};

/*
 * The frame's first `have` bytes of `wire` on the wire, as a record in `slot`: time, marks, offsets and cap_len as the
 * kernel sets them; side rx. Returns the record (in the slot). `have` above REC_CAP_MAX is cut.
 */
struct rec_head *native_record(struct native_slot *slot, const unsigned char *bytes, __u32 have, __u32 wire, __u64 time,
			       __u32 hash_seed);

#endif
