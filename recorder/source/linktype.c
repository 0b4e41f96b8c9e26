/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/source/linktype.h"

#include <pcap/pcap.h>
#include <stdio.h>

/* pcap's DLT of a LINKTYPE, where they differ and there is a name to tell: www.tcpdump.org/linktypes.html. */
static int dlt_of(unsigned linktype)
{
	switch (linktype) {
	case 100:
		return DLT_ATM_RFC1483;
	case 101:
		return DLT_RAW;
	case 102:
		return DLT_SLIP_BSDOS;
	case 103:
		return DLT_PPP_BSDOS;
	case 104:
		return DLT_C_HDLC;
	case 106:
		return DLT_ATM_CLIP;
	default:
		return (int)linktype;
	}
}

const char *linktype_text(unsigned linktype, char *out, size_t size)
{
	int dlt = dlt_of(linktype);
	const char *name = pcap_datalink_val_to_name(dlt), *text = pcap_datalink_val_to_description(dlt);

	snprintf(out, size, "%u (%s%s%s)", linktype, name ? name : "without a name in libpcap", text ? ": " : "", text ? text : "");
	return out;
}
