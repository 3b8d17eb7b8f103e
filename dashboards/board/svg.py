"""The few shapes of SVG that a picture of a board needs."""

from xml.sax.saxutils import escape, quoteattr

from .colours import FAINT, TEXT


def tag(name, content="", **attributes):
    pairs = "".join(f" {key.replace('_', '-')}={quoteattr(number(value))}" for key, value in attributes.items() if value is not None)
    return f"<{name}{pairs}>{content}</{name}>" if content else f"<{name}{pairs}/>"


def number(value):
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)


def rect(x, y, width, height, fill, **more):
    return tag("rect", x=float(x), y=float(y), width=float(max(width, 0)), height=float(max(height, 0)), fill=fill, **more)


def line(x1, y1, x2, y2, stroke, **more):
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), stroke=stroke, **more)


def text(x, y, words, size=11, fill=TEXT, **more):
    return tag("text", escape(str(words)), x=float(x), y=float(y), font_size=size, fill=fill, **more)


def path(points, **more):
    """A line through points; a new one after each None."""
    parts, pen = [], "M"
    for point in points:
        if point is None:
            pen = "M"
            continue
        parts.append(f"{pen}{point[0]:.1f},{point[1]:.1f}")
        pen = "L"
    return tag("path", d="".join(parts), **more) if parts else ""


def width_of(words, size=11):
    """About; the font is whatever the reader has."""
    return len(words) * size * 0.56


def cut(words, room, size=11):
    fits = int(room / (size * 0.56))
    return words if len(words) <= fits else words[: max(fits - 1, 1)] + "…"


def nothing(box, words="no data"):
    x, y, width, height = box
    return text(x + width / 2, y + height / 2, words, 12, FAINT, text_anchor="middle")
