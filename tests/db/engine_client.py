"""What tests/db/engine_test asks of a server as a client: pymongo 3.11 for users, a bare socket for what no user does.

usage: engine_client.py CHECK URI [ARGUMENT...]
"""
import collections
import datetime
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse

import bson
import pymongo
from bson.int64 import Int64

OP_REPLY, OP_QUERY, OP_MSG = 1, 2004, 2013
MORE_TO_COME, EXHAUST_ALLOWED = 1 << 1, 1 << 16
BATCH = 100
SAFE = pymongo.WriteConcern(w="majority", j=True)


def expect(condition, *what):
    if not condition:
        sys.exit(" ".join(str(each) for each in what))


def database(uri, name="engine_test"):
    client = pymongo.MongoClient(uri, retryWrites=False, serverSelectionTimeoutMS=5000, socketTimeoutMS=60000)
    return client.get_database(name, write_concern=SAFE)


class Wire:
    """A bare connection."""

    def __init__(self, uri):
        host = urllib.parse.unquote(uri[len("mongodb://"):])
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(host)

    @staticmethod
    def frame(opcode, payload, request=7):
        return struct.pack("<iiii", 16 + len(payload), request, 0, opcode) + payload

    @classmethod
    def message(cls, command, flags=0, sections=b"", before=b""):
        body = b"\0" + bson.encode(dict(command, **{"$db": command.get("$db", "admin")}))
        return cls.frame(OP_MSG, struct.pack("<I", flags) + before + body + sections)

    def send(self, data):
        self.socket.sendall(data)

    def exactly(self, count):
        parts = []
        while count:
            part = self.socket.recv(min(count, 1 << 20))
            if not part:
                raise EOFError("the server closed the connection")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def receive(self):
        """The opcode, flags and document of one reply."""
        length, _, answered, opcode = struct.unpack("<iiii", self.exactly(16))
        expect(answered == 7, "reply to request", answered)
        payload = self.exactly(length - 16)
        flags, = struct.unpack_from("<I", payload)
        return opcode, flags, bson.decode(payload[20 if opcode == OP_REPLY else 5:])

    def ask(self, command, **rest):
        self.send(self.message(command, **rest))
        return self.receive()[2]

    def closed(self):
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True


# --- data ------------------------------------------------------------------------------------------------------

def insert(uri, name, count):
    database(uri)[name].insert_many([{"_id": i} for i in range(int(count))])


def count(uri, name, wanted):
    found = database(uri)[name].count_documents({})
    expect(found == int(wanted), name, "has", found, "documents, expected", wanted)


def insert_until_gone(uri, name):
    """Prints the number of each batch once its answer counts: 150 ms later, if the server still answers (recorder/DESIGN.md
    section 6: the last milliseconds can be gone, journalled or not); ends with the server."""
    collection, batch, young = database(uri)[name], 0, collections.deque()
    while True:
        collection.insert_many([{"_id": batch * BATCH + i, "x": os.urandom(200)} for i in range(BATCH)])
        now = time.monotonic()
        young.append((batch, now))
        batch += 1
        while young and now - young[0][1] >= 0.15:
            print(young.popleft()[0], flush=True)


def has_all(uri, name):
    """Every batch named on standard input is there, and the collection is sound."""
    acknowledged = [int(line) for line in sys.stdin]
    there = {each["_id"] for each in database(uri)[name].find({}, {"_id": 1})}
    missing = [batch for batch in acknowledged if any(batch * BATCH + i not in there for i in range(BATCH))]
    expect(acknowledged and not missing, "of", len(acknowledged), "acknowledged batches are missing:", missing[:5])
    expect(database(uri).command("validate", name, full=True)["valid"], "validate found damage")


# --- greetings -------------------------------------------------------------------------------------------------

