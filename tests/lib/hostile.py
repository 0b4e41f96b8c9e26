#!/usr/bin/python3
"""Stands between a recorder and its database, and answers as nobody should, as long as a file says so.

usage: hostile.py SOCKET TARGET MANNER-FILE USER      serves SOCKET (a Unix socket of USER's), passes on to the Unix socket TARGET

The file holds a manner, and is read at each command:

  honest     passes everything on
  garbage    bytes that are no message            huge      announces 2 GiB, and sends them
  silent     never answers                        large     a whole, sound answer of 16 MB, of nothing
  close      closes instead of an answer          negative  announces -1 bytes
  half       closes in the middle of one          broken    a document that is none
  drip       a byte every 20 ms                   nested    20,000 documents in one another
  stranger   answers another question             odd       every field is of another type than it should be
  forget     acknowledges packets, and does not store them
  versions   greets as another version each time, and as another process
  endless    no cursor ever ends
  errors     names errors at places that are not there
  full       no space left, each time in another way
"""
import os
import pwd
import random
import socket
import struct
import sys
import threading
import time

import bson

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
WRITES = ("insert", "update", "delete")


def read_exactly(end, size):
    data = bytearray()
    while len(data) < size:
        piece = end.recv(min(size - len(data), 1 << 20))
        if not piece:
            raise OSError("closed")
        data += piece
    return bytes(data)


def read_message(end):
    head = read_exactly(end, 16)
    return head + read_exactly(end, struct.unpack_from("<i", head)[0] - 16)


def command_of(message):
    """Name and document of a command; documents of a second section are left out."""
    opcode = struct.unpack_from("<i", message, 12)[0]
    at = message.index(b"\0", 20) + 9 if opcode == OP_QUERY else 21
    size = struct.unpack_from("<i", message, at)[0]
    document = bson.decode(message[at:at + size])
    return next(iter(document)), document, message[at + size:]


def count_of(rest, document):
    """Documents of a write: in the section behind the command, or in it."""
    for key in ("documents", "updates", "deletes"):
        if key in document:
            return len(document[key])
    if len(rest) < 5:
        return 0
    size, at, count = struct.unpack_from("<i", rest, 1)[0], rest.index(b"\0", 5) + 1, 0
    while at < 1 + size:
        at += struct.unpack_from("<i", rest, at)[0]
        count += 1
    return count


def answer_to(request, document, responds=None):
    body = document if isinstance(document, bytes) else bson.encode(document)
    identity, opcode = struct.unpack_from("<i", request, 4)[0], struct.unpack_from("<i", request, 12)[0]
    if opcode == OP_QUERY:
        body, kind = struct.pack("<iqii", 8, 0, 0, 1) + body, OP_REPLY
    else:
        body, kind = struct.pack("<iB", 0, 0) + body, OP_MSG
    return struct.pack("<iiii", 16 + len(body), 7, identity if responds is None else responds, kind) + body


def document_in(reply):
    return bson.decode(reply[36 if struct.unpack_from("<i", reply, 12)[0] == OP_REPLY else 21:])


