"""Runs the load in rounds: write and check, then remove what was written, as a room with a retention would."""

import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from .bounds import judge, not_full
from .cluster import CACHE_MIB, Cluster
from .watch import MIB, Watch

ROUND = 20
LOAD = ["--writers", "4", "--readers", "3", "--rooms", "2", "--rate", "100", "--payload", "4096", "--post"]


def one_round(cluster):
    report = cluster.ctl("verify", "--servers", cluster.servers, "--duration", f"{ROUND}s", *LOAD)
    removed = 0
    for room in report["rooms"]:
        done = cluster.ctl(
            "cluster", "purge-history", room, "--older-than", "0s", "--admin", cluster.admin, "--tls-dir", cluster.tls
        )
        removed += done["events"]
    return report["acknowledged"], removed


def show(findings):
    print(f"{'pod':4} {'what':7} {'middle third':>14} {'last third':>14} {'limit':>14}")
    for found in findings:
        unit, name = (1, "") if found.what == "files" else (MIB, " MiB")
        middle, last, limit = (f"{value / unit:.0f}{name}" for value in (found.middle, found.last, found.limit))
        print(f"{found.pod:4} {found.what:7} {middle:>14} {last:>14} {limit:>14}{'' if found.holds else '   too much'}")


def main():
    seconds = int(os.environ.get("SOAK_SECONDS", "1800"))
    home = Path(tempfile.mkdtemp(prefix="quorate-soak."))
    cluster = Cluster(home)
    rounds, watch = [], None
    try:
        cluster.start()
        watch = Watch(cluster.pods)
        begun = time.monotonic()
        while (now := time.monotonic() - begun) < seconds:
            acknowledged, removed = one_round(cluster)
            rounds.append((now, acknowledged, removed))
            cluster.check_alive()
            sample = watch.samples["a"][-1]
            print(
                f"{now:6.0f} s: {acknowledged} acknowledged and checked, {removed} removed; pod a has "
                f"{sample.state / MIB:.0f} MiB of state, {sample.log / MIB:.0f} MiB of log, {sample.memory / MIB:.0f} MiB in memory, "
                f"{sample.cache / MIB:.0f} of them the database's, {sample.files} files",
                flush=True,
            )
    finally:
        if watch:
            watch.stop()
        cluster.stop()
        shutil.rmtree(home, ignore_errors=True)
    end = watch.samples["a"][-1].at
    # Looked at every second; under load now and then not.
    assert all(len(series) > end / 3 for series in watch.samples.values()), "the pods were looked at too seldom"
    findings = judge(watch.samples, sum(count for at, count, _ in rounds if at >= end * 2 / 3))
    show(findings)
    total = sum(count for _, count, _ in rounds)
    print(f"{total} messages acknowledged and checked in {len(rounds)} rounds, {sum(r for *_, r in rounds)} events removed")
    reports = Path(os.environ["QUORATE_CACHE"]) / "reports"
    reports.mkdir(parents=True, exist_ok=True)
    document = {"seconds": seconds, "acknowledged": total, "findings": [vars(f) | {"holds": f.holds} for f in findings]}
    (reports / "soak.json").write_text(json.dumps(document, indent=2) + "\n")
    if lazy := not_full(watch.samples, CACHE_MIB * MIB):
        raise SystemExit(f"the load has not filled the database's memory in the first third, so the rest proves nothing: {lazy}")
    if not all(found.holds for found in findings):
        raise SystemExit("it grows: see the lines marked above")


main()
