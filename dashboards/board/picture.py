"""A board as one picture: its open panels where Grafana puts them, with what Prometheus answers."""

import time

from . import colours, reading, svg
from .figures import figure, table
from .graphs import bands, over_time

COLUMN, LINE, GAP, HEAD = 52, 34, 8, 44
KINDS = {"stat": figure, "timeseries": over_time, "state-timeline": bands, "table": table}


def draw(board, source, subject, titles=()):
    """The picture of the board, or only of the panels with these titles, one below the other."""
    by_name, marks = colours.BySeries(), sorted(source.marks(board))
    chosen = [panel for panel in reading.panels(board) if panel["title"] in titles]
    if not titles:
        chosen = [panel for panel in board["panels"] if not panel.get("collapsed")]
    offset = stack(chosen) if titles else {panel["id"]: panel["gridPos"]["y"] for panel in chosen}
    parts, bottom = [], 0
    for panel in chosen:
        place = panel["gridPos"]
        box = (place["x"] * COLUMN + GAP, HEAD + offset[panel["id"]] * LINE, place["w"] * COLUMN - GAP, place["h"] * LINE - GAP)
        bottom = max(bottom, box[1] + box[3])
        parts.append(heading(panel, box) if panel["type"] == "row" else framed(panel, box, source, by_name, marks))
    width, height = 24 * COLUMN + GAP, bottom + GAP
    span = " to ".join(time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(t)) for t in (source.start, source.end))
    title = svg.text(GAP + 4, 28, board["title"], 18, font_weight=600)
    about = svg.text(width - GAP - 4, 28, f"{subject} · {span} UTC", 12, colours.FAINT, text_anchor="end")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'font-family="Inter, system-ui, sans-serif">\n<title>{board["title"]}</title>\n'
        + "\n".join([svg.rect(0, 0, width, height, colours.PAGE), title, about, *parts]) + "\n</svg>\n"
    )


def stack(panels):
    """Lines of panels that are shown without the others."""
    top, offset = 0, {}
    for y in sorted({panel["gridPos"]["y"] for panel in panels}):
        line = [panel for panel in panels if panel["gridPos"]["y"] == y]
        offset |= {panel["id"]: top for panel in line}
        top += max(panel["gridPos"]["h"] for panel in line)
    return offset


def heading(panel, box):
    x, y, _, _ = box
    return svg.text(x + 4, y + 20, panel["title"], 14, font_weight=600)


def framed(panel, box, source, by_name, marks):
    x, y, width, height = box
    inner = (x, y + 26, width, height - 26)
    frame = svg.rect(x, y, width, height, colours.PANEL, stroke=colours.BORDER, rx=4)
    title = svg.text(x + 10, y + 18, svg.cut(panel["title"], width - 20, 12), 12, font_weight=600)
    return frame + title + KINDS[panel["type"]](panel, inner, source, by_name, marks)
