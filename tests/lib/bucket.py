"""Finished buckets as they are stored: to packets, and back for controls. Written from the format's description alone, and slow."""
import collections
import datetime
import struct

import bson
from bson.binary import Binary

DOUBLE, STRING, BINARY, BOOL, DATE, NULL, INT32, INT64 = 1, 2, 5, 8, 9, 10, 16, 18
RAW_WIRE = 27  # rawData from MongoDB 8.2 on
SCALES = {8: None, 9: 1, 10: 10, 11: 100, 12: 10000, 13: 100000000}
PLAIN = dict(zip(range(1, 15), zip((60, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1), (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 30, 60))))
WIDE = ((7, 4), (6, 5), (5, 7), (4, 10), (3, 14), (2, 24), (1, 52))
# (selector, extension): slots, bits of the value, bits of the count of zeros, zeros in each
EXTENDED = {(7, e): (n, b, 4, 1) for e, (n, b) in enumerate(((9, 2), (8, 3)) + WIDE, 1)}
EXTENDED |= {(8, e): (n, b, 4, 4) for e, (n, b) in enumerate(WIDE, 1)}
EXTENDED |= {(8, e): (n, b, 5, 4) for e, (n, b) in enumerate(((6, 4), (5, 6), (4, 9), (3, 13), (2, 23), (1, 51)), 8)}
MISSING = struct.pack("<BQ", 0x80, (1 << 64) - 2)


def slots(word):
    """The numbers of a block, None where a value is missing."""
    selector, extension = word & 15, word >> 4 & 15
    if selector in (7, 8) and extension:
        count, bits, zeros, unit = EXTENDED[selector, extension]
    else:
        (count, bits), zeros, unit = PLAIN[selector], 0, 0
    width, word = bits + zeros, word >> (8 if selector in (7, 8) else 4)
    for _ in range(count):
        slot = word & (1 << width) - 1
        word >>= width
        yield None if slot == (1 << width) - 1 else slot >> zeros << (slot & (1 << zeros) - 1) * unit


def read_literal(data, at):
    """(type, value), and the place behind it."""
    kind, at = data[at], at + 2
    if kind in (DOUBLE, DATE, INT64):
        return (kind, struct.unpack_from("<d" if kind == DOUBLE else "<q", data, at)[0]), at + 8
    if kind == INT32:
        return (kind, struct.unpack_from("<i", data, at)[0]), at + 4
    if kind == BOOL:
        return (kind, data[at]), at + 1
    size = struct.unpack_from("<i", data, at)[0]
    if kind == STRING:
        return (kind, data[at + 4:at + 3 + size]), at + 4 + size
    if kind == BINARY:
        return (kind, data[at + 5:at + 5 + size]), at + 5 + size
    raise ValueError(f"a literal of type {kind}")


def signed(number):
    return (number + (1 << 63) & (1 << 64) - 1) - (1 << 63)


def number_of(kind, value):
    if kind in (STRING, BINARY):
        has_one = len(value) <= 16 and not (kind == STRING and value[:1] == b"\0")
        return int.from_bytes(value, "big" if kind == STRING else "little") if has_one else 0
    return value


def step(kind, value, number, difference, scale):
    """The next value and its number; difference is not 0."""
    if kind == DOUBLE:
        if scale:
            return (round(value * scale) + difference) / scale, None
        bits = struct.unpack("<Q", struct.pack("<d", value))[0] + difference & (1 << 64) - 1
        return struct.unpack("<d", struct.pack("<Q", bits))[0], None
    if kind in (STRING, BINARY):
        number = number + difference & (1 << 128) - 1
        if kind == BINARY:
            return number.to_bytes(len(value), "little"), number
        return number.to_bytes(16, "big").lstrip(b"\0"), number
    number = signed(number + difference)
    return number, number


def column(data):
    """[(type, value) or None]; strings are bytes, dates ms."""
    data, found, at = bytes(data), [], 0
    kind = value = number = None
    last = delta = 0
    while data[at]:
        control = data[at]
        if control < 0x80:
            (kind, value), at = read_literal(data, at)
            number, last, delta = number_of(kind, value), 0, 0
            found.append((kind, value))
            continue
        scale, at = SCALES[control >> 4], at + 1
        for _ in range((control & 15) + 1):
            word = struct.unpack_from("<Q", data, at)[0]
            at += 8
            for u in (last,) * (((word >> 4 & 15) + 1) * 120) if word & 15 == 15 else slots(word):
                last = u
                if u is None:
                    found.append(None)
                    continue
                difference = u >> 1 ^ -(u & 1)
                if kind == DATE:
                    delta = signed(delta + difference)
                    difference = delta
                if difference:
                    value, number = step(kind, value, number, difference, scale)
                found.append((kind, value))
    if at != len(data) - 1:
        raise ValueError("bytes behind the column's end")
    return found


