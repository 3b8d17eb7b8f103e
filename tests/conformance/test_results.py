"""What is read from suites, and how it is judged."""

import pathlib
import tempfile
import unittest

from conformance.results import compare, counts, read_expected, read_go, read_tap

GO = """\
{"Action":"run","Package":"example.org/suite/rooms","Test":"TestJoin"}
printed past the runner
{"Action":"pass","Package":"example.org/suite/rooms","Test":"TestJoin/by_alias"}
{"Action":"fail","Package":"example.org/suite/rooms","Test":"TestJoin"}
{"Action":"fail","Package":"example.org/suite/rooms"}
"""
TAP = """\
1..4
# a comment
ok 1 - joins
    not ok 1 - a part of it
not ok 2 leaves
ok 3 knocks # SKIP no such rooms
not ok 4 asks # TODO later
"""


class Results(unittest.TestCase):
    def test_a_go_test_is_named_with_its_package(self):
        self.assertEqual(read_go(GO), {"rooms: TestJoin": "fail", "rooms: TestJoin/by_alias": "pass"})

    def test_tap_has_skipped_tests_and_parts(self):
        results = read_tap(TAP)
        self.assertEqual(results, {"joins": "pass", "leaves": "fail", "knocks": "skip", "asks": "skip"})
        self.assertEqual(counts(results), {"pass": 1, "fail": 1, "skip": 2})

    def test_a_test_that_was_not_run_has_not_passed(self):
        results = {"joins": "pass", "leaves": "fail", "knocks": "pass"}
        self.assertEqual(compare(results, {"joins", "leaves", "gone"}), (["gone", "leaves"], ["knocks"]))

    def test_the_list_of_expected_tests_may_have_comments(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "expected"
            self.assertEqual(read_expected(path), set())
            path.write_text("# why\njoins\n\n")
            self.assertEqual(read_expected(path), {"joins"})


if __name__ == "__main__":
    unittest.main()
