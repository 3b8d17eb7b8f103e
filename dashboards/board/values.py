"""Numbers as people read them, by the units that Grafana knows; round steps for an axis."""

import math
import time


def scaled(value, base, steps):
    """(value, suffix) such that the value is below `base`, if a step is left."""
    index = 0
    while abs(value) >= base and index < len(steps) - 1:
        value, index = value / base, index + 1
    return value, steps[index]


def digits(value):
    """Three significant digits, without an exponent."""
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    places = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:.{min(places, 6)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def seconds(value):
    for limit, factor, suffix in ((1e-3, 1e6, "µs"), (1, 1e3, "ms"), (120, 1, "s"), (7200, 1 / 60, "min"), (172800, 1 / 3600, "h")):
        if abs(value) < limit:
            return f"{digits(value * factor)} {suffix}" if value else "0 s"
    return f"{digits(value / 86400)} d"


def shown(value, unit):
    if value is None or math.isnan(value):
        return "–"
    if unit in ("s", "dtdurations"):
        return seconds(value)
    if unit in ("bytes", "Bps"):
        number, suffix = scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"])
        return f"{digits(number)} {suffix}{'/s' if unit == 'Bps' else ''}"
    if unit == "percentunit":
        return f"{digits(value * 100)} %"
    number, suffix = (value, "") if unit == "none" else scaled(value, 1000, ["", "K", "M", "G"])
    rate = {"cps": "/s", "reqps": "/s"}.get(unit, "")
    return f"{digits(number)}{' ' + suffix if suffix else ''}{rate}"


def ticks(lowest, highest, count=4):
    """Round values from the lowest to beyond the highest."""
    span = (highest - lowest) or 1
    rough = span / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.floor(lowest / step)
    return [step * n for n in range(first, math.ceil(highest / step - 1e-9) + 1)]


def axis(highest, unit):
    """Ticks from 0, round in the unit that they are shown in."""
    factor = 1
    while unit in ("bytes", "Bps") and highest >= 1024 * factor:
        factor *= 1024
    return [tick * factor for tick in ticks(0, highest / factor)]


def times(start, end, count=6):
    """Round moments between two, and how each is written."""
    step = next((s for s in (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600) if (end - start) / s <= count), 86400)
    form = "%H:%M:%S" if step < 60 else "%H:%M"
    first = math.ceil(start / step) * step
    return [(t, time.strftime(form, time.gmtime(t))) for t in range(int(first), int(end) + 1, step)]
