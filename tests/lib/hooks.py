#!/usr/bin/python3
"""Names the BPF hooks of an interface that are in use: xdp, tcx-in, tcx-out, clsact-in, clsact-out. (bpftool 7.1 knows no tcx.)

usage: hooks.py INTERFACE     in the interface's network namespace
"""
import ctypes
import json
import platform
import socket
import struct
import subprocess
import sys

BPF_PROG_QUERY = 16
TCX = {46: "tcx-in", 47: "tcx-out"}
SYSCALL = {"x86_64": 321, "aarch64": 280}[platform.machine()]


def tcx_programs(index, attach_type):
    """How many; 0 where the kernel has no tcx."""
    attr = ctypes.create_string_buffer(struct.pack("=IIIIQIIQQQQ", index, attach_type, 0, 0, 0, 0, 0, 0, 0, 0, 0))
    if ctypes.CDLL(None, use_errno=True).syscall(SYSCALL, BPF_PROG_QUERY, attr, len(attr.raw) - 1):
        return 0
    return struct.unpack_from("=I", attr.raw, 24)[0]


def main():
    interface = sys.argv[1]
    link = json.loads(subprocess.check_output(["ip", "-d", "-j", "link", "show", "dev", interface]))[0]
    found = ["xdp"] if link.get("xdp") else []
    found += [name for attach_type, name in TCX.items() if tcx_programs(socket.if_nametoindex(interface), attach_type)]
    for way in ("in", "out"):
        shown = subprocess.run(["tc", "filter", "show", "dev", interface, {"in": "ingress", "out": "egress"}[way]], capture_output=True, check=False)
        if b"bpf" in shown.stdout:
            found.append("clsact-" + way)
    print(" ".join(found))


if __name__ == "__main__":
    main()
