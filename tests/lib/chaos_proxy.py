"""A Unix socket between recorder and database that can be cut in mid-message, slowed down, or closed to the world.

What the proxy has read and not yet passed on is dropped at a cut, as a router's or a kernel's buffers are when it dies.
"""
import os
import random
import re
import socket
import threading
import time

CHUNK = 65536
STORES = re.compile(rb"\x02(?:insert|update)\0....(?:system\.buckets\.)?(packets|batches|balance)_", re.DOTALL)
JOURNALLED, UNJOURNALLED = b"\x08j\0\x01", b"\x08j\0\x00"  # of a write concern, in BSON


class Connection:
    def __init__(self, proxy, near):
        self.proxy, self.near = proxy, near
        self.far = socket.socket(socket.AF_UNIX)
        self.left = None  # bytes that still pass before it is cut; None: it is not to be cut
        self.storing = None  # what is on its way to be stored, and not answered yet: packets, batches or balance
        self.lock = threading.Lock()

    def run(self):
        try:
            self.far.connect(self.proxy.target)
        except OSError:
            self.close()
            return
        for source, target in ((self.near, self.far), (self.far, self.near)):
            threading.Thread(target=self.pump, args=(source, target), daemon=True).start()

    def pump(self, source, target):
        try:
            while data := source.recv(CHUNK):
                self.proxy.pause(self, source is self.far)
                if source is self.near:
                    found = STORES.search(data)
                    self.storing = found[1].decode() if found else self.storing
                    self.proxy.sent(self.storing)
                    if self.proxy.unjournalled:
                        self.proxy.rewritten += data.count(JOURNALLED)
                        data = data.replace(JOURNALLED, UNJOURNALLED)
                data = self.allowed(data)
                target.sendall(data)
                if self.storing and source is self.far:
                    self.proxy.answered(self.storing)
                    self.storing = None
                if self.left is not None and self.left <= 0:
                    break
        except OSError:
            pass
        self.close()

    def allowed(self, data):
        """What of `data` still passes."""
        with self.lock:
            if self.left is None:
                return data
            passes, self.left = data[:max(self.left, 0)], self.left - len(data)
            return passes

    def cut(self, after):
        with self.lock:
            self.left = after
        if after <= 0:
            self.close()

    def close(self):
        with self.proxy.lock:
            self.proxy.connections.discard(self)
        for end in (self.near, self.far):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()


class Proxy:
    def __init__(self, path, target, owner):
        self.target = target
        self.connections, self.lock = set(), threading.Lock()
        self.slow = (0.0, 0.0)  # until, seconds for each chunk
        self.held = self.silent = 0.0  # nothing passes until then; no answer does
        self.cuts = 0
        self.unjournalled, self.rewritten = False, 0  # no write waits for the disk; write concerns that were changed
        self.silence_behind = None  # (packets, batches or balance, seconds): when such is sent next, no answer passes for as long
        self.on_answer = None  # (packets, batches or balance, function): called once, right behind the next answer to what stores such
        self.random = random.Random(0)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        os.chown(path, owner, -1)
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            connection = Connection(self, near)
            with self.lock:
                self.connections.add(connection)
            connection.run()

    def pause(self, connection, answer):
        """Before a chunk passes: as long as nothing does, or each one takes its time."""
        until, each = self.slow
        if time.monotonic() < until:
            time.sleep(each)
        while time.monotonic() < max(self.held, self.silent if answer else 0) and connection in self.connections:
            time.sleep(0.01)

    def sent(self, what):
        with self.lock:
            if self.silence_behind and self.silence_behind[0] == what:
                self.silent, self.silence_behind = time.monotonic() + self.silence_behind[1], None

    def answered(self, what):
        with self.lock:
            if not self.on_answer or self.on_answer[0] != what:
                return
            call, self.on_answer = self.on_answer[1], None
        call()

    def cut(self, rng):
        """All connections, each some bytes later: in the middle of what is sent next."""
        with self.lock:
            now = sorted(self.connections, key=id)
        for connection in now:
            connection.cut(rng.choice((0, rng.randrange(1, 400), rng.randrange(1, 60000))))
        self.cuts += len(now)

    def delay(self, seconds, each):
        self.slow = (time.monotonic() + seconds, each)

    def hold(self, seconds):
        self.held = time.monotonic() + seconds
