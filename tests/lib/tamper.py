#!/usr/bin/python3
"""Harms a recorder's database in one way, as somebody who wants to hide something would, or a server that forgets: controls for `audit`.

usage: tamper.py URI DATABASE document        deletes a packet's document
       tamper.py URI DATABASE packet [TIMES]  takes a packet out of a finished bucket by a raw rewrite, or stores it TIMES times
       tamper.py URI DATABASE byte            changes one field of one packet within a bucket, or of a document
       tamper.py URI DATABASE bucket          deletes a bucket
       tamper.py URI DATABASE batch           deletes a batch of buckets, with its ledger entry
       tamper.py URI DATABASE entry           deletes a ledger entry alone
       tamper.py URI DATABASE again           stores a batch of buckets once more, as documents
       tamper.py URI DATABASE stranger        stores a packet that no recorder made
       tamper.py URI DATABASE copy            stores a bucket once more, under another _id
       tamper.py URI DATABASE summary         deletes a document of floods_*
       tamper.py URI DATABASE row-changed     changes `stored` and `seen` of a row of the balance
       tamper.py URI DATABASE row-term        changes `seen` alone
       tamper.py URI DATABASE row-deleted     deletes a row of the balance in the middle
       tamper.py URI DATABASE row-first       deletes the first row of each side
       tamper.py URI DATABASE row-last        deletes the last row of a side
       tamper.py URI DATABASE drop NAME       drops a collection, or all days of a family
       tamper.py URI DATABASE clone TO [WAY]  copies all of it to another database, buckets as they are, and harms that one

The last line says what was done; everything is done to what is in the middle.
"""
import datetime
import sys

import bson
import pymongo
from bson.binary import Binary

import bucket
import check


