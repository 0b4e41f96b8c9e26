/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/encode/document_read.h"

#include <errno.h>
#include <string.h>

#include "recorder/packet/fields.h"
#include "recorder/packet/text.h"

/* Values as the document names them: by end, not by direction. */
struct ends_values {
	uint8_t local[16], remote[16], lmac[6], rmac[6];
	unsigned local_family, remote_family;
	uint16_t lport, rport;
	uint32_t ltsval, rtsval;
	int32_t ns;
	bool tx, side;
};

static int read_string(const bson_iter_t *it, const char **text)
{
	uint32_t length;

	if (!BSON_ITER_HOLDS_UTF8(it))
		return -EINVAL;
	*text = bson_iter_utf8(it, &length);
	return strlen(*text) == length ? 0 : -EINVAL;
}

static int read_word(const char *text, const char *zero, const char *one, bool *value)
{
	*value = !strcmp(text, one);
	return *value || !strcmp(text, zero) ? 0 : -EINVAL;
}

/* An INT32 field into an unsigned member of its width. */
#define TAKE(member)                                                                                                   \
	do {                                                                                                           \
		(member) = (__typeof__(member))number;                                                                 \
		return number < 0 || (int64_t)(member) != number ? -EINVAL : 0;                                        \
	} while (0)

static int take_int32(struct document_record *r, struct ends_values *e, unsigned field, int32_t number)
{
	struct packet *p = &r->packet;

	switch (field) {
	case PKT_NS:
		e->ns = number;
		return number < 0 || number > 999999 ? -EINVAL : 0;
	case PKT_LEN:
		p->len = (uint32_t)number;
		return 0;
	case PKT_PAD:
		p->outer.pad = number;
		return number ? 0 : -EINVAL;
	case PKT_OPTS:
		p->outer.opts = number;
		return number > 0 ? 0 : -EINVAL;
	case PKT_FLOW:
		p->outer.flow = (uint32_t)number;
		return p->outer.flow > 0xfffff ? -EINVAL : 0;
	case PKT_FLAGS:
		p->outer.flags = (uint16_t)number;
		return number < 0 || number > 0xfff ? -EINVAL : 0;
	case PKT_SACK:
		return number == 1 ? 0 : -EINVAL;
	case PKT_TPID:
		p->outer.key.tags |= PACKET_TAG_AD(0);
		return number == PACKET_TPID_AD ? 0 : -EINVAL;
	case PKT_TPID2:
		p->outer.key.tags |= PACKET_TAG_AD(1);
		return number == PACKET_TPID_AD ? 0 : -EINVAL;
	case PKT_LPORT:
		TAKE(e->lport);
	case PKT_RPORT:
		TAKE(e->rport);
	case PKT_PROTO:
		TAKE(p->outer.key.proto);
	case PKT_SEGS:
		TAKE(p->segs);
	case PKT_GSO:
		TAKE(p->gso);
	case PKT_TTL:
		TAKE(p->outer.ttl);
	case PKT_TOS:
		TAKE(p->outer.tos);
	case PKT_IPID:
		TAKE(p->outer.ipid);
	case PKT_FRAG:
		TAKE(p->outer.frag);
	case PKT_IPCSUM:
		TAKE(p->outer.ipcsum);
	case PKT_WIN:
		TAKE(p->outer.win);
	case PKT_URG:
		TAKE(p->outer.urg);
	case PKT_MSS:
		TAKE(p->outer.mss);
	case PKT_WS:
		TAKE(p->outer.ws);
	case PKT_ULEN:
		TAKE(p->outer.ulen);
	case PKT_CSUM:
		TAKE(p->outer.csum);
	case PKT_ICMP_TYPE:
		TAKE(p->outer.icmp_type);
	case PKT_ICMP_CODE:
		TAKE(p->outer.icmp_code);
	case PKT_ICMP_ID:
		TAKE(p->outer.icmp_id);
	case PKT_ICMP_SEQ:
		TAKE(p->outer.icmp_seq);
	case PKT_ARP_OP:
		TAKE(p->outer.arp_op);
	case PKT_VLAN:
		p->outer.key.tags++;
		TAKE(p->outer.key.vlan);
	case PKT_VLAN2:
		p->outer.key.tags++;
		TAKE(p->outer.key.vlan2);
	case PKT_ETYPE:
		TAKE(p->outer.key.etype);
	}
	return -EINVAL;
}

