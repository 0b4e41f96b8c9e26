#!/usr/bin/python3
"""Asks for hosts and networks in the ways of the README, and in the ways that people have without the index. See query.sh.

usage: query.py URI DATABASE PCAP [--smoke]

Each answer is counted and must be the same whichever way it was found. Exit status 1 when one differs, or (without --smoke) when an aim
is missed: rare and middling hosts fifty times faster than the scan, the first 100 packets of the busy host within 100 ms.
"""
import subprocess
import sys
import time

import pymongo

AIM_TIMES, AIM_FIRST_MS = 50, 100


def timed(call, times):
    best = result = None
    for _ in range(times):
        begin = time.monotonic()
        result = call()
        took = (time.monotonic() - begin) * 1000
        best = took if best is None else min(best, took)
    return best, result


def ends(condition):
    return {"$or": [{"local": condition}, {"remote": condition}]}


def host(address):
    return {"meta.hosts": {"$in": [address, None]}, **ends(address)}


def network(low, high):
    inside = {"$gte": low, "$lt": high}
    return {"$and": [{"$or": [{"meta.hosts": {"$elemMatch": inside}}, {"meta.hosts": None}]}, ends(inside)]}


def count_lines(command):
    def run():
        process = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        return process.stdout.count(b"\n")
    return run


def pick(db):
    """A busy, a middling and a rare address of the mix: its first inside host, its 200th, and one outside that few have met."""
    busy, middling = "10.0.0.0", "10.0.0.200"
    rare = None
    for name in sorted(c for c in db.list_collection_names() if c.startswith("packets_")):
        for document in db[name].aggregate([{"$match": {"proto": 6}}, {"$limit": 200000}, {"$group": {"_id": "$remote", "n": {"$sum": 1}}},
                                            {"$match": {"n": {"$lt": 20}, "_id": {"$not": {"$regex": ":"}}}},
                                            {"$sort": {"n": 1, "_id": 1}}, {"$limit": 1}]):
            rare = document["_id"]
        if rare:
            break
    return {"rare": rare, "middling": middling, "busy": busy}


class Bench:
    def __init__(self, db, pcap, smoke):
        self.db, self.pcap, self.smoke, self.failed = db, pcap, smoke, False

    def find(self, match, limit=0):
        return lambda: len(list(self.db.packets.find(match, {"meta": 0}, batch_size=20000).limit(limit)))

    def say(self, name, ms, packets):
        print(f"query.{name} {ms:.1f} ms, {packets} packets", flush=True)

    def differ(self, text):
        print(f"query: {text}", file=sys.stderr)
        self.failed = True

    def one_host(self, name, address):
        indexed, packets = timed(self.find(host(address)), 3 if name == "busy" else 7)
        self.say(name, indexed, packets)
        scan, scanned = timed(self.find(ends(address)), 1)
        self.say(name + "_scan", scan, scanned)
        dump, dumped = timed(count_lines(["tcpdump", "-nn", "-q", "-t", "-r", self.pcap, f"host {address} or (vlan and host {address})"]), 1)
        self.say(name + "_tcpdump", dump, dumped)
        shark, sharked = timed(count_lines(["tshark", "-n", "-r", self.pcap, "-Y", f"ip.addr == {address}", "-T", "fields", "-e",
                                            "frame.number"]), 1)
        self.say(name + "_tshark", shark, sharked)
        print(f"query.{name}_ratio {scan / indexed:.0f} times the scan, {dump / indexed:.0f} tcpdump, {shark / indexed:.0f} tshark")
        if len({packets, scanned, dumped, sharked}) != 1:
            self.differ(f"{name}: {packets} packets by the index, {scanned} by scan, {dumped} by tcpdump, {sharked} by tshark")
        if name != "busy" and not self.smoke and scan < AIM_TIMES * indexed:
            self.differ(f"{name}: only {scan / indexed:.0f} times faster than the scan")

    def networks(self):
        for name, low, high in (("net24", "10.0.1.", "10.0.1/"), ("net16", "23.99.", "23.99/")):
            ms, packets = timed(self.find(network(low, high)), 3)
            self.say(name, ms, packets)
            inside = {"$gte": low, "$lt": high}
            scan, scanned = timed(self.find(ends(inside)), 1)
            self.say(name + "_scan", scan, scanned)
            if packets != scanned:
                self.differ(f"{name}: {packets} packets by the index, {scanned} by scan")

    def first(self, address):
        def newest_collections():
            left, found = 100, 0
            for name in sorted(c for c in self.db.list_collection_names() if c.startswith("packets_")):
                found += len(list(self.db[name].find(host(address), {"meta": 0}).limit(left - found)))
                if found >= left:
                    break
            return found
        view, n = timed(self.find(host(address), 100), 5)
        self.say("busy_first100_view", view, n)
        ms, n = timed(newest_collections, 5)
        self.say("busy_first100", ms, n)
        if min(ms, view) > AIM_FIRST_MS and not self.smoke:
            self.differ(f"the first 100 packets of the busy host took {min(ms, view):.0f} ms")


def main():
    db = pymongo.MongoClient(sys.argv[1])[sys.argv[2]]
    bench = Bench(db, sys.argv[3], "--smoke" in sys.argv)
    hosts = pick(db)
    for name, address in hosts.items():
        if address is None:
            bench.differ(f"no {name} host was found")
            continue
        bench.one_host(name, address)
    bench.networks()
    bench.first(hosts["busy"])
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
