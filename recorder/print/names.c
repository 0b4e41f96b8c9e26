/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/print/names.h"

#include "recorder/print/names_table.h"

#include "bpf/abi.h"

const char *name_protocol(unsigned proto)
{
	NAMES(proto, {6, "TCP"}, {17, "UDP"}, {1, "ICMP"}, {58, "ICMP6"}, {0, "HOPOPT"}, {2, "IGMP"}, {3, "GGP"},
	     {4, "IPv4"}, {5, "ST"}, {8, "EGP"}, {9, "IGP"}, {12, "PUP"}, {22, "XNS-IDP"}, {27, "RDP"}, {33, "DCCP"},
	     {36, "XTP"}, {41, "IPv6"}, {43, "IPv6-Route"}, {44, "IPv6-Frag"}, {46, "RSVP"}, {47, "GRE"}, {50, "ESP"},
	     {51, "AH"}, {59, "IPv6-NoNxt"}, {60, "IPv6-Opts"}, {88, "EIGRP"}, {89, "OSPF"}, {94, "IPIP"},
	     {97, "ETHERIP"}, {98, "ENCAP"}, {103, "PIM"}, {108, "IPComp"}, {112, "VRRP"}, {113, "PGM"}, {115, "L2TP"},
	     {132, "SCTP"}, {133, "FC"}, {135, "Mobility"}, {136, "UDPLite"}, {137, "MPLS-in-IP"}, {139, "HIP"},
	     {140, "Shim6"}, {143, "Ethernet"}, {253, "experiment"}, {254, "experiment"});
}

const char *name_etype(unsigned etype)
{
	NAMES(etype, {0x0800, "IPv4"}, {0x86dd, "IPv6"}, {0x0806, "ARP"}, {0x8100, "802.1Q"}, {0x88a8, "802.1ad"},
	     {0x9100, "QinQ"}, {0x8847, "MPLS"}, {0x8848, "MPLS multicast"}, {0x8863, "PPPoE discovery"},
	     {0x8864, "PPPoE session"}, {0x8035, "RARP"}, {0x0842, "Wake-on-LAN"}, {0x22f0, "AVTP"}, {0x22f3, "TRILL"},
	     {0x6002, "DEC MOP"}, {0x6003, "DECnet"}, {0x6004, "DEC LAT"}, {0x6558, "Ethernet"}, {0x809b, "AppleTalk"},
	     {0x80f3, "AppleTalk ARP"}, {0x8137, "IPX"}, {0x8808, "Ethernet flow control"}, {0x8809, "LACP"},
	     {0x880b, "PPP"}, {0x888e, "EAPOL"}, {0x8892, "PROFINET"}, {0x88a2, "AoE"}, {0x88a4, "EtherCAT"},
	     {0x88b5, "local experiment"}, {0x88b6, "local experiment"}, {0x88b8, "GOOSE"}, {0x88ba, "sampled values"},
	     {0x88cc, "LLDP"}, {0x88e1, "HomePlug"}, {0x88e5, "MACsec"}, {0x88e7, "802.1ah"}, {0x88f7, "PTP"},
	     {0x8902, "CFM"}, {0x8906, "FCoE"}, {0x8914, "FIP"}, {0x8915, "RoCE"}, {0x892f, "HSR"},
	     {0x894f, "NSH"}, {0x9000, "loopback"});
}

const char *name_dscp(unsigned dscp)
{
	NAMES(dscp, {0, "default"}, {1, "LE"}, {8, "CS1"}, {16, "CS2"}, {24, "CS3"}, {32, "CS4"}, {40, "CS5"}, {48, "CS6"},
	     {56, "CS7"}, {10, "AF11"}, {12, "AF12"}, {14, "AF13"}, {18, "AF21"}, {20, "AF22"}, {22, "AF23"}, {26, "AF31"},
	     {28, "AF32"}, {30, "AF33"}, {34, "AF41"}, {36, "AF42"}, {38, "AF43"}, {44, "voice admit"}, {46, "EF"});
}

const char *name_ecn(unsigned ecn)
{
	NAMES(ecn, {0, "not ECN-capable"}, {1, "ECT(1)"}, {2, "ECT(0)"}, {3, "congestion experienced"});
}

const char *name_lsap(unsigned sap)
{
	NAMES(sap, {0x00, "null"}, {0x06, "IP"}, {0x42, "spanning tree"}, {0x7e, "X.25"}, {0xaa, "SNAP"}, {0xe0, "IPX"},
	     {0xf0, "NetBIOS"}, {0xfe, "OSI network layer"}, {0xff, "all"});
}

const char *name_oui(unsigned oui)
{
	NAMES(oui, {0x000000, "EtherType"}, {0x00000c, "Cisco"}, {0x0000f8, "bridged EtherType"}, {0x0080c2, "IEEE 802.1"},
	     {0x080007, "Apple"}, {0x00e02b, "Extreme"}, {0x00e0fc, "Huawei"});
}

const char *name_pid(unsigned oui, unsigned pid)
{
	if (oui == 0 || oui == 0x0000f8)
		return name_etype(pid);
	if (oui == 0x080007 && pid == 0x809b)
		return "AppleTalk";
	if (oui != 0x00000c)
		return NULL;
	NAMES(pid, {0x010b, "PVST+"}, {0x010c, "VLAN bridge"}, {0x0111, "UDLD"}, {0x2000, "CDP"}, {0x2003, "VTP"},
	     {0x2004, "DTP"});
}

