#!/usr/bin/python3
"""Holds a file that `record --write` made against what was sent or stored. Exit status 0 only if nothing differs.

usage: file.py sequence FILE N             the frames of `generate --raw`: each number once (pcapng)
       file.py identities FILE             each packet's identity once, each batch from its first packet on, in order
       file.py same FILE URI DATABASE      the packets of the database, each with its time, length and header bytes' number (pcapng),
                                           or field by field (JSON)
       file.py remove FILE                 takes one packet out of the middle, for a control
       file.py double FILE                 puts one there twice, for a control
"""
import collections
import json
import struct
import sys

NS = 1_000_000_000
SECTION, INTERFACE, STATISTICS, PACKET = 0x0A0D0D0A, 1, 5, 6

Packet = collections.namedtuple("Packet", "capture number position wall length bytes at size")


def options(b):
    while len(b) >= 4:
        code, n = struct.unpack_from("<HH", b)
        if code == 0:
            return
        yield code, b[4 : 4 + n]
        b = b[4 + (n + 3 & ~3) :]


def blocks(data):
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        assert size >= 12 and size % 4 == 0 and at + size <= len(data), f"a torn block at {at}"
        assert struct.unpack_from("<I", data, at + size - 4)[0] == size, f"two lengths at {at}"
        assert kind in (SECTION, INTERFACE, STATISTICS, PACKET), f"block type {kind} at {at}"
        yield kind, at, size, data[at + 8 : at + size - 4]
        at += size


def pcapng(data):
    captures = []
    for kind, at, size, body in blocks(data):
        if kind == SECTION:
            captures = []
        elif kind == INTERFACE:
            description = dict(options(body[8:]))[3].decode()
            assert description.startswith("capture "), description
            captures.append(bytes.fromhex(description[8:]))
        elif kind == PACKET:
            interface, high, low, cap, length = struct.unpack_from("<IIIII", body)
            identity = struct.unpack("<Q", dict(options(body[20 + (cap + 3 & ~3) :]))[5])[0]
            yield Packet(captures[interface], identity >> 24, identity & 0xFFFFFF, high << 32 | low, length,
                         body[20 : 20 + cap], at, size)


def lines(data):
    assert data.endswith(b"\n"), "a torn line"
    at = 0
    for line in data.splitlines(True):
        one = json.loads(line)
        i = bytes.fromhex(one["_id"])
        yield Packet(i[:16], int.from_bytes(i[16:22], "big"), int.from_bytes(i[24:28], "big"), None, one["len"], one, at, len(line))
        at += len(line)


def packets(path):
    data = open(path, "rb").read()
    return lines(data) if path.endswith(".json") else pcapng(data)


def number_of(b):
    """As tests/lib/generate_raw.c writes it; None for another frame."""
    if b[6:12] != bytes.fromhex("020000000001"):
        return None
    kind = b[12:14]
    if kind == b"\x08\x00":
        proto, l4 = b[23], b[14 + (b[14] & 15) * 4 :]
        if proto == 17:
            return (struct.unpack_from(">H", l4)[0] - 16384 << 16) | struct.unpack_from(">H", b, 18)[0]
    elif kind == b"\x86\xdd":
        proto, l4 = b[20], b[54:]
        if proto == 17:
            return (struct.unpack_from(">H", l4)[0] - 16384 << 20) | struct.unpack_from(">I", b, 14)[0] & 0xFFFFF
    else:
        return None
    if proto == 6:
        return struct.unpack_from(">I", l4, 4)[0]
    return struct.unpack_from(">I", l4, 4)[0] if proto in (1, 58) else None


def sequence(path, count):
    have = collections.Counter(n for n in (number_of(p.bytes) for p in packets(path)) if n is not None)
    missing = sum(1 for n in range(count) if n not in have)
    twice = sum(1 for n in have.values() if n > 1)
    strangers = sum(1 for n in have if n >= count)
    print(f"sent {count} missing {missing} twice {twice} strangers {strangers}")
    return missing == twice == strangers == 0


def identities(path):
    last, count, wrong = {}, 0, 0
    for p in packets(path):
        number, position = last.get(p.capture, (p.number - 1, 0))
        if (p.number, p.position) not in ((number, position + 1), (number + 1, 0)):
            wrong += 1
            if wrong < 4:
                print(f"byte {p.at}: batch {p.number} packet {p.position} behind batch {number} packet {position}")
        last[p.capture] = (p.number, p.position)
        count += 1
    print(f"packets {count} captures {len(last)} wrong {wrong}")
    return wrong == 0 and count > 0


def plain(value):
    """A value of the database as JSON lines have it."""
    if isinstance(value, bytes):
        return value.hex()
    if hasattr(value, "isoformat"):
        return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
    return value


def flat(document):
    d = {k: plain(v) for k, v in document.items() if k != "meta"}
    d.update((k, v) for k, v in document["meta"].items() if k != "hosts")
    return d


def content(one):
    """What a packet holds but its identity, which packets of finished buckets do not have in the database."""
    whole = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in one.items() if k != "_id"}
    return json.dumps(whole, sort_keys=True)


def same(path, uri, name):
    import pymongo

    import check

    db = pymongo.MongoClient(uri)[name]
    stored, unnamed = {}, collections.Counter()
    for _, d in check.packets(db):
        if "_id" in d:
            stored[bytes(d["_id"])] = d
        else:
            unnamed[content(flat(d)) if path.endswith(".json") else (check.wall_ns(d), d["len"], check.number_of(d))] += 1
    differ = only_file = 0
    for p in packets(path):
        what = content(p.bytes) if isinstance(p.bytes, dict) else (p.wall, p.length, number_of(p.bytes))
        if unnamed[what]:
            unnamed[what] -= 1
            continue
        head = p.capture + p.number.to_bytes(6, "big")
        key = next((k for k in (head + v.to_bytes(2, "big") + p.position.to_bytes(4, "big") for v in range(1, 9)) if k in stored), None)
        if key is None:
            only_file += 1
            continue
        d = stored.pop(key)
        if isinstance(p.bytes, dict):
            ok = p.bytes == flat(d)
        else:
            ok = (p.wall, p.length, number_of(p.bytes)) == (check.wall_ns(d), d["len"], check.number_of(d))
        if not ok:
            differ += 1
            if differ < 4:
                print(p.bytes if isinstance(p.bytes, dict) else (p.wall, p.length, number_of(p.bytes)))
                print(flat(d) if isinstance(p.bytes, dict) else (check.wall_ns(d), d["len"], check.number_of(d)))
    only_database = len(stored) + sum(unnamed.values())
    print(f"only in the file {only_file} only in the database {only_database} differ {differ}")
    return only_file == only_database == differ == 0


def change(path, times):
    data = open(path, "rb").read()
    all_of_it = list(packets(path))
    p = all_of_it[len(all_of_it) // 2]
    one = data[p.at : p.at + p.size]
    open(path, "wb").write(data[: p.at] + one * times + data[p.at + p.size :])
    print(f"batch {p.number} packet {p.position} is there {times} times")
    return True


def main(what, path, *rest):
    if what == "sequence":
        return sequence(path, int(rest[0]))
    if what == "identities":
        return identities(path)
    if what == "same":
        return same(path, *rest)
    if what in ("remove", "double"):
        return change(path, 0 if what == "remove" else 2)
    sys.exit(__doc__)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(0 if main(*sys.argv[1:]) else 1)
