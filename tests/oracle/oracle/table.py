"""`differences.toml`: which differences are known, and why they are there."""

import fnmatch
import tomllib

# choice: both are allowed, and Quorate means it. synapse: Synapse departs from the specification. missing: not implemented.
# bug: to be corrected in Quorate.
KINDS = ("choice", "synapse", "missing", "bug")


class Table:
    def __init__(self, path):
        self.entries = [Entry(each) for each in tomllib.loads(path.read_text())["difference"]]
        self.explained = 0

    def explain(self, difference):
        for entry in self.entries:
            if entry.matches(difference):
                entry.uses += 1
                self.explained += 1
                return entry
        return None

    def unused(self):
        return [entry for entry in self.entries if entry.uses == 0]

    def summary(self):
        kinds = ", ".join(f"{sum(each.uses for each in self.entries if each.kind == kind)} {kind}" for kind in KINDS)
        return f"{self.explained} differences explained ({kinds})"


class Entry:
    """Patterns are those of shells, but brackets are themselves."""

    def __init__(self, fields):
        unknown = set(fields) - {"request", "at", "synapse", "quorate", "fewer", "more", "kind", "reason", "harmless"}
        if unknown or fields.get("kind") not in KINDS or not fields.get("reason"):
            raise SystemExit(f"differences.toml: wrong entry {fields}")
        self.kind, self.reason = fields["kind"], fields["reason"]
        self._patterns = {key: fields.get(key, "*") for key in ("request", "at", "synapse", "quorate")}
        # Whether only numbers are explained that are smaller in Quorate.
        self.fewer = fields.get("fewer", False)
        # Or only those that are greater.
        self.more = fields.get("more", False)
        # Whether the worlds stay alike although only one of them accepted the request.
        self.harmless = fields.get("harmless", False)
        self.uses = 0

    def matches(self, difference):
        found = {"request": difference.label, "at": difference.at, "synapse": difference.synapse, "quorate": difference.quorate}
        if self.fewer and not is_fewer(difference.quorate, difference.synapse):
            return False
        if self.more and not is_fewer(difference.synapse, difference.quorate):
            return False
        return all(matches(found[key], pattern) for key, pattern in self._patterns.items())

    def __str__(self):
        return f"{self.kind}: {self._patterns} ({self.reason})"


def matches(value, pattern):
    return fnmatch.fnmatchcase(value, pattern.replace("[", "[[]"))


def is_fewer(one, other):
    return one.isdecimal() and other.isdecimal() and int(one) < int(other)
