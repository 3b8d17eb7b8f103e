"""Where two normalised answers differ."""

import difflib
import json
from dataclasses import dataclass

MISSING = "(missing)"
NAMES = ("event_id", "room_id", "device_id", "rule_id", "user_id")


@dataclass(frozen=True)
class Difference:
    """`label` is the endpoint, `at` the place in the answer, with `[]` for the elements of lists and `*` for ids."""

    label: str
    at: str
    synapse: str
    quorate: str


def differences_between(label, synapse, quorate):
    if synapse["status"] != quorate["status"] or synapse["body"].__class__ is not quorate["body"].__class__:
        # One of them is a refusal: its body is another thing.
        yield Difference(label, "status", told(synapse), told(quorate))
        return
    for at, one, other in walk("", synapse["body"], quorate["body"]):
        yield Difference(label, at, one, other)


def told(answer):
    body = answer["body"]
    if answer["status"] >= 400 and isinstance(body, dict):
        return f"{answer['status']} {body.get('errcode')}"
    return f"{answer['status']} {json.dumps(body)}"


def text(value):
    return value if value == MISSING else json.dumps(value, sort_keys=True)


def walk(at, one, other):
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(each for each in other if each not in one)]:
            place = f"{at}.{'*' if key[:1] in '!$@' else key}".lstrip(".")
            if key not in one or key not in other:
                yield place, text(one.get(key, MISSING)), text(other.get(key, MISSING))
            else:
                yield from walk(place, one[key], other[key])
    elif isinstance(one, list) and isinstance(other, list):
        yield from walk_lists(f"{at}[]", one, other)
    elif one != other or one.__class__ is not other.__class__:
        yield at, text(one), text(other)


def identity(element):
    """By which elements of two lists are the same one."""
    if isinstance(element, dict):
        for key in NAMES:
            if isinstance(element.get(key), str):
                return f"{key}={element[key]}"
        if "type" in element:
            return json.dumps([element["type"], element.get("state_key"), element.get("sender")])
    return json.dumps(element, sort_keys=True)


def walk_lists(at, one, other):
    if len(one) == len(other) == 1 and not identity(one[0]).startswith(NAMES):
        yield from walk(at, one[0], other[0])
        return
    keys = [identity(each) for each in one], [identity(each) for each in other]
    if keys[0] != keys[1] and sorted(keys[0]) == sorted(keys[1]):
        yield f"{at}(order)", text(keys[0]), text(keys[1])
        order = {key: number for number, key in enumerate(keys[0])}
        other = sorted(other, key=lambda each: order[identity(each)])
        keys = keys[0], keys[0]
    for kind, first, end, start, stop in difflib.SequenceMatcher(None, *keys, autojunk=False).get_opcodes():
        if kind == "equal":
            for left, right in zip(one[first:end], other[start:stop]):
                yield from walk(at, left, right)
        else:
            for each in one[first:end]:
                yield at, text(each), MISSING
            for each in other[start:stop]:
                yield at, MISSING, text(each)
