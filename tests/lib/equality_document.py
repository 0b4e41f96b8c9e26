"""A packet's document as layers, the reading of it that is held against tshark's: what the expressions of equality_fields.txt see.

Nothing of the recorder's code is used but the names in recorder/packet/stack.def.
"""
import datetime
import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EPOCH = datetime.datetime(1970, 1, 1)
MICROSECOND = datetime.timedelta(microseconds=1)
EXTENSIONS = {0: "ipv6.hopopts", 43: "ipv6.routing", 44: "ipv6.fraghdr", 51: "ah", 60: "ipv6.dstopts", 135: "mipv6", 139: "hip", 140: "shim6"}
L4 = {1: "icmp", 6: "tcp", 17: "udp", 33: "dccp", 50: "esp", 58: "icmpv6", 132: "sctp"}
# The field that says that the layer's header was read; ports alone say it of those that have nothing else.
L4_SIGN = {"icmp": "icmp_type", "icmpv6": "icmp_type", "tcp": "seq", "udp": "lport", "dccp": "lport", "sctp": "lport", "esp": "spi"}
PARTIAL = {"truncated", "malformed", "long"}  # marks of a packet whose last header may not be whole
NO_MAC = "00:00:00:00:00:00"


def stack_names():
    with open(os.path.join(ROOT, "recorder/packet/stack.def"), encoding="utf-8") as file:
        return re.findall(r"^STACK\(\w+, (\w+),", file.read(), re.M)


STACK = stack_names()
PREFIXES = (("outer", ""), ("inner", "i"), ("quote", "q"))
PLACE = {prefix + name: (stack, name) for stack, prefix in PREFIXES for name in STACK}


# --- what expressions may call --------------------------------------------------------------------------------


def be(data, at, size):
    return int.from_bytes(data[at:at + size], "big")


def swap16(value):
    return (value & 255) << 8 | value >> 8


def mac_bit(mac, bit):
    return int(bool(int(mac[:2], 16) & bit))


def ipv4(value):
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


def options(data):
    """TLV options of IPv4 and TCP, as far as their lengths hold: 0 and 1 are bytes alone."""
    found, at = [], 0
    while at < len(data):
        size = 1 if data[at] < 2 else data[at + 1] if at + 1 < len(data) else 0
        if not size or data[at] > 1 and size < 2 or at + size > len(data):
            break
        found.append(data[at:at + size])
        at += size
    return found


def edges(option, at):
    return [be(option, i, 4) for i in range(at, len(option) - 3, 8)]



def dccp_offset(kind, topts=b""):
    """Data offset in words: RFC 4340, 5.1: generic header, acknowledgement and the type's own word."""
    extended, kind = kind & 1, kind >> 1 & 15
    words = 4 if extended else 3
    if kind not in (0, 2):
        words += 2 if extended else 1
    return words + (kind in (0, 1, 7)) + len(topts) // 4


CALLS = {f.__name__: f for f in (be, swap16, mac_bit, ipv4, edges, dccp_offset, options)}
CALLS |= {"len": len, "__builtins__": {}}


def wall_ns(document):
    return (document["ts"] - EPOCH) // MICROSECOND * 1000 + document["ns"]


# --- the document ---------------------------------------------------------------------------------------------


def plain(value):
    return int(value) if isinstance(value, float) else bytes(value) if isinstance(value, bytes) else value


def split(document):
    """{stack: {name: value}} and what the packet has once."""
    stacks, once = {"outer": {}, "inner": {}, "quote": {}}, {}
    for name, value in document.items():
        place = PLACE.get(name)
        if place:
            stacks[place[0]][place[1]] = plain(value)
        else:
            once[name] = plain(value)
    return stacks, once


def ends(view, out):
    """local and remote as source and destination: one of each pair is the source, as dir says."""
    for source, target, local, remote in (("src", "dst", "local", "remote"), ("sport", "dport", "lport", "rport"),
                                          ("smac", "dmac", "lmac", "rmac"), ("tsval", "tsecr", "ltsval", "rtsval")):
        if local in view:
            view[source if out else target] = view[local]
        if remote in view:
            view[target if out else source] = view[remote]


def tcp_bytes(view):
    """The options from their order and values, or as they were."""
    if "topts" in view:
        return view["topts"]
    made = bytearray()
    for digit in oct(view.get("opts", 0))[2:]:
        if digit == "1":
            made += b"\1"
        elif digit == "2":
            made += b"\2\4" + view["mss"].to_bytes(2, "big")
        elif digit == "3":
            made += b"\3\3" + bytes([view["ws"]])
        elif digit == "4":
            made += b"\4\2"
        elif digit == "5":
            blocks = b"".join(view[f"s{side}{n}"].to_bytes(4, "big") for n in range(1, 5) if f"sl{n}" in view for side in "lr")
            made += bytes([5, 2 + len(blocks)]) + blocks
        elif digit == "6":
            made += b"\x08\x0a" + view["tsval"].to_bytes(4, "big") + view["tsecr"].to_bytes(4, "big")
        elif digit == "7":
            made += bytes(4 - len(made) % 4)
    return bytes(made)


def extensions(view):
    """[(layer, bytes)] of the extension headers and AH."""
    if "ext" not in view:
        if "fragid" not in view:
            return []
        bits = view["frag"]
        return [("ipv6.fraghdr", bytes([view.get("proto", 59), 0]) + bits.to_bytes(2, "big") + view["fragid"].to_bytes(4, "big"))]
    found, kind, at, data = [], view.get("nxt"), 0, view["ext"]
    while at < len(data) and kind in EXTENSIONS:
        size = 8 if kind == 44 else data[at + 1] * 4 + 8 if kind == 51 else data[at + 1] * 8 + 8
        found.append((EXTENSIONS[kind], data[at:at + size]))
        kind, at = data[at], at + size
    return found


