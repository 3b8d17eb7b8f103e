"""What stands between two servers and a verdict must itself be right: an oracle that explains everything finds nothing."""

import tempfile
import unittest
from pathlib import Path

from oracle.compare import MISSING, Difference, differences_between
from oracle.normalise import Normaliser
from oracle.plan import make_plan
from oracle.step import Step
from oracle.table import Table

SYNC = Step("alice", "GET", "/v3/sync", query={"since": "<at 1>"})


def event(identity, kind="m.room.message", **fields):
    return {"event_id": identity, "type": kind, "sender": "@alice:hs1", "origin_server_ts": 7, "content": {"body": "hello"}, **fields}


def sync(*events, room="!r", state=()):
    return {"next_batch": "s1", "rooms": {"join": {room: {"timeline": {"events": list(events)}, "state": {"events": list(state)}}}}}


def differences(step, synapse, quorate):
    plain = [Normaliser().answer(step, *each) for each in (synapse, quorate)]
    return list(differences_between(step.label, *plain))


class Plans(unittest.TestCase):
    def test_a_seed_always_gives_the_same_requests(self):
        told = [[each.told() for each in make_plan(11, 60)] for _ in range(2)]
        self.assertEqual(*told)
        self.assertNotEqual(told[0], [each.told() for each in make_plan(12, 60)])

    def test_an_endpoint_has_one_label_whatever_it_is_called_with(self):
        paths = ("/v3/rooms/<room 1>/send/m.room.message/t4", "/v3/rooms/<room 2>/send/m.room.message/w5")
        self.assertEqual({Step("alice", "PUT", each).label for each in paths}, {"PUT /rooms/*/send/m.room.message/*"})
        self.assertEqual(Step("alice", "GET", "/v3/profile/@bob:hs1/m.tz").label, "GET /profile/*/m.tz")
        self.assertEqual(Step("alice", "GET", "/v3/directory/room/%23a%3Ahs1").label, "GET /directory/room/*")


    def test_the_syncs_of_who_has_changed_the_profile_are_told_apart(self):
        changed, told = set(), set()
        for step in make_plan(5, 80):
            if step.path == "/v3/sync":
                told.add((step.actor, step.actor in changed, "?renamed" in step.label))
            elif step.settles and f"@{step.actor}:" in step.path:
                changed.add(step.actor)
        self.assertEqual({each for each in told if each[1] != each[2]}, set())
        self.assertEqual({each for each in told if each[0] == "bob-5"}, {("bob-5", False, False), ("bob-5", True, True)})
        whole = Step("bob-5", "GET", "/v3/sync", query={"full_state": "true"}, renamed=True)
        self.assertEqual(whole.label, "GET /sync?first?renamed?full_state")


