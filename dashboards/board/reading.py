"""Boards, their panels and every query in them, with variables filled in as Grafana does."""

import json
import pathlib
import re
from dataclasses import dataclass

FOLDER = pathlib.Path(__file__).resolve().parents[1]
LABEL_VALUES = re.compile(r"label_values\((?P<series>.*), *(?P<label>\w+)\)$")


@dataclass(frozen=True)
class Query:
    """One question to Prometheus. `when` is "range" or "now"; `kind` is "panel", "annotation" or "variable"."""

    kind: str
    where: str
    expression: str
    when: str


def boards(folder=FOLDER):
    """(path, board) of each."""
    return [(path, json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]


def panels(board):
    """All panels but headings, those within folded rows too."""
    for panel in board["panels"]:
        yield from panels(panel) if panel["type"] == "row" else [panel]


def queries(board):
    """What the board asks: its panels, its marks, its variables."""
    title = board["title"]
    for panel in panels(board):
        for target in panel["targets"]:
            yield Query("panel", f"{title}: {panel['title']}", target["expr"], "now" if target["instant"] else "range")
    for mark in board["annotations"]["list"]:
        yield Query("annotation", f"{title}: mark {mark['name']}", mark["expr"], "range")
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            found = LABEL_VALUES.match(variable["query"]["query"])
            if not found:
                raise ValueError(f"{title}: variable {variable['name']} asks {variable['query']['query']!r}")
            expression = f"count by ({found['label']}) ({found['series']})"
            yield Query("variable", f"{title}: variable {variable['name']}", expression, "now")


def filled(expression, variables):
    """The expression with each $name or ${name} replaced; one that is not given is an error. $1 is PromQL's own."""
    def value(match):
        name = match[1] or match[2]
        return match[0] if name.isdigit() else variables[name]
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", value, expression)


def variables(namespace, cluster, step=15, scrape=15):
    """Values of the boards' variables; the intervals are derived from step and scrape interval in seconds, as Grafana does."""
    return {
        "namespace": namespace, "cluster": cluster,
        "__interval": f"{step}s", "__rate_interval": f"{max(step + scrape, 4 * scrape)}s",
    }
