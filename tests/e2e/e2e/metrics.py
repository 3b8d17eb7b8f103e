"""A real Prometheus scrapes the cluster; every panel, mark and variable of every dashboard must get an answer."""

import json
import math
import os
import pathlib
import subprocess
import sys

from .lab import TOP
from .prometheus import ADDRESS, SCRAPE, Prometheus
from .verify import Verify
from .wait import until

sys.path.insert(0, str(TOP / "dashboards"))
from board import reading  # noqa: E402: after the path

STEP = 5
# Marks that this run must have seen happen; of a new version there is none, of alerts the alerts' own step speaks.
SEEN = ("Elections", "Starts")


def begin(world):
    """For a run of this step alone; in a whole one, everything since the installation was recorded."""
    world.prometheus = Prometheus(world)


def has_a_number(series):
    """Whether any sample is a number at all: a percentile of nothing is none."""
    samples = [sample for one in series for sample in one.get("values") or [one["value"]]]
    return any(not math.isnan(float(value)) for _, value in samples)


def rises(series):
    return any(float(value) > 0 for one in series for _, value in one["values"])


class Questions:
    """Every query of every dashboard, and which of them have no answer yet."""

    def __init__(self, world, prometheus):
        self._prometheus = prometheus
        values = reading.variables(world.namespace, world.name, STEP, SCRAPE)
        self.all = [
            (query, reading.filled(query.expression, values))
            for _, board in reading.boards() for query in reading.queries(board)
        ]
        self.empty = list(self.all)

    def _answered(self, query, expression):
        if query.when == "now":
            return has_a_number(self._prometheus.query(expression))
        series = self._prometheus.query_range(expression, STEP)
        must_rise = query.kind == "annotation" and query.where.endswith(SEEN)
        return rises(series) if must_rise else has_a_number(series)

    def all_answered(self):
        """Asks again what had no answer."""
        self.empty = [(query, expression) for query, expression in self.empty if not self._answered(query, expression)]
        return not self.empty


class MatrixClient:
    """Somebody who talks over the Matrix API for as long as the block lasts: /sync has panels, too."""

    def __init__(self, world):
        servers = [f"http://{name}.{world.name}-peers.{world.namespace}.svc.cluster.local:8008" for name in sorted(world.cluster.pods())]
        script = pathlib.Path(__file__).with_name("matrix_talk.py")
        self._process = subprocess.Popen(
            world.lab.inside("python3", str(script), *servers), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        try:
            # The end of its input is the sign to end.
            out, _ = self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, _ = self._process.communicate()
        if error[0] is None and self._process.returncode != 0:
            raise AssertionError(f"the Matrix client failed: {out[-1000:]}")


def every_panel_answers(world):
    if not getattr(world, "prometheus", None):
        begin(world)
    prometheus = world.prometheus
    with Verify(world.lab, world.chatctl, world.servers(), post=True) as verify, MatrixClient(world):
        until("verify has its first acknowledgements", verify.acknowledging, 60)
        until("Prometheus has scraped all pods", lambda: len(prometheus.query("up == 1")) >= 5, 60)
        # An election that is seen, also when this step runs alone.
        leader, term = world.cluster.settled()
        world.kubectl.run("delete", "pod", leader, "--wait=false")
        until("another pod leads", lambda: world.cluster.leader()[1] > term, 30)
        world.cluster.settled()
        questions = Questions(world, prometheus)
        try:
            until("every panel has data", questions.all_answered, 90, every=1)
        except AssertionError:
            silent = {query.where: expression for query, expression in questions.empty}
            raise AssertionError(f"without data: {json.dumps(silent, indent=2)}")
        # While there is load: a table shows what is now.
        draw(world, prometheus)
        verify.finish()
    verify.assert_nothing_broken()
    rules_are_healthy(world, prometheus)
    for kind in ("panel", "annotation", "variable"):
        count = sum(query.kind == kind for query, _ in questions.all)
        world.report.note(f"dashboard queries answered by Prometheus: {kind}s", count)


def rules_are_healthy(world, prometheus):
    rules = prometheus.get("rules")["data"]["groups"]
    broken = [r["name"] for g in rules for r in g["rules"] if r["health"] == "err"]
    assert rules and not broken, f"rules that Prometheus cannot evaluate: {broken}"
    world.report.note("rules evaluated", sum(len(g["rules"]) for g in rules))


def draw(world, prometheus):
    """Pictures of all boards as of this run, into the folder that QUORATE_PLOTS names."""
    if not (folder := os.environ.get("QUORATE_PLOTS")):
        return
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    plot = str(TOP / "dashboards/plot")
    for path, _ in reading.boards():
        picture = pathlib.Path(folder).resolve() / f"{path.stem}.svg"
        done = subprocess.run(
            world.lab.inside(
                plot, "--prometheus", f"http://{ADDRESS}", "--start", str(prometheus.start), "--scrape", str(SCRAPE),
                "--namespace", world.namespace, "--cluster", world.name, "--output", str(picture), str(path),
            ),
            capture_output=True, text=True, timeout=120,
        )
        assert done.returncode == 0, f"{path.name} was not drawn: {done.stderr}"
        world.report.note(f"picture of {path.stem}", picture.name)
