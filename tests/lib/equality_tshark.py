"""tshark's reading of a capture file, and the file's bytes as tshark gives them.

tshark runs with a configuration of its own, in which only the protocols are enabled whose headers are recorded: so no
heuristic invents a layer and nothing is put together, counted on or resolved. What is read is PDML, because it alone tells
to which layer a field belongs and where it stands in the packet.
"""
import collections
import os
import re
import struct
import subprocess

PROTOCOLS = ("frame eth ethertype vlan ieee8021ad llc pppoes ppp mpls arp ip ipv6 ipv6.hopopts ipv6.routing ipv6.routing.type.srh "
             "ipv6.routing.type.rt0 ipv6.routing.type.mipv6 ipv6.routing.type.rpl ipv6.fraghdr ipv6.dstopts mipv6 hip shim6 ah esp tcp mptcp udp "
             "icmp icmpv6 sctp dccp gre vxlan geneve").split()
PREFERENCES = ("ip.defragment:FALSE", "ip.tso_support:FALSE", "ip.check_checksum:FALSE", "ip.use_geoip:FALSE", "ipv6.defragment:FALSE",
               "tcp.desegment_tcp_streams:FALSE", "tcp.calculate_timestamps:FALSE", "tcp.relative_sequence_numbers:FALSE",
               "tcp.check_checksum:FALSE", "udp.check_checksum:FALSE",
               "sctp.reassembly:FALSE", "sctp.relative_tsns:FALSE", "dccp.relative_sequence_numbers:FALSE",
               "nameres.mac_name:FALSE", "nameres.network_name:FALSE", "nameres.transport_name:FALSE")
TAG = re.compile(r'<(proto|field) name="([^"]*)"(?: showname="[^"]*")?(?: hide="yes")?(?: size="(\d+)")?(?: pos="(\d+)")?(?: show="([^"]*)")?'
                 r'(?: value="([^"]*)")?(?: unmaskedvalue="([^"]*)")?[^>]*?(/?)>|</proto>')

# A field as tshark shows it, the bytes that it reads it from (hex), where they are.
Shown = collections.namedtuple("Shown", "show value at")


class Layer:
    def __init__(self, name, at, size):
        self.name, self.at, self.size, self.fields = name, at, size, {}


class Reading:
    """A packet as tshark reads it: its layers, outermost first; `cut`: it says that the packet is short or malformed."""

    def __init__(self):
        self.layers, self.cut = [], False


def configure(directory):
    """Writes tshark's configuration into the directory; the environment that makes tshark use it."""
    known = subprocess.run(["tshark", "-G", "protocols"], capture_output=True, text=True, check=True).stdout
    names = {line.split("\t")[2] for line in known.splitlines()}
    with open(os.path.join(directory, "disabled_protos"), "w", encoding="ascii") as file:
        file.writelines(f"{name}\n" for name in sorted(names - set(PROTOCOLS)))
    return dict(os.environ, WIRESHARK_CONFIG_DIR=directory, TZ="UTC")


def command(path, *words):
    return ["tshark", "-n", "-r", path, *(word for p in PREFERENCES for word in ("-o", p)), *words]


def field_names():
    """All names of fields that this tshark knows."""
    known = subprocess.run(["tshark", "-G", "fields"], capture_output=True, text=True, check=True).stdout
    return {line.split("\t")[2] for line in known.splitlines() if line.startswith("F\t")}


def is_ethernet(path):
    said = subprocess.run(["capinfos", "-M", "-E", path], capture_output=True, text=True, check=False).stdout
    kinds = re.findall(r"^File encapsulation:\s*(.*)$", said, re.M)
    return kinds == ["Ethernet"]


