"""Three pods under load."""

import json

from chatd_process import LISTENERS, ChatdProcess, free_ports, run_chatctl, stop_all, wait_until_ready

NAMES = ["a", "b", "c"]
# What the state's database may take: full after the first round, so that growth afterwards is growth of something else.
CACHE_MIB = 32
# A checkpoint about every minute, so that many are made, sent nowhere and let go.
SETTINGS = f"""rateLimit: {{enabled: false}}
raft: {{snapshotEntries: 2000, keepLogEntries: 500}}
state: {{cacheMebibytes: {CACHE_MIB}}}
"""


class Cluster:
    def __init__(self, home):
        self.home, self.tls = home, home / "tls"
        ports = free_ports(len(LISTENERS) * len(NAMES))
        of_pods = zip(NAMES, zip(*[iter(ports)] * len(LISTENERS)))
        self.pods = [ChatdProcess(name, home / name, self.tls, own) for name, own in of_pods]

    def ctl(self, *arguments):
        """Runs chatctl; its one JSON document."""
        done = run_chatctl(self.home, *arguments)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(done.args)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr[-2000:]}")
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
            pod.start("soak.localhost", SETTINGS)
        self.ctl(*make)
        wait_until_ready(self.pods)

    def check_alive(self):
        for pod in self.pods:
            pod.check_alive()

    def stop(self):
        stop_all(self.pods)
