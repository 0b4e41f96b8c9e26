#!/usr/bin/python3
"""A database that costs nothing: hands everything on to a server, but answers itself, at once, whatever writes packets: documents,
finished buckets, and the replacing of open ones. What is read of them (the probe, and what was sent before) the server answers.

usage: swallow.py URI SOCKET REPORT     URI and SOCKET are Unix sockets; REPORT gets {packets, documents, first, last}
"""
import json
import os
import socket
import struct
import sys
import threading
import time
import urllib.parse

import bson
from bson.raw_bson import RawBSONDocument

OP_MSG = 2013
report = {"packets": 0, "documents": 0, "first": 0.0, "last": 0.0}
held = {}  # packets of a bucket, by its _id
lock = threading.Lock()


def receive(connection, size):
    data = bytearray(size)
    view = memoryview(data)
    have = 0
    while have < size:
        n = connection.recv_into(view[have:])
        if not n:
            raise EOFError
        have += n
    return data


def message(connection):
    head = receive(connection, 16)
    return head, receive(connection, struct.unpack_from("<i", head)[0] - 16)


def steps(data, at, end, keys):
    """Where documents stand: one behind the other, or with their keys in an array."""
    while at < end:
        if keys:
            at = data.index(0, at + 1) + 1
        yield at
        at += struct.unpack_from("<i", data, at)[0]


def parts(body, name):
    """Where a command's documents or updates begin, in an array of it or in a section of their own."""
    size = struct.unpack_from("<i", body, 5)[0]
    key = body.find(b"\x04" + name + b"\0", 5, 5 + size)
    if key >= 0:
        at = key + len(name) + 2
        return steps(body, at + 4, at + struct.unpack_from("<i", body, at)[0] - 1, True)
    at = 5 + size
    return steps(body, body.index(0, at + 5) + 1, at + 1 + struct.unpack_from("<i", body, at + 1)[0], False)


def document(body, at):
    return RawBSONDocument(bytes(body[at:at + struct.unpack_from("<i", body, at)[0]]))


def wanted(body):
    """Whether it writes packets: as documents, or as buckets by rawData or by system.buckets. The verb, else None."""
    if body[4] != 0 or body[9:17] not in (b"\x02insert\0", b"\x02update\0"):
        return None
    at = 21 + len(b"system.buckets.") * body.startswith(b"system.buckets.", 21)
    return bytes(body[10:16]).decode() if body.startswith(b"packets_", at) else None


def written(body):
    """(packets, documents) of a command that writes packets; None for anything else."""
    verb = wanted(body)
    if not verb:
        return None
    packets = documents = 0
    for at in parts(body, b"documents" if verb == "insert" else b"updates"):
        documents += 1
        if verb == "insert" and body[at + 4] != 7:  # a bucket's _id is an ObjectId, a packet's is not; it stands first
            packets += 1
            continue
        bucket = document(body, at)
        bucket = bucket["u"] if verb == "update" else bucket
        identity, count = bucket["_id"].binary, bucket["control"]["count"]
        with lock:  # replaced by its larger self it is not counted twice
            packets += count - held.get(identity, 0)
            held[identity] = count
    return packets, documents


def write_report(path):
    with open(path + ".new", "w", encoding="ascii") as file:
        json.dump(report, file)
    os.rename(path + ".new", path)


def reply(head, fields):
    body = struct.pack("<I", 0) + b"\0" + bson.encode(fields)
    return struct.pack("<iiii", 16 + len(body), 1, struct.unpack_from("<i", head, 4)[0], OP_MSG) + body


def serve(client, server_path, report_path):
    server = socket.socket(socket.AF_UNIX)
    server.connect(server_path)
    try:
        while True:
            head, body = message(client)
            found = written(body) if struct.unpack_from("<i", head, 12)[0] == OP_MSG else None
            if found is None:
                server.sendall(head + body)
                answer_head, answer = message(server)
                client.sendall(answer_head + answer)
                continue
            with lock:
                now = time.monotonic()
                report["first"] = report["first"] or now
                report["last"] = now
                report["packets"] += found[0]
                report["documents"] += found[1]
                write_report(report_path)
            client.sendall(reply(head, {"n": found[1], "ok": 1.0}))
    except (EOFError, OSError):
        pass
    finally:
        server.close()
        client.close()


def main():
    uri, path, report_path = sys.argv[1:]
    server_path = urllib.parse.unquote(uri[len("mongodb://"):])
    write_report(report_path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".new")
    os.chmod(path + ".new", 0o666)
    listener.listen(64)
    os.rename(path + ".new", path)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client, server_path, report_path), daemon=True).start()


if __name__ == "__main__":
    main()
