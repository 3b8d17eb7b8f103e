"""Three chatd processes that are one cluster."""

import json
import os
import pathlib
import re
import signal
import subprocess
import urllib.error
import urllib.request

from e2e.wait import until

CONFIGURATION = """\
serverName: chat.test
nodeName: node-{n}
dataDir: {data}
listen: {{http: "{host.http}", grpc: "{host.grpc}", peer: "{host.peer}", metrics: "{host.metrics}"}}
advertise: {{peer: "{host.peer}", grpc: "{host.grpc}"}}
tls: {{caFile: {tls}/ca.crt, certFile: {tls}/node-{n}/tls.crt, keyFile: {tls}/node-{n}/tls.key}}
rateLimit: {{enabled: false}}
log: {{format: text, level: info}}
{more}
"""


class Cluster:
    """Started and initialised on entry. `data` names the nodes' data directories, if they are to stand elsewhere; `more` is
    further configuration."""

    def __init__(self, world, net, data=None, more=""):
        self._world, self.net, self._more = world, net, more
        self.dir = world.new_dir()
        self.data = data or [self.dir / f"node-{n}/data" for n in range(3)]
        self.processes = [None] * 3
        self.servers = ",".join(host.grpc for host in net.hosts)

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self._end(failed=True)
            raise
        return self

    def _start(self):
        nodes = ",".join(f"node-{n}={host.peer}" for n, host in enumerate(self.net.hosts))
        self.chatctl("cluster", "init", "--certificates-only", "--dir", self.dir / "tls", "--nodes", nodes)
        for n, host in enumerate(self.net.hosts):
            (self.dir / f"node-{n}").mkdir()
            text = CONFIGURATION.format(n=n, host=host, data=self.data[n], tls=self.dir / "tls", more=self._more)
            (self.dir / f"node-{n}/chatd.yaml").write_text(text)
            self.start(n)
        self.chatctl("cluster", "init", "--dir", self.dir / "tls", "--nodes", nodes)
        self.until_ready()

    def __exit__(self, kind, *_):
        self._end(failed=kind is not None)

    def _end(self, failed):
        for process in filter(None, self.processes):
            if process.poll() is None:
                process.kill()
            process.wait()
        if failed:
            for n in range(3):
                print(f"--- end of the log of node-{n}\n{self.log(n)[-3000:]}")

    def chatctl(self, *args, timeout=120):
        command = [*self.net.prefix, self._world.binary("chatctl"), *map(str, args)]
        # A profile of somebody else's must not steer the test.
        env = {**os.environ, "QUORATE_PROFILE_FILE": str(self.dir / "profiles.json")}
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, env=env)
        assert done.returncode == 0, f"{' '.join(command)}: {done.returncode}: {done.stderr[-2000:]}"
        return done.stdout

    def start(self, n):
        with open(self.dir / f"node-{n}/log", "a") as log:
            command = [*self.net.hosts[n].prefix, self._world.binary("chatd"), "--config", self.dir / f"node-{n}/chatd.yaml"]
            self.processes[n] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def log(self, n):
        path = pathlib.Path(self.dir / f"node-{n}/log")
        return path.read_text(errors="replace") if path.exists() else ""

    def send(self, n, number):
        self.processes[n].send_signal(number)

    def kill(self, *nodes):
        """SIGKILL to all of them before any is waited for."""
        for n in nodes:
            self.send(n, signal.SIGKILL)
        for n in nodes:
            self.processes[n].wait()

    def exit_code(self, n, seconds):
        """Waits for the process to end by itself."""
        until(f"node-{n} ends", lambda: self.processes[n].poll() is not None, seconds)
        return self.processes[n].returncode

    def _get(self, n, path):
        """Status of a page of the metrics port; None without an answer."""
        url = f"http://{self.net.hosts[n].metrics}{path}"
        if not self.net.prefix:
            try:
                return urllib.request.urlopen(url, timeout=2).status
            except urllib.error.HTTPError as error:
                return error.code
            except OSError:
                return None
        command = [*self.net.prefix, "curl", "-sS", "-m", "2", "-o", "/dev/null", "-w", "%{http_code}", url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return int(done.stdout) if done.returncode == 0 else None

    def is_ready(self, n):
        return self._get(n, "/readyz") == 200

    def until_ready(self, nodes=(0, 1, 2), seconds=60):
        def ready(n):
            # Of a process that has ended there is nothing to wait for, and it has said why.
            code = self.processes[n].poll()
            assert code is None, f"node-{n} has ended with {code}: {self.log(n).splitlines()[-1:]}"
            return self.is_ready(n)
        for n in nodes:
            until(f"node-{n} is ready", lambda: ready(n), seconds)

    def status(self, nodes=(0, 1, 2)):
        """What each of the nodes says, by node; without those that do not answer."""
        addresses = ",".join(self.net.hosts[n].peer for n in nodes)
        command = ("--output", "json", "cluster", "status", "--admin", addresses, "--tls-dir", self.dir / "tls")
        try:
            servers = json.loads(self.chatctl(*command))["servers"]
        except AssertionError:
            return {}
        return {n: server["status"] for n, server in zip(nodes, servers) if "status" in server}

    def leader(self, nodes=(0, 1, 2), above=0, seconds=30):
        """Waits until one of the nodes leads in a term above `above`; which, and its term."""
        def look():
            leads = [(s["term"], n) for n, s in self.status(nodes).items() if s["role"] == "leader" and s["term"] > above]
            return max(leads, default=None)
        term, n = until(f"one of {list(nodes)} leads above term {above}", look, seconds)
        return n, term

    def until_together(self, seconds=60):
        """All ready, under one leader in one term."""
        def together():
            status = self.status()
            return len(status) == 3 and len({(s["term"], s["leader_node_id"]) for s in status.values()}) == 1
        self.until_ready(seconds=seconds)
        until("all three follow one leader", together, seconds)

    def went_back(self):
        """What a leader said of a follower that had lost what it had acknowledged."""
        lines = (self.said(n, "follower log is reverted") for n in range(3))
        return next(filter(None, lines), None)

    def said(self, n, pattern, since=0):
        """The first line of a node's log after the character `since` that matches."""
        return next((line for line in self.log(n)[since:].splitlines() if re.search(pattern, line)), None)