static int take_double(struct document_record *r, struct ends_values *e, unsigned field, double number)
{
	struct packet *p = &r->packet;
	uint32_t value;

	if (!(number >= 0 && number <= UINT32_MAX) || (double)(uint32_t)number != number)
		return -EINVAL;
	value = (uint32_t)number;
	switch (field) {
	case PKT_SEQ:
		p->outer.seq = value;
		return 0;
	case PKT_ACK:
		p->outer.ack = value;
		return 0;
	case PKT_LTSVAL:
		e->ltsval = value;
		return 0;
	case PKT_RTSVAL:
		e->rtsval = value;
		return 0;
	}
	if (field < PKT_SL1 || field > PKT_SR4)
		return -EINVAL;
	((field - PKT_SL1) % 2 ? p->outer.sack_right : p->outer.sack_left)[(field - PKT_SL1) / 2] = value;
	return 0;
}

static int take_string(struct document_record *r, struct ends_values *e, unsigned field, const char *text)
{
	switch (field) {
	case PKT_DIR:
		return read_word(text, "in", "out", &r->out);
	case PKT_SIDE:
		e->side = true;
		return read_word(text, "rx", "tx", &e->tx);
	case PKT_LOCAL:
		e->local_family = text_read_address(text, e->local);
		return e->local_family ? 0 : -EINVAL;
	case PKT_REMOTE:
		e->remote_family = text_read_address(text, e->remote);
		return e->remote_family ? 0 : -EINVAL;
	case PKT_LMAC:
		return text_read_mac(text, e->lmac);
	case PKT_RMAC:
		return text_read_mac(text, e->rmac);
	case PKT_ASHA:
		return text_read_mac(text, r->packet.outer.sha);
	case PKT_ATHA:
		return text_read_mac(text, r->packet.outer.tha);
	case PKT_MARKS:
		return fields_marks_read(text, &r->packet.marks);
	}
	return -EINVAL;
}

static int take_field(struct document_record *r, struct ends_values *e, unsigned field, const bson_iter_t *it)
{
	const char *text;
	int64_t ms;

	if ((int)bson_iter_type(it) != (int)fields[field].type)
		return -EINVAL;
	switch (fields[field].type) {
	case FIELD_INT32:
		return take_int32(r, e, field, bson_iter_int32(it));
	case FIELD_DOUBLE:
		return take_double(r, e, field, bson_iter_double(it));
	case FIELD_STRING:
		return read_string(it, &text) < 0 ? -EINVAL : take_string(r, e, field, text);
	case FIELD_BINARY: {
		bson_subtype_t subtype;
		uint32_t length;

		bson_iter_binary(it, &subtype, &length, &r->packet.raw);
		r->packet.raw_len = (uint16_t)length;
		return subtype != BSON_SUBTYPE_BINARY || length > REC_CAP_MAX ? -EINVAL : 0;
	}
	case FIELD_DATE:
		ms = bson_iter_date_time(it);
		return __builtin_mul_overflow(ms, (int64_t)1000000, &r->wall) ? -EINVAL : 0;
	}
	return -EINVAL;
}

