"""Three pods of one homeserver, configured as suites for homeservers expect it."""

import json
import threading

from chatd_process import LISTENERS, ChatdProcess, free_ports, run_chatctl, stop_all, wait_until_ready

NAMES = ["a", "b", "c"]
# The name by which suites call the homeserver that they test.
SERVER_NAME = "hs1"
# What suites need: anyone may register, a user sends as fast as they like, and notices come from the user whom Complement knows. The
# one place for it.
SETTINGS = """registration: open
rateLimit: {enabled: false}
accounts: {sharedSecretFile: "%s", noticesUser: _server}
"""
# The secret with which suites register administrators.
SHARED_SECRET = "complement"
# A restarted pod replays its log first; a busy machine takes its time.
LONGEST_RESTART = 60


class ThreePods:
    def __init__(self, home):
        self.home, self.tls = home, home / "tls"
        secret = home / "shared-secret"
        self.settings = SETTINGS % secret
        secret.write_text(SHARED_SECRET)
        ports = free_ports(len(LISTENERS) * len(NAMES))
        of_pods = zip(NAMES, zip(*[iter(ports)] * len(LISTENERS)))
        self.pods = [ChatdProcess(name, home / name, self.tls, own) for name, own in of_pods]
        self._down = set()
        self._lock = threading.Lock()

    def ctl(self, *arguments):
        """Runs chatctl; its one JSON document."""
        done = run_chatctl(self.home, *arguments)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(done.args)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr[-2000:]}")
        return json.loads(done.stdout)

    def start(self):
        nodes = ",".join(f"{pod.name}=127.0.0.1:{pod.peer}" for pod in self.pods)
        make = ["cluster", "init", "--dir", self.tls, "--nodes", nodes]
        self.ctl(*make, "--certificates-only")
        for pod in self.pods:
            pod.start(SERVER_NAME, self.settings)
        self.ctl(*make)
        wait_until_ready(self.pods)

    def addresses(self):
        """Ports of the pods that a Service would send requests to, as a killed one counts only once it is ready again."""
        with self._lock:
            return [pod.http for pod in self.pods if pod.name not in self._down]

    def leader(self):
        """The pod that leads, or None during an election."""
        for pod in self.pods:
            try:
                if pod.figure("quorate_raft_is_leader") == 1:
                    return pod
            except OSError:
                continue
        return None

    def kill_and_restart(self, pod):
        """Ends a pod as a power failure would, starts it again, and returns once it is ready."""
        with self._lock:
            self._down.add(pod.name)
        pod.process.kill()
        pod.process.wait()
        pod.start(SERVER_NAME, self.settings)
        wait_until_ready([pod], LONGEST_RESTART)
        with self._lock:
            self._down.discard(pod.name)

    def check_alive(self):
        for pod in self.pods:
            pod.check_alive()

    def stop(self):
        stop_all(self.pods)
