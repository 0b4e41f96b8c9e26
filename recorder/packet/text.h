/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * text.h - addresses as text and back. Writers give the length, write no NUL, and may touch TEXT_ADDRESS_MAX bytes.
 */
#ifndef XDP_RECORDER_PACKET_TEXT_H
#define XDP_RECORDER_PACKET_TEXT_H

#include <stdint.h>

#define TEXT_ADDRESS_MAX 48u
#define TEXT_MAC_LEN 17u

unsigned text_ipv4(char *at, const uint8_t address[4]);
/* RFC 5952; IPv4-mapped addresses (::ffff:0:0/96) in its mixed form. */
unsigned text_ipv6(char *at, const uint8_t address[16]);
/* Lower case, colons. */
unsigned text_mac(char *at, const uint8_t address[6]);

static inline unsigned text_address(char *at, const uint8_t *address, unsigned family)
{
	return family == 6 ? text_ipv6(at, address) : text_ipv4(at, address);
}

/* Reads an IPv4 or IPv6 address; IPv4 is 4 bytes, then zeros. Gives 4 or 6, 0 when it is neither. */
unsigned text_read_address(const char *text, uint8_t address[16]);
/* 0 or -EINVAL. */
int text_read_mac(const char *text, uint8_t address[6]);

#endif
