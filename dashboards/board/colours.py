"""Grafana's colours of a light theme, as far as the boards use them."""

NAMED = {
    "semi-dark-green": "#37872D", "semi-dark-orange": "#FA6400", "semi-dark-red": "#E02F44", "semi-dark-blue": "#3274D9",
    "light-blue": "#8AB8FF", "dark-purple": "#8F3BB8", "semi-dark-purple": "#A352CC", "text": "#8E99A6",
}
# Of series without a colour of their own: far apart, readable on white.
SERIES = ["#3274D9", "#E0752D", "#56A64B", "#A352CC", "#C4A000", "#00A3A3", "#D44A87", "#7A5C3E", "#5B6B7F", "#9C3D3D"]
TEXT, FAINT, GRID, BORDER, PAGE, PANEL = "#24292E", "#6B7480", "#E9EBEE", "#DCDFE4", "#F4F5F7", "#FFFFFF"


def named(name):
    return NAMED.get(name, name if name.startswith("#") else "#8E99A6")


def of_value(value, thresholds):
    """The colour of the highest threshold that the value reaches."""
    steps = [step for step in thresholds["steps"] if step["value"] is None or (value is not None and value >= step["value"])]
    return named(steps[-1]["color"])


class BySeries:
    """One colour for each name, the same in all panels of a picture."""

    def __init__(self):
        self._given = {}

    def __call__(self, name):
        return self._given.setdefault(name, SERIES[len(self._given) % len(SERIES)])
