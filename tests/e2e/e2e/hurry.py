"""The shipped alert rules in a hurry: a test cannot wait five minutes for `for: 5m`.

Every duration is a sixtieth: `for: 5m` is 5 s and `[1h]` a minute. Alerts carry the label hurried="true", recorded series
another name, so that both copies can be loaded side by side. Nothing else of an expression changes.
"""

import re

FACTOR = 60
MILLISECONDS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
# Where durations stand: how long an alert waits, how often a group is evaluated, and ranges of expressions.
DURATION = re.compile(r"(\bfor: |\binterval: |\[)(\d+)([smhd])\b")
RECORDED = re.compile(r"\b(?=namespace_cluster(_pod)?:)")


def shorter(match):
    before, number, unit = match.groups()
    return f"{before}{int(number) * MILLISECONDS[unit] // FACTOR}ms"


def hurried(text):
    """The rules of this text, sixty times as fast."""
    lines = (line if line.lstrip().startswith("#") else change(line) for line in text.splitlines())
    return "\n".join(lines) + "\n"


def change(line):
    line = RECORDED.sub("hurried_", DURATION.sub(shorter, line))
    return line.replace("labels: {severity:", 'labels: {hurried: "true", severity:')


def tells_apart(text):
    """Whether each alert of a hurried text has the label: else its series would be those of the shipped rules."""
    return text.count("- alert:") == text.count('labels: {hurried: "true",')
