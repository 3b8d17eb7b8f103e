"""What all steps share."""

import pathlib
import shutil
import tempfile


class Skipped(Exception):
    """A step that this machine cannot take; says why."""


class World:
    def __init__(self, binaries, forgetful, report, seed):
        self._binaries = pathlib.Path(binaries)
        self.forgetful, self.report, self.seed = forgetful, report, seed
        self._dir = pathlib.Path(tempfile.mkdtemp(prefix="quorate-faults-"))
        self._made = 0

    def binary(self, name):
        return str(self._binaries / name)

    def new_dir(self):
        self._made += 1
        made = self._dir / str(self._made)
        made.mkdir()
        return made

    def remove(self):
        shutil.rmtree(self._dir, ignore_errors=True)
