"""usage: tests/abuse/run [--only WORDS]

One chatd process, a user who writes and reads through it, and attacks, one after the other.
  --only WORDS  only the attacks whose title contains WORDS
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from .attacks import GROUPS
from .pod import Pod
from .stage import Failed, Stage
from .user import User

# The user's and the attackers' messages are not what is measured here.
SETTINGS = "rateLimit: {enabled: false}\nstate: {cacheMebibytes: 32}\n"
# Without all attacks together being through by then, one of them hangs.
LIMIT = 90


def play(groups, home):
    pod, failed = Pod(home, SETTINGS), 0
    user = stage = None
    begun = time.monotonic()
    try:
        pod.serve()
        user = User(pod)
        stage = Stage(pod, user)
        for attacks in groups:
            titles = ", ".join(attack.TITLE for attack in attacks)
            try:
                print(f"ok    {titles}: {stage.play(attacks)}", flush=True)
            except Failed as failure:
                failed += 1
                print(f"FAIL  {titles}: {failure}", flush=True)
    finally:
        for each in (user, stage, pod):
            if each:
                each.stop()
    took = time.monotonic() - begun
    if took > LIMIT:
        failed += 1
        print(f"FAIL  it took {took:.0f} s; {LIMIT} s are allowed")
    if failed:
        print(pod.last_words(), file=sys.stderr)
    return failed


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--only", default="")
    only = parser.parse_args().only
    groups = [chosen for group in GROUPS if (chosen := [attack for attack in group if only in attack.TITLE])]
    home = Path(tempfile.mkdtemp(prefix="quorate-abuse."))
    try:
        sys.exit(1 if play(groups, home) else 0)
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
