/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * frames.h - header bytes made by hand, and the fields that they must give. `fields` is every field that decode must
 * set but ts, ns, dir and raw, as text, in any order; numbers are decimal. Expected values were worked out from the RFCs,
 * not by the code. The local end is the source where `out` is 1. Here are the packets of every day and the broken ones;
 * frames_headers.def has one or more for each header.
 */
#ifndef XDP_RECORDER_TESTS_FRAMES_H
#define XDP_RECORDER_TESTS_FRAMES_H

#include "bpf/abi.h"

/* Destination, source. */
#define MACS "02 00 00 00 00 02  02 00 00 00 00 01 "
#define MACS_OUT "lmac=02:00:00:00:00:01 rmac=02:00:00:00:00:02"
#define MACS_IN "lmac=02:00:00:00:00:02 rmac=02:00:00:00:00:01"
#define A1 "0a 00 00 01 "
#define A2 "0a 00 00 02 "
#define V6_1 "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01 "
#define V6_2 "20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 02 "

struct frame {
	const char *name, *hex, *fields;
	unsigned wire, side, out, marks, segs, gso;
	unsigned raw; /* 1: raw must be there (it is not in `fields`) */
};

static const struct frame frames[] = {
	{"UDP: the IPv4 header is the example known from textbooks",
	 MACS "08 00  45 00 00 73 00 00 40 00 40 11 b8 61 c0 a8 00 01 c0 a8 00 c7  00 35 e9 7c 00 5f 27 9f",
	 "local=192.168.0.1 lport=53 remote=192.168.0.199 rport=59772 proto=17 len=129 ttl=64 tos=0 ipid=0 frag=16384 "
	 "csum=10143 etype=2048 " MACS_OUT,
	 .wire = 129, .out = 1},
	{"the same, received by the local end",
	 MACS "08 00  45 00 00 73 00 00 40 00 40 11 b8 61 c0 a8 00 01 c0 a8 00 c7  00 35 e9 7c 00 5f 27 9f",
	 "local=192.168.0.199 lport=59772 remote=192.168.0.1 rport=53 proto=17 len=129 ttl=64 tos=0 ipid=0 frag=16384 "
	 "csum=10143 etype=2048 " MACS_IN,
	 .wire = 129},
	{"TCP SYN: MSS, SACK permitted, time stamps, NOP, window scale",
	 MACS "08 00  45 00 00 3c 12 34 40 00 40 06 14 86 " A1 A2
	      "d4 31 00 50 ff ff ff ff 00 00 00 00 a0 02 fa f0 be ef 00 00 "
	      "02 04 05 b4 04 02 08 0a ff ff ff fe 00 00 00 00 01 03 03 07",
	 "local=10.0.0.1 lport=54321 remote=10.0.0.2 rport=80 proto=6 len=74 ttl=64 tos=0 ipid=4660 frag=16384 flags=2 "
	 "seq=4294967295 ack=0 win=64240 urg=0 ltsval=4294967294 rtsval=0 mss=1460 ws=7 sack=1 opts=10635 csum=48879 "
	 "etype=2048 " MACS_OUT,
	 .wire = 74, .out = 1},
	{"TCP ACK with time stamps: the clocks belong to the ends",
	 MACS "08 00  45 00 00 34 12 35 40 00 40 06 14 8d " A2 A1
	      "00 50 d4 31 00 00 00 01 00 00 00 02 80 11 01 f6 12 34 00 07 "
	      "01 01 08 0a 00 00 00 63 ff ff ff fe",
	 "local=10.0.0.1 lport=54321 remote=10.0.0.2 rport=80 proto=6 len=66 ttl=64 tos=0 ipid=4661 frag=16384 "
	 "flags=17 "
	 "seq=1 ack=2 win=502 urg=7 ltsval=4294967294 rtsval=99 opts=78 csum=4660 etype=2048 " MACS_IN,
	 .wire = 66},
	{"TCP with two SACK blocks, ECN",
	 MACS "08 00  45 10 00 48 12 36 40 00 40 06 14 68 " A1 A2
	      "00 01 00 02 00 00 00 05 00 00 00 06 d1 d0 00 01 00 02 00 00 "
	      "01 01 08 0a 00 00 00 01 00 00 00 02 01 01 05 12 80 00 00 00 80 00 00 10 00 00 00 0a 00 00 00 0b",
	 "local=10.0.0.1 lport=1 remote=10.0.0.2 rport=2 proto=6 len=86 ttl=64 tos=16 ipid=4662 frag=16384 flags=464 "
	 "seq=5 "
	 "ack=6 win=1 urg=0 ltsval=1 rtsval=2 opts=40013 sl1=2147483648 sr1=2147483664 sl2=10 sr2=11 csum=2 "
	 "etype=2048 " MACS_OUT,
	 .wire = 86, .out = 1},
	{"TCP options closed by the end of list",
	 MACS "08 00  45 00 00 30 12 37 00 00 40 06 54 8f " A1 A2
	      "00 01 00 02 00 00 00 05 00 00 00 06 70 10 00 01 00 02 00 00 "
	      "02 04 02 18 00 00 00 00",
	 "local=10.0.0.1 lport=1 remote=10.0.0.2 rport=2 proto=6 len=62 ttl=64 tos=0 ipid=4663 frag=0 flags=16 seq=5 "
	 "ack=6 "
	 "win=1 urg=0 mss=536 opts=23 csum=2 etype=2048 " MACS_OUT,
	 .wire = 62, .out = 1},
	{"bytes behind the end of list that are not zero: kept as they were",
	 MACS "08 00  45 00 00 30 12 37 00 00 40 06 54 8f " A1 A2
	      "00 01 00 02 00 00 00 05 00 00 00 06 70 10 00 01 00 02 00 00 "
	      "02 04 02 18 00 00 01 00",
	 "local=10.0.0.1 lport=1 remote=10.0.0.2 rport=2 proto=6 len=62 ttl=64 tos=0 ipid=4663 frag=0 flags=16 seq=5 "
	 "ack=6 "
	 "win=1 urg=0 mss=536 topts=0204021800000100 csum=2 etype=2048 " MACS_OUT,
	 .wire = 62, .out = 1},
	{"a TCP option that has no field: kept as they were",
	 MACS "08 00  45 00 00 34 12 38 40 00 40 06 14 8a " A1 A2
	      "00 01 00 02 00 00 00 05 00 00 00 06 80 10 00 01 00 02 00 00 "
	      "1e 08 00 81 aa bb cc dd 03 03 05 01",
	 "local=10.0.0.1 lport=1 remote=10.0.0.2 rport=2 proto=6 len=66 ttl=64 tos=0 ipid=4664 frag=16384 flags=16 "
	 "seq=5 "
	 "ack=6 win=1 urg=0 ws=5 topts=1e080081aabbccdd03030501 csum=2 etype=2048 " MACS_OUT,
	 .wire = 66, .out = 1},
	{"a bare ACK in a padded Ethernet frame",
	 MACS "08 00  45 00 00 28 00 07 40 00 80 06 e6 c6 " A2 A1
	      "00 50 d4 31 00 00 00 01 00 00 00 02 50 10 01 f6 12 34 00 00",
	 "local=10.0.0.1 lport=54321 remote=10.0.0.2 rport=80 proto=6 len=60 ttl=128 tos=0 ipid=7 frag=16384 pad=6 "
	 "flags=16 "
	 "seq=1 ack=2 win=502 urg=0 csum=4660 etype=2048 " MACS_IN,
	 .wire = 60},
	{"a frame that ends before its IP packet",
	 MACS "08 00  45 00 05 dc 00 09 40 00 40 11 21 06 " A1 A2 "00 01 00 02 05 c8 00 03",
	 "local=10.0.0.1 lport=1 remote=10.0.0.2 rport=2 proto=17 len=114 ttl=64 tos=0 ipid=9 frag=16384 pad=-1400 "
	 "csum=3 "
	 "etype=2048 " MACS_OUT,
	 .wire = 114, .out = 1},
	{"first fragment: the UDP length is the datagram's",
	 MACS "08 00  45 00 05 dc 00 09 20 00 40 11 41 06 " A1 A2 "00 01 00 02 1f 48 00 03",
	 "local=10.0.0.1 lport=1 remote=10.0.0.2 rport=2 proto=17 len=1514 ttl=64 tos=0 ipid=9 frag=8192 ulen=8008 "
	 "csum=3 "
	 "etype=2048 " MACS_OUT,
	 .wire = 1514, .out = 1},
	{"a later fragment has no layer 4", MACS "08 00  45 00 05 dc 00 09 20 b9 40 11 40 4d " A1 A2,
	 "local=10.0.0.1 remote=10.0.0.2 proto=17 len=1514 ttl=64 tos=0 ipid=9 frag=8377 etype=2048 " MACS_OUT
	 " marks=fragment",
	 .wire = 1514, .out = 1, .marks = REC_MARK_FRAGMENT},
	{"a wrong IPv4 checksum is kept",
	 MACS "08 00  45 00 00 73 00 00 40 00 40 11 b8 62 c0 a8 00 01 c0 a8 00 c7  00 35 e9 7c 00 5f 27 9f",
	 "local=192.168.0.1 lport=53 remote=192.168.0.199 rport=59772 proto=17 len=129 ttl=64 tos=0 ipid=0 frag=16384 "
	 "ipcsum=47202 csum=10143 etype=2048 " MACS_OUT,
	 .wire = 129, .out = 1},
	{"so is the other zero of the ones' complement",
	 MACS "08 00  45 00 00 24 26 c7 40 00 40 11 ff ff " A1 A2 "00 01 00 02 00 10 00 03",
	 "local=10.0.0.1 lport=1 remote=10.0.0.2 rport=2 proto=17 len=50 ttl=64 tos=0 ipid=9927 frag=16384 "
	 "ipcsum=65535 csum=3 "
	 "etype=2048 " MACS_OUT,
	 .wire = 50, .out = 1},
	{"a checksum that is zero and right is not",
	 MACS "08 00  45 00 00 24 26 c7 40 00 40 11 00 00 " A1 A2 "00 01 00 02 00 10 00 03",
	 "local=10.0.0.1 lport=1 remote=10.0.0.2 rport=2 proto=17 len=50 ttl=64 tos=0 ipid=9927 frag=16384 csum=3 "
	 "etype=2048 " MACS_OUT,
	 .wire = 50, .out = 1},
	{"sent with the checksum left to the card",
	 MACS "08 00  45 00 00 24 00 01 40 00 40 11 26 c6 " A1 A2 "00 01 00 02 00 10 14 24",
	 "local=10.0.0.1 lport=1 remote=10.0.0.2 rport=2 proto=17 len=50 ttl=64 tos=0 ipid=1 frag=16384 csum=5156 "
	 "etype=2048 " MACS_OUT " marks=csum_none",
	 .wire = 50, .out = 1, .side = REC_TX},
	{"received, the same bytes are nothing special",
	 MACS "08 00  45 00 00 24 00 01 40 00 40 11 26 c6 " A1 A2 "00 01 00 02 00 10 14 24",
	 "local=10.0.0.1 lport=1 remote=10.0.0.2 rport=2 proto=17 len=50 ttl=64 tos=0 ipid=1 frag=16384 csum=5156 "
	 "etype=2048 " MACS_OUT,
	 .wire = 50, .out = 1},
	{"a super-packet of TCP over IPv6, checksum left to the card",
	 MACS "86 dd  61 2a bc de ea 80 06 40 " V6_1 V6_2 "00 01 00 02 00 00 00 05 00 00 00 06 80 18 00 01 45 fc 00 00 "
	      "01 01 08 0a 00 00 00 01 00 00 00 02",
	 "local=2001:db8::1 lport=1 remote=2001:db8::2 rport=2 proto=6 len=60086 segs=42 gso=1428 ttl=64 tos=18 "
	 "flow=703710 "
	 "flags=24 seq=5 ack=6 win=1 urg=0 ltsval=1 rtsval=2 opts=78 csum=17916 etype=34525 " MACS_OUT
	 " marks=gso,csum_none",
	 .wire = 60086, .out = 1, .side = REC_TX, .marks = REC_MARK_GSO, .segs = 42, .gso = 1428},
	{"ICMP echo", MACS "08 00  45 00 00 54 ab cd 00 00 40 01 ba d9 " A1 A2 "08 00 f7 ff 00 2a 00 03",
	 "local=10.0.0.1 remote=10.0.0.2 proto=1 len=98 ttl=64 tos=0 ipid=43981 frag=0 csum=63487 icmp_type=8 "
	 "icmp_code=0 "
	 "icmp_id=42 icmp_seq=3 etype=2048 " MACS_OUT,
	 .wire = 98, .out = 1},
	{"an ICMP error quotes what went the other way",
	 MACS "08 00  45 c0 00 38 00 01 00 00 40 01 66 02 " A1 A2 "03 03 12 34 00 00 00 00 "
	      "45 00 00 1c 00 01 00 00 40 11 66 ce " A2 A1 "00 35 04 00 00 08 00 00",
	 "local=10.0.0.1 remote=10.0.0.2 proto=1 len=70 ttl=64 tos=192 ipid=1 frag=0 csum=4660 icmp_type=3 icmp_code=3 "
	 "icmp_rest=0 qlocal=10.0.0.1 qlport=1024 qremote=10.0.0.2 qrport=53 qproto=17 qttl=64 qtos=0 qipid=1 qfrag=0 "
	 "qlen=28 qulen=8 qcsum=0 etype=2048 " MACS_OUT,
	 .wire = 70, .out = 1},
	{"ICMPv6 echo reply behind two tags, the outer one 802.1ad",
	 MACS "88 a8 60 64 81 00 0f ff 86 dd  60 00 00 00 00 40 3a ff " V6_1 V6_2 "81 00 12 34 00 01 00 02",
	 "local=2001:db8::1 remote=2001:db8::2 proto=58 len=126 ttl=255 tos=0 flow=0 csum=4660 icmp_type=129 "
	 "icmp_code=0 "
	 "icmp_id=1 icmp_seq=2 vlan=24676 tpid=34984 vlan2=4095 etype=34525 " MACS_OUT " marks=vlan_hw",
	 .wire = 126, .out = 1, .marks = REC_MARK_VLAN_HW},
	{"one tag, a type unknown to us that ends there", MACS "81 00 20 05 88 cc",
	 "len=60 vlan=8197 etype=35020 " MACS_OUT " marks=unknown", .wire = 60, .out = 1, .marks = REC_MARK_UNKNOWN},
	{"a type unknown to us with bytes behind it", MACS "88 cc 02 07 04",
	 "len=60 etype=35020 " MACS_OUT " marks=unknown", .wire = 60, .out = 1, .marks = REC_MARK_UNKNOWN, .raw = 1},
	{"three tags: there are fields for two", MACS "81 00 00 01 81 00 00 02 81 00 00 03 08 00",
	 "len=60 vlan=1 vlan2=2 etype=2048 " MACS_OUT, .wire = 60, .out = 1, .raw = 1},
	{"ARP request",
	 "ff ff ff ff ff ff 02 00 00 00 00 01 08 06 00 01 08 00 06 04 00 01 02 00 00 00 00 01 " A1
	 "00 00 00 00 00 00 " A2,
	 "local=10.0.0.1 remote=10.0.0.2 len=42 arp_op=1 etype=2054 lmac=02:00:00:00:00:01 rmac=ff:ff:ff:ff:ff:ff",
	 .wire = 42, .out = 1},
	{"ARP reply", MACS "08 06 00 01 08 00 06 04 00 02 02 00 00 00 00 01 " A1 "02 00 00 00 00 02 " A2,
	 "local=10.0.0.2 remote=10.0.0.1 len=60 arp_op=2 etype=2054 " MACS_IN, .wire = 60},
	{"ARP that is not as it should be: both hardware addresses are kept",
	 MACS "08 06 00 01 08 00 06 04 00 01 02 00 00 00 00 66 " A1 "02 00 00 00 00 02 " A2,
	 "local=10.0.0.1 remote=10.0.0.2 len=60 arp_op=1 asha=02:00:00:00:00:66 atha=02:00:00:00:00:02 "
	 "etype=2054 " MACS_OUT,
	 .wire = 60, .out = 1},
	{"a reply whose target is zero",
	 MACS "08 06 00 01 08 00 06 04 00 02 02 00 00 00 00 01 " A1 "00 00 00 00 00 00 " A2,
	 "local=10.0.0.1 remote=10.0.0.2 len=60 arp_op=2 atha=00:00:00:00:00:00 etype=2054 " MACS_OUT, .wire = 60,
	 .out = 1},
	{"ARP of another hardware", MACS "08 06 00 06 08 00 06 04 00 01 02 00 00 00 00 01 " A1 "00 00 00 00 00 00 " A2,
	 "len=60 arp_op=1 etype=2054 " MACS_OUT, .wire = 60, .out = 1, .raw = 1},
	{"IPv4 options (router alert), the checksum is over them",
	 "01 00 5e 00 00 16 02 00 00 00 00 01 08 00  46 c0 00 20 00 00 40 00 01 02 fa 00 " A1
	 "e0 00 00 16 94 04 00 00 ",
	 "local=10.0.0.1 remote=224.0.0.22 proto=2 len=46 ttl=1 tos=192 ipid=0 frag=16384 ipopts=94040000 etype=2048 "
	 "lmac=02:00:00:00:00:01 rmac=01:00:5e:00:00:16",
	 .wire = 46, .out = 1},
	{"two extension headers of IPv6; what is behind them is read",
	 MACS "86 dd  60 00 00 00 00 24 00 01 " V6_1 V6_2 "3c 00 05 02 00 00 01 00  11 00 01 04 00 00 00 00  "
	      "00 07 00 08 00 14 00 09",
	 "local=2001:db8::1 lport=7 remote=2001:db8::2 rport=8 proto=17 len=90 ttl=1 tos=0 flow=0 csum=9 "
	 "nxt=0 ext=3c000502000001001100010400000000 etype=34525 " MACS_OUT,
	 .wire = 90, .out = 1},
	{"a later fragment of IPv6", MACS "86 dd  60 00 00 00 00 24 2c 01 " V6_1 V6_2 "06 00 00 08 00 00 00 01",
	 "local=2001:db8::1 remote=2001:db8::2 proto=6 len=90 ttl=1 tos=0 flow=0 nxt=44 frag=8 fragid=1 "
	 "etype=34525 " MACS_OUT " marks=fragment",
	 .wire = 90, .out = 1, .marks = REC_MARK_FRAGMENT},
	{"TCP with a data offset of 4",
	 MACS "08 00  45 00 00 28 00 07 40 00 80 06 e6 c6 " A2 A1
	      "00 50 d4 31 00 00 00 01 00 00 00 02 40 10 01 f6 12 34 00 00",
	 "local=10.0.0.1 lport=54321 remote=10.0.0.2 rport=80 proto=6 len=54 ttl=128 tos=0 ipid=7 frag=16384 flags=16 "
	 "seq=1 ack=2 win=502 urg=0 csum=4660 etype=2048 " MACS_IN " marks=malformed",
	 .wire = 54, .marks = REC_MARK_MALFORMED, .raw = 1},
	{"TCP cut short in its sequence number",
	 MACS "08 00  45 00 00 28 00 07 40 00 80 06 e6 c6 " A2 A1 "00 50 d4 31 00 00 00",
	 "local=10.0.0.1 lport=54321 remote=10.0.0.2 rport=80 proto=6 len=41 ttl=128 tos=0 ipid=7 frag=16384 pad=-13 "
	 "etype=2048 " MACS_IN " marks=truncated",
	 .wire = 41, .marks = REC_MARK_TRUNCATED, .raw = 1},
	{"IPv4 that says it is version 6", MACS "08 00  65 00 00 28 00 07 40 00 80 06 e6 c6 " A2 A1,
	 "len=60 etype=2048 " MACS_OUT " marks=malformed", .wire = 60, .out = 1, .marks = REC_MARK_MALFORMED, .raw = 1},
	{"IPv4 with a total length within its header: what is behind it is none of its",
	 MACS "08 00  45 00 00 13 00 07 40 00 80 06 e6 db " A2 A1
	      "00 50 d4 31 00 00 00 01 00 00 00 02 50 10 01 f6 12 34 00 00",
	 "local=10.0.0.1 remote=10.0.0.2 proto=6 len=54 ttl=128 tos=0 ipid=7 frag=16384 pad=21 etype=2048 " MACS_IN
	 " marks=malformed",
	 .wire = 54, .marks = REC_MARK_MALFORMED, .raw = 1},
	{"less than an Ethernet header", "02 00 00 00 00 02 02 00 00 00", "len=10 marks=truncated", .wire = 10,
	 .out = 1, .marks = REC_MARK_TRUNCATED, .raw = 1},
	{"nothing at all", "", "len=0 marks=truncated", .wire = 0, .out = 1, .marks = REC_MARK_TRUNCATED, .raw = 1},
#include "tests/unit/frames_headers.def"
};
#define FRAMES (sizeof(frames) / sizeof(frames[0]))

#endif
