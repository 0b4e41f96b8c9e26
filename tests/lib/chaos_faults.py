"""The faults of tests/chaos: a table of name, weight, seconds of traffic that the rings must take meanwhile, and a function.

A function gets the world and a random.Random of its own, acts, arranges what follows by world.after, and returns False when there
was nobody to act on. To add a fault: write it, and a line in FAULTS.
"""
import glob
import os
import signal
import subprocess
import time

from chaos_world import Process


# --- kills -------------------------------------------------------------------------------------------------------


def kill_drainer(w, _rng):
    return w.recorder.kill(keeper=False)


def kill_keeper(w, rng):
    w.recorder.start_at = time.monotonic() + rng.choice((0, rng.uniform(0, 2)))
    return w.recorder.kill(drainer=False)


def kill_both(w, rng):
    w.recorder.start_at = time.monotonic() + rng.choice((0, rng.uniform(0, 3)))
    return w.recorder.kill()


def kill_engine(w, rng):
    return w.engine.kill(rng.uniform(0, 3))


def kill_engine_answered(w, rng):
    """In the moment in which it has said that it stored packets, their batch in the ledger, or seconds of the balance."""
    pid, back, what = w.engine.pid(), rng.uniform(0, 3), rng.choice(("packets", "batches", "batches", "balance"))
    if not pid or w.proxy.on_answer:
        return False
    process = Process(pid)

    def kill():  # in the proxy's thread: nothing may come in between
        if process.send(signal.SIGKILL):
            w.engine.killed(back)

    w.proxy.on_answer = what, kill
    return True


def kill_twice(w, rng):
    """The drainer, and the one that takes over from it, and perhaps the third."""
    at = 0.0
    for _ in range(rng.choice((1, 1, 2))):
        at += 0.1 + rng.uniform(0, 1.5)
        w.after(at, lambda: w.recorder.kill(keeper=False))
    return w.recorder.kill(keeper=False)


def kill_takeover(w, rng):
    """Both; and both again while they take over."""
    moment, back = rng.uniform(0, 1.5), rng.uniform(0, 1)

    def again():
        w.recorder.start_at = time.monotonic() + back
        w.recorder.kill()

    w.recorder.on_start.append(lambda: w.after(moment, again))
    return w.recorder.kill()


def kill_engine_takeover(w, rng):
    """Both; the engine while they take over; or the other way round."""
    moment, back = rng.uniform(0, 2), rng.uniform(0, 2)
    if rng.random() < 0.5:
        w.recorder.on_start.append(lambda: w.after(moment, lambda: w.engine.kill(back)))
        return w.recorder.kill()
    w.after(moment, w.recorder.kill)
    return w.engine.kill(back)


def kill_attaching(w, rng):
    """The keeper alone, while it opens, attaches or replaces the program."""
    moment = rng.uniform(0, 0.8)
    w.recorder.filter = rng.choice(FILTERS)
    w.recorder.on_start.append(lambda: w.after(moment, lambda: w.recorder.kill(drainer=False)))
    return w.recorder.kill()


def kill_ending(w, rng):
    """SIGTERM, and kill -9 of drainer, keeper or both while they store what is there."""
    who = rng.choice(({"keeper": False}, {"keeper": False}, {"drainer": False}, {}))
    w.after(rng.uniform(0, 0.4), lambda: w.recorder.kill(**who))
    return w.recorder.end()


def torn(w, rng):
    """Killed while the journal was written: the older copies and the free recipes are half of something."""
    part = rng.choice(("copies", "recipes"))

    def tear():
        if w.recorder.drainer_left():
            w.after(0.05, tear)
            return
        w.recorder.start_at = time.monotonic()
        for path in glob.glob(w.lab + "/bpf/xdp-recorder/*/*/*/journal"):
            subprocess.run([w.tear, path, part, str(rng.randrange(1 << 31))], check=True, stdout=w.log, stderr=w.log)

    w.recorder.start_at = float("inf")
    done = w.recorder.kill()
    tear()
    return done


