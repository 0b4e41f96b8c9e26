#!/usr/bin/python3
"""Where the bytes of finished buckets are: those of each column for each packet, before the engine compresses its pages. See disk.sh.

usage: disk_columns.py URI DATABASE NAME

A line for each column that takes a hundredth of a byte or more: bytes a packet, of how many of the packets, and the bits for each
packet that has the field. Beside it `still`: the same under zlib, each column of a bucket by itself, which is about what the
engine's own compression can find in it. What is left of random numbers (checksums, sequence numbers, identifiers, nanoseconds)
is the floor: no order and no packing of the values makes them smaller.
"""
import collections
import pathlib
import sys
import zlib

import pymongo

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import bucket  # noqa: E402  (tests/lib is found only now)

EVERY = 8  # buckets of which one is compressed and its fields counted


def main():
    db = pymongo.MongoClient(sys.argv[1])[sys.argv[2]]
    packed, sampled, still, have = (collections.Counter() for _ in range(4))
    packets = sample = buckets = other = 0
    for name in sorted(c for c in db.list_collection_names() if c.startswith("packets_")):
        for found in bucket.stored(db, name):
            count = found["control"]["count"]
            packets += count
            other += sum(len(bucket.bson.encode({k: found[k]})) - 5 for k in ("_id", "control", "meta"))
            for field, data in found["data"].items():
                packed[field] += len(data)
                if buckets % EVERY == 0:
                    sampled[field] += len(data)
                    still[field] += min(len(data), len(zlib.compress(data, 1)))
                    have[field] += sum(item is not None for item in bucket.column(data))
            sample += count if buckets % EVERY == 0 else 0
            buckets += 1
    if not buckets:
        sys.exit(f"disk_columns: {sys.argv[2]} holds no finished buckets")
    rest = 0
    for field, size in packed.most_common():
        if size < packets / 100:
            rest += size
            continue
        print(f"disk.{sys.argv[3]}.{field} {size / packets:.2f} B/packet, in {100 * have[field] / sample:.0f} % of them, "
              f"{8 * sampled[field] / max(have[field], 1):.1f} bits each, still {still[field] / sample:.2f}")
    print(f"disk.{sys.argv[3]}.other_columns {rest / packets:.2f} B/packet")
    print(f"disk.{sys.argv[3]}.around {other / packets:.2f} B/packet of _id, control and meta, {packets / buckets:.0f} packets a bucket")
    print(f"disk.{sys.argv[3]}.bson {(sum(packed.values()) + other) / packets:.2f} B/packet before the engine's compression")


if __name__ == "__main__":
    main()
