"""What people do: each action is a generator of requests, and has a weight. The modules beside this one register theirs."""

from oracle.step import Step

ACTIONS = {}


def action(weight):
    def keep(function):
        ACTIONS[function.__name__] = (weight, function)
        return function

    return keep


def send(world, room, who, kind, content):
    number = world.fresh()
    world.events.setdefault(room, []).append(f"event {number}")
    return Step(
        who, "PUT", f"/v3/rooms/<{room}>/send/{kind}/t{number}", content, binds={f"event {number}": "event_id"},
    )


def put_state(world, room, who, kind, key, content):
    number = world.fresh()
    world.events.setdefault(room, []).append(f"event {number}")
    return Step(who, "PUT", f"/v3/rooms/<{room}>/state/{kind}/{key}", content, binds={f"event {number}": "event_id"})
