"""The file system of tests/faults/forgetful, mounted: see its own documentation."""

import json
import os
import subprocess

# What a sync takes, in milliseconds: as a good disk, and long enough that there always is something unsynced.
SYNC = 4


class Forgetful:
    """A mounted disk with a part for each node, for the time of the block."""

    def __init__(self, world):
        self._binary, self._dir = world.forgetful, world.new_dir() / "disk"

    def __enter__(self):
        self._dir.mkdir()
        self._process = subprocess.Popen(
            [self._binary, self._dir, str(SYNC)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout.readline(), "the forgetful file system was not mounted"
        self.parts = [self._dir / f"node-{n}" for n in range(3)]
        for part in self.parts:
            part.mkdir()
        for directory in (*self.parts, self._dir):
            sync(directory)
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        subprocess.run(["umount", "--lazy", self._dir], stderr=subprocess.DEVNULL, check=False)

    def say(self, line):
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "error" not in answer, f"{line}: {answer['error']}"
        return answer

    def power_off(self, *nodes):
        """From now on nothing becomes durable there, also not what is under way."""
        for n in nodes:
            self.say(f"off node-{n}")

    def forget(self, n, how="all"):
        """What was not durable is gone, or each page by the coin of the seed `how`; the power is on again."""
        return self.say(f"forget node-{n} {how}")


def sync(directory):
    opened = os.open(directory, os.O_RDONLY)
    os.fsync(opened)
    os.close(opened)