def readings(path, environment, wanted):
    """A Reading for each packet of the file, in its order; of fields only those in `wanted`."""
    process = subprocess.Popen(command(path, "-T", "pdml"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
                               text=True, errors="replace")
    reading, open_layers = None, []
    for line in process.stdout:
        line = line.lstrip()
        if line.startswith("<packet>"):
            reading, open_layers = Reading(), []
        elif line.startswith("</packet>"):
            yield reading
        match = TAG.match(line)
        if not match or reading is None:
            continue
        kind, name, size, at, show, value, unmasked, closed = match.groups()
        if kind is None:
            open_layers.pop()
        elif kind == "proto":
            reading.cut |= name in ("_ws.malformed", "_ws.short")
            inside = open_layers and name.startswith(("tcp.options", "mptcp", "ip.options"))
            layer = open_layers[-1] if inside else Layer(name, int(at or 0), int(size or 0))
            if not inside and not name.startswith(("_ws", "geninfo", "fake")):
                reading.layers.append(layer)
            if not closed:
                open_layers.append(layer)
        elif name in wanted and open_layers:
            open_layers[-1].fields.setdefault(name, []).append(Shown(show, unmasked or value, int(at or 0)))
        elif name in ("_ws.malformed", "_ws.short"):
            reading.cut = True
    process.wait()


# `interface` as the recorder names it: if<number> where the file has no name, then `named` is what tshark says of it.
Frame = collections.namedtuple("Frame", "time length captured bytes interface named")


def frames(path, environment, keep):
    """Each packet's time (ns), length, captured length, first `keep` bytes and interface, of the file as Wireshark's
    library for files reads it, and as this program reads the simplest of its formats."""
    names = interfaces(path, environment)
    process = subprocess.Popen(["editcap", "-F", "nsecpcap", path, "-"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    head = process.stdout.read(24)
    if len(head) < 24 or struct.unpack("<I", head[:4])[0] != 0xa1b23c4d:
        raise RuntimeError(f"{path}: editcap does not give its packets as pcap")
    number = 0
    while len(head := process.stdout.read(16)) == 16:
        seconds, nanoseconds, captured, length = struct.unpack("<IiII", head)  # wiretap's nanoseconds are an int
        data = process.stdout.read(captured)
        yield Frame(seconds * 1_000_000_000 + nanoseconds, length, captured, data[:keep], *(names[number] if names else ("if0", None)))
        number += 1
    process.wait()


def interfaces(path, environment):
    """(name, what tshark shows for it) of each packet's interface, None for a file that has no interfaces."""
    with open(path, "rb") as file:
        if file.read(4) not in (b"\n\r\r\n", b"\x1f\x8b\x08\x08", b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd"):
            return None  # neither pcapng nor compressed
    said = subprocess.run(command(path, "-T", "fields", "-e", "frame.interface_id", "-e", "frame.interface_name"), capture_output=True,
                          text=True, env=environment, check=False).stdout.splitlines()
    if not any(line.strip() for line in said):
        return None
    pairs = [line.split("\t") for line in said]
    return [(name, name) if name and name != "unknown" else (f"if{number}", name or None) for number, name in pairs]


# --- which of tshark's layers are recorded --------------------------------------------------------------------

EXTENSIONS = {"ipv6.hopopts", "ipv6.routing", "ipv6.fraghdr", "ipv6.dstopts", "mipv6", "hip", "shim6", "ah"}
LAYER4 = {"tcp", "udp", "icmp", "icmpv6", "sctp", "dccp", "esp"}
TUNNELS = {"gre", "vxlan", "geneve"}
ERRORS = {"icmp": (3, 4, 5, 11, 12), "icmpv6": (1, 2, 3, 4)}


def number(layer, name):
    shown = layer.fields.get(name)
    return int(shown[0].show, 0) if shown and shown[0].show else None


class Walk:
    """Goes through tshark's layers by the table of recorder/DESIGN.md section 9 and says which place each has in a document."""

    def __init__(self):
        self.stack, self.places = "outer", {}
        self.tunnelled = self.stopped = False
        self.next = {"eth"}  # what may follow here

    def index(self, stack, *names):
        return sum(1 for s, name, _ in self.places if s == stack and name in names)

    def go(self, layers):
        for layer in layers:
            if layer.name == "frame":
                self.places["once", "frame", 0] = layer
            elif layer.name in ("ethertype", "data") or layer.name.startswith("ipv6.routing.type"):
                continue
            elif layer.name not in self.next:
                break
            else:
                self.step(layer)
        return self.places

    def put(self, stack, layer, index=0):
        self.places[stack, layer.name, index] = layer

    def step(self, layer):
        name = layer.name
        if name == "eth":
            self.put(self.stack, layer)
            self.next = {"vlan", "ieee8021ad", "llc", "pppoes", "mpls", "arp", "ip", "ipv6"}
        elif name in ("vlan", "ieee8021ad"):
            self.put(self.stack, layer, self.index(self.stack, "vlan", "ieee8021ad"))
        elif name == "llc":
            self.put("once", layer)
            goes_on = number(layer, "llc.oui") == 0
            self.next = {"vlan", "ieee8021ad", "pppoes", "mpls", "arp", "ip", "ipv6"} if goes_on else set()
        elif name == "pppoes":
            self.put("once", layer)
            self.next = {"ppp"}
        elif name == "ppp":
            self.put("once", layer)
            self.next = {"ip", "ipv6"}
        elif name == "mpls":
            self.put("once", layer, self.index("once", "mpls"))
            self.next = {"mpls", "ip", "ipv6"}
        elif name == "arp":
            self.put(self.stack, layer)
            self.next = set()
        elif name in ("ip", "ipv6"):
            self.step3(layer)
        elif name in EXTENSIONS:
            self.put(self.stack, layer, self.index(self.stack, *EXTENSIONS))
            if self.stack == "quote":  # 8 bytes behind the IP header: these
                self.next = set()
        elif name in TUNNELS:
            self.put("once", layer)
            self.stack, self.tunnelled = "inner", True
            self.next = {"eth", "ip", "ipv6"} | ({"mpls"} if name == "gre" else set())
        elif name in LAYER4:
            self.step4(layer)

    def step3(self, layer):
        """An IP header behind an IP header is a tunnel; behind an ICMP error it is the quote."""
        if self.index(self.stack, "ip", "ipv6"):
            self.stack, self.tunnelled = "inner", True
        self.put(self.stack, layer)
        inside = {"ip", "ipv6"} | TUNNELS & {"gre"} if not self.tunnelled and self.stack == "outer" else set()
        self.next = LAYER4 | inside | EXTENSIONS

    def step4(self, layer):
        self.put(self.stack, layer)
        self.next = set()
        if self.stack == "quote":
            return
        if layer.name in ERRORS and number(layer, layer.name + ".type") in ERRORS[layer.name]:
            self.stack, self.next = "quote", {"ip", "ipv6"}
        elif layer.name == "udp" and not self.tunnelled:
            ports = number(layer, "udp.srcport"), number(layer, "udp.dstport")
            self.next = {"vxlan"} if 4789 in ports else {"geneve"} if 6081 in ports else set()


def places(reading):
    """{(stack, layer, number): Layer} of what is recorded of this packet."""
    return Walk().go(reading.layers)