def wiped(w, _rng):
    """For a control only: the database has batches that it never answered, and what was in flight is forgotten."""

    def wipe():
        for path in glob.glob(w.lab + "/bpf/xdp-recorder/*/*/*/journal"):
            subprocess.run([w.tear, path, "wipe", "0"], check=True, stdout=w.log, stderr=w.log)
        w.recorder.start_at = time.monotonic()

    def kill():
        w.recorder.start_at = float("inf")
        w.recorder.kill()
        w.after(0.3, wipe)

    def silent():
        if w.proxy.silence_behind:
            w.after(0.02, silent)  # nothing was sent yet
        else:
            w.after(1, kill)  # it is stored by now

    w.proxy.silence_behind = ("packets", 1.5)
    silent()
    return True


# --- stalls ------------------------------------------------------------------------------------------------------


def stall(w, pids, seconds):
    stopped = [Process(pid) for pid in pids if pid]
    for process in stopped:
        process.send(signal.SIGSTOP)
        w.after(seconds, lambda process=process: process.send(signal.SIGCONT))
    w.say(f"stalled {[p.pid for p in stopped]} for {seconds:.1f} s")
    return bool(stopped)


def stall_seconds(w, rng):
    """Up to 30 s; mostly short; so that rate times time fits half a ring, unless that is what is wanted."""
    fits = w.ring_bytes * 6 / 16 / (w.rate * 112) - 2
    return min(rng.choice((rng.uniform(0.1, 2), rng.uniform(0.1, 8), rng.uniform(2, 30))), 30, 1e9 if w.beyond else max(fits, 0.5))


def stall_drainer(w, rng):
    return stall(w, [w.recorder.drainer()], stall_seconds(w, rng))


def stall_keeper(w, rng):
    return stall(w, [w.recorder.keeper()], stall_seconds(w, rng))


def stall_engine(w, rng):
    return stall(w, [w.engine.pid()], stall_seconds(w, rng))


def stall_and_kill(w, rng):
    """The database stands; whoever waits for it is killed meanwhile."""
    seconds = stall_seconds(w, rng)
    who = rng.choice(({"keeper": False}, {"drainer": False}, {}))
    w.after(rng.uniform(0, seconds), lambda: w.recorder.kill(**who))
    return stall(w, [w.engine.pid()], seconds)


# --- the connection ----------------------------------------------------------------------------------------------


def cut(w, rng):
    w.proxy.cut(rng)
    for at in sorted(rng.uniform(0, 3) for _ in range(rng.randrange(3))):
        w.after(at, lambda: w.proxy.cut(rng))
    return bool(w.proxy.cuts)


def delay(w, rng):
    w.proxy.delay(rng.uniform(1, 6), rng.choice((0.002, 0.02, 0.2)))
    return True


def hold(w, rng):
    """Nothing passes for a while; then what is held is dropped, or comes after all."""
    seconds = rng.uniform(0.2, 6)
    w.proxy.hold(seconds)
    if rng.random() < 0.7:
        w.after(seconds * rng.random(), lambda: w.proxy.cut(rng))
    return True


# --- the disk ------------------------------------------------------------------------------------------------------


def spool_full(w, rng):
    """The database stands still, or dies; and there is no room left on the file system of the spool; then there is again."""
    filler, seconds = w.spool + "/filler", rng.uniform(1, 6)

    def fill():
        room = os.statvfs(w.spool)
        with open(filler, "wb") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, max(room.f_bavail * room.f_frsize - rng.randrange(1 << 20), 4096))
            except OSError as error:
                w.say(f"the filler was not taken: {error}")
        w.after(seconds, lambda: os.unlink(filler))

    if os.path.exists(filler):
        return False
    w.after(rng.choice((0, rng.uniform(0, 4))), fill)
    if rng.random() < 0.3:
        w.after(rng.uniform(1, 6), w.recorder.kill)
    return stall(w, [w.engine.pid()], 4 + seconds) if rng.random() < 0.6 else w.engine.kill(3 + seconds)


