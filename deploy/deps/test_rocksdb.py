"""Points the cache at a RocksDB library, as parts of `make test` do while others read where it points."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

ROCKSDB = Path(__file__).resolve().parent / "rocksdb"


class CurrentLibrary(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        built = Path(subprocess.run([ROCKSDB, "--print-dir"], check=True, capture_output=True, text=True).stdout.strip())
        self.cache = Path(folder.name)
        (self.cache / "rocksdb").mkdir()
        (self.cache / "rocksdb" / built.name).symlink_to(built)
        self.current = self.cache / "rocksdb" / "current"
        self.key = built.name

    def point(self):
        subprocess.run([ROCKSDB], env=os.environ | {"QUORATE_CACHE": str(self.cache)}, check=True, capture_output=True)

    def test_it_is_named_where_nothing_was_named_before(self):
        self.point()
        self.assertEqual(self.current.read_text(), f"{self.key}\n")

    def test_who_reads_meanwhile_finds_the_old_name_whole(self):
        self.current.write_text("of-an-older-version\n")
        with self.current.open() as reader:
            self.point()
            self.assertEqual(reader.read(), "of-an-older-version\n")
        self.assertEqual(self.current.read_text(), f"{self.key}\n")

    def test_a_name_that_is_right_is_left_alone(self):
        self.point()
        before = self.current.stat()
        self.point()
        after = self.current.stat()
        self.assertEqual((after.st_ino, after.st_mtime_ns), (before.st_ino, before.st_mtime_ns))
        self.assertEqual([file.name for file in self.current.parent.glob("current*")], ["current"])


if __name__ == "__main__":
    unittest.main()