static int read_meta(const bson_iter_t *it, struct document_record *out)
{
	bson_iter_t child;

	if (!BSON_ITER_HOLDS_DOCUMENT(it) || !bson_iter_recurse(it, &child))
		return -EINVAL;
	while (bson_iter_next(&child)) {
		const char *key = bson_iter_key(&child);
		const char **to = !strcmp(key, "iface") ? &out->iface : !strcmp(key, "sensor") ? &out->sensor : NULL;

		if (to && read_string(&child, to) < 0)
			return -EINVAL;
	}
	return 0;
}

/* From ends to source and destination, and what the members say together. NULL, or a word on what is wrong. */
static const char *finish(struct document_record *r, const struct ends_values *e)
{
	struct packet *p = &r->packet;
	struct packet_key *k = &p->outer.key;

	for (unsigned f = PKT_TS; f <= PKT_DIR; f++)
		if (!packet_has(p, f))
			return fields[f].name;
	if (!packet_has(p, PKT_LEN))
		return "len";
	if (__builtin_add_overflow(r->wall, e->ns, &r->wall))
		return "ts";
	if (packet_has(p, PKT_LOCAL) != packet_has(p, PKT_REMOTE) || e->local_family != e->remote_family)
		return "remote";
	k->family = (uint8_t)e->local_family;
	k->side = (e->side ? e->tx : r->out) ? REC_TX : REC_RX;
	memcpy(k->src, r->out ? e->local : e->remote, 16);
	memcpy(k->dst, r->out ? e->remote : e->local, 16);
	memcpy(k->smac, r->out ? e->lmac : e->rmac, 6);
	memcpy(k->dmac, r->out ? e->rmac : e->lmac, 6);
	k->sport = r->out ? e->lport : e->rport;
	k->dport = r->out ? e->rport : e->lport;
	p->outer.tsval = r->out ? e->ltsval : e->rtsval;
	p->outer.tsecr = r->out ? e->rtsval : e->ltsval;
	while (p->outer.sacks < PACKET_SACKS && packet_has(p, PKT_SL1 + 2u * p->outer.sacks))
		p->outer.sacks++;
	for (unsigned s = 0; s < PACKET_SACKS; s++)
		if (packet_has(p, PKT_SL1 + 2 * s) != (s < p->outer.sacks) ||
		    packet_has(p, PKT_SR1 + 2 * s) != (s < p->outer.sacks))
			return "sl1";
	if ((packet_has(p, PKT_VLAN2) && !packet_has(p, PKT_VLAN)) ||
	    (packet_has(p, PKT_TPID) && !packet_has(p, PKT_VLAN)) ||
	    (packet_has(p, PKT_TPID2) && !packet_has(p, PKT_VLAN2)))
		return "vlan";
	return NULL;
}

int document_read(const bson_t *document, struct document_record *out, const char **problem)
{
	struct ends_values e = {0};
	const char *wrong = "bson";
	unsigned next = 0;
	bson_iter_t it;

	memset(out, 0, sizeof(*out));
	if (!bson_iter_init(&it, document))
		goto refuse;
	while (bson_iter_next(&it)) {
		const char *key = bson_iter_key(&it);
		bson_subtype_t subtype;
		unsigned field;

		wrong = key;
		if (!strcmp(key, "_id")) {
			if (!BSON_ITER_HOLDS_BINARY(&it))
				goto refuse;
			bson_iter_binary(&it, &subtype, &out->id_len, &out->id);
			continue;
		}
		if (!strcmp(key, "meta")) {
			if (read_meta(&it, out) < 0)
				goto refuse;
			continue;
		}
		field = field_find(key, next);
		if (field == PKT_FIELDS || packet_has(&out->packet, field) || take_field(out, &e, field, &it) < 0)
			goto refuse;
		packet_set(&out->packet, field);
		next = field + 1 < PKT_FIELDS ? field + 1 : 0;
	}
	if (it.err_off) {
		wrong = "bson";
		goto refuse;
	}
	wrong = finish(out, &e);
	if (!wrong)
		return 0;
refuse:
	if (problem)
		*problem = wrong;
	return -EINVAL;
}