def middle(found):
    found = list(found)
    if not found:
        sys.exit("there is nothing to harm")
    return found[len(found) // 2]


def documents(db):
    for name in check.daily(db, "packets"):
        for d in db[name].find({"_id": {"$exists": True}}):
            yield name, d


def buckets(db):
    for name in check.daily(db, "packets"):
        for one in bucket.stored(db, name):
            yield name, one


def rows(db, match=None):
    found = [(name, d) for name in check.daily(db, "balance") for d in db[name].find(match or {})]
    return sorted(found, key=lambda r: (r[1]["sec"], r[1]["side"]))


def entries(db):
    return sorted(((name, d) for name in check.daily(db, "batches") for d in db[name].find()), key=lambda e: int(e[1]["number"]))


def delete_bucket(db, name, identity):
    head, tail = bucket.raw_command(db, "delete", name)
    return db.command({**head, "deletes": [{"q": {"_id": identity}, "limit": 1}], **tail})["n"]


def ids_of(entry):
    ids = bytes(entry["buckets"])
    return [bson.ObjectId(ids[at:at + 12]) for at in range(0, len(ids), 12)]


def document(db):
    name, d = middle(documents(db))
    return db[name].delete_one({"_id": d["_id"]}).deleted_count, f"a document of {name}"


def packet(db, times="0"):
    name, one = middle(buckets(db))
    index = one["control"]["count"] // 2
    return bucket.change(db, name, one, index, int(times)), f"packet {index} of bucket {one['_id']} in {name}, now {times} times"


def byte(db):
    for name in check.daily(db, "packets"):
        for d in db[name].find({"_id": {"$exists": True}, "ttl": {"$exists": True}}).limit(1):
            db[name].delete_one({"_id": d["_id"]})
            d["ttl"] ^= 1
            db[name].insert_one(d)
            return 1, f"ttl of a document in {name}"
    name, one = middle((n, b) for n, b in buckets(db) if "ttl" in b["data"])
    values = bucket.column(one["data"]["ttl"])
    index = next(i for i, v in enumerate(values) if v)
    values[index] = (values[index][0], values[index][1] ^ 1)
    one["data"]["ttl"] = Binary(b"".join(map(bucket.literal, values)) + b"\0", 7)
    for key, pick in (("min", min), ("max", max)): # the server holds them against the column
        one["control"][key]["ttl"] = bucket.bound(values, pick)
    head, tail = bucket.raw_command(db, "update", name)
    n = db.command({**head, "updates": [{"q": {"_id": one["_id"]}, "u": one}], **tail})["n"]
    return n, f"ttl of packet {index} of bucket {one['_id']} in {name}"


def whole_bucket(db):
    name, one = middle(buckets(db))
    return delete_bucket(db, name, one["_id"]), f"bucket {one['_id']} of {name}"


def batch(db):
    name, entry = middle(e for e in entries(db) if e[1]["mode"] == 2)
    gone = sum(delete_bucket(db, entry["collection"], i) for i in ids_of(entry))
    return gone and db[name].delete_one({"_id": entry["_id"]}).deleted_count, f"batch {entry['number']}, {gone} buckets, and its entry"


def entry(db):
    name, one = middle(entries(db))
    return db[name].delete_one({"_id": one["_id"]}).deleted_count, f"the entry of batch {one['number']}"


def again(db):
    _, one = middle(e for e in entries(db) if e[1]["mode"] == 2)
    name, identity = one["collection"], bytes(one["_id"])
    found = []
    for i in ids_of(one):
        whole = next(bucket.stored(db, name, {"_id": i}))
        for d in bucket.rows(whole):
            d["ts"] = check.EPOCH + datetime.timedelta(milliseconds=d["ts"])
            d["meta"] = {k: v for k, v in whole["meta"].items() if k != "hosts"}
            d["_id"] = Binary(identity[:16] + identity[18:24] + b"\0\1" + len(found).to_bytes(4, "big"), 0)
            found.append(d)
    db[name].insert_many(found)
    return len(found), f"batch {one['number']} once more, as {len(found)} documents"


def stranger(db):
    name = check.daily(db, "packets")[-1]
    now = datetime.datetime.utcnow()
    db[name].insert_one({"ts": now, "ns": 0, "dir": "in", "len": 60, "meta": {"sensor": "somebody", "iface": "eth9"}})
    return 1, f"a packet of nobody in {name}"


def copy(db):
    name, one = middle(buckets(db))
    one["_id"] = bson.ObjectId(one["_id"].binary[:11] + bytes([one["_id"].binary[11] ^ 1]))
    head, tail = bucket.raw_command(db, "insert", name)
    return db.command({**head, "documents": [one], **tail})["n"], f"a bucket of {name} once more as {one['_id']}"


def summary(db):
    name, d = middle((n, d) for n in check.daily(db, "floods") for d in db[n].find())
    return db[name].delete_one({"_id": d["_id"]}).deleted_count, f"a summary of {d['packets']} packets in {name}"


def change_row(db, *terms):
    name, d = middle(rows(db, {"stored.packets": {"$gt": 0}}))
    more = {f"{term}.packets": bson.Int64(1) for term in terms}
    return db[name].update_one({"_id": d["_id"]}, {"$inc": more}).modified_count, f"second {d['sec']} {d['side']} of {name}"


def delete_rows(db, which):
    for name, d in which:
        db[name].delete_one({"_id": d["_id"]})
    return len(which), ", ".join(f"second {d['sec']} {d['side']}" for _, d in which)


def row_first(db):
    return delete_rows(db, [rows(db, {"side": s})[0] for s in ("rx", "tx")])


def drop(db, family):
    names = [family] if family in db.list_collection_names() else check.daily(db, family)
    for name in names:
        db[name].drop()
    return len(names), " ".join(names)


def clone(db, to):
    """So that one recording serves many controls."""
    other, count = db.client[to], 0
    db.client.drop_database(to)
    for info in db.list_collections():
        name, options = info["name"], info.get("options", {})
        if info["type"] == "view" or name.startswith("system."):
            continue
        if info["type"] != "timeseries":
            found = list(db[name].find())
            if found:
                other[name].insert_many(found)
            count += len(found)
            continue
        other.create_collection(name, timeseries=options["timeseries"])
        find, tail = bucket.raw_command(db, "find", name)
        insert, _ = bucket.raw_command(db, "insert", name)
        reply = db.command({**find, "filter": {}, "batchSize": 10000, **tail})["cursor"]["firstBatch"]
        for at in range(0, len(reply), 200):
            count += other.command({**insert, "documents": reply[at:at + 200], **tail})["n"]
    return count, f"{count} documents and buckets to {to}"


WAYS = {
    "clone": clone,
    "document": document, "packet": packet, "byte": byte, "bucket": whole_bucket, "batch": batch, "entry": entry, "again": again,
    "stranger": stranger, "copy": copy, "summary": summary, "drop": drop,
    "row-changed": lambda db: change_row(db, "stored", "seen"),
    "row-term": lambda db: change_row(db, "seen"),
    "row-deleted": lambda db: delete_rows(db, [middle(rows(db, {"stored.packets": {"$gt": 0}}))]),
    "row-first": row_first,
    "row-last": lambda db: delete_rows(db, [rows(db, {"side": "rx"})[-1]]),
}


def main():
    if len(sys.argv) < 4 or sys.argv[3] not in WAYS:
        sys.exit(__doc__)
    uri, name, way, *rest = sys.argv[1:]
    db = pymongo.MongoClient(uri, serverSelectionTimeoutMS=10000)[name]
    if way == "clone" and len(rest) > 1:
        clone(db, rest[0])
        db, way, rest = db.client[rest[0]], rest[1], rest[2:]
    done, what = WAYS[way](db, *rest)
    print(f"{way}: {what}")
    sys.exit(0 if done else 1)


if __name__ == "__main__":
    main()
