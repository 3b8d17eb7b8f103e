"""Panels of one moment: a figure, a name, a table."""

import math

from . import colours, svg
from .graphs import numbers
from .values import shown

LINE = 26


def figure(panel, box, source, by_name, marks):
    """The last value, large; the line behind it where there is one."""
    x, y, width, height = box
    defaults, options = panel["fieldConfig"]["defaults"], panel["options"]
    series = [one for one in source.series(panel) if one.last() is not None]
    value = series[0].last() if series else None
    names = ", ".join(dict.fromkeys(one.name for one in series))
    words = names if options["textMode"] == "name" else shown(value, defaults["unit"])
    if not series:
        words = defaults.get("noValue", "no data")
    colour = colours.of_value(value, defaults["thresholds"]) if series else colours.NAMED["text"]
    filled = options["colorMode"] == "background"
    out = [svg.rect(x, y - 26, width, height + 26, colour, rx=4)] if filled else []
    if filled:
        out.append(svg.text(x + 10, y - 8, panel["title"], 12, "#FFFFFF", font_weight=600))
    if options["graphMode"] == "area" and series:
        out.append(spark(series[0], (x, y + height * 0.55, width, height * 0.45), source, "#FFFFFF" if filled else colour))
    size = 30 if svg.width_of(words, 30) < width - 16 else 18
    out.append(svg.text(x + width / 2, y + height * 0.5 + 4, words, size, "#FFFFFF" if filled else colour, text_anchor="middle", font_weight=600))
    return "".join(out)


def spark(one, box, source, colour):
    x, y, width, height = box
    samples = numbers(one.samples)
    low, high = min(v for _, v in samples), max(v for _, v in samples)
    span = (high - low) or 1
    points = [(x + (t - source.start) / (source.end - source.start) * width, y + height - 2 - (v - low) / span * (height - 6)) for t, v in samples]
    area = [*points, (points[-1][0], y + height), (points[0][0], y + height)]
    return svg.path(area, fill=colour, fill_opacity=0.2) + svg.path(points, fill="none", stroke=colour, stroke_opacity=0.6, stroke_width=1.2)


def rows_of(frames):
    """Answers joined by the labels that all of them have."""
    labels = [set(one.labels) for _, series in frames for one in series]
    shared = sorted(set.intersection(*labels)) if labels else []
    rows = {}
    for field, series in frames:
        for one in series:
            key = tuple(one.labels[label] for label in shared)
            rows.setdefault(key, {}).update(one.labels, **{field: one.last()})
    return [rows[key] for key in sorted(rows)]


def cell(value, properties):
    """(words, colour) of a cell."""
    if not isinstance(value, float):
        return value or "–", colours.TEXT
    states = properties.get("mappings", [{"options": {}}])[0]["options"]
    whole = str(int(value)) if math.isfinite(value) else ""
    if whole in states and value == int(value):
        return states[whole]["text"], colours.named(states[whole]["color"])
    limits = properties.get("thresholds")
    return shown(value, properties.get("unit", "none")), colours.of_value(value, limits) if limits else colours.TEXT


def table(panel, box, source, by_name, marks):
    x, y, width, height = box
    organize = next(step["options"] for step in panel["transformations"] if step["id"] == "organize")
    fields = sorted(organize["renameByName"], key=lambda field: organize["indexByName"][field])
    titles = [organize["renameByName"][field] for field in fields]
    properties = {o["matcher"]["options"]: {p["id"]: p["value"] for p in o["properties"]} for o in panel["fieldConfig"]["overrides"]}
    rows = rows_of(source.frames(panel))
    if not rows:
        return svg.nothing(box)
    lines = [[cell(row.get(field), properties.get(title, {})) for field, title in zip(fields, titles)] for row in rows]
    wide = [max(len(words) for words in [title, *(line[i][0] for line in lines)]) + 3 for i, title in enumerate(titles)]
    left = [x + 10 + (width - 20) * sum(wide[:i]) / sum(wide) for i in range(len(wide))]
    out = [svg.text(at, y + 14, title, 11, colours.FAINT, font_weight=600) for at, title in zip(left, titles)]
    fits = int((height - 22) // LINE)
    for number, line in enumerate(lines[:fits]):
        top = y + 22 + number * LINE
        out.append(svg.line(x + 8, top, x + width - 8, top, colours.GRID))
        out += [svg.text(at, top + 17, words, 12, colour) for at, (words, colour) in zip(left, line)]
    if len(lines) > fits:
        out.append(svg.text(x + width - 12, y + 14, f"and {len(lines) - fits} more", 10, colours.FAINT, text_anchor="end"))
    return "".join(out)