def ip_sum(view):
    """The header checksum that belongs there: RFC 1071 over the header that the fields make."""
    opts = view.get("ipopts", b"")
    words = [0x4000 | 5 + len(opts) // 4 << 8 | view["tos"], view["total"], view["ipid"], view["frag"], view["ttl"] << 8 | view["first"]]
    data = bytes(int(part) for end in ("src", "dst") for part in view[end].split(".")) + opts
    total = sum(words) + sum(be(data, i, 2) for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total ^ 0xffff


def layer2(stack, view, once, found):
    if "etype" not in view:
        return
    tags = [(view[name], view.get(tpid, 0x8100)) for name, tpid in (("vlan", "tpid"), ("vlan2", "tpid2")) if name in view]
    types = [tpid for _, tpid in tags] + [view["etype"]]
    found[stack, "eth", 0] = view | {"type": types[0]}
    for i, (tci, tpid) in enumerate(tags):
        found[stack, "ieee8021ad" if tpid == 0x88a8 else "vlan", i] = {"tci": tci} | ({} if i == 1 and "raw" in once else {"type": types[i + 1]})
    if stack != "outer":
        return
    for sign, layer in (("dsap", "llc"), ("pppoe", "pppoes"), ("ppp", "ppp")):
        if sign in once:
            found["once", layer, 0] = once
    for i, name in enumerate(("mpls", "mpls2", "mpls3", "mpls4")):
        if name in once:
            found["once", "mpls", i] = {"entry": once[name]}


def lengths(stack, view, once, at, announced):
    """total: what layer 3 announces, from the padding behind it, its place and the length of what holds it. The end in the packet."""
    name = "ip" if "ipid" in view else "ipv6"
    place = at.get((stack, name, 0))
    if stack == "quote":
        view["total"] = once.get("qlen")
        return None
    if place is None:
        return None
    end = (once["length"] if announced is None else announced) - view.get("pad", 0)
    view["total"] = end - place - (0 if name == "ip" else 40)
    return end


def layer3(stack, view, once, at, found, announced):
    end = None
    if "nxt" in view or "proto" in view:
        view["first"] = view.get("nxt", view.get("proto"))
    if "arp_op" in view:
        outer = found[stack, "eth", 0] if (stack, "eth", 0) in found else {}
        if "src" in view:
            view["sender_mac"] = view.get("asha", outer.get("smac"))
            view["target_mac"] = view.get("atha", NO_MAC if view["arp_op"] == 1 else outer.get("dmac"))
        found[stack, "arp", 0] = view
    elif "ipid" in view:
        end = lengths(stack, view, once, at, announced)
        view.setdefault("ipopts", b"")
        view["ip_checksum"] = view["ipcsum"] if "ipcsum" in view else ip_sum(view) if view["total"] is not None else None
        found[stack, "ip", 0] = view
    elif "flow" in view:
        end = lengths(stack, view, once, at, announced)
        found[stack, "ipv6", 0] = view
    for i, (layer, data) in enumerate(extensions(view)):
        found[stack, layer, i] = once | {"bytes": data}
    return end


def layer4(stack, view, once, at, found, end):
    layer = L4.get(view.get("proto"))
    if layer and (L4_SIGN[layer] in view or L4_SIGN[layer] in once):
        place = at.get((stack, layer, 0))
        whole = "csum" in view and ("raw" not in once or "opts" in view or not PARTIAL & set(once.get("marks", "").split(",")))
        if layer == "tcp" and (whole or "topts" in view):
            view["tcp_bytes"] = tcp_bytes(view)
        view.setdefault("topts", b"")
        if place is not None and end is not None:
            view["rest_of_packet"] = end - place
        if "csum" in view:
            view["udp_length"] = view.get("ulen", view.get("rest_of_packet"))
        found[stack, layer, 0] = once | view


def layers(document, at):
    """
    {(stack, layer, number): names for its expressions}. `at`: where tshark sees the layers, {(stack, layer, number): offset},
    for lengths that are stored as what is left behind them.
    """
    stacks, once = split(document)
    found = {("once", "frame", 0): once}
    out, end = document["dir"] == "out", None
    for key, default in (("vxflags", 0x800), ("vxgroup", 0), ("vnires", 0), ("gopts", b"")):
        if "vni" in once:
            once.setdefault(key, default)
    once["time"] = wall_ns(document)
    once["length"] = once.pop("len")  # expressions need the name
    for stack, _ in PREFIXES:
        view = stacks[stack]
        if not view:
            continue
        ends(view, out != (stack == "quote"))
        layer2(stack, view, once, found)
        end = layer3(stack, view, once, at, found, end if stack == "inner" else None)
        layer4(stack, view, once, at, found, end)
        if stack == "outer" and "pppoe" in once:
            once["pppoe_length"] = once.get("ppplen", end - at.get(("outer", "ip", 0), at.get(("outer", "ipv6", 0), 0)) + 2 if end else None)
    for sign, layer in (("gre", "gre"), ("gproto", "geneve"), ("vni", "vxlan")):
        if sign in once and not (sign == "vni" and "gproto" in once):
            found["once", layer, 0] = once
    return found