def legacy_hello(uri):
    """OP_QUERY isMaster, as libmongoc and older drivers begin."""
    for name in ("isMaster", "ismaster", "hello"):
        query = bson.encode({name: 1, "helloOk": True, "client": {"driver": {"name": "x", "version": "1"}, "os": {"type": "Linux"}}})
        wire = Wire(uri)
        wire.send(Wire.frame(OP_QUERY, struct.pack("<i", 0) + b"admin.$cmd\0" + struct.pack("<ii", 0, -1) + query))
        opcode, _, reply = wire.receive()
        expect(opcode == OP_REPLY and reply["ok"] == 1 and reply["maxWireVersion"] >= 6, name, opcode, reply)
        expect(reply.get("helloOk") and "topologyVersion" in reply, name, "lacks helloOk or topologyVersion:", reply)
        expect(wire.ask({"ping": 1})["ok"] == 1, "ping after", name)
    wire.send(Wire.frame(OP_QUERY, struct.pack("<i", 0) + b"admin.$cmd\0" + struct.pack("<ii", 0, -1) + bson.encode({"endSessions": []})))
    expect(wire.receive()[2]["code"] == 352, "another command as OP_QUERY")


def awaited_hello(uri):
    """A streaming monitor: waits as long as it said, gets one reply, and the same process again."""
    wire = Wire(uri)
    first = wire.ask({"hello": 1})
    again = Wire(uri).ask({"hello": 1})
    expect(first["topologyVersion"] == again["topologyVersion"], "two identities of one process")
    begun = time.monotonic()
    wait = {"hello": 1, "topologyVersion": first["topologyVersion"], "maxAwaitTimeMS": 700}
    wire.send(Wire.message(wait, flags=EXHAUST_ALLOWED))
    _, flags, reply = wire.receive()
    took = time.monotonic() - begun
    expect(0.6 < took < 2, "a hello of 700 ms took", took)
    expect(flags == 0 and reply["topologyVersion"] == first["topologyVersion"], "flags", flags, reply)
    begun = time.monotonic()
    stale = {"processId": bson.ObjectId(), "counter": Int64(0)}
    wire.ask(dict(wait, topologyVersion=stale, maxAwaitTimeMS=5000), flags=EXHAUST_ALLOWED)
    expect(time.monotonic() - begun < 2, "the id of an earlier process was waited for")


def documents(name, content):
    """A section of kind 1."""
    content = name.encode() + b"\0" + b"".join(bson.encode(each) for each in content)
    return b"\1" + struct.pack("<i", 4 + len(content)) + content


def hello_in_any_order(uri):
    """The sections of a message may stand in any order: the command after its documents."""
    section = documents("documents", [{"i": 1}, {"i": 2}])
    reply = Wire(uri).ask({"insert": "order", "$db": "engine_test"}, before=section)
    expect(reply.get("n") == 2, reply)
    # and a session command does not slip through behind another section
    reply = Wire(uri).ask({"startSession": 1}, before=section)
    expect(reply["ok"] == 0, reply)


# --- what the recorder relies on -------------------------------------------------------------------------------

def time_series(uri):
    base = database(uri)
    base.drop_collection("series")
    base.create_collection("series", timeseries={"timeField": "ts", "metaField": "meta", "bucketMaxSpanSeconds": 60, "bucketRoundingSeconds": 60})
    when = datetime.datetime(2026, 1, 1)
    base.series.insert_many([{"ts": when, "meta": {"sensor": "a"}, "n": i} for i in range(500)])
    base.series.create_index([("meta.sensor", 1)])
    expect(base.series.count_documents({"meta.sensor": "a", "n": {"$gte": 250}}) == 250, "wrong count")


def raw_buckets(uri):
    """A bucket read raw goes into another collection raw and reads as the same packets."""
    base = database(uri)
    time_series(uri)
    buckets = base.command({"find": "series", "rawData": True})["cursor"]["firstBatch"]
    base.drop_collection("copy")
    base.create_collection("copy", timeseries={"timeField": "ts", "metaField": "meta", "bucketMaxSpanSeconds": 60, "bucketRoundingSeconds": 60})
    for _ in range(2):
        reply = base.command({"insert": "copy", "documents": buckets, "rawData": True, "ordered": False,
                              "writeConcern": {"w": "majority", "j": True}}, check=False)
    expect(reply["writeErrors"][0]["code"] == 11000, "a bucket twice:", reply)
    expect(base.copy.count_documents({}) == 500, "packets:", base.copy.count_documents({}))