def literal(item):
    if item is None:
        return MISSING
    kind, value = item
    if kind == STRING:
        body = struct.pack("<i", len(value) + 1) + value + b"\0"
    elif kind == BINARY:
        body = struct.pack("<iB", len(value), 0) + value
    else:
        body = struct.pack({DOUBLE: "<d", DATE: "<q", INT64: "<q", INT32: "<i", BOOL: "<B"}[kind], value)
    return bytes((kind, 0)) + body


def plain(item):
    """As pymongo has it; a date stays ms."""
    kind, value = item
    return value.decode() if kind == STRING else bool(value) if kind == BOOL else value


# --- in the database ------------------------------------------------------------------------------------------


def raw_command(db, word, collection):
    """{word: collection ...} so that it is about buckets."""
    if db.client.admin.command("hello")["maxWireVersion"] >= RAW_WIRE:
        return {word: collection}, {"rawData": True}
    return {word: "system.buckets." + collection}, {}


def stored(db, collection, match=None):
    """The buckets of finished packets; those that the server made have an _id for each packet."""
    head, tail = raw_command(db, "find", collection)
    match = {"$and": [match or {}, {"data._id": {"$exists": False}}]}
    reply = db.command({**head, "filter": match, "batchSize": 100, **tail})["cursor"]
    yield from reply["firstBatch"]
    while reply["id"]:
        reply = db.command({"getMore": bson.Int64(reply["id"]), "collection": reply["ns"].split(".", 1)[1], "batchSize": 100})["cursor"]
        yield from reply["nextBatch"]


def rows(bucket, names=None):
    """A dict for each packet: the fields named, or all; ts in ms."""
    count = bucket["control"]["count"]
    found = [{} for _ in range(count)]
    for name, data in bucket["data"].items():
        if names is not None and name not in names:
            continue
        values = column(data)
        if len(values) != count:
            raise ValueError(f"{name} has {len(values)} values, not {count}")
        for row, item in zip(found, values):
            if item is not None:
                row[name] = plain(item)
    return found


def owners(db):
    """{bucket's _id: [(capture, number)]} as the ledger says."""
    found = collections.defaultdict(list)
    for name in db.list_collection_names():
        if name.startswith("batches_"):
            for d in db[name].find({"mode": 2}, {"buckets": 1}):
                identity, ids = bytes(d["_id"]), bytes(d.get("buckets", b""))
                for at in range(0, len(ids), 12):
                    found[ids[at:at + 12]].append((identity[:16], int.from_bytes(identity[16:24], "big")))
    return found


def order(item):
    return (len(item[1]), item[1]) if item[0] == BINARY else item[1]


def bound(values, pick):
    """The smallest or largest value, as pymongo has it."""
    kind, value = pick((v for v in values if v is not None), key=order)
    if kind == DATE:
        return datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=value)
    if kind == BINARY:
        return Binary(value, 0)
    return plain((kind, value))


def change(db, collection, bucket, index, times):
    """Replaces a bucket by one in which the packet at `index` is there `times` times: a control. A bucket of no packets is removed."""
    changed = dict(bucket, control=dict(bucket["control"]), data={})
    control, before = changed["control"], bucket["control"]
    control["count"] = before["count"] + times - 1
    head, tail = raw_command(db, "update" if control["count"] else "delete", collection)
    if not control["count"]:
        return db.command({**head, "deletes": [{"q": {"_id": bucket["_id"]}, "limit": 1}], **tail})["n"]
    control["min"], control["max"] = {}, {}
    for name in before["min"]:
        values = column(bucket["data"][name])
        values[index:index + 1] = values[index:index + 1] * times
        if all(v is None for v in values):
            continue
        control["min"][name] = before["min"][name] if name == "ts" else bound(values, min)
        control["max"][name] = bound(values, max)
        changed["data"][name] = Binary(b"".join(map(literal, values)) + b"\0", 7)
    return db.command({**head, "updates": [{"q": {"_id": bucket["_id"]}, "u": changed}], **tail})["n"]
