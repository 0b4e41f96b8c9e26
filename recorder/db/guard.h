/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * guard.h - what stands between a server and libmongoc: a stream that hands on whole, well-formed messages only.
 *
 * libmongoc 1.23 trusts what it reads: garbage, a broken document or an odd length make it read wild memory, allocate
 * without bound, or abort. It also measures its time limit anew for each piece of a message, and cannot be interrupted.
 * So the connections of connect.c are made here: a message is read whole, its length, kind and the bounds of every BSON
 * element are checked, and one time limit holds from the first byte of a command to the last of its answer.
 *
 * A stream belongs to its client's thread. Compressed answers (only when the URI asks for compressors) are checked on
 * the outside.
 */
#ifndef XDP_RECORDER_DB_GUARD_H
#define XDP_RECORDER_DB_GUARD_H

#include <mongoc/mongoc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What all connections of one database share. Outlives them. */
struct guard {
	_Atomic bool cancelled;	      /* calls under way end, within GUARD_SLICE_MS where they wait for an answer */
	_Atomic uint16_t port[16];    /* of hosts that were connected to, network byte order; 0: free */
	void (*connected)(void *arg); /* behind each TCP connection, before anything is sent; on the connecting thread.
					 May be NULL. */
	void *connected_arg;
};

#define GUARD_SLICE_MS 50

/* For mongoc_client_set_stream_initiator; `guard` is a struct guard. Connects (and does the TLS handshake), within
 * connectTimeoutMS. */
mongoc_stream_t *guard_connect(const mongoc_uri_t *uri, const mongoc_host_list_t *host, void *guard,
			       bson_error_t *error);

/* Why the last stream of this thread failed, in a few words; NULL: it did not. guard_reset() forgets it. */
const char *guard_reason(void);
void guard_reset(void);

/* This thread's calls wait no longer than until this boot time, whatever the URI says; 0: no such limit. */
void guard_give_up(uint64_t boot_ns);

/* ---- for tests ---------------------------------------------------------------------------------------------- */

#define GUARD_HEADER 16u
#define GUARD_MESSAGE_MAX ((16u << 20) + (64u << 10)) /* an answer is one document, of at most 16 MB and what is around it */
#define GUARD_DEPTH 100u /* MongoDB's own limit of nesting */

/* NULL, or what is wrong with a whole message. Pure. */
const char *guard_check(const uint8_t *message, size_t length);

#endif
