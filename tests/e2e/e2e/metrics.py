"""A real Prometheus scrapes the cluster; every panel and every alert of dashboards/ must get an answer."""

import json
import pathlib
import subprocess
import tempfile
import urllib.parse

from .lab import TOP
from .verify import Verify
from .wait import until

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
- job_name: quorate
  static_configs:
{targets}
"""


def target(address, **labels):
    text = ", ".join(f'{k}: "{v}"' for k, v in labels.items())
    return f'  - {{targets: ["{address}"], labels: {{{text}}}}}'


class Prometheus:
    """Debian's Prometheus, inside the cluster's network, asked from there."""

    def __init__(self, world, targets):
        self._world = world
        self._dir = tempfile.TemporaryDirectory()
        root = pathlib.Path(self._dir.name)
        rules = TOP / "dashboards/alerts.yaml"
        (root / "prometheus.yml").write_text(CONFIG.format(rules=rules, targets="\n".join(targets)))
        self._process = subprocess.Popen(
            world.lab.inside(
                "prometheus", f"--config.file={root}/prometheus.yml", f"--storage.tsdb.path={root}/data",
                "--web.listen-address=127.0.0.1:9490",
            ),
            stdout=subprocess.DEVNULL, stderr=open(root / "log", "w"),
        )
        self._log = root / "log"

    def get(self, path, **query):
        url = f"http://127.0.0.1:9490/api/v1/{path}?" + urllib.parse.urlencode(query)
        done = subprocess.run(
            self._world.lab.inside("python3", "-c", "import sys,urllib.request as u\ntry: print(u.urlopen(sys.argv[1],timeout=5).read().decode())\nexcept Exception as e: print(getattr(e,'read',lambda: str(e).encode())().decode())", url),
            capture_output=True, text=True, timeout=20,
        )
        try:
            return json.loads(done.stdout)
        except json.JSONDecodeError:
            return {"status": "error", "error": done.stdout.strip() or self._log.read_text()[-500:]}

    def query(self, expression):
        answer = self.get("query", query=expression)
        if answer["status"] != "success":
            raise AssertionError(f"Prometheus refuses {expression!r}: {answer.get('error')}")
        return answer["data"]["result"]

    def close(self):
        self._process.terminate()
        self._process.wait()
        self._dir.cleanup()


def panels():
    """(dashboard, panel title, expression) of every query, with the dashboards' variables filled in."""
    for path in sorted((TOP / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for query in panel.get("targets", []):
                expression = query["expr"]
                for variable, value in (("$__rate_interval", "30s"), ("$__range", "5m"), ("$namespace", "chat"), ("$cluster", "team")):
                    expression = expression.replace(variable, value)
                yield path.name, panel["title"], expression


def targets(world):
    for name, pod in world.cluster.pods().items():
        yield target(f"{pod['status']['podIP']}:9400", namespace=world.namespace, cluster=world.name, pod=name)
    operators = ["pods", "--selector", "app.kubernetes.io/name=quorate-operator", "--namespace", world.operator_namespace]
    for pod in world.kubectl.items(*operators):
        yield target(f"{pod['status']['podIP']}:9400", namespace=world.operator_namespace, pod=pod["metadata"]["name"])


def every_panel_answers(world):
    world.cluster.settled()
    prometheus = Prometheus(world, list(targets(world)))
    try:
        with Verify(world.lab, world.chatctl, world.servers()) as verify:
            until("verify has its first acknowledgements", verify.acknowledging, 60)
            until("Prometheus has scraped all pods", lambda: len(prometheus.query("up == 1")) >= 5, 60)
            empty = {}

            def all_answer():
                empty.clear()
                for board, title, expression in panels():
                    if not prometheus.query(expression):
                        empty[f"{board}: {title}"] = expression
                return not empty
            try:
                until("every panel has data", all_answer, 60)
            except AssertionError:
                raise AssertionError(f"panels without data: {json.dumps(empty, indent=2)}")
            verify.finish()
        verify.assert_nothing_broken()
        rules = prometheus.get("rules")["data"]["groups"]
        broken = [r["name"] for g in rules for r in g["rules"] if r["health"] == "err"]
        assert rules and not broken, f"alert rules that Prometheus cannot evaluate: {broken}"
        world.report.note("dashboard queries answered by Prometheus", sum(1 for _ in panels()))
        world.report.note("alert rules evaluated", sum(len(g["rules"]) for g in rules))
    finally:
        prometheus.close()
