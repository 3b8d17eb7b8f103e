"""Checks of alerts.yaml: what it names exists, each alert says what is needed at night, and is shown to fire and not to."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]
RULES = TOP / "dashboards/alerts.yaml"
TESTS = sorted((TOP / "dashboards/tests").glob("*_test.yaml"))
# A recorded series: level, metric, operation.
RECORDED = re.compile(r"\b\w+:quorate_\w+:\w+")
SEVERITIES = {"critical", "warning"}

sys.path.append(str(TOP / "tests/e2e"))
from e2e import hurry  # noqa: E402


def without_comments(text):
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def blocks(text):
    """(name, text of the rule) of every alert."""
    for block in re.split(r"\n +- (?=alert:|record:)|\n {2}- name:", text):
        if block.startswith("alert: "):
            yield block.split("\n", 1)[0].removeprefix("alert: "), block


def fields(name, block, linked):
    severity = re.search(r"labels: \{severity: (\w+)\}", block)
    if not severity or severity[1] not in SEVERITIES:
        yield f"{name}: needs labels: {{severity: one of {sorted(SEVERITIES)}}}"
    for field in ("summary", "description", "runbook_url"):
        if f"\n          {field}: " not in block:
            yield f"{name}: has no {field}"
    for url in re.findall(r"runbook_url: (\S+)", block):
        if not linked(url):
            yield f"{name}: {url} does not exist"
    uids = {json.loads(path.read_text())["uid"] for path in (TOP / "dashboards").glob("*.json")}
    for uid in re.findall(r"dashboard_url: /d/([\w-]+)", block):
        if uid not in uids:
            yield f"{name}: there is no dashboard with the uid {uid}"


def both_ways(names):
    """Each alert must be seen firing in some test, and silent in some."""
    text = "\n".join(without_comments(path.read_text()) for path in TESTS)
    # What follows `exp_alerts:` tells: `[]` for silence, else the alerts.
    seen = set(re.findall(r"alertname: (\w+),?\s+exp_alerts:( \[\])?", text))
    for name in sorted(names):
        if (name, "") not in seen:
            yield f"{name}: no test shows that it fires"
        if (name, " []") not in seen:
            yield f"{name}: no test shows that it keeps silent"


def promtool(*args):
    done = subprocess.run(["promtool", *map(str, args)], capture_output=True, text=True)
    if done.returncode != 0:
        yield f"promtool {' '.join(map(str, args[:2]))}: {done.stdout}{done.stderr}"


def check_rules(unknown, linked):
    """Sentences about what is wrong; `unknown` finds metrics that the code does not declare, `linked` a missing page."""
    text = without_comments(RULES.read_text())
    # The middle of a recorded series' name looks like a metric.
    for name in unknown(RECORDED.sub("", text)):
        yield f"alerts.yaml: no metric {name} is declared in the code"
    recorded = set(re.findall(r"record: (\S+)", text))
    for name in sorted(set(RECORDED.findall(text)) - recorded):
        yield f"alerts.yaml: nothing records {name}"
    alerts = list(blocks(text))
    for name, block in alerts:
        yield from (f"alerts.yaml: {problem}" for problem in fields(name, block, linked))
    yield from (f"alerts.yaml: {problem}" for problem in both_ways({name for name, _ in alerts}))
    yield from promtool("check", "rules", RULES)
    yield from promtool("test", "rules", *TESTS)
    # What the end-to-end test loads beside it.
    hasty = hurry.hurried(RULES.read_text())
    if not hurry.tells_apart(hasty):
        yield "alerts.yaml: an alert has its labels in a form that tests/e2e/e2e/hurry.py does not know"
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as copy:
        copy.write(hasty)
        copy.flush()
        yield from promtool("check", "rules", copy.name)
