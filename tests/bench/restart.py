"""Milliseconds from SIGUSR1 until a ring's tail moves again, which is when a batch of it was acknowledged.

usage: restart.py BPFFS; the rings are those of the one capture that is pinned there
"""
import os
import signal
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import chaos_world

LIMIT = 60
rings = chaos_world.Rings(sys.argv[1])
told = []
signal.signal(signal.SIGUSR1, lambda *_: told.append(time.monotonic()))
while not rings.open():
    time.sleep(0.01)


def tails():
    return [struct.unpack_from("<Q", rings.desk, 64 * at)[0] for at, _ in rings.heads]


while not told:
    time.sleep(0.001)
before, end = tails(), told[0] + LIMIT
while tails() == before:
    if time.monotonic() >= end:
        sys.exit(f"restart: no batch was acknowledged within {LIMIT} s")
    time.sleep(0.001)
print(round((time.monotonic() - told[0]) * 1000))
