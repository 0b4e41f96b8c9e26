// SPDX-License-Identifier: GPL-2.0-or-later
/* packet.h - the packet, as the hooks give it: its bounds, its length on the wire, its bytes into a slot, a VLAN tag put back. */
#ifndef XDP_RECORDER_BPF_PACKET_H
#define XDP_RECORDER_BPF_PACKET_H

/* KIND_IMPORT: a frame of a capture file, on an XDP program's context. It is XDP in all that is not said otherwise. */
enum kind { KIND_XDP, KIND_TC, KIND_IMPORT };

struct packet {
	union {
		struct xdp_md *xdp;
		struct __sk_buff *skb;
	};
	__u32 bytes; /* in the packet; a tag in metadata is not among them */
	__u32 shift; /* 4 when a tag is put back */
	__u32 tag;   /* its four bytes, as on the wire */
	/* KIND_IMPORT only: */
	__u32 wire;
	__u64 time;
};

/* Bytes of the frame on the wire: those that are here, but of a frame that was captured in part. */
static __always_inline __u32 packet_wire(const struct packet *pk, enum kind kind)
{
	return kind == KIND_IMPORT ? pk->wire : pk->bytes + pk->shift;
}

/* The unsigned 8-byte copies of a block. Constant offsets: one check of the block's end serves all of them. */
#define COPY8(d, p, o) (*(__u64 *)((d) + (o)) = *(const __u64 *)((p) + (o)))
#define COPY16(d, p, o) (COPY8(d, p, o), COPY8(d, p, (o) + 8))
#define COPY32(d, p, o) (COPY16(d, p, o), COPY16(d, p, (o) + 16))
#define COPY64(d, p, o) (COPY32(d, p, o), COPY32(d, p, (o) + 32))

/* clang 14 keeps 32 bits of a packet pointer if it can ("invalid size of register spill"): hence volatile, barriers. */
static __always_inline void packet_ends(const struct packet *pk, enum kind kind, const __u8 **p, const __u8 **end)
{
	if (kind != KIND_TC) {
		*p = (void *)(long)relaxed(pk->xdp->data);
		*end = (void *)(long)relaxed(pk->xdp->data_end);
	} else {
		*p = (void *)(long)relaxed(pk->skb->data);
		*end = (void *)(long)relaxed(pk->skb->data_end);
	}
	barrier_var(*p);
	barrier_var(*end);
}

/* Copies up to REC_CAP_FAST bytes by direct access and returns how many; 0 when the linear part is too short. */
static __always_inline __u32 copy_direct(__u8 *to, const struct packet *pk, enum kind kind)
{
	const __u8 *p, *end, *t;
	__u8 *d = to;
	__u64 n;

	packet_ends(pk, kind, &p, &end);
	if (p + REC_CAP_FAST <= end) {
		COPY64(d, p, 0);
		COPY64(d, p, 64);
		return REC_CAP_FAST;
	}
	if (p + 14 > end)
		return 0;
	n = (__u64)end - (__u64)p;
	t = p;
	if (t + 64 <= end) {
		COPY64(d, t, 0);
		t += 64;
		d += 64;
	}
	if (t + 32 <= end) {
		COPY32(d, t, 0);
		t += 32;
		d += 32;
	}
	if (t + 16 <= end) {
		COPY16(d, t, 0);
		t += 16;
		d += 16;
	}
	if (t + 8 <= end)
		COPY8(d, t, 0);
	n = (n - 8) & (REC_CAP_FAST - 1); /* the last 8 bytes, over what is there already */
	barrier_var(n);
	t = p + n;
	if (t + 8 <= end)
		COPY8(to + n, t, 0);
	return (__u32)n + 8;
}

/*
 * Copies up to REC_CAP_MAX bytes, the first REC_CAP_FAST once more: by direct access where the linear part has them
 * all, which is usual and half the cost, else by the helper, wherever they are. The bytes copied, or a negative error.
 */
static __always_inline int copy_more(__u8 *to, const struct packet *pk, enum kind kind)
{
	__u64 n = REC_CAP_MAX - pk->shift;
	const __u8 *p, *end;
	long err;

	packet_ends(pk, kind, &p, &end);
	if (p + REC_CAP_MAX <= end) {
		COPY64(to, p, 0);
		COPY64(to, p, 64);
		COPY64(to, p, 128);
		COPY64(to, p, 192);
		return (int)n;
	}
	if (n > pk->bytes)
		n = pk->bytes;
	barrier_var(n);
	n = ((n - 1) & (REC_CAP_MAX - 1)) + 1; /* the form that Linux 6.1 understands */
	err = kind == KIND_TC ? bpf_skb_load_bytes(pk->skb, 0, to, n) : bpf_xdp_load_bytes(pk->xdp, 0, to, n);
	return err ? (int)err : (int)n;
}

/* Puts the tag back behind the MAC addresses; the packet was copied 4 bytes further on. */
static __always_inline void put_tag(__u8 *bytes, __u32 tag)
{
	*(__u64 *)bytes = *(__u64 *)(bytes + 4);
	*(__u32 *)(bytes + 8) = *(__u32 *)(bytes + 12);
	*(__u32 *)(bytes + 12) = tag;
}

/* Up to REC_CAP_MAX bytes into the slot, a tag among them; how many, or a negative error. */
static __always_inline int load_more(struct rec_slot *slot, const struct packet *pk, enum kind kind)
{
	int n = copy_more(slot->bytes + pk->shift, pk, kind);

	if (n >= 0 && pk->shift) {
		put_tag(slot->bytes, pk->tag);
		n += 4;
	}
	return n;
}

#endif
