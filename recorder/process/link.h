/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * link.h - what keeper and drainer say to each other: a SOCK_SEQPACKET pair, one message a packet, at most one
 * descriptor with it.
 *
 * The drainer is not trusted: it can ask for connections to be filtered and for the end, nothing else.
 */
#ifndef XDP_RECORDER_PROCESS_LINK_H
#define XDP_RECORDER_PROCESS_LINK_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "recorder/capture/filter.h"
#include "recorder/source/batch.h"

#define LINK_PAYLOAD_MAX 60000u

enum link_type {
	/* keeper -> drainer, in this order at start */
	LINK_SETTINGS = 1, /* BSON of struct settings, secrets included */
	LINK_CONTROL,      /* fd: listening socket of `status` */
	LINK_CAPTURE,      /* struct link_capture: begins a capture */
	LINK_MAP,          /* fd; arg: enum capture_map */
	LINK_RING,         /* fd; arg: side << 16 | cpu */
	LINK_FILE,         /* fd: the file of --write, opened by the keeper; arg: enum file_format */
	LINK_SPOOL,        /* fd: the directory of --spool, locked */
	LINK_START,        /* everything is there; arg: LINK_START_*, payload: the sensor's id (16) */
	/* keeper -> drainer, later */
	LINK_ATTACHED,     /* arg: 1 attached, 0 capture has ended: no more packets will come */
	LINK_END,          /* store everything within arg seconds, then leave */
	LINK_DUMP,         /* print the counters */
	LINK_RELOAD,       /* BSON of struct settings */
	LINK_TELL,         /* struct link_tell: what the keeper's watch has found; may come again, under the same _id */
	LINK_BLOCK,        /* arg: entries of the block list; payload: none, or struct link_block, a change to be told */
	/* drainer -> keeper */
	LINK_READY,        /* recording; taken over what was there */
	LINK_OWN_ADD,      /* struct rec_own_key */
	LINK_OWN_DEL,      /* struct rec_own_key */
	LINK_ENOUGH,       /* -c is reached: end the capture */
	LINK_ENDED,        /* struct link_summary */
	LINK_BLOCK_TOLD,   /* uint64_t: the change of that stamp is in the database */
	LINK_FAILED,       /* arg: exit status; text (already logged): do not start another drainer */
};

enum { LINK_START_ATTACHED = 1, LINK_START_AGAIN = 2 };

struct link_capture {
	uint8_t id[CAPTURE_ID_LEN];
	char iface[32];
	char mode[REC_SIDES][16]; /* "" = side not captured */
	uint32_t cpus;
	uint32_t ring_size;
	bool counting; /* nothing is stored */
	uint32_t resumed; /* 1: it was pinned, another process had it before */
	uint32_t refiltered; /* 1: and it had another capture filter until now */
	uint64_t created;    /* boot ns: capture began */
	uint64_t netns;	     /* cookie of the network namespace */
	char rebuilt[64];    /* the build whose programs were replaced just now, "" when they were not */
	char build[64];	     /* of those that run */
	char filter[FILTER_TEXT_MAX + 4]; /* text of the capture filter in force, "" for none */
};

_Static_assert(sizeof(struct link_capture) <= LINK_PAYLOAD_MAX, "a capture is told in one message");

struct link_tell {
	uint32_t capture; /* in the order of LINK_CAPTURE */
	uint32_t side;	  /* of a gap: 0 the interface, 1 + enum rec_side a hook */
	uint32_t why, by; /* of a gap: enum gap_why, gap_by */
	uint64_t begin;	  /* boot ns; of an event: when it was found */
	uint64_t end;	  /* boot ns, 0: it lasts */
	char kind[16];	  /* of an event that is no gap, else "" */
	char text[240];
};

struct link_block {
	uint64_t stamp; /* when, CLOCK_REALTIME ns; one change has it */
	char json[];    /* what (cli/cmd_block.c), with its NUL */
};

struct link_summary {
	struct rec_count term[REC_TERMS];
	uint64_t stored;   /* packets acknowledged or spooled since the captures began */
	uint64_t waiting;  /* packets in the rings, not acknowledged */
	uint64_t spooled;  /* of the stored ones: packets that are in the spool, and not in the database yet */
	uint32_t complete; /* 1: every packet, ledger entry and second is acknowledged or spooled */
	uint32_t reserved;
};

struct link_message {
	uint32_t type;
	uint32_t arg;
	uint32_t len; /* of payload */
	int fd;       /* -1: none; the receiver owns it */
	_Alignas(8) uint8_t payload[LINK_PAYLOAD_MAX];
};

/* 0 or -errno. `fd` < 0: none. Blocks only while the peer's buffer is full. */
int link_send(int socket, enum link_type type, uint32_t arg, const void *payload, size_t len, int fd);

/* 1: a message is in *message; 0: the peer is gone; -EAGAIN on a non-blocking socket without one; -errno. */
int link_receive(int socket, struct link_message *message);

#endif
