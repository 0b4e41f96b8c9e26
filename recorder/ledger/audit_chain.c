/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/ledger/audit.h"

#include <stdio.h>

void audit_chain_begin(struct audit_chain *chain, const struct audit_of *of)
{
	*chain = (struct audit_chain){.of = of, .begun = true, .known = true};
}

static void say_chain(const struct audit_chain *chain, const struct ledger_read *entry, const char *collection,
		      const char *what, int64_t from, const char *text)
{
	const struct audit_finding f = {.what = what,
					.collection = collection,
					.capture = chain->of->capture,
					.sensor = chain->of->sensor,
					.iface = chain->of->iface,
					.side = -1,
					.from = from,
					.to = entry->first,
					.text = text};

	chain->of->say(chain->of->arg, &f);
}

void audit_chain_entry(struct audit_chain *chain, const struct ledger_read *entry, const char *collection)
{
	const uint64_t next = chain->number + 1;
	char text[128];

	if (entry->number > next) {
		if (entry->number - next == 1)
			snprintf(text, sizeof(text), "batch %llu is not in the ledger", (unsigned long long)next);
		else
			snprintf(text, sizeof(text), "batches %llu to %llu are not in the ledger", (unsigned long long)next,
				 (unsigned long long)entry->number - 1);
		say_chain(chain, entry, collection, "missing", chain->last ? chain->last : entry->first, text);
	} else if (entry->number < next) {
		snprintf(text, sizeof(text), "batch %llu stands in the ledger twice", (unsigned long long)entry->number);
		say_chain(chain, entry, collection, "twice", entry->first, text);
		return;
	} else if (chain->known && memcmp(chain->digest, entry->previous, DIGEST_LEN)) {
		snprintf(text, sizeof(text), "batch %llu does not name the digest of batch %llu",
			 (unsigned long long)entry->number, (unsigned long long)entry->number - 1);
		say_chain(chain, entry, collection, "chain", entry->first, text);
	}
	chain->number = entry->number;
	chain->known = true;
	chain->last = entry->last;
	chain->batches++;
	memcpy(chain->digest, entry->digest, DIGEST_LEN);
}
