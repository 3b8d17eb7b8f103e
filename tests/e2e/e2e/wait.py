"""Waiting for conditions: never for time alone."""

import time


class TimedOut(AssertionError):
    """A condition did not come true in time."""


def until(what, condition, seconds, every=0.1):
    """Calls `condition` until it returns something true, and returns that; raises TimedOut naming `what`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimedOut(f"not within {seconds:g} s: {what}")
        time.sleep(every)
