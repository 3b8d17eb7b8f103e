"""Starts three pods behind one address and runs a suite against them; `--help` says how."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from .cluster import SERVER_NAME, ThreePods
from .front import TurnTakingFront
from .killer import LeaderKiller, LeaderKillSwitch
from .results import READERS, compare, counts, read_expected

EPILOG = """\
The command gets QUORATE_HOMESERVER (the one address), QUORATE_PODS (those of the pods, separated by commas; if pods are killed,
three times the one address) and QUORATE_SERVER_NAME; with --kill-on-request also QUORATE_KILL_LEADER, a command that ends once
the killed pod is ready again. Without --results, the suite's exit code is the result. With QUORATE_WRITE=1, the list of
--expected is written anew.

examples:
  tests/conformance/run --kill-leader 4 --times 6 -- tests/matrix/clients
  tests/conformance/run --kill-on-request -- tests/matrix/rust-clients
  tests/conformance/run --results tap --expected must-pass.txt --report out.json -- perl suite.pl
  tests/conformance/run --results go -- go test -json ./...
"""


def parse_arguments():
    parser = argparse.ArgumentParser(
        "tests/conformance/run", epilog=EPILOG, description="Runs a suite against three pods that look like one homeserver.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    kills = parser.add_mutually_exclusive_group()
    kills.add_argument("--kill-leader", type=float, metavar="SECONDS", help="kill the leader so often while the suite runs")
    kills.add_argument(
        "--kill-on-request", action="store_true", help="kill the leader when the suite runs the command in QUORATE_KILL_LEADER",
    )
    parser.add_argument("--times", type=int, default=1, metavar="N", help="run the suite so often, until it fails")
    parser.add_argument("--results", choices=READERS, help="form of what the suite prints")
    parser.add_argument("--expected", type=pathlib.Path, metavar="FILE", help="names of the tests that must pass")
    parser.add_argument("--report", type=pathlib.Path, metavar="FILE", help="where the results go, as JSON")
    parser.add_argument("command", nargs="+", help="the suite")
    return parser.parse_args()


def run_suite(arguments, cluster, front, killer):
    """Exit code of the suite, and what it printed if that is read."""
    # A client that knows one pod alone would be cut off while that one is down.
    pods = [front.url if killer else f"http://127.0.0.1:{pod.http}" for pod in cluster.pods]
    told = {"QUORATE_HOMESERVER": front.url, "QUORATE_PODS": ",".join(pods), "QUORATE_SERVER_NAME": SERVER_NAME}
    if arguments.kill_on_request:
        told["QUORATE_KILL_LEADER"] = str(killer.command)
    printed = subprocess.PIPE if arguments.results else None
    done = subprocess.run(arguments.command, env={**os.environ, **told}, stdout=printed, text=True, check=False)
    return done.returncode, done.stdout


def judge(arguments, results):
    """Prints the results beside the expected ones. True if all that must pass did."""
    if arguments.report:
        arguments.report.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    print(", ".join(f"{count} {outcome}" for outcome, count in counts(results).items()))
    if not arguments.expected:
        return "fail" not in results.values() and bool(results)
    if os.environ.get("QUORATE_WRITE"):
        passed = sorted(name for name, outcome in results.items() if outcome == "pass")
        arguments.expected.write_text("".join(f"{name}\n" for name in passed))
    missing, more = compare(results, read_expected(arguments.expected))
    for name in missing:
        print(f"expected to pass: {name}: {results.get(name, 'not run')}")
    for name in more:
        print(f"passes now: {name} (QUORATE_WRITE=1 adds it to {arguments.expected})")
    return not missing and bool(results)


def make_killer(cluster, arguments):
    """What kills leaders, or None."""
    if arguments.kill_on_request:
        return LeaderKillSwitch(cluster, cluster.home)
    return LeaderKiller(cluster, arguments.kill_leader) if arguments.kill_leader else None


def run_against(cluster, arguments):
    front = TurnTakingFront(cluster.addresses)
    killer = make_killer(cluster, arguments)
    try:
        for _ in range(arguments.times):
            code, printed = run_suite(arguments, cluster, front, killer)
            if code != 0:
                break
    finally:
        if killer:
            killer.stop()
    cluster.check_alive()
    passed = judge(arguments, READERS[arguments.results](printed)) if arguments.results else code == 0
    print(f"{sum(front.statuses.values())} requests" + (f", the leader killed {killer.killed} times" if killer else ""))
    for each in front.broken:
        print(f"answered with 500: {each}")
    return passed and not front.broken


def main():
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="quorate-conformance.") as home:
        cluster = ThreePods(pathlib.Path(home))
        try:
            cluster.start()
            return 0 if run_against(cluster, arguments) else 1
        finally:
            cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
