#!/usr/bin/python3
"""Holds two databases of the same packets against each other, one written as documents, one as finished buckets.

usage: modes.py URI DOCUMENTS BUCKETS packets     what find() shows, but for _id and meta
       modes.py URI DOCUMENTS BUCKETS ledger      the same batches with the same digests: of an import
       modes.py URI DOCUMENTS BUCKETS validate    validate({full: true}) of every packets_*, behind a checkpoint

Packets are compared as a multiset, each by the bytes of its elements: name, type and value. find() shows fields of a time series in an
order that depends on what lies beside a packet, so elements are ordered by name first; the last line says how many packets had
the same order too. Exit status 0 only if nothing differs, and validate has nothing to say.
"""
import collections
import struct
import sys

import bson
import pymongo
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

SIZES = {1: 8, 7: 12, 8: 1, 9: 8, 10: 0, 16: 4, 17: 8, 18: 8, 19: 16}  # BSON types whose values have one length
LEFT_OUT = (b"_id", b"meta")
SHOWN = 10
EXTENDED = "An extended range timestamp was found"


def daily(db, family):
    return sorted(c for c in db.list_collection_names() if c.startswith(family + "_"))


def value_size(kind, data, at):
    if kind in SIZES:
        return SIZES[kind]
    size = struct.unpack_from("<i", data, at)[0]
    return {2: 4 + size, 3: size, 4: size, 5: 5 + size}[kind]


def elements(data):
    """[(name, the element's bytes)] of a document, in its order."""
    at, found = 4, []
    while data[at]:
        end = data.index(b"\0", at + 1)
        after = end + 1 + value_size(data[at], data, end + 1)
        found.append((data[at + 1:end], data[at:after]))
        at = after
    return found


def packets(db):
    """{collection: (Counter of packets, Counter of the same in find()'s order)}"""
    raw = db.with_options(codec_options=CodecOptions(document_class=RawBSONDocument))
    for name in daily(db, "packets"):
        sets = collections.Counter(), collections.Counter()
        for document in raw[name].find({}, batch_size=20000):
            kept = [one for one in elements(document.raw) if one[0] not in LEFT_OUT]
            sets[0][b"".join(data for _, data in sorted(kept))] += 1
            sets[1][b"".join(data for _, data in kept)] += 1
        yield name, sets


def readable(packet):
    return bson.decode(struct.pack("<i", len(packet) + 5) + packet + b"\0")


def ledger(db):
    """{_id: digest}: the same batches, whatever they became; and how many became what."""
    found, modes = {}, collections.Counter()
    for name in daily(db, "batches"):
        for entry in db[name].find({}, {"digest": 1, "mode": 1, "documents": 1}):
            found[bytes(entry["_id"])] = bytes(entry["digest"])
            modes[entry["mode"], entry.get("documents", 0) > 0] += 1
    return found, modes


def compare(documents, buckets):
    one, other = dict(packets(documents)), dict(packets(buckets))
    differ = total = ordered = 0
    for name in sorted(one.keys() | other.keys()):
        a, b = one.get(name, (collections.Counter(),) * 2), other.get(name, (collections.Counter(),) * 2)
        total += sum(a[0].values())
        ordered += sum((a[1] & b[1]).values())
        for where, rest in (("documents", a[0] - b[0]), ("buckets", b[0] - a[0])):
            for packet, times in rest.items():
                differ += times
                if differ <= SHOWN:
                    print(f"{name}: only in {where}, {times} times: {readable(packet)}")
    print(f"packets {total} differ {differ}, in the same order of fields {ordered}")
    return total > 0 and differ == 0


def compare_ledgers(documents, buckets):
    (mine, modes), (theirs, other_modes) = ledger(documents), ledger(buckets)
    batches = sum(mine.get(i) != theirs.get(i) for i in mine.keys() | theirs.keys())
    of_buckets, mixed = other_modes[2, False] + other_modes[2, True], other_modes[2, True]
    print(f"batches {len(mine)} differ {batches}; as buckets {of_buckets}, of these partly as documents {mixed}; "
          f"as documents {other_modes[1, False] + other_modes[1, True]}")
    strays = modes[2, False] + modes[2, True] + (not of_buckets)
    return bool(mine) and batches == strays == mixed == 0


def complaints(name, reply):
    """
    What validate says; but of packets before 1970 or after 2038-01-19, which are documents always, the server says itself that its own
    buckets of them are wrong.
    """
    said = {k: reply[k] for k in ("errors", "warnings", "nInvalidDocuments", "nNonCompliantDocuments") if reply[k]}
    year = name.removeprefix("packets_")
    if len(year) == 4 and not 1970 <= int(year) <= 2037 and all(text.startswith(EXTENDED) for text in said.get("errors", ())):
        return "extended" if said.pop("errors", None) and said.pop("nNonCompliantDocuments", 1) and not said else said
    return said or (None if reply["valid"] else "not valid")


def validate(*databases):
    bad = count = extended = 0
    for db in databases:
        db.client.admin.command("fsync")
        for name in daily(db, "packets"):
            reply = db.command("validate", name, full=True)
            count += 1
            said = complaints(name, reply)
            extended += said == "extended"
            if said and said != "extended":
                bad += 1
                print(f"{db.name}.{name}: {reply['nrecords']} buckets: {said}")
    print(f"collections {count} with faults {bad}; of times that the server does not validate {extended}")
    return count > 0 and bad == 0


def main():
    words = {"packets": compare, "ledger": compare_ledgers, "validate": validate}
    if len(sys.argv) != 5 or sys.argv[4] not in words:
        sys.exit(__doc__)
    client = pymongo.MongoClient(sys.argv[1], serverSelectionTimeoutMS=10000)
    sys.exit(0 if words[sys.argv[4]](client[sys.argv[2]], client[sys.argv[3]]) else 1)


if __name__ == "__main__":
    main()
