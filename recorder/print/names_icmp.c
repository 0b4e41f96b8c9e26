/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Types and codes of ICMP and ICMPv6: IANA's "ICMP Parameters" and "ICMPv6 Parameters". */
#include "recorder/print/names.h"

#include "recorder/print/names_table.h"

const char *name_icmp(unsigned type)
{
	NAMES(type, {0, "echo reply"}, {3, "destination unreachable"}, {4, "source quench"}, {5, "redirect"},
	     {8, "echo request"}, {9, "router advertisement"}, {10, "router solicitation"}, {11, "time exceeded"},
	     {12, "parameter problem"}, {13, "time stamp request"}, {14, "time stamp reply"}, {15, "information request"},
	     {16, "information reply"}, {17, "address mask request"}, {18, "address mask reply"}, {40, "photuris"},
	     {42, "extended echo request"}, {43, "extended echo reply"});
}

/* One table for all types: type << 8 | code. */
const char *name_icmp_code(unsigned type, unsigned code)
{
	NAMES(type << 8 | code, {0x300, "network unreachable"}, {0x301, "host unreachable"}, {0x302, "protocol unreachable"},
	     {0x303, "port unreachable"}, {0x304, "fragmentation needed"}, {0x305, "source route failed"},
	     {0x306, "network unknown"}, {0x307, "host unknown"}, {0x308, "source host isolated"},
	     {0x309, "network prohibited"}, {0x30a, "host prohibited"}, {0x30b, "network unreachable for this TOS"},
	     {0x30c, "host unreachable for this TOS"}, {0x30d, "administratively prohibited"},
	     {0x30e, "host precedence violation"}, {0x30f, "precedence cutoff"}, {0x500, "for the network"},
	     {0x501, "for the host"}, {0x502, "for TOS and network"}, {0x503, "for TOS and host"}, {0xb00, "in transit"},
	     {0xb01, "in reassembly"}, {0xc00, "pointer shows the fault"}, {0xc01, "a required option is missing"},
	     {0xc02, "bad length"});
}

const char *name_icmp6(unsigned type)
{
	NAMES(type, {1, "destination unreachable"}, {2, "packet too big"}, {3, "time exceeded"}, {4, "parameter problem"},
	     {128, "echo request"}, {129, "echo reply"}, {130, "multicast listener query"},
	     {131, "multicast listener report"}, {132, "multicast listener done"}, {133, "router solicitation"},
	     {134, "router advertisement"}, {135, "neighbor solicitation"}, {136, "neighbor advertisement"},
	     {137, "redirect"}, {138, "router renumbering"}, {139, "node information query"},
	     {140, "node information reply"}, {141, "inverse neighbor solicitation"},
	     {142, "inverse neighbor advertisement"}, {143, "multicast listener report v2"},
	     {144, "home agent request"}, {145, "home agent reply"}, {146, "mobile prefix solicitation"},
	     {147, "mobile prefix advertisement"}, {148, "certification path solicitation"},
	     {149, "certification path advertisement"}, {151, "multicast router advertisement"},
	     {152, "multicast router solicitation"}, {153, "multicast router termination"}, {155, "RPL control"},
	     {157, "duplicate address request"}, {158, "duplicate address confirmation"}, {160, "extended echo request"},
	     {161, "extended echo reply"});
}

const char *name_icmp6_code(unsigned type, unsigned code)
{
	NAMES(type << 8 | code, {0x100, "no route"}, {0x101, "administratively prohibited"},
	     {0x102, "beyond the scope of the source address"}, {0x103, "address unreachable"},
	     {0x104, "port unreachable"}, {0x105, "source address failed policy"}, {0x106, "route rejected"},
	     {0x107, "error in source routing header"}, {0x300, "in transit"}, {0x301, "in reassembly"},
	     {0x400, "erroneous header field"}, {0x401, "unknown next header"}, {0x402, "unknown IPv6 option"});
}
