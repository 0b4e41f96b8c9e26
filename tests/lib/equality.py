#!/usr/bin/python3
"""Holds what the recorder stores of capture files against tshark's reading and against the files' bytes.

usage: equality.py BUILD quick FILE...                documents of the native parser, without a database
       equality.py BUILD database URI NAME FILE...    what import stored in the database NAME
       equality.py BUILD control URI NAME FILE        the same, with one fault after the other in what is read: all must be found

BUILD is the directory of the built programs. tests/equality calls this and says what is printed.
"""
import collections
import fnmatch
import ipaddress
import multiprocessing
import os
import re
import struct
import subprocess
import sys
import tempfile

import bson

import equality_document
import equality_store
import equality_tshark

HERE = os.path.dirname(os.path.abspath(__file__))
LIST = os.path.join(HERE, "equality_fields.txt")
HEADER_MOST = 256  # bytes of a record: REC_CAP_MAX in bpf/abi.h
REPEATED = {"vlan", "ieee8021ad", "mpls", "arp"}  # of which there may be more, or others, than there are fields for: then they are in raw
SHOWN_MOST = 40  # differences that are printed
SHOWN_OF_FILE = 6

Exemption = collections.namedtuple("Exemption", "name fields condition reason")
Difference = collections.namedtuple("Difference", "number field where ours theirs")

# --- the list -------------------------------------------------------------------------------------------------

class Fields:
    """equality_fields.txt: for each layer [(field, expression)], and the exemptions."""

    def __init__(self, path):
        self.layers, self.exemptions, section = {}, [], None
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                line = line.rstrip("\n")
                if not line or line.startswith("#"):
                    continue
                if line.startswith("["):
                    section = line.strip("[]")
                elif section == "exemptions":
                    name, fields, condition, reason = (part.strip() for part in line.split("|"))
                    self.exemptions.append(Exemption(name, fields.split(), compile(condition, f"{path}:{number}", "eval"), reason))
                else:
                    name, expression = line.split(None, 1)
                    self.layers.setdefault(section, []).append((name, compile(expression, f"{path}:{number}", "eval")))
        self.names = sorted({name for fields in self.layers.values() for name, _ in fields})

    def of(self, stack, layer):
        return self.layers.get(f"{stack}.{layer}") or self.layers.get(layer, ())

def check_names(fields):
    unknown = sorted(set(fields.names) - equality_tshark.field_names())
    if unknown:
        sys.exit(f"{LIST}: this tshark has no field {', '.join(unknown)}")

# --- values ---------------------------------------------------------------------------------------------------

def read(expression, names):
    """The values that an expression gives; a name that is not there is no value."""
    try:
        value = eval(expression, equality_document.CALLS, names)  # the list is part of the tree
    except NameError:
        return []
    if value is None:
        return []
    return value if isinstance(value, list) else [value]

def as_numbers(show):
    """
    tshark's numbers: decimal, hexadecimal, or seconds and nanoseconds (then ns). Nanoseconds out of range are shown as they are,
    and where they are negative the sign stands in front of the seconds: then there are two readings.
    """
    seconds = re.fullmatch(r"(-?)(\d+)\.(\d{9,10})", show)
    if seconds:
        whole, part = int(seconds[2]) * 1_000_000_000, int(seconds[3])
        return (-whole - part, whole - part, -whole + part) if seconds[1] else (whole + part,)
    try:
        return (int(show, 0),)
    except ValueError:
        return (int(show, 10),) if show.isdigit() else ()


def address(text):
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return text

def same(ours, shown):
    if isinstance(ours, int):
        return ours in as_numbers(shown.show)
    if isinstance(ours, bytes):
        return (shown.value or "").lower() == ours.hex()
    return ours == shown.show or address(ours) == address(shown.show)

# --- a packet -------------------------------------------------------------------------------------------------

class Verdict:
    """What was compared and what differs, of one file; adds up."""

    def __init__(self):
        self.packets = self.compared = self.from_raw = self.differ = 0
        self.carry, self.exempted, self.shown = collections.Counter(), collections.Counter(), []

    def add(self, difference):
        self.differ += 1
        if len(self.shown) < SHOWN_OF_FILE:
            self.shown.append(difference)

