"""One chatd process on ports of loopback that were free a moment ago."""

import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

NAME = "a"
DOORS = ("http", "grpc", "peer", "metrics")


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


class Pod:
    def __init__(self, home, settings):
        # CHATD_BIN: where chatd and chatctl are, if not where `make build` puts them.
        programs = Path(os.environ.get("CHATD_BIN") or Path(os.environ["CARGO_TARGET_DIR"]) / "release")
        self.chatd, self.chatctl = programs / "chatd", programs / "chatctl"
        self.home, self.tls, self.settings = home, home / "tls", settings
        self.http, self.grpc, self.peer, self.metrics = free_ports(len(DOORS))
        self.process = None

    def ctl(self, *arguments, seconds=60):
        """Runs chatctl; whether it succeeded, and what it said."""
        environment = {**os.environ, "QUORATE_PROFILE_FILE": str(self.home / "profiles"), "QUORATE_PASSWORD": "wrong"}
        command = [self.chatctl, "--output", "json", *map(str, arguments)]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=seconds)
        except subprocess.TimeoutExpired:
            return False, f"{' '.join(map(str, command))} did not end in {seconds} s"
        return done.returncode == 0, done.stdout + done.stderr

    def start(self):
        at = {door: f"127.0.0.1:{getattr(self, door)}" for door in DOORS}
        files = {"ca": "ca.crt", "cert": "tls.crt", "key": "tls.key"}
        config = self.home / "chatd.yaml"
        # JSON is YAML.
        config.write_text(
            f"serverName: abuse.localhost\nnodeName: {NAME}\ndataDir: {self.home / 'data'}\nlisten: {json.dumps(at)}\n"
            f"advertise: {json.dumps({door: at[door] for door in ('peer', 'grpc')})}\n"
            f"tls: {json.dumps({f'{what}File': str(self.tls / NAME / file) for what, file in files.items()})}\n"
            f"log: {{format: text, level: info}}\n{self.settings}"
        )
        make = ["cluster", "init", "--dir", self.tls, "--nodes", f"{NAME}={at['peer']}"]
        self.must(*make, "--certificates-only")
        with open(self.home / "log", "ab") as log:
            self.process = subprocess.Popen([self.chatd, "--config", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.must(*make)
        deadline = time.monotonic() + 60
        while not self.is_ready():
            self.check_alive()
            if time.monotonic() > deadline:
                raise SystemExit(f"the pod is not ready within a minute:\n{self.last_words()}")
            time.sleep(0.05)

    def must(self, *arguments):
        succeeded, said = self.ctl(*arguments)
        if not succeeded:
            raise SystemExit(f"chatctl {' '.join(map(str, arguments))} failed:\n{said}\n{self.last_words()}")

    def page(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics}{path}", timeout=10) as answer:
            return answer.read().decode()

    def is_ready(self):
        try:
            return bool(self.page("/readyz"))
        except OSError:
            return False

    def figure(self, line):
        """A metric's value by its name with labels; 0 while there is none."""
        found = (each.rsplit(" ", 1)[1] for each in self.page("/metrics").splitlines() if each.startswith(line + " "))
        return float(next(found, 0))

    def resident(self):
        """Bytes of memory that are resident."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def check_alive(self):
        if self.process.poll() is not None:
            raise SystemExit(f"the pod ended with {self.process.returncode}:\n{self.last_words()}")

    def last_words(self):
        log = self.home / "log"
        return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