class Line(threading.Thread):
    def __init__(self, near, server):
        super().__init__(daemon=True)
        self.near, self.server = near, server
        self.far = socket.socket(socket.AF_UNIX)

    def run(self):
        try:
            self.far.connect(self.server.target)
            while self.serve_one():
                pass
        except (OSError, struct.error, bson.errors.BSONError):
            pass
        for end in (self.near, self.far):
            end.close()

    def honest(self, message):
        self.far.sendall(message)
        return read_message(self.far)

    def serve_one(self):
        message = read_message(self.near)
        manner = self.server.manner()
        name, document, rest = command_of(message)
        act = getattr(self, "on_" + manner, None)
        if act:
            return act(message, name, document, rest)
        self.near.sendall(self.honest(message))
        return True

    def on_garbage(self, *_):
        self.near.sendall(struct.pack("<i", 512) + random.randbytes(508))
        return True

    def on_silent(self, *_):
        while self.server.manner() == "silent":
            time.sleep(0.05)
        return False

    def on_close(self, *_):
        return False

    def on_half(self, message, *_):
        reply = self.honest(message)
        self.near.sendall(reply[:len(reply) // 2])
        return False

    def on_drip(self, message, *_):
        for byte in self.honest(message):
            self.near.sendall(bytes((byte,)))
            time.sleep(0.02)
        return True

    def on_huge(self, message, *_):
        head = bytearray(answer_to(message, {"ok": 1})[:16])
        struct.pack_into("<i", head, 0, 0x7fffffff)
        self.near.sendall(head)
        for _ in range(1 << 21):
            self.near.sendall(bytes(1024))
        return False

    def on_large(self, message, *_):
        self.near.sendall(answer_to(message, {"ok": 1, "of": bytes((16 << 20) - 100)}))
        return True

    def on_negative(self, message, *_):
        self.near.sendall(struct.pack("<i", -1) + answer_to(message, {"ok": 1})[4:])
        return True

    def on_broken(self, message, *_):
        body = bytearray(bson.encode({"ok": 1, "text": "x" * 200}))
        body[4:60] = b"\xee" * 56
        self.near.sendall(answer_to(message, bytes(body)))
        return True

    def on_nested(self, message, *_):
        body = b"\x05\0\0\0\0"
        for _ in range(20000):
            body = struct.pack("<i", len(body) + 8) + b"\x03a\0" + body + b"\0"
        self.near.sendall(answer_to(message, body))
        return True

    def on_stranger(self, message, *_):
        self.near.sendall(answer_to(message, {"ok": 1, "n": 0}, responds=struct.unpack_from("<i", message, 4)[0] + 1))
        return True

    def on_odd(self, message, *_):
        self.near.sendall(answer_to(message, {"ok": "yes", "n": {"a": 1}, "writeErrors": 7, "cursor": ["id", None], "code": [], "errmsg": 3.5,
                                              "maxWireVersion": "many", "topologyVersion": 1, "writeConcernError": "no", "errorLabels": {"a": 1}}))
        return True

    def on_forget(self, message, name, document, rest):
        if name != "insert" or not document["insert"].startswith("packets_"):
            self.near.sendall(self.honest(message))
            return True
        n = count_of(rest, document)
        self.server.forgotten += n
        self.near.sendall(answer_to(message, {"ok": 1.0, "n": n}))
        return True

    def on_versions(self, message, name, *_):
        reply = document_in(self.honest(message))
        if name.lower() in ("hello", "ismaster"):
            reply["maxWireVersion"] = random.choice((6, 9, 13, 17, 21, 25, 27, 2000000000))
            reply["topologyVersion"] = {"processId": bson.ObjectId(), "counter": bson.Int64(0)}
        self.near.sendall(answer_to(message, reply))
        return True

    def on_endless(self, message, name, document, _):
        if name in ("find", "aggregate", "listCollections", "listIndexes", "getMore"):
            batch = "nextBatch" if name == "getMore" else "firstBatch"
            one = {"_id": bson.Binary(random.randbytes(28)), "name": "packets_20000101", "type": "timeseries", "options": {}}
            space = f"{document['$db']}.{document.get('collection') or document[name]}"
            self.near.sendall(answer_to(message, {"cursor": {batch: [one] * 50, "id": bson.Int64(77), "ns": space}, "ok": 1.0}))
            return True
        return self.on_close() if name in WRITES else self.pass_on(message)

    def pass_on(self, message):
        self.near.sendall(self.honest(message))
        return True

    def on_errors(self, message, name, *_):
        if name not in WRITES:
            return self.pass_on(message)
        wrong = [{"index": i, "code": 11000, "errmsg": "no"} for i in (-1, 70000, 2147483647, 0, 0)] + [{"code": "x"}, 5]
        self.near.sendall(answer_to(message, {"ok": 1.0, "n": -5, "writeErrors": wrong}))
        return True

    def on_full(self, message, name, *_):
        if name not in WRITES:
            return self.pass_on(message)
        self.near.sendall(answer_to(message, random.choice((
            {"ok": 0.0, "code": 14031, "codeName": "OutOfDiskSpace", "errmsg": "available disk space is less than required"},
            {"ok": 1.0, "n": 0, "writeConcernError": {"code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting for replication timed out"}},
            {"ok": 0.0, "code": 10107, "codeName": "NotWritablePrimary", "errmsg": "not primary"}))))
        return True


class Server:
    def __init__(self, target, manner_file):
        self.target, self.manner_file, self.forgotten = target, manner_file, 0

    def manner(self):
        try:
            with open(self.manner_file, encoding="ascii") as file:
                return file.read().strip()
        except OSError:
            return "honest"


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    path, target, manner_file, user = sys.argv[1:]
    server = Server(target, manner_file)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chown(path, pwd.getpwnam(user).pw_uid, -1)
    listener.listen(64)
    while True:
        near, _ = listener.accept()
        Line(near, server).start()


if __name__ == "__main__":
    main()
