"""Where the documents of a capture file come from: the native parser, or the database that import wrote to."""
import collections
import datetime
import hashlib
import os
import subprocess

import bucket

EPOCH, MILLISECOND = datetime.datetime(1970, 1, 1), datetime.timedelta(milliseconds=1)


class Quick:
    """The documents that tests/lib/documents makes of a file."""

    def __init__(self, build):
        self.program = os.path.join(build, "tests/lib/documents")

    def documents(self, path):
        done = subprocess.run([self.program, path], capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.decode(errors="replace").strip() or f"documents: status {done.returncode}")
        return done.stdout


class Database:
    """
    The documents of one database, as find() gives them, sorted once into a file for each capture: a time-series collection has no
    index on _id. Which captures are a file's says the event that its import began with. A packet of a finished bucket has no _id:
    its capture is that of a bucket which holds the same packet, by our own reading of the buckets and the ledger.
    """

    def __init__(self, uri, name, scratch):
        import pymongo
        from bson.raw_bson import RawBSONDocument
        self.scratch = scratch
        client = pymongo.MongoClient(uri, serverSelectionTimeoutMS=10000, document_class=RawBSONDocument)
        database = client[name]
        self.captures = self.read_events(database)
        plain = pymongo.MongoClient(uri, serverSelectionTimeoutMS=10000)
        owners = bucket.owners(plain[name])
        for collection in sorted(c for c in database.list_collection_names() if c.startswith("packets_")):
            self.spread(database[collection], self.read_buckets(plain[name], collection, owners))
        plain.close()
        client.close()

    @staticmethod
    def read_events(database):
        """{path: [capture, in hex]} and {sha256 of the file: the same}."""
        captures = {}
        for event in database["events"].find({"kind": "import"}):
            details = event["details"]
            ids = [bytes(interface["capture"]).hex() for interface in details["interfaces"]]
            captures[details["file"]] = captures[details["sha256"]] = ids
        return captures

    def path(self, capture):
        return os.path.join(self.scratch, f"{capture}.bson")

    @staticmethod
    def key(packet, ms):
        """A packet by what it holds, whatever the order."""
        known = sorted((k, bytes(v) if isinstance(v, bytes) else v) for k, v in packet.items() if k not in ("_id", "meta", "ts"))
        return hashlib.sha256(repr((ms, known)).encode()).digest()

    def read_buckets(self, database, collection, owners):
        """{key of a packet: [captures of buckets that hold it]}"""
        found = collections.defaultdict(list)
        for one in bucket.stored(database, collection):
            owner = owners.get(one["_id"].binary)
            if owner is None:
                raise RuntimeError(f"{collection}: bucket {one['_id']} is in no ledger entry")
            for row in bucket.rows(one):
                found[self.key(row, row["ts"])].append(owner[0][0].hex())
        return found

    def spread(self, collection, finished):
        parts = collections.defaultdict(bytearray)
        for document in collection.find({}, batch_size=20000):
            if "_id" in document:
                capture = bytes(document["_id"])[:16].hex()
            else:
                captures = finished[self.key(document, (document["ts"] - EPOCH) // MILLISECOND)]
                capture = captures.pop() if captures else "nobody"
            parts[capture] += document.raw
            if len(parts) > 1000 or sum(map(len, parts.values())) > 1 << 26 and len(parts) < 50:
                self.flush(parts)
        self.flush(parts)
        left = sum(map(len, finished.values()))
        if left or os.path.exists(self.path("nobody")):
            raise RuntimeError(f"{collection.name}: find() does not show what its buckets hold; {left} packets of theirs are not there")

    def flush(self, parts):
        for capture, data in parts.items():
            with open(self.path(capture), "ab") as file:
                file.write(data)
        parts.clear()

    def documents(self, path):
        ids = self.captures.get(path)
        if ids is None:
            with open(path, "rb") as file:
                ids = self.captures.get(hashlib.sha256(file.read()).hexdigest())
        if ids is None:
            raise RuntimeError("the database has no event of its import")
        found = bytearray()
        for capture in dict.fromkeys(ids):
            if os.path.exists(self.path(capture)):
                with open(self.path(capture), "rb") as file:
                    found += file.read()
        return bytes(found)
