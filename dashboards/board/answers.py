"""What Prometheus answers to a panel: named series over a time, or rows."""

import json
import math
import re
import urllib.parse
import urllib.request
from dataclasses import dataclass, field

from . import reading


@dataclass
class Series:
    name: str
    labels: dict
    samples: list = field(default_factory=list)
    colour: str = None

    def last(self):
        return next((value for _, value in reversed(self.samples) if not math.isnan(value)), None)


class Source:
    """A Prometheus, a time, and the values of the boards' variables."""

    # One for every other pixel of half a board: files of documents stay small.
    SAMPLES = 300

    def __init__(self, url, start, end, scrape, namespace, cluster):
        self._url, self.start, self.end = url.rstrip("/"), start, end
        self.step = max(scrape, math.ceil((end - start) / self.SAMPLES))
        self._variables = reading.variables(namespace, cluster, self.step, scrape)

    def _ask(self, path, **query):
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=60) as answer:
            return json.load(answer)["data"]["result"]

    def _series(self, expression, legend, instant):
        expression = reading.filled(expression, self._variables)
        if instant:
            found = self._ask("query", query=expression, time=self.end)
        else:
            found = self._ask("query_range", query=expression, start=self.start, end=self.end, step=self.step)
        for one in found:
            samples = one.get("values") or [one["value"]]
            yield Series(named(legend, one["metric"]), one["metric"], [(float(t), float(v)) for t, v in samples])

    def series(self, panel):
        """Of all queries of a panel, with the colours that it gives them."""
        colours = {
            override["matcher"]["options"]: prop["value"]["fixedColor"]
            for override in panel["fieldConfig"]["overrides"] if override["matcher"]["id"] == "byFrameRefID"
            for prop in override["properties"] if prop["id"] == "color"
        }
        for target in panel["targets"]:
            for one in self._series(target["expr"], target["legendFormat"], target["instant"]):
                one.colour = colours.get(target["refId"])
                yield one

    def frames(self, panel):
        """(field of the value, series) of each query of a table."""
        return [(f"Value #{t['refId']}", list(self._series(t["expr"], "", True))) for t in panel["targets"]]

    def marks(self, board):
        """(moment, colour) of what the board's annotations mark, once for each stretch."""
        for mark in board["annotations"]["list"]:
            for one in self._series(mark["expr"], mark["titleFormat"], False):
                if mark["useValueForTime"]:
                    moments = sorted({value / 1000 for _, value in one.samples})
                else:
                    raised = [t for t, value in one.samples if value > 0]
                    moments = [t for before, t in zip([-math.inf, *raised], raised) if t - before > 1.5 * self.step]
                yield from ((t, mark["iconColor"]) for t in moments if self.start <= t <= self.end)


def named(legend, labels):
    return re.sub(r"{{\s*(\w+)\s*}}", lambda match: labels.get(match[1], ""), legend).strip() or "value"
