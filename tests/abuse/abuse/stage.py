"""What an attack is played on: the pod, its user, the pod's memory, and what must hold."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from .user import quantile

MIB = 1 << 20
# What the issue of the day is: a pod whose limit is 1 GiB must stay far below it.
MEMORY = 250 * MIB
# Generous: machines differ by ten times, and the attacker runs on the same one. The user must be served, not hang.
P99 = 5.0
# Of a user whose new connection is pushed out before it could say who it is.
FAILURES = 0.02
# Until what an attack held is given back, where nothing has to run out first.
NORMAL_AGAIN = 20


class Failed(Exception):
    """Something that must hold does not."""


class Stage:
    def __init__(self, pod, user):
        self.pod, self.user = pod, user
        self.peak, self.notes = 0, []
        self.watching = threading.Event()
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        while not self.watching.wait(0.1):
            try:
                self.peak = max(self.peak, self.pod.resident())
            except OSError:
                return

    def stop(self):
        self.watching.set()

    @staticmethod
    def now():
        return time.monotonic()

    @staticmethod
    def wait(seconds):
        time.sleep(seconds)

    def note(self, words):
        self.notes.append(words)

    @staticmethod
    def check(what, holds):
        if not holds:
            raise Failed(what)

    def administers(self):
        """Whether an administrator gets in over a new connection, and what chatctl said."""
        at = ["--admin", f"127.0.0.1:{self.pod.peer}", "--tls-dir", self.pod.tls]
        return self.pod.ctl("cluster", "status", *at, seconds=30)

    def grpc_serves(self):
        """Whether a new connection to the gRPC API is served: a login that names nobody is refused, and not lost."""
        _, said = self.pod.ctl("login", "nobody", "--servers", f"127.0.0.1:{self.pod.grpc}")
        return "name and password" in said or "name or password" in said

    def play(self, attacks):
        """Plays attacks at the same time and judges them; one line of figures."""
        self.user.take()
        self.peak, self.notes = self.pod.resident(), []
        begun = time.monotonic()
        with ThreadPoolExecutor(len(attacks)) as threads:
            for played in [threads.submit(attack.play, self) for attack in attacks]:
                played.result()
        self.pod.check_alive()
        turns, failures = self.user.take()
        peak = self.peak
        self.check(f"memory stays under {MEMORY // MIB} MiB: {peak / MIB:.0f} MiB", peak < MEMORY)
        self.check("the user has had turns", len(turns) >= 3)
        self.check(f"the user is served: {failures[:3]}", len(failures) <= FAILURES * len(turns))
        p99 = quantile(turns, 0.99)
        self.check(f"the user's turns take at most {P99} s: p99 {p99:.2f} s", p99 < P99)
        self.becomes_normal()
        figures = f"{time.monotonic() - begun:.0f} s; {len(turns)} turns, p50 {quantile(turns, 0.5) * 1000:.0f} ms, "
        figures += f"p99 {p99 * 1000:.0f} ms, {len(failures)} failed; at most {peak / MIB:.0f} MiB"
        return "; ".join([figures, *self.notes])

    def becomes_normal(self):
        """Waits until nothing is held any more, and the user is served without a failure."""
        held = ["quorate_api_request_bytes", "quorate_api_response_bytes"]
        connections = [f'quorate_api_connections{{api="{api}"}}' for api in ("matrix", "grpc")]
        deadline = time.monotonic() + NORMAL_AGAIN
        while True:
            figures = {name: self.pod.figure(name) for name in held + connections}
            # The user's own request may be on its way.
            if all(figures[name] < MIB for name in held) and all(figures[name] < 20 for name in connections):
                break
            self.check(f"what was held is given back: {figures}", time.monotonic() < deadline)
            time.sleep(0.1)
        self.user.take()
        while len((turns := self.user.turns)) < 5:
            self.check(f"the user is served as before: {turns}", time.monotonic() < deadline + 20)
            time.sleep(0.05)
        _, failures = self.user.take()
        self.check(f"no turn fails afterwards: {failures}", not failures)
