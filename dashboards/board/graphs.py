"""Panels over time: lines, stacks, bars, bands of states."""

import math

from . import colours, svg
from .values import axis, shown, times

AXIS, LEGEND, FOOT = 58, 18, 18


class Frame:
    """Where time and values lie in a box."""

    def __init__(self, box, source, lowest, highest, axis_width=AXIS):
        x, y, width, height = box
        self.left, self.top, self.right, self.bottom = x + axis_width, y + 4, x + width - 12, y + height - FOOT
        self.start, self.end = source.start, source.end
        self.lowest, self.highest = lowest, highest

    def x(self, moment):
        return self.left + (moment - self.start) / (self.end - self.start) * (self.right - self.left)

    def y(self, value):
        share = (value - self.lowest) / ((self.highest - self.lowest) or 1)
        return self.bottom - min(max(share, 0), 1) * (self.bottom - self.top)

    def moments(self):
        for moment, words in times(self.start, self.end, max(2, int((self.right - self.left) / 70))):
            x = self.x(moment)
            yield svg.line(x, self.top, x, self.bottom, colours.GRID)
            # The last one must not stand out of the panel.
            anchor = "end" if self.right - x < svg.width_of(words, 10) / 2 - 8 else "middle"
            yield svg.text(x, self.bottom + 13, words, 10, colours.FAINT, text_anchor=anchor)

    def marks(self, marks):
        for moment, colour in marks:
            x = self.x(moment)
            yield svg.line(x, self.top, x, self.bottom, colours.named(colour), stroke_dasharray="3 3", stroke_opacity=0.75)
            yield svg.tag("path", d=f"M{x - 4:.1f},{self.bottom + 5:.1f}h8l-4,-6z", fill=colours.named(colour))


def numbers(samples):
    return [(t, v) for t, v in samples if math.isfinite(v)]


def stacked(series):
    """The same series, each upon those before it."""
    heights, out = {}, []
    for one in series:
        samples = []
        for t, value in numbers(one.samples):
            heights[t] = heights.get(t, 0) + value
            samples.append((t, heights[t], heights[t] - value))
        out.append((one, samples))
    return out


def parts(samples, step):
    """Stretches without a gap."""
    part, last = [], None
    for sample in samples:
        if last is not None and sample[0] - last > 1.5 * step and part:
            yield part
            part = []
        part.append(sample)
        last = sample[0]
    if part:
        yield part


def corners(part):
    """The samples that a line needs: not those between two of the same height."""
    inner = zip(part, part[1:], part[2:])
    return [*part[:1], *(here for before, here, after in inner if not before[1:] == here[1:] == after[1:]), *part[1:][-1:]]


def draw_series(frame, samples, colour, custom, step):
    style = custom["drawStyle"]
    fill = custom["fillOpacity"] / 100
    for part in parts(samples, step):
        part = part if style == "bars" else corners(part)
        top = [(frame.x(t), frame.y(value)) for t, value, _ in part]
        foot = [(frame.x(t), frame.y(base)) for t, _, base in part]
        if style == "bars":
            wide = max(2.0, (frame.right - frame.left) * step / (frame.end - frame.start) - 1)
            yield from (svg.rect(x - wide / 2, y, wide, b - y, colour, fill_opacity=max(fill, 0.7)) for (x, y), (_, b) in zip(top, foot) if b > y)
            continue
        yield svg.path([*top, *reversed(foot)], fill=colour, fill_opacity=fill, stroke="none")
        if len(top) == 1:
            yield svg.tag("circle", cx=top[0][0], cy=top[0][1], r=1.5, fill=colour)
        yield svg.path(top, fill="none", stroke=colour, stroke_width=1.5, stroke_linejoin="round")