def write_options(uri):
    reply = database(uri).command({"insert": "options", "documents": [{"a": 1}], "ordered": False, "comment": "batch 7", "maxTimeMS": 10000,
                                   "writeConcern": {"w": "majority", "j": True}})
    expect(reply["ok"] == 1 and reply["n"] == 1 and "writeConcernError" not in reply, reply)
    try:
        database(uri).command({"find": "options", "maxTimeMS": -1})
    except pymongo.errors.OperationFailure:
        return
    expect(False, "maxTimeMS -1 was taken")


def duplicate_key(uri):
    base = database(uri)
    base.drop_collection("twice")
    base.twice.insert_one({"_id": 1})
    try:
        base.twice.insert_many([{"_id": 1}, {"_id": 2}], ordered=False)
        expect(False, "a duplicate was taken")
    except pymongo.errors.BulkWriteError as error:
        expect(error.details["nInserted"] == 1 and error.details["writeErrors"][0]["code"] == 11000, error.details)


def w0_has_no_reply(uri):
    wire = Wire(uri)
    database(uri).drop_collection("silent")
    for _ in range(3):
        wire.send(Wire.message({"insert": "silent", "documents": [{"a": 1}], "writeConcern": {"w": 0}, "$db": "engine_test"}, flags=MORE_TO_COME))
    expect("silent" == wire.ask({"find": "silent", "$db": "engine_test"})["cursor"]["ns"].split(".")[1], "not the answer to find")
    count(uri, "silent", 3)


def pipelined(uri):
    """Messages sent without waiting are answered one by one, in order."""
    wire = Wire(uri)
    wire.send(b"".join(Wire.message({"aggregate": 1, "pipeline": [{"$documents": [{"i": i}]}], "cursor": {}}) for i in range(200)))
    order = [wire.receive()[2]["cursor"]["firstBatch"][0]["i"] for _ in range(200)]
    expect(order == list(range(200)), order[:10])


def large_replies(uri):
    base = database(uri)
    base.drop_collection("large")
    data = os.urandom(1 << 20)
    base.large.insert_many([{"_id": i, "x": data} for i in range(40)])  # more than one message allows: split by the driver
    expect(all(each["x"] == data for each in base.large.find()), "another content")
    base.drop_collection("large")


# --- what must not hurt it -------------------------------------------------------------------------------------

def sessions_are_refused(uri):
    """Each of these ends the engine's process if it gets there."""
    for name in ("startSession", "refreshSessions", "killSessions", "killAllSessions", "killAllSessionsByPattern"):
        reply = Wire(uri).ask({name: []})
        expect(reply["ok"] == 0 and reply["code"] == 59, name, reply)
    expect(Wire(uri).ask({"endSessions": []})["ok"] == 1, "endSessions")
    reply = Wire(uri).ask({"ping": 1, "lsid": {"id": bson.Binary(os.urandom(16), 4)}})
    expect(reply["ok"] == 0, "a session id was taken:", reply)


def garbage(uri):
    """None of these is an answer; each ends its connection only."""
    good = Wire.message({"ping": 1})
    samples = [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64, b"\xff" * 64, os.urandom(4096), Wire.frame(2012, b"x" * 30),
               struct.pack("<iiii", 16, 7, 0, OP_MSG), struct.pack("<iiii", -5, 7, 0, OP_MSG),
               Wire.frame(OP_MSG, b"\0" * 4), Wire.frame(OP_MSG, b"\0" * 4 + b"\0" + struct.pack("<i", 1 << 30) + b"x" * 20),
               Wire.frame(OP_MSG, b"\0" * 4 + b"\1" + struct.pack("<i", -1) + b"x" * 20),
               Wire.frame(OP_MSG, b"\0" * 4 + b"\2" + b"x" * 30), Wire.frame(OP_QUERY, b"x" * 100)]
    for sample in samples:
        wire = Wire(uri)
        wire.send(sample)
        expect(wire.closed(), "the connection lives on after", sample[:40])
    for at in range(16, len(good)):  # what is framed well is answered or ends the connection
        wire = Wire(uri)
        wire.send(good[:at] + bytes([good[at] ^ 0x41]) + good[at + 1:])
        try:
            wire.receive()
        except (EOFError, ConnectionError):
            pass
        except TimeoutError:
            pass  # moreToCome: no answer is owed


