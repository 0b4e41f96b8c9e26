#!/usr/bin/python3
"""Holds a recorder's database against what was sent. Exit status 0 only if nothing differs; the last line says how much.

usage: check.py URI DATABASE sequence N [FIRST]     the frames of `generate --raw`: each number once
       check.py URI DATABASE quiet N FLOWS [GONE]   the quiet frames of `generate`: each of N once, but at most GONE that the device refused
       check.py URI DATABASE balance [SENSOR]       every second closes, and says what the packets themselves say
       check.py URI DATABASE ledger [SENSOR]        every batch is there, holds what it says, and follows the one before
       check.py URI DATABASE floods                 every summary is of whole seconds of the balance, and adds up with them
       check.py URI DATABASE pcap rx FILE [tx FILE]...   packet by packet, field by field
       check.py URI DATABASE segments SIDE          packets, bytes, segments, bytes of the segments with their headers
       check.py URI DATABASE days                   no packet in the collection of another day or year
       check.py URI DATABASE fingerprint            one line that any change of any document changes
       check.py URI DATABASE remove                 takes one packet away, for a control
       check.py URI DATABASE double                 stores one once more, for a control
"""
import collections
import datetime
import hashlib
import socket
import struct
import sys

import pymongo
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument

import bucket

NS = 1_000_000_000
EPOCH = datetime.datetime(1970, 1, 1)
MICROSECOND = datetime.timedelta(microseconds=1)
GENERATOR_MAC = "02:00:00:00:00:01"


def daily(db, family):
    return sorted(c for c in db.list_collection_names() if c.startswith(family + "_"))


def packets(db, projection=None, match=None):
    """All packet documents, with the name of their collection."""
    for name in daily(db, "packets"):
        for document in db[name].find(match or {}, projection, batch_size=20000):
            yield name, document


def attributed(db, found, names, sensor=None):
    """
    Every packet as (capture, batch number, identity, document): plain documents by their _id, packets of finished buckets by the
    ledger entry that names the bucket (identity None), whose fields our own reader gives; the server must see as many.
    """
    owners = bucket.owners(db)
    match = {"meta.sensor": sensor} if sensor else {}
    for name in daily(db, "packets"):
        count = 0
        for d in db[name].find({**match, "_id": {"$exists": True}}, dict.fromkeys(names, 1), batch_size=20000):
            identity = bytes(d["_id"])
            yield identity[:16], int.from_bytes(identity[16:22], "big"), identity, d
            count += 1
        for one in bucket.stored(db, name, match):
            owner = owners.get(one["_id"].binary, ())
            if len(owner) != 1:
                found.differ(f"{name}: bucket {one['_id']} is named by {len(owner)} ledger entries")
            capture, number = owner[0] if owner else (bytes(16), 0)
            for d in bucket.rows(one, names):
                d["ts"] = EPOCH + datetime.timedelta(milliseconds=d.get("ts", 0))
                yield capture, number, None, d
                count += 1
        shown = db[name].count_documents(match)
        if shown != count:
            found.differ(f"{name}: {count} packets in documents and buckets, the server shows {shown}")


def side_of(document):
    """Implied by dir unless said: in = rx, out = tx."""
    return document.get("side") or ("rx" if document["dir"] == "in" else "tx")


def wall_ns(document):
    return (document["ts"] - EPOCH) // MICROSECOND * 1000 + document["ns"]


def source_end(document, local, remote):
    return document.get(local if document["dir"] == "out" else remote)


def target_end(document, local, remote):
    return document.get(remote if document["dir"] == "out" else local)


class Verdict:
    """Collects differences: counts all, prints the first few."""

    def __init__(self):
        self.count = self.lines = 0

    def differ(self, text, times=1):
        self.count += times
        self.lines += 1
        if self.lines <= 10:
            print(text if times == 1 else f"{times} times {text}")


# --- numbered frames ----------------------------------------------------------------------------------------


def number_of(d):
    """The number that generate --raw put into a frame; None for anybody else's packets."""
    if source_end(d, "lmac", "rmac") != GENERATOR_MAC:
        return None
    if d.get("proto") == 6:
        return int(d["seq"])
    if d.get("proto") == 17:
        high = source_end(d, "lport", "rport") - 16384
        return high << 20 | d["flow"] if "flow" in d else high << 16 | d["ipid"]
    if d.get("proto") == 1:
        return d["icmp_id"] << 16 | d["icmp_seq"]
    return None


