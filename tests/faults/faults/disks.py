"""Real file systems of a size of their own: ext4 on loop devices. Needs root."""

import os
import pathlib
import subprocess


def run(*command, check=True):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr.strip()}"
    return done


class Loop:
    """One ext4 on a sparse file; unmounted at the end of the block."""

    def __init__(self, directory, megabytes):
        self._image, self.mountpoint = directory / "image", directory / "mount"
        self._megabytes = megabytes

    def __enter__(self):
        self.mountpoint.mkdir()
        with open(self._image, "wb") as image:
            image.truncate(self._megabytes << 20)
        # No share is kept for root, which these processes are.
        run("mkfs.ext4", "-q", "-m", "0", self._image)
        self._mount()
        return self

    def __exit__(self, *_):
        run("umount", "--lazy", self.mountpoint, check=False)

    def _mount(self):
        run("mount", "-o", "loop", self._image, self.mountpoint)

    @property
    def _ballast(self):
        return pathlib.Path(self.mountpoint) / "ballast"

    def fill(self):
        """Takes all the space there is."""
        with open(self._ballast, "wb") as file:
            free = os.statvfs(self.mountpoint)
            size = free.f_bavail * free.f_frsize
            # A block of the file system goes to the file's own map; the rest in ever smaller pieces.
            at = 0
            while size >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), at, size)
                    at += size
                except OSError:
                    size //= 2

    def empty(self):
        """Gives it back."""
        self._ballast.unlink()

    def stop_writes(self):
        """What the kernel does after an error of the device: the journal is aborted, the file system read-only."""
        run("mount", "-o", "remount,abort", self.mountpoint)

    def repair(self):
        """What an administrator does then. Nobody may have anything open on it."""
        run("umount", self.mountpoint)
        checked = run("e2fsck", "-fy", self._image, check=False)
        assert checked.returncode in (0, 1), f"e2fsck: {checked.returncode}: {checked.stdout[-500:]}"
        self._mount()