def cut_off(uri):
    """Clients that vanish in mid-message, and before they read."""
    for at in (1, 15, 16, 20, 30):
        wire = Wire(uri)
        wire.send(Wire.message({"ping": 1})[:at])
        wire.socket.close()
    for _ in range(200):
        wire = Wire(uri)
        wire.send(Wire.message({"serverStatus": 1}))
        wire.socket.close()


def too_long(uri):
    wire = Wire(uri)
    length = 48_000_001
    wire.send(struct.pack("<iiii", length, 7, 0, OP_MSG))
    wire.send(bytes(length - 16))
    reply = wire.receive()[2]
    expect(reply["ok"] == 0 and reply["code"] == 10334 and "48000000" in reply["errmsg"], reply)
    expect(wire.closed(), "the connection lives on")


def byte_by_byte(uri):
    wire = Wire(uri)
    for byte in Wire.message({"ping": 1}):
        wire.send(bytes([byte]))
    expect(wire.receive()[2]["ok"] == 1, "ping byte by byte")


def refused_is_an_answer(uri):
    """What the engine throws at is answered with an error, and the connection goes on."""
    wire = Wire(uri)
    huge = documents("documents", [{"x": b"\0" * (1 << 20)}] * 36)
    reply = wire.ask({"insert": "refused", "$db": "engine_test"}, sections=huge)
    expect(reply["ok"] == 0 and "BSONObjectTooLarge" in reply["errmsg"], reply)
    expect(wire.ask({"noSuchCommand": 1})["code"] == 59, "an unknown command")
    expect(wire.ask({"ping": 1})["ok"] == 1, "ping afterwards")


def slow_beside_fast(uri):
    """Slow requests on other connections do not hold up fast ones."""
    base = database(uri)
    base.drop_collection("slow")
    base.slow.insert_many([{"i": i} for i in range(6000)])
    inner = {"$lookup": {"from": "slow", "pipeline": [{"$match": {"$expr": {"$gt": [{"$mod": ["$i", 7]}, 8]}}}], "as": "y"}}
    pipeline = [inner, {"$group": {"_id": None, "n": {"$sum": 1}}}]

    def seconds(action):
        begun = time.monotonic()
        action()
        return time.monotonic() - begun

    threads, slow = [], []
    for _ in range(3):
        threads.append(threading.Thread(target=lambda: slow.append(seconds(lambda: list(base.slow.aggregate(pipeline))))))
        threads[-1].start()
    time.sleep(0.02)
    fast = []
    while all(thread.is_alive() for thread in threads) and len(fast) < 20:
        fast.append(seconds(lambda: base.command("ping")))
    for thread in threads:
        thread.join()
    expect(len(fast) > 1 and min(fast) < min(slow) / 4, "pings", fast, "beside", slow)


def stop_answers(uri, engine):
    """A polite stop answers what is under way; a new start is another process."""
    before = Wire(uri).ask({"hello": 1})["topologyVersion"]["processId"]
    wire = Wire(uri)
    section = documents("documents", [{"x": os.urandom(1000)} for _ in range(20000)])
    wire.send(Wire.message({"insert": "last", "$db": "engine_test", "writeConcern": {"w": "majority", "j": True}}, sections=section))
    time.sleep(0.05)
    stopping = subprocess.Popen([engine, "stop"], stdout=subprocess.DEVNULL)
    reply = wire.receive()[2]
    expect(reply.get("n") == 20000, reply)
    expect(stopping.wait() == 0, "engine stop failed")
    subprocess.run([engine, "start"], check=True, stdout=subprocess.DEVNULL)
    count(uri, "last", 20000)
    expect(Wire(uri).ask({"hello": 1})["topologyVersion"]["processId"] != before, "the same id after a restart")


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
