// SPDX-License-Identifier: GPL-2.0-or-later
/* second.h - the balance's second: slots that open with the totals so far, and the clock that says when. */
#ifndef XDP_RECORDER_BPF_SECOND_H
#define XDP_RECORDER_BPF_SECOND_H

#define NS_PER_SEC 1000000000ull
_Static_assert((REC_SECONDS & (REC_SECONDS - 1)) == 0, "slots are masked");

/* Opens the slot of a new second with the totals so far. Readers see sec = 0 while it is written. */
static __noinline void roll(struct rec_seconds *s, __u64 now)
{
	__u64 sec = now / NS_PER_SEC, newest = s->newest;
	struct rec_second *from = &s->slot[newest & (REC_SECONDS - 1)];
	struct rec_second *to = &s->slot[(newest + 1) & (REC_SECONDS - 1)];

	from->total[REC_LOST_CONTENDED].packets = relaxed(s->contended.packets);
	from->total[REC_LOST_CONTENDED].bytes = relaxed(s->contended.bytes);
	xchg(&to->sec, 0);
#pragma clang loop unroll(full)
	for (__u32 i = 0; i < REC_TERMS; i++)
		to->total[i] = from->total[i];
	if (settings.floods) {
		__u32 control = REC_DESK_CONTROL;
		union rec_desk *d = bpf_map_lookup_elem(&desk, &control);
		__u64 epoch = d ? relaxed(d->control.epoch) : 0;

		s->epoch = (epoch >> 32) - ((__u32)sec < (__u32)epoch);
	}
	to->boot_ns = now;
	to->tai_ns = bpf_ktime_get_tai_ns();
	to->reserved = 0;
	xchg(&to->sec, sec);
	xchg(&s->newest, (newest + 1) & (REC_SECONDS - 1));
	s->until = (sec + 1) * NS_PER_SEC;
}

/*
 * Reading the clock is a third of what a counted packet costs. While packets are counted the last reading goes for those behind it, in
 * the same jiffy (which costs a load, inlined since Linux 5.6) and 64 of them at most. What is stored always has its own.
 */
#define CLOCK_USES 64u

static __always_inline __u64 now_or_just_before(struct rec_seconds *s, int *stale)
{
	*stale = 0;
	if (unlikely(s->clock_uses)) {
		if (s->jiffy == (__u32)bpf_jiffies64()) {
			s->clock_uses--;
			*stale = 1;
			return s->clock;
		}
		s->clock_uses = 0;
	}
	return bpf_ktime_get_boot_ns();
}

static __always_inline void keep_clock(struct rec_seconds *s, __u64 now)
{
	s->clock = now;
	s->jiffy = (__u32)bpf_jiffies64();
	s->clock_uses = CLOCK_USES;
}

#endif
