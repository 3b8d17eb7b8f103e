"""Three chatd processes on ports of loopback that were free a moment ago."""

import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

NAMES = ["a", "b", "c"]
# What the state's database may take: full after the first round, so that growth afterwards is growth of something else.
CACHE_MIB = 32
# A checkpoint about every minute, so that many are made, sent nowhere and let go.
SETTINGS = f"""rateLimit: {{enabled: false}}
raft: {{snapshotEntries: 2000, keepLogEntries: 500}}
state: {{cacheMebibytes: {CACHE_MIB}}}
"""


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


class Pod:
    def __init__(self, name, home, ports):
        self.name, self.home = name, home
        self.http, self.grpc, self.peer, self.metrics = ports
        self.process = None

    @property
    def data(self):
        return self.home / self.name / "data"

    def start(self, binary, tls):
        (self.home / self.name).mkdir(parents=True, exist_ok=True)
        at = {door: f"127.0.0.1:{getattr(self, door)}" for door in ("http", "grpc", "peer", "metrics")}
        config = self.home / self.name / "chatd.yaml"
        # JSON is YAML.
        config.write_text(
            f"serverName: soak.localhost\nnodeName: {self.name}\ndataDir: {self.data}\nlisten: {json.dumps(at)}\n"
            f"advertise: {json.dumps({door: at[door] for door in ('peer', 'grpc')})}\n"
            f"tls: {json.dumps({f'{what}File': str(tls / self.name / file) for what, file in (('ca', 'ca.crt'), ('cert', 'tls.crt'), ('key', 'tls.key'))})}\n"
            f"log: {{format: text, level: info}}\n{SETTINGS}"
        )
        with open(self.home / self.name / "log", "ab") as log:
            self.process = subprocess.Popen([binary, "--config", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/readyz", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def database(self, property):
        """A figure of the state's database, as the metrics port has it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        name = f"quorate_rocksdb_{property} "
        return int(float(next(line.rsplit(" ", 1)[1] for line in lines if line.startswith(name))))

    def last_words(self):
        return "\n".join((self.home / self.name / "log").read_text(errors="replace").splitlines()[-15:])


class Cluster:
    def __init__(self, home):
        release = Path(os.environ["CARGO_TARGET_DIR"]) / "release"
        self.chatd, self.chatctl = release / "chatd", release / "chatctl"
        self.home, self.tls = home, home / "tls"
        # All at once, so that none is given twice.
        ports = iter(free_ports(4 * len(NAMES)))
        self.pods = [Pod(name, home, [next(ports) for _ in range(4)]) for name in NAMES]

    def ctl(self, *arguments):
        """Runs chatctl; its one JSON document."""
        environment = {**os.environ, "QUORATE_PROFILE_FILE": str(self.home / "profiles")}
        command = [self.chatctl, "--output", "json", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}\n{done.stderr[-2000:]}")
        return json.loads(done.stdout)

    @property
    def admin(self):
        return ",".join(f"127.0.0.1:{pod.peer}" for pod in self.pods)

    @property
    def servers(self):
        return ",".join(f"127.0.0.1:{pod.grpc}" for pod in self.pods)

    def start(self):
        nodes = ",".join(f"{pod.name}=127.0.0.1:{pod.peer}" for pod in self.pods)
        make = ["cluster", "init", "--dir", self.tls, "--nodes", nodes]
        self.ctl(*make, "--certificates-only")
        for pod in self.pods:
            pod.start(self.chatd, self.tls)
        self.ctl(*make)
        deadline = time.monotonic() + 60
        while not all(pod.is_ready() for pod in self.pods):
            self.check_alive()
            if time.monotonic() > deadline:
                raise SystemExit("the pods are not ready within a minute")
            time.sleep(0.1)

    def check_alive(self):
        for pod in self.pods:
            if pod.process.poll() is not None:
                raise SystemExit(f"pod {pod.name} ended with {pod.process.returncode}:\n{pod.last_words()}")

    def stop(self):
        running = [pod for pod in self.pods if pod.process and pod.process.poll() is None]
        for pod in running:
            pod.process.terminate()
        for pod in running:
            try:
                pod.process.wait(40)
            except subprocess.TimeoutExpired:
                pod.process.kill()
                pod.process.wait()