def legend(box, entries):
    x, y, width, height = box
    at, out = x + AXIS, []
    for index, (name, colour) in enumerate(entries):
        room = x + width - at
        if svg.width_of(name, 10) + 20 > room:
            out.append(svg.text(at, y + height - 4, f"+{len(entries) - index}", 10, colours.FAINT))
            break
        out += [svg.rect(at, y + height - 9, 10, 3, colour, rx=1), svg.text(at + 14, y + height - 4, name, 10, colours.FAINT)]
        at += svg.width_of(name, 10) + 30
    return out


def over_time(panel, box, source, by_name, marks):
    """Lines, stacked areas or bars."""
    defaults = panel["fieldConfig"]["defaults"]
    custom, unit = defaults["custom"], defaults["unit"]
    series = sorted(source.series(panel), key=lambda one: one.name)
    if not any(numbers(one.samples) for one in series):
        return svg.nothing(box)
    stack = custom["stacking"]["mode"] == "normal"
    drawn = stacked(series) if stack else [(one, [(t, v, 0) for t, v in numbers(one.samples)]) for one in series]
    highest = max((value for _, samples in drawn for _, value, _ in samples), default=0)
    steps = axis(defaults.get("max") or highest or 1, unit)
    shows_legend = panel["options"]["legend"]["showLegend"]
    x, y, width, height = box
    frame = Frame((x, y, width, height - (LEGEND if shows_legend else 0)), source, 0, steps[-1])
    out = []
    for value in steps:
        out.append(svg.line(frame.left, frame.y(value), frame.right, frame.y(value), colours.GRID))
        out.append(svg.text(frame.left - 6, frame.y(value) + 3.5, shown(value, unit), 10, colours.FAINT, text_anchor="end"))
    out += frame.moments()
    for step in defaults["thresholds"]["steps"][1:]:
        if custom["thresholdsStyle"]["mode"] != "off" and step["value"] <= steps[-1]:
            at = frame.y(step["value"])
            out.append(svg.line(frame.left, at, frame.right, at, colours.named(step["color"]), stroke_dasharray="6 4"))
    entries = []
    for one, samples in reversed(drawn) if stack else drawn:
        colour = colours.named(one.colour) if one.colour else by_name(one.name)
        out += draw_series(frame, samples, colour, custom, source.step)
        entries.append((one.name, colour))
    out += frame.marks(marks)
    if shows_legend:
        out += legend(box, sorted(entries))
    return "".join(out)


def bands(panel, box, source, by_name, marks):
    """A band for each series, coloured by its state."""
    states = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    series = sorted(source.series(panel), key=lambda one: one.name)
    if not series:
        return svg.nothing(box)
    x, y, width, height = box
    names = min(160, max(AXIS, *(svg.width_of(one.name) + 16 for one in series)))
    frame = Frame((x, y, width, height - LEGEND), source, 0, 1, names)
    room = (frame.bottom - frame.top) / len(series)
    out = list(frame.moments())
    for index, one in enumerate(series):
        top = frame.top + index * room
        out.append(svg.text(frame.left - 6, top + room / 2 + 4, svg.cut(one.name, names - 8), 11, text_anchor="end"))
        for part in stretches(numbers(one.samples), source.step):
            state = states.get(str(int(part[0][1])), {"text": digits_of(part[0][1]), "color": "text"})
            left, right = frame.x(part[0][0]), frame.x(min(part[-1][0] + source.step, source.end))
            out.append(svg.rect(left, top + room * 0.1, right - left, room * 0.8, colours.named(state["color"]), fill_opacity=0.85))
            if right - left > svg.width_of(state["text"]) + 8:
                out.append(svg.text(left + 5, top + room / 2 + 4, state["text"], 11, "#FFFFFF"))
    out += frame.marks(marks)
    out += legend(box, [(state["text"], colours.named(state["color"])) for state in sorted(states.values(), key=lambda s: s["index"])])
    return "".join(out)


def digits_of(value):
    return shown(value, "none")


def stretches(samples, step):
    """Runs of the same value without a gap."""
    run = []
    for t, value in samples:
        if run and (value != run[-1][1] or t - run[-1][0] > 1.5 * step):
            yield run
            run = []
        run.append((t, value))
    if run:
        yield run
