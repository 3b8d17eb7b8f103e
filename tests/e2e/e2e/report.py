"""What the run showed: figures for the closing table, and a file that other tools can read."""

import json
import pathlib
import time


class Report:
    def __init__(self, path, name="end to end"):
        self._path, self._name = pathlib.Path(path), name
        self._start = time.monotonic()
        self.figures = {}
        self.steps = []

    def step(self, title):
        """Announces a step; its duration is noted when the block ends."""
        return _Step(self, title)

    def note(self, name, value, unit=""):
        self.figures[name] = {"value": value, "unit": unit}
        print(f"      {name}: {value}{' ' + unit if unit else ''}", flush=True)

    def write(self):
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps({"figures": self.figures, "steps": self.steps}, indent=2) + "\n")
        width = max(map(len, self.figures), default=0)
        print("\nfigures of this run")
        for name, figure in self.figures.items():
            print(f"  {name:<{width}}  {figure['value']} {figure['unit']}")
        failed = sum(not s["passed"] for s in self.steps)
        print(f"\n{self._name} in {time.monotonic() - self._start:.0f} s; also in {self._path.name}")
        print(f"{len(self.steps) - failed} passed, {failed} failed", flush=True)


class _Step:
    def __init__(self, report, title):
        self._report, self._title = report, title

    def __enter__(self):
        self._start = time.monotonic()
        print(f"  ... {self._title}", flush=True)

    def __exit__(self, kind, error, trace):
        seconds = time.monotonic() - self._start
        self._report.steps.append({"title": self._title, "seconds": round(seconds, 1), "passed": kind is None})
        print(f"  {'ok ' if kind is None else 'NOT'} {self._title} ({seconds:.1f} s)", flush=True)
