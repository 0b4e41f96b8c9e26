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


def run(data, at, end):
    """The documents that stand one behind the other there."""
    while at < end:
        size = struct.unpack_from("<i", data, at)[0]
        yield RawBSONDocument(bytes(data[at:at + size]))
        at += size


def parts(body):
    """A command as one document, and its documents or updates, wherever they are: in it, or in a section of their own."""
    size = struct.unpack_from("<i", body, 5)[0]
    command = RawBSONDocument(bytes(body[5:5 + size]))
    at, many = 5 + size, None
    if at < len(body) and body[at] == 1:
        length = struct.unpack_from("<i", body, at + 1)[0]
        many = run(body, body.index(0, at + 5) + 1, at + 1 + length)
    return command, many


def wanted(body):
    """Whether it writes packets: as documents, or as buckets by rawData or by system.buckets. The verb, else None."""
    if body[4] != 0 or body[9:17] not in (b"\x02insert\0", b"\x02update\0"):
        return None
    at = 21 + len(b"system.buckets.") * body.startswith(b"system.buckets.", 21)
    return bytes(body[10:16]).decode() if body.startswith(b"packets_", at) else None


def count_of(document):
    """Packets in what is inserted."""
    control = document.get("control")
    return control["count"] if control else 1


def written(body):
    """(packets, documents) of a command that writes packets; None for anything else."""
    verb = wanted(body)
    if not verb:
        return None
    command, many = parts(body)
    packets = documents = 0
    for one in many if many is not None else command["documents" if verb == "insert" else "updates"]:
        documents += 1
        bucket = one["u"] if verb == "update" else one
        count = count_of(bucket)
        if verb == "update" or "control" in bucket:
            with lock:  # a bucket that is replaced by its larger self is not counted twice
                identity = bytes(bucket["_id"].binary)
                packets += count - held.get(identity, 0)
                held[identity] = count
        else:
            packets += count
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
