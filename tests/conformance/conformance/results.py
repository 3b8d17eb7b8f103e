"""Results of suites, and their comparison with what is expected to pass."""

import json
import re

TAP_LINE = re.compile(r"^(?P<indent> *)(?P<failed>not )?ok\b *\d* *(?:- )?(?P<name>.*?)(?: *# *(?P<directive>SKIP|TODO)\b.*)?$", re.I)
OUTCOMES = ("pass", "fail", "skip")


def read_go(text):
    """Results of `go test -json`: outcome by package and test, subtests included."""
    results = {}
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            # What a test prints past the test runner.
            continue
        if event.get("Test") and event.get("Action") in OUTCOMES:
            results[f"{event['Package'].rsplit('/', 1)[-1]}: {event['Test']}"] = event["Action"]
    return results


def read_tap(text):
    """Results of TAP: outcome by name. Lines that are indented are parts of a test, which says the outcome itself."""
    results = {}
    for line in text.splitlines():
        found = TAP_LINE.match(line)
        if found and not found["indent"] and found["name"]:
            skipped = (found["directive"] or "").upper() in ("SKIP", "TODO")
            results[found["name"]] = "skip" if skipped else "fail" if found["failed"] else "pass"
    return results


READERS = {"go": read_go, "tap": read_tap}


def read_expected(path):
    """Names of the tests that must pass, one on each line."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {line for line in lines if line and not line.startswith("#")}


def counts(results):
    return {outcome: sum(each == outcome for each in results.values()) for outcome in OUTCOMES}


def compare(results, expected):
    """Tests that were expected to pass and did not, a missing one among them; and those that pass unexpectedly."""
    passed = {name for name, outcome in results.items() if outcome == "pass"}
    return sorted(expected - passed), sorted(passed - expected)
