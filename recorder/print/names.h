/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * names.h - what numbers of the wire are called. All give NULL where there is no name, so that the number is shown.
 * Sources: IANA's registries of the protocols named.
 */
#ifndef XDP_RECORDER_PRINT_NAMES_H
#define XDP_RECORDER_PRINT_NAMES_H

#include <stddef.h>
#include <stdint.h>

const char *name_service(unsigned proto, uint16_t port); /* services.c: from the machine's list */
const char *name_protocol(unsigned proto);		 /* IANA protocol number */
const char *name_etype(unsigned etype);
const char *name_dscp(unsigned dscp);
const char *name_ecn(unsigned ecn);
const char *name_lsap(unsigned sap);
const char *name_oui(unsigned oui);
const char *name_pid(unsigned oui, unsigned pid);
const char *name_ppp(unsigned protocol);
const char *name_label(unsigned label); /* reserved MPLS labels */
const char *name_arp(unsigned operation);
const char *name_extension(unsigned type); /* of IPv6; AH too */
const char *name_ipv4_option(unsigned type);
const char *name_tcp_option(unsigned kind);
const char *name_chunk(unsigned type);
const char *name_ppid(uint32_t ppid);
const char *name_dccp(unsigned type);
const char *name_mark(unsigned bit); /* its meaning in a few words */
const char *name_icmp(unsigned type);
const char *name_icmp_code(unsigned type, unsigned code);
const char *name_icmp6(unsigned type);
const char *name_icmp6_code(unsigned type, unsigned code);

#endif
