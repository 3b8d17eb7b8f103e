"""Debian's Prometheus inside the cluster's network, scraping whatever pods there are."""

import json
import pathlib
import subprocess
import tempfile
import threading
import time
import urllib.parse

from .kube import KubectlError
from .lab import TOP

SCRAPE = 1
CONFIG = """
global: {{scrape_interval: {scrape}s, evaluation_interval: {scrape}s}}
rule_files: [{rules}]
scrape_configs:
- job_name: quorate
  file_sd_configs: [{{files: [{targets}], refresh_interval: 5s}}]
"""
ADDRESS = "127.0.0.1:9490"
RULES = TOP / "dashboards/alerts.yaml"
# Runs inside: prints what an address answers, or the error that it answers.
GET = """
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())
except Exception as error:
    print(getattr(error, "read", lambda: str(error).encode())().decode())
"""


def target(address, **labels):
    return {"targets": [address], "labels": labels}


def targets(world):
    """The pods of the cluster and of the operator, as a Prometheus with the labels of dashboards/README.md finds them."""
    found = []
    for name, pod in world.cluster.pods().items():
        if address := pod["status"].get("podIP"):
            found.append(target(f"{address}:9400", namespace=world.namespace, cluster=world.name, pod=name))
    operators = ["pods", "--selector", "app.kubernetes.io/name=quorate-operator", "--namespace", world.operator_namespace]
    for pod in world.kubectl.items(*operators):
        if address := pod["status"].get("podIP"):
            found.append(target(f"{address}:9400", namespace=world.operator_namespace, pod=pod["metadata"]["name"]))
    return found


class Prometheus:
    """Scrapes every second; pods that come and go are followed until it is closed. Debian's build cannot ask the API
    server itself, so a file of targets is kept for it."""

    def __init__(self, world, rules=(RULES,)):
        self._world = world
        self._dir = tempfile.TemporaryDirectory()
        self._root = pathlib.Path(self._dir.name)
        self._log, self._targets = self._root / "log", self._root / "targets.json"
        self.start = time.time()
        self._write(targets(world))
        config = CONFIG.format(scrape=SCRAPE, rules=", ".join(map(str, rules)), targets=self._targets)
        (self._root / "prometheus.yml").write_text(config)
        self._process = subprocess.Popen(
            world.lab.inside(
                "prometheus", f"--config.file={self._root}/prometheus.yml", f"--storage.tsdb.path={self._root}/data",
                f"--web.listen-address={ADDRESS}",
            ),
            stdout=subprocess.DEVNULL, stderr=open(self._log, "w"),
        )
        self._closing = threading.Event()
        self._follower = threading.Thread(target=self._follow, daemon=True)
        self._follower.start()

    def _write(self, found):
        fresh = self._targets.with_suffix(".new")
        fresh.write_text(json.dumps(found))
        fresh.rename(self._targets)

    def _follow(self):
        while not self._closing.wait(2):
            try:
                self._write(targets(self._world))
            except (KubectlError, OSError, subprocess.SubprocessError, json.JSONDecodeError) as error:
                # The API server may be slow while a node is cut off: the next look comes.
                print(f"      Prometheus' targets could not be looked up: {str(error)[:200]}", flush=True)

    def get(self, path, **query):
        url = f"http://{ADDRESS}/api/v1/{path}?" + urllib.parse.urlencode(query)
        done = subprocess.run(
            self._world.lab.inside("python3", "-c", GET, url), capture_output=True, text=True, timeout=20,
        )
        try:
            return json.loads(done.stdout)
        except json.JSONDecodeError:
            return {"status": "error", "error": done.stdout.strip() or self._log.read_text()[-500:]}

    def _result(self, expression, answer):
        if answer["status"] != "success":
            raise AssertionError(f"Prometheus refuses {expression!r}: {answer.get('error')}")
        return answer["data"]["result"]

    def query(self, expression):
        """Series and their values now."""
        return self._result(expression, self.get("query", query=expression))

    def query_range(self, expression, step=5):
        """Series and their values since the start."""
        answer = self.get("query_range", query=expression, start=self.start, end=time.time(), step=step)
        return self._result(expression, answer)

    def close(self):
        self._closing.set()
        self._follower.join(timeout=30)
        self._process.terminate()
        self._process.wait()
        self._dir.cleanup()
