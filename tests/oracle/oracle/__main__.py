"""`tests/oracle/run`: the same requests to both, seed after seed."""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from conformance.cluster import SERVER_NAME, ThreePods
from synapse_process import SynapseProcess

from oracle.compare import differences_between
from oracle.normalise import Normaliser
from oracle.plan import make_plan
from oracle.server import HomeServer
from oracle.table import Table

MOST_SHOWN = 4
# Number of seeds after which an entry of the table that explained nothing is likely to be out of date.
ENOUGH_SEEDS = 100
LONGEST_SHOWN = 500


def arguments():
    parser = argparse.ArgumentParser(prog="tests/oracle/run", description=__doc__)
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first seed")
    parser.add_argument("--seeds", type=int, default=8, metavar="COUNT", help="so many seeds (8)")
    parser.add_argument("--steps", type=int, default=80, metavar="COUNT", help="requests of a seed (80)")
    parser.add_argument(
        "--unused", action="store_true", help=f"tell which entries of the table explain nothing, as with {ENOUGH_SEEDS} seeds or more"
    )
    parser.add_argument("--record", metavar="FILE", type=Path, help="write every request with both answers")
    return parser.parse_args()


class Judge:
    """Plays seeds to both, and keeps what differs."""

    def __init__(self, servers, table, record):
        self.servers, self.table, self.record = servers, table, record
        self.requests = 0
        self.unexplained = []

    def play(self, seed, steps):
        for server in self.servers:
            server.forget()
        normalisers = [Normaliser() for _ in self.servers]
        for number, step in enumerate(make_plan(seed, steps)):
            # Only one of them has said that there are more pages.
            if self.servers[0].lacks(step) != self.servers[1].lacks(step):
                continue
            answers = [server.play(step) for server in self.servers]
            self.requests += 1
            if self.record:
                line = {"seed": seed, "number": number, "step": step.told(), "answers": answers}
                self.record.write(json.dumps(line) + "\n")
            if not self._agree(seed, number, step, answers, normalisers):
                return

    def _agree(self, seed, number, step, answers, normalisers):
        """Compares one pair of answers. False if the two worlds are different from here on."""
        plain = [each.answer(step, *answer) for each, answer in zip(normalisers, answers)]
        apart = step.method != "GET" and (answers[0][0] < 300) != (answers[1][0] < 300)
        for difference in differences_between(step.label, *plain):
            entry = self.table.explain(difference)
            if entry is None:
                self.unexplained.append((seed, number, step, difference))
            elif entry.harmless:
                apart = False
        return not apart


def main():
    options = arguments()
    # So that the processes end with this one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    table = Table(Path(__file__).parent.parent / "differences.toml")
    home = Path(tempfile.mkdtemp(prefix="quorate-oracle."))
    (home / "pods").mkdir()
    pods, synapse = ThreePods(home / "pods"), SynapseProcess(home / "synapse", SERVER_NAME)
    started = time.monotonic()
    record = open(options.record, "w", encoding="utf-8") if options.record else None
    try:
        synapse.start()
        pods.start()
        synapse.wait_until_ready()
        print(f"both serve after {time.monotonic() - started:.1f} s", flush=True)
        servers = [HomeServer("synapse", [synapse.port]), HomeServer("quorate", pods.addresses())]
        judge = Judge(servers, table, record)
        for seed in range(options.first, options.first + options.seeds):
            judge.play(seed, options.steps)
    finally:
        if record:
            record.close()
        synapse.stop()
        pods.stop()
        shutil.rmtree(home, ignore_errors=True)
    sys.exit(report(judge, table, options, time.monotonic() - started))


def report(judge, table, options, seconds):
    alike = {}
    for seed, number, step, difference in judge.unexplained:
        alike.setdefault((difference.label, difference.at), []).append((seed, number, step, difference))
    for (label, at), found in alike.items():
        seed, number, step, difference = found[0]
        print(f"\n{label}: {at} ({len(found)} times)")
        print(f"  seed {seed}, request {number}: {step.actor}: {step.method} {step.path} {json.dumps(step.query)} {json.dumps(step.body)}")
        # Of one place with many different answers a few are enough.
        for synapse, quorate in list(dict.fromkeys((each[3].synapse, each[3].quorate) for each in found))[:MOST_SHOWN]:
            print(f"    Synapse: {synapse[:LONGEST_SHOWN]}\n    Quorate: {quorate[:LONGEST_SHOWN]}")
    # Of a few seeds nothing else is to be expected.
    for entry in table.unused() if options.unused or options.seeds >= ENOUGH_SEEDS else ():
        print(f"explains nothing: {entry}")
    print(f"\n{options.seeds} seeds, {judge.requests} requests, {seconds:.0f} s; {table.summary()}; {len(judge.unexplained)} unexplained")
    return 1 if judge.unexplained else 0


main()
