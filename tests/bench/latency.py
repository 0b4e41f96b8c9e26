#!/usr/bin/python3
"""Sends one UDP packet at a time and asks for its document until it is there.

usage: latency.py URI DATABASE INTERFACE NAME PROBES LIMIT   prints latency.NAME.p50, p99, max; fails above LIMIT seconds
"""
import datetime
import random
import socket
import struct
import sys
import time

import pymongo


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xffff) + (total >> 16)
    return ~(total + (total >> 16)) & 0xffff


def frame(number):
    """Known by its IPv4 id and by port 4242."""
    def ip(check):
        return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 46, number, 0, 64, 17, check, bytes([203, 0, 113, 42]), bytes([198, 18, 0, 1]))
    udp = struct.pack("!HHHH", 4242, 9, 26, 0) + bytes(18)
    return bytes.fromhex("0200000000020200000000ff0800") + ip(checksum(ip(0))) + udp


def found(db, number, sent):
    name = sent.strftime("packets_%Y%m%d")
    near = datetime.timedelta(milliseconds=50)
    match = {"ts": {"$gte": sent - near, "$lt": sent + near}, "ipid": number, "$or": [{"lport": 4242}, {"rport": 4242}]}
    return db[name].find_one(match, {"_id": 1}) is not None


def probe(db, out, number):
    data = frame(number)
    sent, begin = datetime.datetime.utcnow(), time.monotonic()
    out.send(data)
    while not found(db, number, sent):
        if time.monotonic() - begin > 10:
            sys.exit(f"packet {number} is not there after 10 s")
        time.sleep(0.002)
    return time.monotonic() - begin


def main():
    uri, database, interface, name, probes, limit = sys.argv[1:]
    db = pymongo.MongoClient(uri)[database]
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    out.bind((interface, 0))
    times = []
    for number in range(int(probes)):
        time.sleep(random.uniform(0.05, 0.25))
        times.append(probe(db, out, number + 1))
    times.sort()
    for figure, value in (("p50", times[len(times) // 2]), ("p99", times[len(times) * 99 // 100]), ("max", times[-1])):
        print(f"latency.{name}.{figure} {value * 1000:.0f} ms")
    sys.exit(0 if times[-1] < float(limit) else 1)


if __name__ == "__main__":
    main()
