#!/usr/bin/python3
"""What the database says could not be seen.

usage: gaps.py URI DATABASE list [WHY]
       gaps.py URI DATABASE at IFACE MS          `seen`, or why not, at that time (ms since 1970): a second of the balance has it, and no gap
       gaps.py URI DATABASE one IFACE WHY SIDE B0 B1 E0 E1 [SLACK]
                                                 exactly one gap of that reason (SIDE: rx, tx or -), which began in [B0, B1] and ended
                                                 in [E0, E1] (ms, each a SLACK wider, 1000; E0 `open`: it lasts)
       gaps.py URI DATABASE newest IFACE WHY SIDE B0 B1 E0 E1 [SLACK]
                                                 the same of the newest of that reason
"""
import sys
from datetime import datetime, timezone

import pymongo


def ms(date):
    return None if date is None else int(date.replace(tzinfo=timezone.utc).timestamp() * 1000)


def line(gap):
    end = ms(gap["end"])
    return "%s %s %s: %d .. %s, by %s" % (gap["iface"], gap.get("side", "-"), gap["why"], ms(gap["begin"]),
                                           "now" if end is None else end, gap["by"])


def at(db, iface, when):
    date = datetime.fromtimestamp(when / 1000, timezone.utc)
    gap = db.events.find_one({"kind": "gap", "iface": iface, "begin": {"$lte": date},
                              "$or": [{"end": None}, {"end": {"$gt": date}}]})
    if gap:
        return gap["why"]
    for name in sorted((c for c in db.list_collection_names() if c.startswith("balance_")), reverse=True):
        row = db[name].find_one({"iface": iface, "ts": {"$lte": date}}, sort=[("ts", -1)])
        if row:
            return "seen" if when < ms(row["ts"]) + row["secs"] * 1000 else "not known"
    return "not known"


def one(db, word, iface, why, side, b0, b1, e0, e1, slack="1000"):
    want = {"kind": "gap", "iface": iface, "why": why, "side": None if side == "-" else side}
    gaps = list(db.events.find(want).sort("begin"))
    if word == "newest":
        gaps = gaps[-1:]
    for gap in gaps:
        print(line(gap))
    if len(gaps) != 1:
        sys.exit("%d gaps, not 1" % len(gaps))
    begin, end, slack = ms(gaps[0]["begin"]), ms(gaps[0]["end"]), int(slack)
    if not int(b0) - slack <= begin <= int(b1) + slack:
        sys.exit("began %+d ms from %s, and the latest is %s" % (begin - int(b0), b0, b1))
    if e0 == "open":
        sys.exit(None if end is None else "it has an end")
    if end is None or not int(e0) <= end <= int(e1) + slack:
        sys.exit("ended at %s, not in %s .. %s" % (end, e0, e1))
    print("began %+d ms, ended %+d ms" % (begin - int(b0), end - int(e1)))


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    uri, database, word, *rest = sys.argv[1:]
    db = pymongo.MongoClient(uri, serverSelectionTimeoutMS=10000)[database]
    if word == "list":
        for gap in db.events.find({"kind": "gap", **({"why": rest[0]} if rest else {})}).sort("begin"):
            print(line(gap))
    elif word == "at":
        print(at(db, rest[0], int(rest[1])))
    elif word in ("one", "newest"):
        one(db, word, *rest)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
