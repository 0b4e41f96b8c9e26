#!/usr/bin/python3
"""Asks for hosts and networks in the ways of the README, and in the ways that people have without the index. See query.sh.

usage: query.py URI DATABASE PCAP [--smoke]

Each answer is counted and must be the same whichever way it was found, and not empty. A time is the least of 7 of the index (3 for the
busy host), of one run of whatever reads everything: its caches are as warm, for the packets have just been written. Exit status
1 when an answer differs, or (without --smoke) when an aim is missed: rare and middling hosts fifty times faster than the scan, the
first 100 packets of the busy host within 100 ms.
"""
import collections
import pathlib
import subprocess
import sys
import time

import pymongo

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import bucket  # noqa: E402  (tests/lib is found only now)

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


def pick(pcap):
    """A rare, a middling and a busy host of the mix: one outside with 2 to 20 packets in all, of those inside a middle one
    and the most frequent. Counted in the capture file, so it does not depend on what is measured."""
    packets = collections.Counter()
    command = ["tcpdump", "-nn", "-q", "-t", "-r", pcap, "ip or (vlan and ip)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        for line in process.stdout:
            words = line.split()
            if b"IP" not in words or b">" not in words:
                continue
            arrow = words.index(b">")
            for end in (words[arrow - 1], words[arrow + 1].rstrip(b":")):
                packets[b".".join(end.split(b".")[:4])] += 1
    inside = [(n, host) for host, n in packets.items() if host.startswith(b"10.0.")]
    outside = [(n, host) for host, n in packets.items() if not host.startswith(b"10.0.") and 2 <= n <= 20]
    chosen = {"rare": min(outside), "middling": sorted(inside)[len(inside) // 2], "busy": max(inside)}
    return {name: host.decode() for name, (_, host) in chosen.items()}


class Bench:
    def __init__(self, db, pcap, smoke):
        self.db, self.pcap, self.smoke, self.failed = db, pcap, smoke, False

    def find(self, match, limit=0):
        return lambda: len(list(self.db.packets.find(match, {"meta": 0}, batch_size=20000).limit(limit)))

    def say(self, name, ms, packets):
        print(f"query.{name} {ms:.1f} ms, {packets} packets", flush=True)

    def buckets(self, name, address):
        """How many buckets hold the host, of how many: each has to be unpacked whole, whatever share of it is asked for."""
        days = [c for c in self.db.list_collection_names() if c.startswith("packets_")]
        held = whole = 0
        for day in days:
            head, tail = bucket.raw_command(self.db, "count", day)
            held += self.db.command({**head, "query": {"meta.hosts": {"$in": [address, None]}}, **tail})["n"]
            whole += self.db.command({**head, "query": {}, **tail})["n"]
        print(f"query.{name}_buckets {held} of {whole}: at most {whole / max(held, 1):.0f} times faster than reading all of them")

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
        self.buckets(name, address)
        print(f"query.{name}_ratio {scan / indexed:.0f} times the scan, {dump / indexed:.0f} tcpdump, {shark / indexed:.0f} tshark")
        if len({packets, scanned, dumped, sharked}) != 1 or not packets:
            self.differ(f"{name}: {packets} packets by the index, {scanned} by scan, {dumped} by tcpdump, {sharked} by tshark")
        if name != "busy" and not self.smoke and scan < AIM_TIMES * indexed:
            self.differ(f"{name}: only {scan / indexed:.0f} times faster than the scan")

    def networks(self, rare):
        """A /24 of hosts inside, and the /16 that the rare host is in."""
        net16 = ".".join(rare.split(".")[:2])
        for name, low, high in (("net24", "10.0.1.", "10.0.1/"), ("net16", net16 + ".", net16 + "/")):
            ms, packets = timed(self.find(network(low, high)), 3)
            self.say(name, ms, packets)
            inside = {"$gte": low, "$lt": high}
            scan, scanned = timed(self.find(ends(inside)), 1)
            self.say(name + "_scan", scan, scanned)
            print(f"query.{name}_ratio {scan / ms:.0f} times the scan")
            if packets != scanned or not packets:
                self.differ(f"{name}: {packets} packets by the index, {scanned} by scan")

    def first(self, address):
        ms, n = timed(self.find(host(address), 100), 5)
        self.say("busy_first100", ms, n)
        if n != 100 or ms > AIM_FIRST_MS and not self.smoke:
            self.differ(f"the first 100 packets of the busy host: {n} in {ms:.0f} ms")


def main():
    db = pymongo.MongoClient(sys.argv[1])[sys.argv[2]]
    bench = Bench(db, sys.argv[3], "--smoke" in sys.argv)
    hosts = pick(sys.argv[3])
    for name, address in hosts.items():
        bench.one_host(name, address)
    bench.networks(hosts["rare"])
    bench.first(hosts["busy"])
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
