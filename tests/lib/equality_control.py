#!/usr/bin/python3
"""Shows that the comparison can fail: puts one fault after the other into the database, and each must be found.

usage: equality_control.py BUILD URI NAME FILE...
"""
import sys
import tempfile

import pymongo

import equality
import equality_store
import equality_tshark


def wrong_byte(document):
    """The least bit of the checksum, or of the last header byte that is kept as it was."""
    if "raw" in document:
        document["raw"] = document["raw"][:-1] + bytes([document["raw"][-1] ^ 1])
    else:
        document["csum"] ^= 1


def swapped_field(document):
    document["lport"], document["rport"] = document["rport"], document["lport"]


FAULTS = (("one wrong byte", wrong_byte), ("one swapped field", swapped_field), ("one missing packet", None))


def differences(build, uri, name, paths, scratch):
    environment, fields = equality_tshark.configure(scratch), equality.Fields(equality.LIST)
    with tempfile.TemporaryDirectory(dir=scratch) as spread:
        source = equality_store.Database(uri, name, spread)
        return sum(equality.compare_file(path, build, source.documents(path), fields, environment)[1].differ for path in paths)


def victim(database):
    """Collection and document of a packet with two different ports, the 7th of them if there are as many."""
    for name in sorted(c for c in database.list_collection_names() if c.startswith("packets_")):
        query = {"csum": {"$exists": True}, "lport": {"$exists": True}, "$expr": {"$ne": ["$lport", "$rport"]}}
        found = list(database[name].find(query).limit(7))
        if found:
            return database[name], found[-1]
    sys.exit("equality: no packet with ports in these files: nothing to damage")


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    build, uri, name, *paths = sys.argv[1:]
    database = pymongo.MongoClient(uri, serverSelectionTimeoutMS=10000)[name]
    collection, document = victim(database)
    found = 0
    with tempfile.TemporaryDirectory(prefix="equality.") as scratch:
        before = differences(build, uri, name, paths, scratch)
        print(f"without a fault: differ {before}")
        for what, damage in FAULTS:
            damaged = dict(document)
            if damage:
                damage(damaged)
            collection.delete_one({"_id": document["_id"]})
            if damage:
                collection.insert_one(damaged)
            differ = differences(build, uri, name, paths, scratch) - before
            print(f"{what}: {f'found, differ {differ} more' if differ > 0 else 'NOT FOUND'}")
            found += differ > 0
            collection.delete_one({"_id": document["_id"]})
            collection.insert_one(document)
        after = differences(build, uri, name, paths, scratch)
    print(f"controls {len(FAULTS)} found {found}")
    sys.exit(0 if found == len(FAULTS) and before == after == 0 else 1)


if __name__ == "__main__":
    main()
