#!/usr/bin/python3
"""A database that costs nothing: hands everything on to a server, but answers packets' inserts itself, at once.

usage: swallow.py URI SOCKET REPORT     URI and SOCKET are Unix sockets; REPORT gets {packets, first, last}
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

OP_MSG = 2013
report = {"packets": 0, "first": 0.0, "last": 0.0}
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


def documents(data, at, end):
    """How many documents a run (or, with their keys, an array) of them holds."""
    count = 0
    while at < end - 1:
        if data[at] == 3:  # an array's element: type, key, document
            at = data.index(0, at + 1) + 1
        at += struct.unpack_from("<i", data, at)[0]
        count += 1
    return count


def inserted(body):
    """Number of packets in an insert of packets; None for anything else."""
    if body[4] != 0 or body[9:17] != b"\x02insert\0" or body[21:29] != b"packets_":
        return None
    size = struct.unpack_from("<i", body, 5)[0]
    key = body.find(b"\x04documents\0", 5, 5 + size)
    if key >= 0:
        at = key + 11
        return documents(body, at + 4, at + struct.unpack_from("<i", body, at)[0])
    at = 5 + size
    length = struct.unpack_from("<i", body, at + 1)[0]
    start = body.index(0, at + 5) + 1
    count, end = 0, at + 1 + length
    while start < end:
        start += struct.unpack_from("<i", body, start)[0]
        count += 1
    return count


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
            count = inserted(body) if struct.unpack_from("<i", head, 12)[0] == OP_MSG else None
            if count is None:
                server.sendall(head + body)
                answer_head, answer = message(server)
                client.sendall(answer_head + answer)
                continue
            with lock:
                now = time.monotonic()
                report["first"] = report["first"] or now
                report["last"] = now
                report["packets"] += count
                write_report(report_path)
            client.sendall(reply(head, {"n": count, "ok": 1.0}))
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