class Answers(unittest.TestCase):
    def test_ids_times_and_tokens_may_differ(self):
        other = sync(event("$zz", origin_server_ts=9), room="!x:hs1")
        self.assertEqual(differences(SYNC, (200, sync(event("$aa"))), (200, {**other, "next_batch": "q9"})), [])

    def test_two_events_that_change_places_are_a_difference(self):
        one = sync(event("$1", content={"body": "a"}), event("$2", content={"body": "b"}))
        two = sync(event("$9", content={"body": "b"}), event("$8", content={"body": "a"}))
        self.assertEqual([each.at for each in differences(SYNC, (200, one), (200, two))], ["rooms.join.*.timeline.events[](order)"])

    def test_an_event_that_one_lacks_is_one_difference(self):
        one = sync(*(event(f"${each}", content={"body": str(each)}) for each in range(4)))
        two = sync(*(event(f"$x{each}", content={"body": str(each)}) for each in (0, 2, 3)))
        found = differences(SYNC, (200, one), (200, two))
        self.assertEqual([(each.at, each.quorate) for each in found], [("rooms.join.*.timeline.events[]", MISSING)])

    def test_a_reference_to_another_event_is_a_difference(self):
        related = [{"m.relates_to": {"event_id": each}} for each in ("$1", "$2")]
        first = [event("$1", content={"body": "a"}), event("$2", content={"body": "b"})]
        one, two = (sync(*first, event("$3", content=each)) for each in related)
        self.assertEqual(len(differences(SYNC, (200, one), (200, two))), 1)

    def test_statuses_and_codes_are_compared_but_not_words(self):
        refused = {"errcode": "M_FORBIDDEN", "error": "no"}
        self.assertEqual(differences(SYNC, (403, refused), (403, {**refused, "error": "never"})), [])
        found = differences(SYNC, (403, refused), (404, {"errcode": "M_NOT_FOUND", "error": "no"}))
        self.assertEqual([(each.at, each.synapse, each.quorate) for each in found], [("status", "403 M_FORBIDDEN", "404 M_NOT_FOUND")])
        self.assertEqual([each.at for each in differences(SYNC, (403, refused), (403, {**refused, "errcode": "M_UNKNOWN"}))], ["errcode"])

    def test_true_is_not_one(self):
        self.assertEqual(len(differences(SYNC, (200, {"a": True}), (200, {"a": 1}))), 1)

    def test_state_has_no_order_but_timelines_have(self):
        topic, name = (event(f"${each}", f"m.room.{each}", state_key="") for each in ("topic", "name"))
        self.assertEqual(differences(SYNC, (200, sync(state=[topic, name])), (200, sync(state=[name, topic]))), [])

    def test_state_that_the_timeline_changes_is_left_out(self):
        old, new = (event(each, "m.room.name", state_key="", content={"name": each}) for each in ("$old", "$new"))
        self.assertEqual(differences(SYNC, (200, sync(new, state=[old])), (200, sync(new))), [])
        self.assertEqual(len(differences(SYNC, (200, sync(state=[old])), (200, sync()))), 1)


class Explanations(unittest.TestCase):
    def table(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(text)
            file.flush()
            return Table(Path(file.name))

    def test_an_entry_explains_what_all_its_patterns_match(self):
        table = self.table('[[difference]]\nrequest = "GET /sync*"\nat = "rooms[].age"\nkind = "choice"\nreason = "so"\n')
        self.assertIsNone(table.explain(Difference("GET /rooms", "rooms[].age", "1", "2")))
        self.assertIsNone(table.explain(Difference("GET /sync", "roomsa.age", "1", "2")))
        self.assertEqual(len(table.unused()), 1)
        self.assertIsNotNone(table.explain(Difference("GET /sync", "rooms[].age", "1", "2")))
        self.assertEqual(table.unused(), [])

    def test_an_entry_for_fewer_explains_no_greater_number(self):
        table = self.table('[[difference]]\nfewer = true\nkind = "synapse"\nreason = "r"\n')
        found = [Difference("GET /sync", "n", *pair) for pair in (("2", "1"), ("1", "2"), ("2", "(missing)"))]
        self.assertEqual([table.explain(each) is not None for each in found], [True, False, False])

    def test_an_entry_for_more_explains_no_smaller_number(self):
        table = self.table('[[difference]]\nmore = true\nkind = "choice"\nreason = "r"\n')
        found = [Difference("GET /sync", "n", *pair) for pair in (("2", "1"), ("1", "2"), ("(missing)", "2"))]
        self.assertEqual([table.explain(each) is not None for each in found], [False, True, False])

    def test_an_entry_without_a_reason_or_with_a_word_too_many_is_refused(self):
        for fields in ('kind = "choice"', 'kind = "other"\nreason = "so"', 'kind = "bug"\nreason = "so"\nwhere = "x"'):
            with self.assertRaises(SystemExit):
                self.table(f"[[difference]]\n{fields}\n")

    def test_the_table_can_be_read(self):
        self.assertTrue(Table(Path(__file__).parent / "differences.toml").entries)


if __name__ == "__main__":
    unittest.main()