NUMBER_FIELDS = dict.fromkeys(
    ("dir", "lmac", "rmac", "proto", "seq", "lport", "rport", "flow", "ipid", "icmp_id", "icmp_seq"), 1) | {"_id": 0}


def sequence(db, count, first=0):
    seen = bytearray(count)
    strangers = twice = 0
    for _, d in packets(db, NUMBER_FIELDS):
        n = number_of(d)
        if n is None:
            continue
        n -= first
        if not 0 <= n < count:
            strangers += 1
        elif seen[n]:
            twice += 1
        else:
            seen[n] = 1
    missing = seen.count(0)
    for n in [i for i, s in enumerate(seen) if not s][:3] if missing else []:
        print(f"number {n + first} is missing")
    print(f"sent {count} missing {missing} twice {twice} strangers {strangers}")
    return missing == twice == strangers == 0


def quiet(db, count, flows, gone=0):
    """Flow k's frames carry the IPv4 ids 0, 1, 2 ...; see tests/lib/generate.c."""
    have = collections.defaultdict(collections.Counter)
    fields = dict.fromkeys(("dir", "local", "remote", "lport", "rport", "ipid"), 1) | {"_id": 0}
    for _, d in packets(db, fields, {"$or": [{"lport": {"$gte": 20000}}, {"rport": {"$gte": 20000}}]}):
        source = source_end(d, "local", "remote")
        flow = source_end(d, "lport", "rport") - 20000
        if source == f"10.200.{flow >> 8}.{flow & 255}": # else it is a flood's random source
            have[flow][d["ipid"]] += 1
    missing = twice = strangers = 0
    lost = collections.Counter()
    for k in range(flows):
        rounds = count // flows + (k < count % flows)
        want = collections.Counter(i & 0xffff for i in range(rounds))
        missing += sum((want - have[k]).values())
        lost.update((ipid, "victim" if k < flows // 2 else "others") for ipid in want - have[k])
        for ipid, times in (have[k] - want).items():
            if ipid in want:
                twice += times
            else:
                strangers += times
    strangers += sum(sum(c.values()) for k, c in have.items() if not 0 <= k < flows)
    print(f"quiet {count} missing {missing} twice {twice} strangers {strangers}",
          *(f"round {ipid} with {whom}: {n}" for (ipid, whom), n in sorted(lost.items())[:8]))
    return missing <= gone and twice == strangers == 0


# --- the balance --------------------------------------------------------------------------------------------


def pair(document):
    """Boot time of 0 on the wall clock, ns: constant under one clock pair."""
    clock = document["clock"]
    return int(clock["wall"]) - int(clock["boot"])


def offsets(db, sensor):
    """(capture, batch number) -> offset, from the ledger."""
    match = {"sensor": sensor} if sensor else {}
    return {(bytes(d["_id"])[:16], int.from_bytes(bytes(d["_id"])[16:24], "big")): pair(d)
            for name in daily(db, "batches") for d in db[name].find(match, {"clock": 1})}


def terms(document):
    """Every term of a second but seen: (name, packets, bytes)."""
    for key in ("stored", "filtered", "blocked", "summarised", "lost"):
        value = document[key]
        for name, part in ((key, value),) if "packets" in value else ((f"{key}.{k}", v) for k, v in value.items()):
            yield name, part["packets"], part["bytes"]


def balance(db, sensor=None):
    found = Verdict()
    offset = offsets(db, sensor)
    stored = collections.defaultdict(lambda: [0, 0])
    count = 0
    for capture, number, _, d in attributed(db, found, ("ts", "ns", "dir", "side", "len"), sensor):
        batch = capture, number
        count += 1
        if batch not in offset:
            found.differ(f"a packet of batch {batch[1]}, which the ledger does not know")
            continue
        cell = stored[batch[0], side_of(d), (wall_ns(d) - offset[batch]) // NS]
        cell[0] += 1
        cell[1] += d["len"]
    seconds = seen_packets = 0
    last = {}
    rows = [d for name in daily(db, "balance") for d in db[name].find({"sensor": sensor} if sensor else {})]
    for d in sorted(rows, key=lambda d: (bytes(d["_id"])[:16], d["side"], int(d["sec"]))):
        capture, side, sec, secs = bytes(d["_id"])[:16], d["side"], int(d["sec"]), int(d["secs"])
        where = f"{d['iface']} {side} second {sec}" + (f" to {sec + secs - 1}" if secs > 1 else "")
        if sec < last.get((capture, side), sec):
            found.differ(f"{where} stands in two documents")
        last[capture, side] = sec + secs
        seconds += secs
        seen_packets += d["seen"]["packets"]
        for unit, index in (("packets", 1), ("bytes", 2)):
            total = sum(t[index] for t in terms(d))
            if d["seen"][unit] != total:
                found.differ(f"{where}: seen {d['seen'][unit]} {unit}, the terms make {total}")
        have = [0, 0]
        for s in range(sec, sec + secs) if secs < 100000 else [s for c, x, s in stored if c == capture and x == side and sec <= s < sec + secs]:
            cell = stored.pop((capture, side, s), (0, 0))
            have[0] += cell[0]
            have[1] += cell[1]
        if have != [d["stored"]["packets"], d["stored"]["bytes"]]:
            found.differ(f"{where}: stored {d['stored']['packets']} packets, {d['stored']['bytes']} bytes; there are {have[0]} and {have[1]}")
    for (_, side, sec), (n, _) in sorted(stored.items(), key=lambda i: i[0][1:]):
        found.differ(f"{side} second {sec}: {n} packets, and no balance")
    print(f"seconds {seconds} seen {seen_packets} packets {count} differ {found.count}")
    return found.count == 0 and seconds > 0


# What tells one packet from another where there is no _id.
TWINS = ("ts", "ns", "len", "local", "lport", "rport", "ipid", "seq", "csum")


def floods(db):
    """What is summarised in the balance is in floods_*, to the packet and to the byte: in all, and over each epoch's seconds."""
    found = Verdict()
    rows = collections.defaultdict(list)
    for name in daily(db, "balance"):
        for d in db[name].find():
            sums = [sum(d["summarised"][term][unit] for term in ("flow", "prefix")) for unit in ("packets", "bytes")]
            rows[bytes(d["_id"])[:16], d["side"]].append((int(d["sec"]), int(d["secs"]), *sums))
    epochs = collections.defaultdict(lambda: [0, 0, None, 0])
    by = collections.Counter()
    for name in daily(db, "floods"):
        for d in db[name].find():
            cell = epochs[bytes(d["_id"])[:16], d["side"], int(d["epoch"])]
            cell[0] += d["packets"]
            cell[1] += d["bytes"]
            cell[2] = int(d["sec"])
            cell[3] = int(d["secs"])
            by[d["by"]] += d["packets"]
            if d["ts"] > d["last"] or not d["why"] or d["len_min"] > d["len_max"] or not d["packets"]:
                found.differ(f"a summary that cannot be: {d}")
    aligned = 0
    for key, seconds in rows.items():
        mine = {e: cell for (capture, side, e), cell in epochs.items() if (capture, side) == key}
        for unit, at in (("packets", 0), ("bytes", 1)):
            want, have = sum(row[2 + at] for row in seconds), sum(cell[at] for cell in mine.values())
            if want != have:
                found.differ(f"{key[1]}: {want} {unit} summarised in the balance, {have} in floods")
        for epoch, (packets, size, sec, secs) in mine.items():
            inside = [row for row in seconds if sec <= row[0] and row[0] + row[1] <= sec + secs]
            across = [row for row in seconds if row not in inside and row[0] < sec + secs and sec < row[0] + row[1] and row[2]]
            if across:
                continue
            aligned += 1
            if [sum(row[2] for row in inside), sum(row[3] for row in inside)] != [packets, size]:
                found.differ(f"{key[1]} epoch {epoch}, seconds {sec} to {sec + secs - 1}: {packets} packets, {size} bytes;"
                             f" the balance has {sum(row[2] for row in inside)} and {sum(row[3] for row in inside)}")
    if set(key[:2] for key in epochs) - set(rows):
        found.differ("summaries of a capture that has no balance")
    if epochs and not aligned:
        found.differ("no epoch could be compared by itself")
    print(f"epochs {len(epochs)} compared {aligned} summarised {sum(by.values())} "
          + " ".join(f"{k} {n}" for k, n in sorted(by.items())) + f" differ {found.count}")
    return found.count == 0


def ledger(db, sensor=None):
    """Numbers without a hole, each batch as many packets and bytes as it says, digests chained."""
    found = Verdict()
    have = collections.defaultdict(lambda: [0, 0, 0, set()])
    live = not any(len(name) == len("packets_2019") for name in daily(db, "packets"))
    for capture, number, identity, d in attributed(db, found, TWINS, sensor):
        cell = have[capture, number]
        cell[0] += 1
        cell[1] += d["len"]
        cell[2] += identity is not None
        # Capture files may hold the same packet twice; two that are seen on an interface differ in their time at least.
        identity = identity or (live and tuple(map(d.get, TWINS)))
        if identity and identity in cell[3]:
            found.differ(f"{identity.hex() if isinstance(identity, bytes) else identity} of batch {number} is there twice")
        cell[3].add(identity)
    rows = [d for name in daily(db, "batches") for d in db[name].find({"sensor": sensor} if sensor else {})]
    before = {}
    for d in sorted(rows, key=lambda d: bytes(d["_id"])):
        identity = bytes(d["_id"])
        capture, number = identity[:16], int.from_bytes(identity[16:24], "big")
        expected, digest = before.get(capture, (1, bytes(32)))
        if number != expected:
            found.differ(f"{d['iface']}: batch {number} follows {expected - 1}")
        elif bytes(d["previous"]) != digest:
            found.differ(f"{d['iface']}: batch {number} does not name the digest of the one before")
        before[capture] = number + 1, bytes(d["digest"])
        cell = have.pop((capture, number), [0, 0, 0])
        if cell[:2] != [d["packets"], d["bytes"]]:
            found.differ(f"{d['iface']}: batch {number} of {d['packets']} packets, {d['bytes']} bytes; there are {cell[0]} and {cell[1]}")
        if d["mode"] == 2 and cell[2] != d["documents"]:
            found.differ(f"{d['iface']}: batch {number} says {d['documents']} plain documents; there are {cell[2]}")
    for (_, number), cell in have.items():
        found.differ(f"batch {number}: {cell[0]} packets and no entry")
    print(f"batches {len(rows)} differ {found.count}")
    return found.count == 0 and bool(rows)


def days(db):
    found = Verdict()
    count = 0
    for name, d in packets(db, {"ts": 1, "ns": 1}):
        day = d["ts"].strftime("%Y%m%d" if len(name) > len("packets_2019") else "%Y")
        count += 1
        if name != "packets_" + day:
            found.differ(f"{name} holds a packet of {day}")
    print(f"packets {count} differ {found.count}")
    return found.count == 0 and count > 0


def segments(db, side):
    """Super-packets count once in `packets`; each of their segments has the headers of the first."""
    count = size = pieces = wire = 0
    for _, d in packets(db, dict.fromkeys(("dir", "side", "len", "segs", "gso", "local", "proto", "vlan", "opts", "ltsval"), 1)):
        if side_of(d) != side:
            continue
        segs = d.get("segs", 1)
        headers = 0
        if segs > 1:
            headers = 14 + (4 if "vlan" in d else 0) + (40 if ":" in d["local"] else 20)
            headers += 8 if d["proto"] == 17 else 20 + (12 if "ltsval" in d else 0)
            if not (segs - 1) * d["gso"] < d["len"] - headers <= segs * d["gso"]:
                print(f"{d['len']} bytes are not {segs} segments of {d['gso']}")
        count += 1
        size += d["len"]
        pieces += segs
        wire += d["len"] + (segs - 1) * headers
    print(f"{count} {size} {pieces} {wire}")
    return True


def fingerprint(db):
    """SHA-256 over all documents of all collections, whatever their order."""
    whole, count = hashlib.sha256(), 0
    raw = db.with_options(codec_options=CodecOptions(document_class=RawBSONDocument))
    for name in sorted(c for c in db.list_collection_names() if c != "packets" and not c.startswith("system.")):
        documents = sorted(hashlib.sha256(d.raw).digest() for d in raw[name].find({}, batch_size=20000))
        count += len(documents)
        whole.update(name.encode() + b"\0" + b"".join(documents))
    print(f"documents {count} sha256 {whole.hexdigest()}")
    return count > 0


def middle(db):
    """Collection and whole document of a packet in the middle; or of the bucket that it is in."""
    for name in daily(db, "packets"):
        buckets = [one["_id"] for one in bucket.stored(db, name)]
        if buckets:
            return db[name], next(bucket.stored(db, name, {"_id": buckets[len(buckets) // 2]}))
        total = db[name].count_documents({})
        if total:
            return db[name], db[name].find().sort("_id", 1).skip(total // 2).limit(1)[0]
    sys.exit("there is no packet")


def change(db, collection, one, times):
    index = one["control"]["count"] // 2
    done = bucket.change(db, collection.name, one, index, times)
    print(f"packet {index} of bucket {one['_id']} in {collection.name} is there {times} times")
    return done == 1


def remove(db):
    collection, document = middle(db)
    if "control" in document:
        return change(db, collection, document, 0)
    result = collection.delete_one({"_id": document["_id"]})
    print(f"removed {result.deleted_count} of {collection.name}, _id {bytes(document['_id']).hex()}")
    return result.deleted_count == 1


def double(db):
    """A time-series collection does not mind the same _id."""
    collection, document = middle(db)
    if "control" in document:
        return change(db, collection, document, 2)
    collection.insert_one(document)
    print(f"once more in {collection.name}, _id {bytes(document['_id']).hex()}")
    return True


# --- a capture file, field by field -------------------------------------------------------------------------

FIELDS = ("side", "smac", "dmac", "etype", "vlan", "src", "dst", "proto", "sport", "dport", "len", "ttl", "tos", "ipid", "frag", "flow",
          "flags", "seq", "ack", "win", "urg", "icmp_type", "icmp_code", "icmp_id", "icmp_seq", "arp_op", "mss", "ws", "tsval", "tsecr", "csum")


def mac(data):
    return data.hex(":")


def read_tcp(f, b):
    f["sport"], f["dport"], f["seq"], f["ack"], flags, f["win"], f["csum"], f["urg"] = struct.unpack("!HHIIHHHH", b[:20])
    f["flags"] = flags & 0xfff
    options, at = b[20:(flags >> 12) * 4], 0
    while at < len(options) and options[at] != 0:
        if options[at] == 1:
            at += 1
            continue
        kind, size = options[at], options[at + 1]
        if kind == 2:
            f["mss"] = int.from_bytes(options[at + 2:at + 4], "big")
        elif kind == 3:
            f["ws"] = options[at + 2]
        elif kind == 8:
            f["tsval"], f["tsecr"] = struct.unpack("!II", options[at + 2:at + 10])
        at += max(size, 2)


def read_layer4(f, b):
    if f["proto"] == 6:
        read_tcp(f, b)
    elif f["proto"] == 17:
        f["sport"], f["dport"], _, f["csum"] = struct.unpack("!HHHH", b[:8])
    elif f["proto"] in (1, 58):
        f["icmp_type"], f["icmp_code"], f["csum"] = struct.unpack("!BBH", b[:4])
        if f["icmp_type"] in ((0, 8, 13, 14, 15, 16, 17, 18) if f["proto"] == 1 else (128, 129)):
            f["icmp_id"], f["icmp_seq"] = struct.unpack("!HH", b[4:8])


def from_frame(side, length, b):
    """The fields of a frame as they were on the wire, read by this file alone."""
    f = {"side": side, "len": length, "dmac": mac(b[0:6]), "smac": mac(b[6:12])}
    etype, at = int.from_bytes(b[12:14], "big"), 14
    if etype == 0x8100:
        f["vlan"], etype, at = int.from_bytes(b[14:16], "big"), int.from_bytes(b[16:18], "big"), 18
    f["etype"] = etype
    if etype == 0x0800:
        head = (b[at] & 15) * 4
        f["tos"], f["ipid"], f["frag"], f["ttl"], f["proto"] = b[at + 1], *struct.unpack("!HHBB", b[at + 4:at + 10])
        f["src"], f["dst"] = socket.inet_ntoa(b[at + 12:at + 16]), socket.inet_ntoa(b[at + 16:at + 20])
        if not f["frag"] & 0x1fff:
            read_layer4(f, b[at + head:])
    elif etype == 0x86dd:
        first, _, f["proto"], f["ttl"] = struct.unpack("!IHBB", b[at:at + 8])
        f["tos"], f["flow"] = first >> 20 & 255, first & 0xfffff
        f["src"], f["dst"] = (socket.inet_ntop(socket.AF_INET6, b[i:i + 16]) for i in (at + 8, at + 24))
        read_layer4(f, b[at + 40:])
    elif etype == 0x0806:
        f["arp_op"] = int.from_bytes(b[at + 6:at + 8], "big")
        f["src"], f["dst"] = socket.inet_ntoa(b[at + 14:at + 18]), socket.inet_ntoa(b[at + 24:at + 28])
    return tuple(f.get(name) for name in FIELDS)


# A field of the frame -> the document's, where the sender is local and where it is remote.
ENDS = {"smac": ("lmac", "rmac"), "dmac": ("rmac", "lmac"), "src": ("local", "remote"), "dst": ("remote", "local"), "sport": ("lport", "rport"),
        "dport": ("rport", "lport"), "tsval": ("ltsval", "rtsval"), "tsecr": ("rtsval", "ltsval")}


def from_document(d):
    sender = 0 if d["dir"] == "out" else 1
    row = []
    for name in FIELDS:
        value = side_of(d) if name == "side" else d.get(ENDS[name][sender] if name in ENDS else name)
        row.append(int(value) if isinstance(value, float) else value)
    return tuple(row)


def read_pcap(path, side):
    with open(path, "rb") as file:
        head = file.read(24)
        order = "<" if head[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
        if struct.unpack(order + "I", head[20:24])[0] != 1:
            sys.exit(f"{path} is not of Ethernet frames")
        while len(head := file.read(16)) == 16:
            _, _, captured, length = struct.unpack(order + "IIII", head)
            yield from_frame(side, length, file.read(captured))


def pcap(db, words):
    """
    A packet that leaves is seen before its checksum is made (mark csum_none): the first comparison is without
    checksums, the second of those documents that have the one on the wire.
    """
    found = Verdict()
    want = collections.Counter()
    for side, path in zip(words[::2], words[1::2]):
        want.update(read_pcap(path, side))
    have, summed = collections.Counter(), collections.Counter()
    for _, d in packets(db, {"raw": 0}):
        row = from_document(d)
        have[row[:-1]] += 1
        if "csum_none" not in d.get("marks", ""):
            summed[row] += 1
    plain = collections.Counter()
    for row, times in want.items():
        plain[row[:-1]] += times
    for what, rows in (("only on the wire", plain - have), ("only in the database", have - plain), ("another checksum", summed - want)):
        if what == "another checksum" and found.count:
            continue
        for row, times in rows.items():
            found.differ(f"{what}: " + " ".join(f"{k}={v}" for k, v in zip(FIELDS, row) if v is not None), times)
    print(f"wire {sum(want.values())} stored {sum(have.values())} checksums {sum(summed.values())} differ {found.count}")
    return found.count == 0 and bool(want)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    uri, database, word, *rest = sys.argv[1:]
    db = pymongo.MongoClient(uri, serverSelectionTimeoutMS=10000)[database]
    checks = {
        "sequence": lambda: sequence(db, *map(int, rest)),
        "quiet": lambda: quiet(db, *map(int, rest)),
        "balance": lambda: balance(db, *rest),
        "ledger": lambda: ledger(db, *rest),
        "floods": lambda: floods(db),
        "pcap": lambda: pcap(db, rest),
        "segments": lambda: segments(db, *rest),
        "days": lambda: days(db),
        "fingerprint": lambda: fingerprint(db),
        "remove": lambda: remove(db),
        "double": lambda: double(db),
    }
    if word not in checks:
        sys.exit(__doc__)
    sys.exit(0 if checks[word]() else 1)


if __name__ == "__main__":
    main()
