"""What reading and drawing of dashboards must hold, without a Prometheus: numbers, joins, gaps, variables."""

import math
import unittest

from board import colours, figures, graphs, reading, values
from board.answers import Series, Source, named
from board.picture import draw


def series(name="value", *samples, **labels):
    return Series(name, labels, list(samples))


class Numbers(unittest.TestCase):
    def test_are_written_as_people_read_them(self):
        for value, unit, words in [
            (0.00042, "s", "420 µs"), (0.0123, "s", "12.3 ms"), (90, "s", "90 s"), (7300, "dtdurations", "2.03 h"), (0, "s", "0 s"),
            (1536, "bytes", "1.5 KiB"), (0.25, "percentunit", "25 %"), (12345, "short", "12.3 K"), (12345, "none", "12345"),
            (10, "cps", "10/s"), (math.nan, "s", "–"),
        ]:
            self.assertEqual(values.shown(value, unit), words)

    def test_axes_have_round_steps_that_hold_the_highest(self):
        self.assertEqual(values.ticks(0, 0.9), [0, 0.25, 0.5, 0.75, 1.0])
        self.assertEqual([values.shown(tick, "bytes") for tick in values.axis(9000, "bytes")], ["0 B", "2.5 KiB", "5 KiB", "7.5 KiB", "10 KiB"])
        for highest in (1e-4, 0.3, 1, 7, 99, 101, 12345):
            self.assertGreaterEqual(values.ticks(0, highest)[-1], highest * 0.999)


class Variables(unittest.TestCase):
    def test_are_filled_in_and_an_unknown_one_is_an_error(self):
        known = reading.variables("chat", "team", 15, 15)
        text = 'label_replace(rate(x{namespace="$namespace"}[$__rate_interval]), "a", "$1", "b", "(.+)")'
        self.assertEqual(
            reading.filled(text, known), 'label_replace(rate(x{namespace="chat"}[60s]), "a", "$1", "b", "(.+)")'
        )
        with self.assertRaises(KeyError):
            reading.filled("$nobody", known)


class Lines(unittest.TestCase):
    def test_break_where_samples_are_missing(self):
        parts = list(graphs.parts([(0, 1, 0), (5, 1, 0), (20, 1, 0)], 5))
        self.assertEqual([len(part) for part in parts], [2, 1])

    def test_need_no_samples_between_two_of_the_same_height(self):
        part = [(0, 1, 0), (5, 1, 0), (10, 1, 0), (15, 2, 0), (20, 2, 0)]
        self.assertEqual([t for t, _, _ in graphs.corners(part)], [0, 10, 15, 20])
        self.assertEqual(graphs.corners(part[:1]), part[:1])

    def test_stack_upon_each_other(self):
        one, two = graphs.stacked([series("a", (0, 1.0), (5, 2.0)), series("b", (0, 3.0), (5, math.nan))])
        self.assertEqual((one[1], two[1]), ([(0, 1.0, 0.0), (5, 2.0, 0.0)], [(0, 4.0, 1.0)]))

    def test_states_end_where_they_change(self):
        self.assertEqual([len(run) for run in graphs.stretches([(0, 1), (5, 1), (10, 3), (30, 3)], 5)], [2, 1, 1])


class Tables(unittest.TestCase):
    def test_rows_join_by_the_labels_that_all_answers_have(self):
        rows = figures.rows_of([
            ("Value #A", [series("", (0, 3.0), cluster="team"), series("", (0, 1.0), cluster="other")]),
            ("Value #B", [series("", (0, 1.0), cluster="team", version="1.2")]),
        ])
        self.assertEqual(rows[1], {"cluster": "team", "Value #A": 3.0, "version": "1.2", "Value #B": 1.0})
        self.assertNotIn("version", rows[0])

    def test_a_cell_shows_the_name_of_its_state(self):
        states = {"mappings": [{"options": {"1": {"text": "yes", "color": "semi-dark-green"}}}]}
        self.assertEqual(figures.cell(1.0, states), ("yes", colours.NAMED["semi-dark-green"]))


class Legends(unittest.TestCase):
    def test_name_labels(self):
        self.assertEqual(named("{{pod}} sends", {"pod": "team-0"}), "team-0 sends")


class Recorded(Source):
    """Answers every query with one series."""

    def _ask(self, path, **query):
        labels = {"pod": "team-0", "namespace": "chat", "cluster": "team", "api": "grpc", "endpoint": "Send"}
        sample = [[self.start, "1"], [self.start + 5, "NaN"], [self.end, "3"]]
        return [{"metric": labels, "value": sample[2]} if path == "query" else {"metric": labels, "values": sample}]


class Nothing(Source):
    def _ask(self, path, **query):
        return []


class Pictures(unittest.TestCase):
    def test_every_board_can_be_drawn_with_and_without_data(self):
        for source in (Recorded, Nothing):
            for path, board in reading.boards():
                picture = draw(board, source("", 1000, 1600, 1, "chat", "team"), "chat/team")
                self.assertTrue(picture.startswith("<svg") and picture.endswith("</svg>\n"), path)
                self.assertNotIn("nan", picture)


if __name__ == "__main__":
    unittest.main()
