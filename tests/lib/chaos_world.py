"""What the faults of tests/chaos act on: recorder, database engine, sender, rings, clock, link. One thread, ticks of 20 ms."""
import collections
import ctypes
import fcntl
import glob
import hashlib
import heapq
import itertools
import json
import mmap
import os
import pwd
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.parse

import chaos_proxy

TICK = 0.02
RECORD_BYTES = 112  # of a ring, for a packet of generate --raw, at most
SYS_BPF, BPF_OBJ_GET = 321, 7
LAST = 0x3fffffff  # numbers that generate takes


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return list(map(int, file.read().split()))
    except OSError:
        return []


def stat_of(pid):
    """State letter of a process, None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


class Process:
    """A process that keeps its meaning when its pid is used again."""

    def __init__(self, pid):
        self.pid, self.fd = pid, os.pidfd_open(pid)

    def send(self, number):
        try:
            signal.pidfd_send_signal(self.fd, number)
            return True
        except OSError:
            return False

    def __del__(self):
        os.close(self.fd)


class Rings:
    """How full the capture's rings are, from the pinned maps themselves: it needs nobody's answer."""

    def __init__(self, bpffs):
        self.bpffs, self.heads, self.desk, self.where = bpffs, [], None, None
        self.cpus = int(re.split("[-,]", open("/sys/devices/system/cpu/possible", encoding="ascii").read().strip())[-1]) + 1

    @staticmethod
    def map(path, length):
        name = ctypes.create_string_buffer(path.encode())
        attr = struct.pack("<QII", ctypes.addressof(name), 0, 0).ljust(128, b"\0")
        fd = ctypes.CDLL(None, use_errno=True).syscall(SYS_BPF, BPF_OBJ_GET, attr, len(attr))
        if fd < 0:
            raise OSError(ctypes.get_errno(), path)
        try:
            return mmap.mmap(fd, length, mmap.MAP_SHARED, mmap.PROT_READ)
        finally:
            os.close(fd)

    def open(self):
        found = glob.glob(self.bpffs + "/xdp-recorder/*/*/*/desk")
        if not found:
            return False
        directory = os.path.dirname(found[0])
        if len(glob.glob(directory + "/ring_*")) < os.cpu_count():
            return False  # they are being made
        self.desk = self.map(found[0], 4096)
        self.heads = []
        for path in glob.glob(directory + "/ring_*"):
            _, side, cpu = os.path.basename(path).split("_")
            self.heads.append((1 + (side == "tx") * self.cpus + int(cpu), self.map(path, 4096)))
        self.where = directory
        return True

    def fill(self):
        """Bytes in the fullest ring."""
        if not self.heads and not self.open():
            return 0
        return max(struct.unpack_from("<Q", head, 0)[0] - struct.unpack_from("<Q", self.desk, 64 * at)[0] for at, head in self.heads)


class Sender:
    """Numbered frames at rates that come and go; how many exactly, each generator says when it ends."""

    def __init__(self, world, rate, most, limit):
        self.world, self.rate, self.most, self.limit = world, rate, most, limit
        self.random = random.Random(f"{world.seed}/traffic")
        self.sent, self.process, self.off, self.waits = 0, None, set(), 0
        self.phase_rate, self.phase_end = rate, 0.0

    def calm(self):
        """From now on few: what is behind catches up, and seconds go on being written."""
        self.most = min(self.most, 500)
        self.phase_end = 0.0

    def next_phase(self):
        if self.random.random() < 0.2:
            self.phase_rate, seconds = self.random.uniform(1, 10) * self.rate, self.random.uniform(0.3, 1.5)
        else:
            self.phase_rate, seconds = self.random.uniform(0.4, 1.2) * self.rate, self.random.uniform(2, 10)
        self.phase_rate = int(min(self.phase_rate, self.most))
        self.phase_end = time.monotonic() + seconds

    def tick(self):
        if self.process and self.process.poll() is not None:
            self.take()
        if time.monotonic() >= self.phase_end:
            self.next_phase()
            self.stop()
        if self.off or self.sent >= self.limit:
            self.stop()
        elif not self.process:
            self.start()

    def start(self):
        w = self.world
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", w.names["b"], w.generate, "--iface", "p0", "--raw", "--proto", "mix", "--first", str(self.sent),
             "--count", str(self.limit - self.sent), "--rate", str(self.phase_rate)], stdout=subprocess.PIPE, stderr=w.log, text=True)

    def take(self):
        words = self.process.stdout.read().split()
        if self.process.returncode or words[:1] != ["packets"]:
            self.world.fail(f"the generator ended with status {self.process.returncode}: {' '.join(words)}")
        else:
            self.sent += int(words[1])
        self.process = None

    def stop(self):
        """Returns when it has ended: what it sent is known, and is in the rings."""
        if self.process:
            # Until `ip netns exec` has become the generator a signal ends it before it has sent, and said so.
            while self.process.poll() is None and not self.is_generator():
                time.sleep(0.002)
            self.process.terminate()
            self.process.wait()
            self.take()

    def is_generator(self):
        try:
            with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
                text = file.read()
        except OSError:
            return False
        caught = int(re.search(r"SigCgt:\s*(\w+)", text)[1], 16)
        return text.startswith("Name:\tgenerate\n") and caught >> (signal.SIGTERM - 1) & 1


class Recorder:
    """`record`, started again whenever it ends; its settings are those of the next start."""

    def __init__(self, world):
        self.world, self.process, self.start_at = world, None, 0.0
        self.filter, self.storage, self.extra = "", world.storage, []
        self.starts = self.memory = 0
        self.expected_end, self.drainer_seen = False, None
        self.on_start = []  # called once, right behind the next start

    def command(self):
        w = self.world
        words = ["ip", "netns", "exec", w.names["a"], w.program, "record", "-i", "r0", "-Q", "in", "--instance", "chaos", "--user", w.user, "--mongo", w.proxy_uri,
                 "--database", w.database, "--sensor", "chaos", "--keep", "--ring-size", str(w.ring_total), "--test-clock", w.clock_file,
                 "--database-wait", "forever", "--storage", self.storage, "--spool", w.spool, *w.record_options]
        return words + (["--filter", self.filter] if self.filter else [])

    def start(self):
        self.process = subprocess.Popen(self.command(), stdout=self.world.log, stderr=self.world.log, stdin=subprocess.DEVNULL)
        self.starts += 1
        self.expected_end = False
        self.world.say(f"record started, pid {self.process.pid}, {self.storage}{', ' + self.filter if self.filter else ''}")
        calls, self.on_start = self.on_start, []
        for call in calls:
            call()

    def tick(self):
        if not self.process:
            if self.world.wanted and time.monotonic() >= self.start_at:
                self.start()
            return
        status = self.process.poll()
        if status is None:
            self.look()
            return
        if not self.expected_end:
            self.world.say(f"record ended by itself with status {status}")
            self.world.ends[status] += 1
        self.process = None
        self.start_at = max(self.start_at, time.monotonic() + (0 if self.expected_end else 0.5))

    def look(self):
        drainer = self.drainer()
        if not drainer:
            return
        try:
            with open(f"/proc/{drainer}/status", encoding="ascii") as file:
                found = re.search(r"RssAnon:\s+(\d+)", file.read())
        except OSError:
            return
        self.memory = max(self.memory, int(found[1]) if found else 0)

    def keeper(self):
        """The keeper's pid, once `ip netns exec` has become it."""
        if not self.process or self.process.poll() is not None:
            return None
        try:
            with open(f"/proc/{self.process.pid}/comm", encoding="ascii") as file:
                return self.process.pid if file.read().startswith("xdp-recorder") else None
        except OSError:
            return None

    def drainer(self):
        keeper = self.keeper()
        found = children(keeper) if keeper else []
        return found[0] if found else None

    def kill(self, keeper=True, drainer=True):
        """kill -9, the keeper first: else it might start another drainer."""
        pids = [self.keeper() if keeper else None, self.drainer() if drainer else None]
        for pid in pids:
            if pid:
                try:
                    os.kill(pid, signal.SIGKILL)
                    self.world.say(f"killed {pid}")
                except ProcessLookupError:
                    pass
        if keeper:
            self.expected_end = True
        return any(pids)

    def drainer_left(self):
        """Somebody holds the instance's lock: a keeper, or a drainer whose keeper is gone."""
        try:
            with open(self.world.lab + "/run/chaos/lock", "rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            pass
        return False

    def end(self, how=signal.SIGTERM):
        """Ends the processes; capture stays on with SIGTERM."""
        keeper = self.keeper()
        if not keeper:
            return False
        self.expected_end = True
        os.kill(keeper, how)
        return True


class Engine:
    def __init__(self, world, data, run):
        self.world, self.data, self.starting, self.start_at, self.kills = world, data, None, 0.0, 0
        self.instance = f"{run}/engine-{hashlib.sha256(data.encode()).hexdigest()[:12]}"

    def pid(self):
        try:
            with open(self.instance + "/pid", encoding="ascii") as file:
                pid = int(file.read())
        except (OSError, ValueError):
            return None
        return pid if stat_of(pid) not in (None, "Z") else None

    def kill(self, back_after):
        pid = self.pid()
        if not pid or self.starting:
            return False
        os.kill(pid, signal.SIGKILL)
        self.killed(back_after)
        return True

    def killed(self, back_after):
        self.kills += 1
        self.start_at = time.monotonic() + back_after
        self.world.say(f"engine killed, back in {back_after:.1f} s")

    def tick(self):
        if self.starting:
            if self.starting.poll() is not None:
                if self.starting.returncode:
                    self.world.say(f"the engine did not start, status {self.starting.returncode}")
                self.starting = None
        elif not self.pid() and time.monotonic() >= self.start_at:
            self.starting = subprocess.Popen([self.world.root + "/deploy/engine/engine", "start", "--data", self.data, "--user", self.world.user],
                                             stdout=self.world.log, stderr=self.world.log, stdin=subprocess.DEVNULL)


class World:
    def __init__(self, options, environment):
        self.seed, self.rate, self.storage = options.seed, options.rate, options.storage
        self.root, self.lab = environment["CHAOS_ROOT"], environment["CHAOS_LAB"]
        self.program, self.generate, self.tear = environment["CHAOS_PROGRAM"], environment["CHAOS_GENERATE"], environment["CHAOS_TEAR"]
        self.user, self.database = environment["CHAOS_USER"], environment["CHAOS_DATABASE"]
        self.names = {"a": environment["CHAOS_A"], "b": environment["CHAOS_B"]}
        self.record_options = options.record
        self.spool = "none" if options.no_spool else self.lab + "/spool"
        self.log = open(self.lab + "/record.log", "ab", buffering=0)
        self.began = time.monotonic()
        self.failures, self.ends = [], collections.Counter()
        self.heap, self.count = [], itertools.count()
        self.wanted = True
        self.beyond = options.beyond
        self.ring_total = options.ring << 20
        self.ring_bytes = 1 << ((self.ring_total // os.cpu_count()).bit_length() - 1)
        self.ring_bytes = min(self.ring_bytes, 1 << 28)
        self.clock_file, self.clock_offset = self.lab + "/clock", 0
        self.step_clock(0)
        data = self.lab + "/db"
        self.engine = Engine(self, data, self.lab + "/run")
        path = self.lab + "/proxy.sock"
        self.proxy = chaos_proxy.Proxy(path, self.engine.instance + "/mongodb.sock", pwd.getpwnam(self.user).pw_uid)
        self.proxy.unjournalled = options.unjournalled
        self.proxy_uri = "mongodb://" + urllib.parse.quote(path, safe="")
        self.rings = Rings(self.lab + "/bpf")
        self.peak, self.spool_peak, self.asked = 0, 0, 0.0
        self.spooled, self.replayed_at = 0, time.monotonic()  # packets on the spool at the last look, and when they became fewer
        self.recorder = Recorder(self)
        self.sender = Sender(self, self.rate, options.most, options.limit)

    # --- words ------------------------------------------------------------------------------------------------

    def say(self, text):
        line = f"# {time.monotonic() - self.began:8.2f} {text}\n"
        self.log.write(line.encode())
        if os.environ.get("CHAOS_VERBOSE"):
            sys.stderr.write(line)

    def fail(self, text):
        self.say("FAILED: " + text)
        self.failures.append(text)

    # --- time -------------------------------------------------------------------------------------------------

    def after(self, seconds, call):
        heapq.heappush(self.heap, (time.monotonic() + seconds, next(self.count), call))

    def tick(self):
        while self.heap and self.heap[0][0] <= time.monotonic():
            heapq.heappop(self.heap)[2]()
        self.engine.tick()
        self.recorder.tick()
        fill = self.rings.fill()
        self.peak = max(self.peak, fill)
        # The promise of the harness: what no process drains fits in half a ring, where nothing is summarised.
        if not self.beyond and fill > self.ring_bytes * 7 // 16 and "room" not in self.sender.off:
            self.say(f"the sender waits for room, {fill} of {self.ring_bytes}")
            self.sender.off.add("room")
            self.sender.waits += 1
        elif fill < self.ring_bytes // 4:
            self.sender.off.discard("room")
        self.sender.tick()
        time.sleep(TICK)

    def room_for(self, seconds):
        """Does what comes in so long a time fit, beside what is there?"""
        return self.beyond or self.rings.fill() + self.rate * RECORD_BYTES * seconds < self.ring_bytes * 7 // 16

    def whole(self):
        """Everybody is there and nobody is held."""
        return bool(self.engine.pid() and not self.engine.starting and self.recorder.drainer() and not self.heap and not self.proxy.on_answer)

    def state(self):
        return (f"engine {self.engine.pid()}, keeper {self.recorder.keeper()}, drainer {self.recorder.drainer()}, "
                f"{self.rings.fill()} bytes in a ring of {self.ring_bytes}, {self.spooled} packets on the spool, {len(self.heap)} actions due")

    def status(self):
        """What the drainer says; None when it does not."""
        try:
            with socket.socket(socket.AF_UNIX) as asker:
                asker.settimeout(1)
                asker.connect(self.lab + "/run/chaos/control")
                asker.sendall(b"status\n")
                answer = b""
                while piece := asker.recv(65536):
                    answer += piece
            return json.loads(answer)
        except (OSError, ValueError):
            return None

    def balanced(self):
        """The newest seconds are written. Behind a command without an answer they wait until nothing can come of it any more."""
        if time.monotonic() < self.asked + 0.5:
            return False
        self.asked = time.monotonic()
        status = self.status()
        if not status or not status["captures"]:
            return False
        spool = status.get("spool", {})
        self.spool_peak = max(self.spool_peak, spool.get("bytes", 0))
        if spool.get("packets", 0) < self.spooled:
            self.replayed_at = time.monotonic()
        self.spooled = spool.get("packets", 0)
        return all(c["balance"]["behind"] <= 8 for c in status["captures"]) and spool.get("state", "empty") == "empty"

    def finish(self):
        """Ends capture in order; what it stores last belongs to the test."""
        self.wanted = False
        if not self.recorder.end(signal.SIGINT):
            self.fail("no recorder to end: " + self.state())
            return
        try:
            status = self.recorder.process.wait(40)
        except subprocess.TimeoutExpired:
            self.fail("the recorder does not end within 40 s")
            return
        if status:
            self.fail(f"the recorder ended with status {status}")

    # --- clock and link ------------------------------------------------------------------------------------------

    def step_clock(self, ns):
        self.clock_offset += ns
        fd = os.open(self.clock_file, os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(fd, struct.pack("<q", self.clock_offset), 0)  # one write: nobody reads half of it
        os.close(fd)

    def link(self, state):
        subprocess.run(["ip", "-n", self.names["a"], "link", "set", "r0", state], check=True)
        if state == "up":
            # addresses go with an IPv6 link that is down; neighbours are for nobody here
            self.say("link up")

    def carrier(self):
        done = subprocess.run(["ip", "-n", self.names["b"], "-o", "link", "show", "p0"], capture_output=True, text=True, check=True)
        return "LOWER_UP" in done.stdout
