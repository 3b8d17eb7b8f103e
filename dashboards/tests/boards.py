"""Checks of the dashboards: what they name exists, what they must have they have, Grafana's linter is content."""

import os
import pathlib
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "dashboards"))
from board import reading  # noqa: E402: after the path

# The linter's exit code when it could not be built, apart from what it finds.
ABSENT = 3


def check_panel(panel, linked):
    if not panel.get("description"):
        yield "has no description"
    if not panel["fieldConfig"]["defaults"].get("unit"):
        yield "has no unit"
    if not panel.get("links") or not all(linked(link["url"]) for link in panel["links"]):
        yield "has no link to a page that exists"
    if not panel["targets"]:
        yield "asks nothing"


def check_boards(unknown, linked):
    """All problems there are."""
    yield from check_contents(unknown, linked)
    yield from check_lint()
    yield from check_pictures()


def check_contents(unknown, linked):
    values = reading.variables("chat", "team")
    for path, board in reading.boards():
        for query in reading.queries(board):
            for name in unknown(query.expression):
                yield f"{path.name}, {query.where}: no metric {name} is declared in the code"
            # Fails on a variable that the board does not have.
            reading.filled(query.expression, values)
        for panel in reading.panels(board):
            yield from (f"{path.name}, panel {panel['title']!r}: {what}" for what in check_panel(panel, linked))


def check_lint():
    """What the linter is told to leave out stands in dashboards/.lint, with reasons."""
    for path, _ in reading.boards():
        done = subprocess.run([str(TOP / "deploy/deps/dashboard-linter"), "lint", "--strict", str(path)], capture_output=True, text=True)
        if done.returncode == ABSENT:
            print(f"dashboards: NOT LINTED: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            return
        if done.returncode != 0:
            yield f"dashboard-linter, {path.name}:\n{done.stdout}{done.stderr}"


def check_pictures():
    """The code that reads and draws the boards."""
    environment = os.environ | {"PYTHONPATH": str(TOP / "dashboards"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "unittest", "discover", "--start-directory", str(TOP / "dashboards/tests")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        yield f"{' '.join(command)}:\n{done.stderr}"
