"""The main alerts fire for what this run did to the cluster, and end with it.

Prometheus has watched all the time, with the shipped rules and with a copy in a hurry (hurry.py): what was firing when is
read from its series of ALERTS. Only what no other step does is done here: a majority stops, a volume fills.
"""

import os
import pathlib
import tempfile
import time

from . import hurry
from .lab import TOP
from .prometheus import Prometheus
from .verify import Verify
from .wait import until

SHIPPED = TOP / "dashboards/alerts.yaml"
# What is left of the volume: less than the 15 % that are alerted on, and room for some segments of the log.
LEFT = 0.12

# Fault, alert, whether the hurried copy (else the shipped rule as it is) must fire, and within how many seconds.
EXPECTED = [
    ("the leader is lost again and again", "QuorateElectionsFlapping", False, 240),
    ("the operator is scaled to 0", "QuorateOperatorAway", True, 60),
    ("a node crashes", "QuorateQuorumAtRisk", True, 90),
    ("two of three pods are stopped", "QuorateNoLeader", False, 60),
    ("two of three pods are stopped", "QuorateErrorBudgetBurn", True, 60),
    ("two of three pods are stopped", "QuorateClusterUnavailable", True, 60),
    ("a volume is filled", "QuorateDiskFilling", True, 90),
]
# Those that look back over minutes stay for minutes.
END_AT_ONCE = ("QuorateOperatorAway", "QuorateQuorumAtRisk", "QuorateNoLeader", "QuorateClusterUnavailable", "QuorateDiskFilling")


def begin(world):
    """From here on Prometheus records all that happens, for this step and for the dashboards'."""
    world.hurried = tempfile.TemporaryDirectory()
    copy = pathlib.Path(world.hurried.name) / "hurried.yaml"
    text = hurry.hurried(SHIPPED.read_text())
    assert hurry.tells_apart(text), "an alert of the hurried copy could not be told from the shipped one"
    copy.write_text(text)
    world.prometheus = Prometheus(world, rules=(SHIPPED, copy))

    def scrapes():
        # Until it is ready it refuses to answer.
        answer = world.prometheus.get("query", query="up == 1")
        return answer["status"] == "success" and len(answer["data"]["result"]) >= 5
    until("Prometheus scrapes three pods and two operators", scrapes, 60)


def series(alert, hurried):
    return f'ALERTS{{alertname="{alert}", alertstate="firing", hurried="{"true" if hurried else ""}"}}'


def firing(world, alert, hurried):
    return bool(world.prometheus.query(series(alert, hurried)))


class Filled:
    """A volume with little room, for as long as the block lasts. Blocks are only reserved: nothing is written."""

    def __init__(self, world, pod):
        pid = world.lab.node("pids", f"{world.namespace}/{pod}", "chatd").split()[0]
        self._file = pathlib.Path(f"/proc/{pid}/root/var/lib/quorate/filled-by-a-test")

    def __enter__(self):
        volume = os.statvfs(self._file.parent)
        size = int(volume.f_bavail * volume.f_frsize - LEFT * volume.f_blocks * volume.f_frsize)
        with open(self._file, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        return self

    def __exit__(self, *error):
        self._file.unlink(missing_ok=True)


class Stopped:
    """Pods whose processes stand still: they keep their connections and say nothing, as a machine that hangs."""

    def __init__(self, world, pods):
        self._world, self._pods = world, pods

    def _signal(self, signal):
        for pod in self._pods:
            self._world.lab.node("kill", f"-{signal}", f"{self._world.namespace}/{pod}", "chatd")

    def __enter__(self):
        self._signal("STOP")

    def __exit__(self, *error):
        self._signal("CONT")


def a_majority_stops_and_a_volume_fills(world):
    leader, _ = world.cluster.settled()
    stays = next(pod for pod in sorted(world.cluster.pods()) if pod != leader)
    others = [pod for pod in world.cluster.pods() if pod != stays]
    with Filled(world, stays):
        world.fault("a volume is filled")
        with Verify(world.lab, world.chatctl, world.servers()) as verify:
            until("verify has its first acknowledgements", verify.acknowledging, 60)
            with Stopped(world, others):
                world.fault("two of three pods are stopped")
                # The shipped rule, as it is: it waits for a quarter of a minute.
                until("QuorateNoLeader fires", lambda: firing(world, "QuorateNoLeader", hurried=False), 60, every=0.5)
            world.cluster.settled()
            verify.finish()
        verify.assert_nothing_broken()
        until("QuorateDiskFilling fires", lambda: firing(world, "QuorateDiskFilling", hurried=True), 60, every=0.5)


def first_after(world, start, alert, hurried):
    """Seconds from `start` until the alert was seen firing; None if it never was."""
    samples = [float(when) for one in world.prometheus.query_range(series(alert, hurried), step=1) for when, _ in one["values"]]
    return min((when - start for when in samples if when >= start), default=None)


def judge(world):
    """What did not fire in time, in words; the others are noted."""
    for fault, alert, hurried, within in EXPECTED:
        if fault not in world.faults:
            # A run of a few steps only.
            continue
        took = first_after(world, world.faults[fault], alert, hurried)
        if took is None or took > within:
            yield f"{alert}{' (hurried)' if hurried else ''} was not firing within {within} s after: {fault}"
        else:
            kind = "sixty times as fast" if hurried else "as shipped"
            world.report.note(f"alert {alert}: seen firing after", round(took), f"s ({kind}; {fault})")


def all_over(world):
    names = "|".join(END_AT_ONCE)
    return not world.prometheus.query(f'ALERTS{{alertname=~"{names}", alertstate="firing"}}')


def fire_and_end(world):
    if not getattr(world, "prometheus", None):
        begin(world)
    a_majority_stops_and_a_volume_fills(world)
    missing = list(judge(world))
    assert not missing, "; ".join(missing)
    start = time.time()
    until("the alerts end with what they told of", lambda: all_over(world), 60, every=0.5)
    world.report.note("alerts that tell of what is now: all over after", round(time.time() - start), "s")
    seen = world.prometheus.query_range('count by (alertname) (ALERTS{alertstate="firing", hurried=""})', step=1)
    others = {one["metric"]["alertname"] for one in seen} - {alert for _, alert, hurried, _ in EXPECTED if not hurried}
    world.report.note("other alerts that fired as shipped", ", ".join(sorted(others)) or "none")
