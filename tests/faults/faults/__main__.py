"""usage: tests/faults/run [--only WORDS] [--without WORDS] [--seed N]

Three chatd processes under faults, while `chatctl verify` writes, reads and judges.
  --only WORDS  only the steps whose title contains WORDS
  --without WORDS  leaves those out
  --seed N      seed of what power failures take (random; printed)
Steps that need root, network namespaces, loop devices or FUSE are skipped without them, and say so; with CI=true, and as
root, that is a failure.
"""

import argparse
import os
import pathlib
import random
import shutil
import signal
import sys

from e2e.report import Report

from . import filling, full_disk, lost_pages, partitions, pauses
from .world import Skipped, World


def root():
    if os.geteuid() != 0:
        raise Skipped("needs root")


def namespaces():
    root()
    for program in ("ip", "curl"):
        if not shutil.which(program):
            raise Skipped(f"needs the program {program}")


def loops():
    root()
    for program in ("mkfs.ext4", "e2fsck", "mount"):
        if not shutil.which(program):
            raise Skipped(f"needs the program {program}")
    if not os.path.exists("/dev/loop-control"):
        raise Skipped("needs /dev/loop-control")


def fuse():
    root()
    if not os.path.exists("/dev/fuse"):
        raise Skipped("needs /dev/fuse")


def nothing():
    pass


STEPS = [
    ("the leader is stopped past its election timeout and goes on", nothing, pauses.paused_leader),
    ("partitions: leader, follower, one direction only", namespaces, partitions.partitions),
    ("disks that people fill", loops, filling.filling_disks),
    ("disks that are full, of leader and follower", loops, full_disk.full_disks),
    ("disks that are read-only, of leader and follower", loops, full_disk.read_only_disks),
    ("power failures, of all three at once and of one", fuse, lost_pages.power_failures),
    ("failed syncs end the process and are not repeated", fuse, lost_pages.failed_syncs),
    ("a lying disk of one pod is filled again", fuse, lost_pages.a_lying_disk_of_one_is_filled_again),
    ("a lying disk is noticed", fuse, lost_pages.a_lying_disk_is_noticed),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--without", default="\0", help="leaves out the steps whose title contains this")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--binaries", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--forgetful", required=True, help=argparse.SUPPRESS)
    args = parser.parse_args()
    report = Report(pathlib.Path(os.environ["QUORATE_CACHE"]) / "reports/faults.json", "faults")
    world = World(args.binaries, args.forgetful, report, args.seed)
    print(f"seed {args.seed}", flush=True)
    # As an exception, so that what was mounted, started and made is undone on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    must = os.environ.get("CI") == "true" and os.geteuid() == 0
    skipped = []
    try:
        for title, needs, step in STEPS:
            if args.only not in title or args.without in title:
                continue
            try:
                needs()
            except Skipped as reason:
                print(f"  SKIPPED {title}: {reason}", flush=True)
                skipped.append(title)
                continue
            with report.step(title):
                step(world)
    finally:
        report.write()
        world.remove()
    if skipped:
        print(f"{len(skipped)} skipped")
    assert report.steps or skipped, f"no step is called {args.only!r}"
    return 1 if must and skipped else 0


if __name__ == "__main__":
    sys.exit(main())
