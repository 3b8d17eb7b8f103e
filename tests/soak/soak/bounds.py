"""What bounded means: the last third of the time takes no more than the middle third did.

The first third is left out: caches fill, segments and table files reach their size. What the pods were given for their database
must be full by then: memory that grows while a cache fills would say nothing, neither of a leak nor of its absence. A load that is the same all the time
must then take the same all the time; what grows with it shows as the difference of two greatest values, each of many
minutes, and not as a slope that a single compaction could turn.
"""

from dataclasses import dataclass

from .watch import MIB

# Greatest values of two spans of the same load differ by where compactions and checkpoints happen to fall.
TOLERANCE = 1.1
# The answer to a message is remembered for a day (its transaction id may come again), while the message is removed.
REMEMBERED = 250
# A log has one segment more or less, by where in it a span ends; an allocator keeps what it may need again; connections come
# and go. Judged apart from the log, the state shows a leak of a few per cent of what is written.
SLACK = {"state": 16 * MIB, "log": 64 * MIB, "memory": 24 * MIB, "files": 24}


@dataclass(frozen=True)
class Finding:
    pod: str
    what: str
    middle: int
    last: int
    limit: int

    @property
    def holds(self):
        return self.last <= self.limit


# Blocks are of some KiB, and the cache is divided into shards that fill one by one.
FULL = 0.8


def not_full(samples, capacity):
    """The pods whose database has not taken what it was given by the end of the first third."""
    def greatest(series):
        return max(sample.cache for sample in series if sample.at < series[-1].at / 3)
    return {pod: greatest(series) for pod, series in samples.items() if greatest(series) < FULL * capacity}


def judge(samples, messages):
    """One finding for each pod and quantity; `messages` is how many were acknowledged in the last third."""
    findings = []
    for pod, series in samples.items():
        end = series[-1].at
        spans = [[s for s in series if low * end <= s.at < high * end] for low, high in ((1 / 3, 2 / 3), (2 / 3, 1.01))]
        for what in SLACK:
            middle, last = (max(getattr(sample, what) for sample in span) for span in spans)
            allowed = REMEMBERED * messages if what == "state" else 0
            findings.append(Finding(pod, what, middle, last, int(middle * TOLERANCE) + SLACK[what] + allowed))
    return findings
