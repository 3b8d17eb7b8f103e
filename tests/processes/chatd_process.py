"""A chatd process on ports of loopback that were free a moment ago: what the tests of processes without root share."""

import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

LISTENERS = ("http", "grpc", "peer", "metrics")
TLS_FILES = {"caFile": "ca.crt", "certFile": "tls.crt", "keyFile": "tls.key"}
# chatd drains for 30 s at most.
LONGEST_STOP = 40


def free_ports(count):
    """So many different ports: held together, so that none is given twice."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def programs():
    """The folder of chatd and chatctl: CHATD_BIN, or where `make build` puts them."""
    return Path(os.environ.get("CHATD_BIN") or Path(os.environ["CARGO_TARGET_DIR"]) / "release")


def run_chatctl(home, *arguments, seconds=None):
    """Runs chatctl with its profiles under `home`. Returns the completed process; its output is JSON."""
    environment = {**os.environ, "QUORATE_PROFILE_FILE": str(home / "profiles"), "QUORATE_PASSWORD": "wrong"}
    command = [str(each) for each in (programs() / "chatctl", "--output", "json", *arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=seconds)


class ChatdProcess:
    def __init__(self, name, home, tls, ports):
        self.name, self.home, self.tls = name, home, tls
        self.http, self.grpc, self.peer, self.metrics = ports
        self.process = None

    @property
    def data(self):
        return self.home / "data"

    def start(self, server_name, settings):
        """Starts the process; `settings` are lines of its configuration."""
        self.home.mkdir(parents=True, exist_ok=True)
        listen = {each: f"127.0.0.1:{getattr(self, each)}" for each in LISTENERS}
        config = self.home / "chatd.yaml"
        # JSON is YAML.
        config.write_text(
            f"serverName: {server_name}\nnodeName: {self.name}\ndataDir: {self.data}\nlisten: {json.dumps(listen)}\n"
            f"advertise: {json.dumps({each: listen[each] for each in ('peer', 'grpc')})}\n"
            f"tls: {json.dumps({key: str(self.tls / self.name / file) for key, file in TLS_FILES.items()})}\n"
            f"log: {{format: text, level: info}}\n{settings}"
        )
        with open(self.home / "log", "ab") as log:
            command = [programs() / "chatd", "--config", config]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def page(self, path):
        """A page of the metrics listener."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}{path}", timeout=10) as answer:
            return answer.read().decode()

    def is_ready(self):
        try:
            return bool(self.page("/readyz"))
        except OSError:
            return False

    def figure(self, metric):
        """The value of a metric, by its name with labels; 0 while there is none."""
        lines = self.page("/metrics").splitlines()
        return float(next((line.rsplit(" ", 1)[1] for line in lines if line.startswith(metric + " ")), 0))

    def resident(self):
        """Bytes of memory that are resident."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def check_alive(self):
        if self.process.poll() is not None:
            raise SystemExit(f"pod {self.name} ended with {self.process.returncode}:\n{self.last_words()}")

    def last_words(self):
        log = self.home / "log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""


def wait_until_ready(pods, seconds=60):
    deadline = time.monotonic() + seconds
    while not all(pod.is_ready() for pod in pods):
        for pod in pods:
            pod.check_alive()
        if time.monotonic() > deadline:
            words = "\n".join(pod.last_words() for pod in pods if not pod.is_ready())
            raise SystemExit(f"not ready within {seconds} s:\n{words}")
        time.sleep(0.05)


def stop_all(pods):
    """Asks all to end at once; whoever does not is killed."""
    running = [pod.process for pod in pods if pod.process and pod.process.poll() is None]
    for process in running:
        process.terminate()
    for process in running:
        try:
            process.wait(LONGEST_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
