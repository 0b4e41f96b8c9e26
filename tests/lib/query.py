#!/usr/bin/python3
"""Short answers out of a recorder's database.

usage: query.py URI DATABASE packets [FILTER]      number of packet documents, all days
       query.py URI DATABASE sum FIELD [FILTER]    packets' sum of a field
       query.py URI DATABASE count COLLECTION [FILTER]
       query.py URI DATABASE view [FILTER]         what the view `packets` says their number is
       query.py URI DATABASE days                  the packets_* collections that hold something
       query.py URI DATABASE balance [FILTER]      one JSON object: the terms added up over all seconds
       query.py URI DATABASE docs COLLECTION [FILTER [LIMIT]]   a JSON document a line
       query.py URI DATABASE wait-packets N SECONDS  until there are so many; exit status 1 if there never are
       query.py URI DATABASE checkpoint            everything written so far is in the data files
       query.py URI DATABASE sizes                 bytes on disk of packets (or of `plain`) and of their indexes, behind a checkpoint
       query.py URI DATABASE remove COLLECTION FILTER   by hand, as no recorder does; how many
       query.py URI DATABASE drop

COLLECTION may be a family (packets, floods, balance, batches): all its days. FILTER is extended JSON.
"""
import sys
import time

import pymongo
from bson import json_util

FAMILIES = ("packets", "floods", "balance", "batches")


def collections(db, name):
    """Names of the collections that `name` means, oldest first."""
    if name not in FAMILIES:
        return [name]
    return sorted(c for c in db.list_collection_names() if c.startswith(name + "_"))


def count(db, name, match):
    return sum(db[c].count_documents(match) for c in collections(db, name))


def total(db, field, match):
    value = 0
    for c in collections(db, "packets"):
        for row in db[c].aggregate([{"$match": match}, {"$group": {"_id": None, "sum": {"$sum": "$" + field}}}]):
            value += row["sum"]
    return int(value)


def flatten(document, prefix=""):
    """('lost.ring_full', {'packets': .., 'bytes': ..}) for each term of a balance document."""
    for key, value in document.items():
        if isinstance(value, dict):
            if set(value) == {"packets", "bytes"}:
                yield prefix + key, value
            else:
                yield from flatten(value, prefix + key + ".")


def balance(db, match):
    sums = {}
    for c in collections(db, "balance"):
        for document in db[c].find(match, {"witness": 0, "clock": 0}):
            for name, value in flatten(document):
                term = sums.setdefault(name, {"packets": 0, "bytes": 0})
                term["packets"] += value["packets"]
                term["bytes"] += value["bytes"]
    return sums


def ledgered(db):
    """Packets by the ledger, whose entries follow their packets: counting millions of packets would keep the server busy."""
    return sum(row["sum"] for c in collections(db, "batches")
               for row in db[c].aggregate([{"$group": {"_id": None, "sum": {"$sum": "$packets"}}}]))


def wait_packets(db, wanted, seconds):
    end = time.monotonic() + seconds
    while True:
        have = ledgered(db)
        if have >= wanted or time.monotonic() > end:
            print(have)
            return 0 if have >= wanted else 1
        time.sleep(0.3)


def sizes(db):
    db.client.admin.command("fsync")
    data = index = 0
    for name in collections(db, "packets") + [c for c in db.list_collection_names() if c == "plain"]:
        stats = db.command("collStats", name)
        data += stats["storageSize"] - stats.get("freeStorageSize", 0)
        index += stats["totalIndexSize"]
    return int(data), int(index)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    uri, database, word, *rest = sys.argv[1:]
    db = pymongo.MongoClient(uri, serverSelectionTimeoutMS=10000)[database]

    def match(i):
        return json_util.loads(rest[i]) if len(rest) > i else {}

    if word == "packets":
        print(count(db, "packets", match(0)))
    elif word == "sum":
        print(total(db, rest[0], match(1)))
    elif word == "count":
        print(count(db, rest[0], match(1)))
    elif word == "view":
        print(db["packets"].count_documents(match(0)))
    elif word == "days":
        print(" ".join(c for c in collections(db, "packets") if db[c].find_one()))
    elif word == "balance":
        print(json_util.dumps(balance(db, match(0))))
    elif word == "docs":
        left = int(rest[2]) if len(rest) > 2 else 1000
        for c in collections(db, rest[0]):
            for document in db[c].find(match(1)).limit(left) if left else ():
                print(json_util.dumps(document))
                left -= 1
    elif word == "wait-packets":
        sys.exit(wait_packets(db, int(rest[0]), float(rest[1])))
    elif word == "checkpoint":
        print(db.client.admin.command("fsync")["ok"])
    elif word == "sizes":
        print(*sizes(db))
    elif word == "remove":
        print(db[rest[0]].delete_many(json_util.loads(rest[1])).deleted_count)
    elif word == "drop":
        db.client.drop_database(database)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