const char *name_ppp(unsigned protocol)
{
	NAMES(protocol, {0x0021, "IPv4"}, {0x0057, "IPv6"}, {0xc021, "LCP"}, {0xc023, "PAP"}, {0xc025, "LQR"},
	     {0xc223, "CHAP"}, {0x8021, "IPCP"}, {0x8057, "IPV6CP"}, {0x80fd, "CCP"}, {0x00fd, "compressed"},
	     {0x0281, "MPLS"}, {0x003d, "multilink"}, {0x8281, "MPLSCP"}, {0xc227, "EAP"});
}

const char *name_label(unsigned label)
{
	NAMES(label, {0, "IPv4 explicit null"}, {1, "router alert"}, {2, "IPv6 explicit null"}, {3, "implicit null"},
	     {7, "entropy follows"}, {13, "GAL"}, {14, "OAM alert"}, {15, "extension"});
}

const char *name_arp(unsigned operation)
{
	NAMES(operation, {1, "request"}, {2, "reply"}, {3, "reverse request"}, {4, "reverse reply"}, {8, "InARP request"},
	     {9, "InARP reply"});
}

const char *name_extension(unsigned type)
{
	NAMES(type, {0, "hop-by-hop options"}, {43, "routing"}, {44, "fragment"}, {51, "authentication"},
	     {60, "destination options"}, {135, "mobility"}, {139, "HIP"}, {140, "shim6"});
}

const char *name_ipv4_option(unsigned type)
{
	NAMES(type, {0, "end of list"}, {1, "NOP"}, {7, "record route"}, {68, "time stamp"}, {82, "traceroute"},
	     {130, "security"}, {131, "loose source route"}, {134, "CIPSO"}, {136, "stream id"}, {137, "strict source route"},
	     {148, "router alert"});
}

const char *name_tcp_option(unsigned kind)
{
	NAMES(kind, {0, "eol"}, {1, "nop"}, {2, "mss"}, {3, "ws"}, {4, "sackOK"}, {5, "sack"}, {6, "echo"},
	     {7, "echo reply"}, {8, "ts"}, {11, "cc"}, {12, "cc.new"}, {13, "cc.echo"}, {14, "alt-checksum"},
	     {15, "alt-checksum data"}, {19, "md5"}, {28, "user timeout"}, {29, "tcp-ao"}, {30, "mptcp"},
	     {34, "fast open"}, {69, "encryption"}, {172, "accecn0"}, {174, "accecn1"}, {253, "exp"}, {254, "exp"});
}

const char *name_chunk(unsigned type)
{
	NAMES(type, {0, "DATA"}, {1, "INIT"}, {2, "INIT ACK"}, {3, "SACK"}, {4, "HEARTBEAT"}, {5, "HEARTBEAT ACK"},
	     {6, "ABORT"}, {7, "SHUTDOWN"}, {8, "SHUTDOWN ACK"}, {9, "ERROR"}, {10, "COOKIE ECHO"}, {11, "COOKIE ACK"},
	     {12, "ECNE"}, {13, "CWR"}, {14, "SHUTDOWN COMPLETE"}, {15, "AUTH"}, {64, "I-DATA"}, {128, "ASCONF ACK"},
	     {130, "RE-CONFIG"}, {132, "PAD"}, {192, "FORWARD TSN"}, {193, "ASCONF"}, {194, "I-FORWARD TSN"});
}

const char *name_ppid(uint32_t ppid)
{
	NAMES(ppid, {0, "unspecified"}, {1, "IUA"}, {2, "M2UA"}, {3, "M3UA"}, {4, "SUA"}, {5, "M2PA"}, {6, "V5UA"},
	     {7, "H.248"}, {18, "S1AP"}, {19, "RUA"}, {20, "HNBAP"}, {27, "X2AP"}, {46, "Diameter"}, {47, "Diameter DTLS"},
	     {50, "WebRTC DCEP"}, {51, "WebRTC string"}, {53, "WebRTC binary"}, {60, "NGAP"}, {61, "XnAP"});
}

const char *name_dccp(unsigned type)
{
	NAMES(type, {0, "Request"}, {1, "Response"}, {2, "Data"}, {3, "Ack"}, {4, "DataAck"}, {5, "CloseReq"}, {6, "Close"},
	     {7, "Reset"}, {8, "Sync"}, {9, "SyncAck"});
}

const char *name_mark(unsigned bit)
{
	static const char *const names[REC_MARKS] = {
		"the packet ends inside a header that it announces",
		"a header contradicts itself",
		"the headers are longer than what is recorded",
		"a protocol that is not parsed: its first bytes are kept",
		"not the first fragment: no header of layer 4 in it",
		"hardware had taken the outer VLAN tag",
		"dropped by the block list",
		"a super-packet of segmentation offload",
		"the checksum of layer 4 is left to hardware, not yet the one on the wire",
		"the file's time stamp is out of range and was normalised",
	};

	return bit < REC_MARKS ? names[bit] : NULL;
}
