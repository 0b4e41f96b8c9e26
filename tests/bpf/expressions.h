/* SPDX-License-Identifier: GPL-2.0-or-later */
/* expressions.h - pcap-filter expressions of every kind that the language has for Ethernet; addresses are of the captures. */
#ifndef XDP_RECORDER_TESTS_EXPRESSIONS_H
#define XDP_RECORDER_TESTS_EXPRESSIONS_H

static const char *const expressions[] = {
	/* hosts, nets */
	"host 10.0.0.1", "src host 192.168.1.1", "dst host 192.168.0.1", "host 10.0.0.1 and not port 22",
	"src or dst host 127.0.0.1", "src and dst host 127.0.0.1", "ip host 192.168.1.2", "arp host 192.168.1.1",
	"ip6 host fe80::1", "host ::1", "net 10.0.0.0/8", "net 10.0.0.0/8 or net 192.168.0.0/16", "src net 172.16.0.0/12",
	"dst net 224.0.0.0/4", "net 192.168", "net 192.168.0.0 mask 255.255.0.0", "ip6 net fe80::/10", "dst net ff02::/16",
	"not net 192.168.0.0/16 and ip",
	"host 10.0.0.1 or host 10.0.0.2 or host 10.1.1.1 or host 10.2.2.2 or host 172.16.0.1 or host 192.168.1.1 or "
	"host 192.168.1.2 or host 192.168.1.3 or host 8.8.8.8 or host 1.1.1.1 or host 127.0.0.1 or host 224.0.0.1",
	/* ports */
	"port 53", "tcp port 443", "udp port 53", "src port 53", "dst port 80", "tcp src port 80", "udp dst port 4789",
	"portrange 1-1023", "tcp portrange 6000-7000", "udp src portrange 1024-65535", "port 53 and not tcp", "sctp port 2905",
	"port domain", "tcp port http or tcp port https", "not port 22 and not port 53",
	/* protocols */
	"ip", "ip6", "arp", "rarp", "tcp", "udp", "icmp", "icmp6", "sctp", "igmp", "pim", "esp", "ah", "vrrp",
	"ip proto 17", "ip proto \\tcp", "ip6 proto 6", "ip6 proto 58", "proto 47", "ip proto 4 or ip proto 41", "ip proto 89",
	/* Ethernet, LLC */
	"ether host ff:ff:ff:ff:ff:ff", "ether src 00:00:00:00:00:01", "ether dst 01:00:5e:00:00:fb", "ether proto 0x0800",
	"ether proto \\arp", "ether proto 0x88cc", "ether proto 0x86dd or ether proto 0x8864", "ether broadcast", "ether multicast",
	"broadcast", "multicast", "ip multicast", "ip6 multicast", "not broadcast and not multicast", "llc", "llc i", "llc u", "stp",
	"iso", "ipx", "netbeui", "isis", "clnp", "ether[12:2] < 1536",
	/* tags, labels, sessions, tunnels */
	"vlan", "vlan 5", "vlan and tcp", "vlan 5 and tcp", "vlan and vlan", "vlan and ip and udp port 53", "vlan and ip6",
	"mpls", "mpls 100", "mpls and mpls", "mpls and ip", "pppoed", "pppoes", "pppoes and ip", "pppoes and ip6 and tcp",
	"vlan and pppoes", "geneve", "geneve 5", "ip proto 47 and ip[20:2] & 0x8000 = 0", "not vlan and tcp",
	/* bytes and arithmetic */
	"tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "tcp[tcpflags] == tcp-syn", "tcp[13] & 4 != 0", "tcp[13] = 0x18",
	"tcp[2:2] = 80", "tcp[12] >> 4 > 5", "tcp[20:4] = 0x47455420", "tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420",
	"tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)", "udp[4:2] > 100", "udp[8:2] & 1 = 1",
	"ip[0] & 0xf != 5", "ip[6:2] & 0x1fff != 0", "ip[6:2] & 0x2000 != 0", "ip[8] < 64", "ip[8] = 255 or ip[8] = 1",
	"ip[2:2] > 576", "ip[12:4] = ip[16:4]", "ip[4:2] % 7 = 3", "ip[4:2] / 256 = 17", "ip[4:2] * 3 > 100000",
	"ip[4:2] ^ 0x5555 > 0x8000", "(ip[4:2] | 0xff) = 0xffff", "ip6[6] = 58", "ip6[40] = 135", "ip6[0:4] & 0x0fffffff != 0",
	"icmp[icmptype] = icmp-echo", "icmp[icmptype] = icmp-echoreply or icmp[icmptype] = icmp-unreach",
	"icmp[icmpcode] = 3", "icmp6[icmp6type] = icmp6-neighborsolicit", "icmp6 and ip6[40] = 136", "arp[6:2] = 1", "arp[7] = 2",
	"ether[0] & 1 = 0", "ether[6:4] = 0", "ether[14] & 0xf0 = 0x40", "ether[255] = 0", "ether[252:4] != 0", "sctp[12] = 0",
	"udp[ip[0] & 0xf] = 1", "ether[ether[12] & 0x7f] = 1", "ip[ip[0] & 0x3f] > 3", "-ip[8] < 4294967200", "ip[8] << 4 > 1000",
	"1 << (ip[8] & 63) = 256", "ip[4:2] >> (ip[8] & 63) = 0", "ip[4:2] / ip[1] > 4", "ip[4:2] % (ip[1] & 7) = 1",
	/* lengths */
	"greater 1000", "less 64", "len = 60", "len > 128 and len <= 256", "ether[len & 127] = 0", "len - ip[2:2] = 14",
	/* mixes */
	"tcp or udp", "not (tcp or udp or icmp)", "ip and not tcp and not udp", "(tcp or udp) and (port 53 or port 80) and not host 8.8.8.8",
	"tcp and (src net 10.0.0.0/8 or dst net 10.0.0.0/8) and not (port 22 or port 3389)", "ip and (icmp or igmp) and less 100",
	"(vlan and arp) or (mpls and ip) or icmp6", "not ip and not ip6 and not arp", "ip6 and (udp port 546 or udp port 5353)",
	"tcp[tcpflags] & tcp-rst != 0 and dst portrange 1024-65535 and not src net 192.168.0.0/16",
};
#define EXPRESSIONS (sizeof(expressions) / sizeof(expressions[0]))

#endif