class Packet:
    """One packet's document against its reading."""

    def __init__(self, fields, verdict, number, document, header, frame, reading):
        self.fields, self.verdict, self.number = fields, verdict, number
        self.document, self.header, self.frame, self.reading = document, header, frame, reading
        self.marks = set(document.get("marks", "").split(",")) - {""}
        self.raw = bytes(document.get("raw", b""))
        self.carried = set()

    def exempt(self, field, place, names, ours, theirs):
        scope = {"field": field, "ours": ours, "theirs": [t.show for t in theirs], "names": names or {}, "marks": self.marks, "any": any,
                 "layers": [layer.name for layer in self.reading.layers], "captured": self.frame.captured, "length": self.frame.length,
                 "stack": place[0], "layer": place[1], "options": equality_document.options, "__builtins__": {},
                 "plens": [as_numbers(s.show)[0] for layer in self.reading.layers for s in layer.fields.get("ipv6.plen", ())]}
        for exemption in self.fields.exemptions:
            if any(fnmatch.fnmatchcase(field, pattern) for pattern in exemption.fields) and eval(exemption.condition, scope):
                self.verdict.exempted[exemption.name] += 1
                return True
        return False

    def differ(self, field, place, names, ours, theirs):
        if not self.exempt(field, place, names, ours, theirs):
            self.verdict.add(Difference(self.number, field, place, ours, [t.show for t in theirs]))

    def in_raw(self, place, shown):
        """
        A layer that ends too early, or that the fields do not hold (the third tag, the fifth label), stands in raw: then what tshark
        read the field from are these bytes.
        """
        if not self.raw or not (self.marks or self.reading.cut or place[1] in REPEATED or place[0] == "quote"):
            return False
        if any(s.value is None or self.raw[s.at:s.at + len(s.value) // 2].hex() != s.value.lower() for s in shown):
            return False
        self.verdict.from_raw += 1
        return True

    def field(self, place, name, names, ours, shown):
        shown = [s for s in shown if s.show or s.value]
        if not ours and not shown:
            return
        self.verdict.compared += 1
        self.carried.add(name)
        for s in shown:
            if len(self.header) < HEADER_MOST and s.value and s.at + len(s.value) // 2 > len(self.header) and place[1] != "frame":
                self.differ(name, (*place, f"byte {s.at} is not among the {len(self.header)} header bytes"), names, ours, shown)
                return
        if len(ours) == len(shown) and all(same(o, s) for o, s in zip(ours, shown)):
            return
        if not ours and self.in_raw(place, shown):
            return
        self.differ(name, place, names, ours, shown)

    def compare(self):
        theirs = equality_tshark.places(self.reading)
        ours = equality_document.layers(self.document, {place: layer.at for place, layer in theirs.items()})
        ours["once", "frame", 0]["interface"] = self.frame.named and (self.frame.named if self.frame.interface.startswith("if") and self.frame.named == "unknown" else self.document["meta"]["iface"])
        for place in theirs.keys() | ours.keys():
            layer, names = theirs.get(place), ours.get(place)
            for name, expression in self.fields.of(place[0], place[1]):
                self.field(place, name, names, read(expression, names) if names is not None else [], layer.fields.get(name, []) if layer else [])
        self.verdict.carry.update(self.carried)

# --- a file ---------------------------------------------------------------------------------------------------

def rebuild(build, documents):
    """[(document, header bytes or None)] by the recorder's own reader."""
    with tempfile.TemporaryFile() as file:
        file.write(documents)
        file.seek(0)
        said = subprocess.run([os.path.join(build, "tests/lib/rebuild")], stdin=file, stdout=subprocess.PIPE, check=True).stdout
    at, found = 0, []
    for document in bson.decode_iter(documents):
        length, _, _ = struct.unpack_from("<iIq", said, at)
        at += 16
        found.append((document, said[at:at + length] if length >= 0 else None))
        at += max(length, 0)
    return found

def key_of(document):
    return equality_document.wall_ns(document), document["len"], document["meta"]["iface"]

def pair(frames, stored, verdict):
    """
    packet number -> its (document, header bytes): by time, length, interface, and bytes where several agree in that. What has no
    partner, and what has another's bytes, differs.
    """
    waiting = collections.defaultdict(list)
    for entry in stored:
        waiting[key_of(entry[0])].append(entry)
    found, left = {}, []
    groups = collections.defaultdict(list)
    for number, frame in enumerate(frames):
        groups[frame.time, max(frame.length, frame.captured), frame.interface].append(number)
    for key, numbers in groups.items():
        entries = sorted(waiting.pop(key, []), key=lambda e: -len(e[1] or b""))
        for entry in list(entries):
            match = next((n for n in numbers if n not in found and entry[1] is not None and frames[n].bytes.startswith(entry[1])), None)
            if match is not None:
                found[match] = entry
                entries.remove(entry)
        for number in (n for n in numbers if n not in found):
            if entries:
                found[number] = entries.pop(0)
                verdict.add(Difference(number, "header bytes", "rebuilt", (found[number][1] or b"").hex(), [frames[number].bytes.hex()]))
            else:
                left.append(number)
        waiting[key] = entries
    for number in left:
        verdict.add(Difference(number, "packet", "stored", "missing", [f"{frames[number].length} bytes, {frames[number].time}"]))
    for entries in waiting.values():
        for document, _ in entries:
            verdict.add(Difference(-1, "document", "file", str(document["ts"]), ["no packet of the file, or one too many"]))
    return found

def compare_file(path, build, documents, fields, environment):
    verdict = Verdict()
    stored = rebuild(build, documents)
    ids = [bytes(document["_id"]) for document, _ in stored if "_id" in document]  # packets of finished buckets have none
    if len(set(ids)) != len(ids):
        verdict.add(Difference(-1, "_id", "twice", len(ids), []))
    frames = list(equality_tshark.frames(path, environment, HEADER_MOST))
    found = pair(frames, stored, verdict)
    verdict.packets, number = len(frames), -1
    for number, reading in enumerate(equality_tshark.readings(path, environment, set(fields.names) | {"llc.oui"})):
        entry = found.get(number)
        if entry:
            Packet(fields, verdict, number, entry[0], entry[1] or b"", frames[number], reading).compare()
    if number + 1 != len(frames):
        verdict.add(Difference(number + 1, "packet", "tshark", len(frames), [f"{number + 1} readings"]))
    return path, verdict

# --- all of them ----------------------------------------------------------------------------------------------

def work(job):
    path, build, source, fields_path, environment = job
    try:
        return compare_file(path, build, source.documents(path), Fields(fields_path), environment)
    except Exception as error:  # a file that cannot be compared is a difference of that file, with its reason
        verdict = Verdict()
        verdict.add(Difference(-1, "file", type(error).__name__, str(error), []))
        if os.environ.get("EQUALITY_TRACE"):
            raise
        return path, verdict

def show(path, verdict, room):
    for difference in verdict.shown[:room]:
        number, field, where, ours, theirs = difference
        print(f"{path}: packet {number + 1}: {field} ({where}): stored {ours}, tshark {', '.join(theirs) or 'none'}"[:600])
    return len(verdict.shown[:room])

def report(fields, verdicts):
    """The differences, the table, the last line."""
    total, room = Verdict(), SHOWN_MOST
    for path, verdict in verdicts:
        room -= show(path, verdict, room)
        for name in ("packets", "compared", "from_raw", "differ"):
            setattr(total, name, getattr(total, name) + getattr(verdict, name))
        total.carry += verdict.carry
        total.exempted += verdict.exempted
    print(f"{'packets':>9}  field")
    for name in fields.names:
        print(f"{total.carry[name]:9}  {name}")
    for exemption in fields.exemptions:
        print(f"{total.exempted[exemption.name]:9}  exempted: {exemption.name}: {exemption.reason}")
    print(f"{total.from_raw:9}  read from raw: a layer that ends early, or more of them than there are fields")
    print(f"files {len(verdicts)} packets {total.packets} fields {total.compared} differ {total.differ}")
    return total.differ == 0 and total.packets > 0

# --- controls -------------------------------------------------------------------------------------------------


def wrong_byte(document):
    """The last header byte that is kept as it was, else the least bit of a checksum, else of the TTL."""
    if "raw" in document:
        document["raw"] = document["raw"][:-1] + bytes([document["raw"][-1] ^ 1])
    else:
        document[next(name for name in ("csum", "icsum", "ttl") if name in document)] ^= 1


def swapped_field(document):
    """Ports if there are two, else addresses, else those of the frame."""
    for local, remote in (("lport", "rport"), ("local", "remote"), ("lmac", "rmac")):
        if document.get(local) != document.get(remote):
            document[local], document[remote] = document[remote], document[local]
            return


FAULTS = (("one wrong byte", wrong_byte), ("one swapped field", swapped_field), ("one missing packet", None))


def control(path, build, source, fields, environment):
    documents = list(bson.decode_iter(source.documents(path)))
    victims = [i for i, d in enumerate(documents) if d.get("lmac") != d.get("rmac") and any(n in d for n in ("raw", "csum", "icsum", "ttl"))]
    if not victims:
        sys.exit(f"equality: {path}: no packet that a control can damage")
    victim, found = victims[len(victims) // 2], 0

    def differ(some):
        return compare_file(path, build, b"".join(map(bson.encode, some)), fields, environment)[1].differ

    before = differ(documents)
    print(f"no fault: differ {before}")
    for what, damage in FAULTS:
        damaged = [dict(documents[victim])] if damage else []
        for document in damaged:
            damage(document)
        more = differ(documents[:victim] + damaged + documents[victim + 1:]) - before
        print(f"{what}: {f'found, {more} more differ' if more > 0 else 'NOT FOUND'}")
        found += more > 0
    print(f"controls {len(FAULTS)} found {found}")
    return before == 0 and found == len(FAULTS)


def main():
    if len(sys.argv) < 4 or sys.argv[2] not in ("quick", "database", "control"):
        sys.exit(__doc__)
    build, mode, *rest = sys.argv[1:]
    fields = Fields(LIST)
    check_names(fields)
    with tempfile.TemporaryDirectory(prefix="equality.") as scratch:
        environment = equality_tshark.configure(scratch)
        if mode == "quick":
            source, paths = equality_store.Quick(build), rest
        else:
            source, paths = equality_store.Database(rest[0], rest[1], scratch), rest[2:]
        if mode == "control":
            sys.exit(0 if control(paths[0], build, source, fields, environment) else 1)
        jobs = [(path, build, source, LIST, environment) for path in sorted(paths, key=lambda p: -os.path.getsize(p))]
        with multiprocessing.Pool(os.cpu_count()) as pool:
            verdicts = pool.map(work, jobs, chunksize=1)
    sys.exit(0 if report(fields, sorted(verdicts, key=lambda v: paths.index(v[0]))) else 1)


if __name__ == "__main__":
    main()
