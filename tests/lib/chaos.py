#!/usr/bin/python3
"""Breaks things around a recorder for a while, in an order that a seed decides; tests/chaos calls it and checks what is left.

usage: chaos.py --seconds N --seed S --rate R --most R --limit N --storage M --ring MB [--pause S] [--beyond] [--no-spool] [--unjournalled] [--faults NAME,...] [--record OPTION]...

The world is described by the environment (CHAOS_*). Last line, as JSON: packets sent, faults by kind, memory, what went wrong.
"""
import argparse
import collections
import json
import os
import random
import signal
import sys
import time

import chaos_faults
import chaos_world

CATCH_UP = 120  # seconds that everything may take until the rings are nearly empty


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--seconds", type=float, required=True)
    p.add_argument("--seed", type=int, required=True)
    p.add_argument("--rate", type=int, required=True)
    p.add_argument("--most", type=int, required=True)
    p.add_argument("--limit", type=int, required=True)
    p.add_argument("--storage", required=True)
    p.add_argument("--ring", type=int, required=True)
    p.add_argument("--pause", type=float, default=2.5)
    p.add_argument("--beyond", action="store_true")
    p.add_argument("--no-spool", action="store_true")
    p.add_argument("--unjournalled", action="store_true", help="the proxy makes every write one that does not wait for the disk")
    p.add_argument("--faults", default="")
    p.add_argument("--record", action="append", default=[])
    return p.parse_args()


def plan(seed, table, pause):
    """(seconds behind the one before, name, its own randomness), for ever; a pure function of its arguments."""
    rng = random.Random(f"{seed}/plan")
    names = list(table)
    for index in range(1 << 30):
        name = rng.choices(names, [table[n][0] for n in names])[0]
        yield rng.expovariate(1 / pause), name, random.Random(f"{seed}/{index}")


def run_until(world, condition, seconds, since=lambda: 0.0):
    """False when it is not so within the seconds, counted from now, or from since() if that is later."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() >= max(begin, since()) + seconds:
            return False
        world.tick()
    return True


def main():
    options = arguments()
    world = chaos_world.World(options, os.environ)
    table = {**chaos_faults.FAULTS}
    if options.faults:
        every = {**chaos_faults.FAULTS, **chaos_faults.CONTROL_FAULTS}
        unknown = [n for n in options.faults.split(",") if n not in every]
        if unknown:
            sys.exit(f"chaos: no such fault: {', '.join(unknown)}; there are {', '.join(every)}")
        table = {n: every[n] for n in options.faults.split(",")}
    if options.no_spool:
        table.pop("spool-full", None)
    done = collections.Counter()
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
    signal.signal(signal.SIGINT, lambda *_: ended.append(1))

    world.sender.off.add("start")
    ready = lambda: b"packets are stored as " in open(world.lab + "/record.log", "rb").read()
    if not run_until(world, ready, 60):
        world.fail("it does not begin to store")
    world.sender.off.discard("start")
    began = time.monotonic()
    faults = plan(options.seed, table, options.pause)
    late = 0.0
    while not world.failures and not ended and time.monotonic() < began + options.seconds:
        gap, name, rng = next(faults)
        run_until(world, lambda: bool(ended), min(gap, max(began + options.seconds - time.monotonic(), 0)))
        held = time.monotonic()
        if not run_until(world, lambda: world.whole() and world.room_for(table[name][1]), CATCH_UP):
            world.fail(f"{CATCH_UP} s before {name}: " + world.state())
            break
        late += time.monotonic() - held
        if time.monotonic() >= began + options.seconds:
            break
        world.say(f"fault {name}")
        if table[name][2](world, rng):
            done[name] += 1
    run_until(world, lambda: not world.heap, 60)
    world.sender.calm()
    # While packets still come: without any a second would be written with the next heartbeat only. What an hour has left on the spool
    # may be many minutes of a busy machine's: as long as it gets less.
    if not run_until(world, lambda: world.whole() and world.balanced(), CATCH_UP, lambda: world.replayed_at):
        world.fail(f"{CATCH_UP} s behind the last fault: " + world.state())
    world.sender.off.add("end")
    world.sender.stop()
    if not run_until(world, lambda: world.rings.fill() < 65536, CATCH_UP):
        world.fail(f"the rings are not drained within {CATCH_UP} s: " + world.state())
    world.proxy.on_answer = None
    world.finish()
    if options.unjournalled and not world.proxy.rewritten:
        world.fail("--unjournalled, and no write concern was seen")
    print(json.dumps({
        "sent": world.sender.sent, "faults": dict(done), "seconds": round(time.monotonic() - began, 1), "waited": round(late, 1), "starts": world.recorder.starts,
        "engine_kills": world.engine.kills, "cuts": world.proxy.cuts, "memory_kb": world.recorder.memory, "ends": dict(world.ends),
        "peak": world.peak, "ring": world.ring_bytes, "sender_waits": world.sender.waits, "failures": world.failures}))
    return 1 if world.failures else 0


if __name__ == "__main__":
    sys.exit(main())