# --- what people do ----------------------------------------------------------------------------------------------

# Each of them keeps every numbered packet.
FILTERS = ("", "not tcp port 4444", "ether src 02:00:00:00:00:01 or arp", "ip or ip6", "greater 20")


def replace(w, rng):
    """stop --keep, and record with another program on the live link."""
    w.recorder.filter = rng.choice([f for f in FILTERS if f != w.recorder.filter])
    w.recorder.start_at = time.monotonic() + rng.choice((0, rng.uniform(0, 1)))
    return w.recorder.end()


def storage(w, rng):
    """The other storage from now on, after an orderly end or a kill."""
    w.recorder.storage = "documents" if w.recorder.storage == "buckets" else "buckets"
    w.after(rng.uniform(5, 20), lambda: setattr(w.recorder, "storage", w.storage))
    w.recorder.start_at = time.monotonic()
    return w.recorder.end() if rng.random() < 0.5 else w.recorder.kill()


def reload_settings(w, _rng):
    keeper = w.recorder.keeper()
    if keeper:
        os.kill(keeper, signal.SIGHUP)
    return bool(keeper)


def clock(w, rng):
    """The wall clock is set: by us, ms, s or hours, and never more than six from the true one."""
    ns = int(rng.choice((-1, 1)) * 10 ** rng.uniform(3.5, 13))
    if abs(w.clock_offset + ns) > 6 * 3600 * 10 ** 9:
        ns = -w.clock_offset
    w.step_clock(ns)
    w.say(f"clock stepped by {ns} ns")
    return True


def clock_away(w, rng):
    """... while nobody is there to see it, or the database is away."""
    if rng.random() < 0.5:
        w.engine.kill(rng.uniform(1, 3))
        w.after(rng.uniform(0, 2), lambda: clock(w, rng))
        return True
    w.recorder.start_at = time.monotonic() + 1.0
    w.after(rng.uniform(0.1, 0.9), lambda: clock(w, rng))
    return w.recorder.kill()


def link(w, rng):
    """Down and up. The sender waits: what is sent into a dead cable is nobody's."""
    w.sender.off.add("link")
    w.sender.stop()
    time.sleep(0.05)  # what it sent last is through the veth
    w.link("down")

    def up():
        w.link("up")
        carried()

    def carried():
        if w.carrier():
            w.sender.off.discard("link")
        else:
            w.after(0.05, carried)

    w.after(rng.uniform(0.1, 4), up)
    return True


# name: weight, seconds without draining that it may cost, function
FAULTS = {
    "kill-drainer": (6, 4, kill_drainer),
    "kill-keeper": (4, 6, kill_keeper),
    "kill-both": (5, 6, kill_both),
    "kill-twice": (3, 8, kill_twice),
    "kill-takeover": (4, 9, kill_takeover),
    "kill-attaching": (3, 8, kill_attaching),
    "kill-ending": (3, 8, kill_ending),
    "torn-journal": (2, 6, torn),
    "kill-engine": (4, 8, kill_engine),
    "kill-engine-answered": (3, 10, kill_engine_answered),
    "kill-engine-takeover": (3, 10, kill_engine_takeover),
    "stall-drainer": (4, 0, stall_drainer),
    "stall-keeper": (2, 0, stall_keeper),
    "stall-engine": (3, 0, stall_engine),
    "stall-and-kill": (3, 4, stall_and_kill),
    "cut": (4, 6, cut),
    "delay": (2, 8, delay),
    "hold": (3, 10, hold),
    "replace": (3, 5, replace),
    "storage": (2, 5, storage),
    "reload": (1, 0, reload_settings),
    "clock": (3, 0, clock),
    "clock-away": (2, 8, clock_away),
    "link": (2, 0, link),
    "spool-full": (4, 14, spool_full),
}
CONTROL_FAULTS = {"wiped-recipes": (1, 8, wiped)}
