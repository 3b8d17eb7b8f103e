"""What is said in rooms, and what follows from it."""

from oracle.actions import action, put_state, send
from oracle.step import Step


@action(14)
def message(world):
    room = world.room()
    yield send(world, room, world.somebody_in(room), "m.room.message", {"msgtype": "m.text", "body": f"m {world.count}"})


@action(5)
def edit(world):
    room = world.room()
    text = {"msgtype": "m.text", "body": f"edited {world.count}"}
    relation = {"rel_type": "m.replace", "event_id": f"<{world.event(room)}>"}
    content = {"msgtype": "m.text", "body": "* edited", "m.new_content": text, "m.relates_to": relation}
    yield send(world, room, world.somebody_in(room), "m.room.message", content)


@action(6)
def react(world):
    room = world.room()
    relation = {"rel_type": "m.annotation", "event_id": f"<{world.event(room)}>", "key": world.pick("+1", "-1", "tea")}
    yield send(world, room, world.somebody_in(room), "m.reaction", {"m.relates_to": relation})


@action(5)
def reply(world):
    room = world.room()
    target = f"<{world.event(room)}>"
    relation = world.pick(
        {"rel_type": "m.thread", "event_id": target},
        {"rel_type": "m.thread", "event_id": target, "is_falling_back": True, "m.in_reply_to": {"event_id": target}},
        {"m.in_reply_to": {"event_id": target}},
        {"rel_type": "m.reference", "event_id": target},
    )
    content = {"msgtype": "m.text", "body": f"re {world.count}", "m.relates_to": relation}
    yield send(world, room, world.somebody_in(room), "m.room.message", content)


@action(5)
def redact(world):
    room = world.room()
    number = world.fresh()
    body = world.pick({}, {"reason": "spam"})
    target = world.event(room)
    yield Step(
        world.somebody_in(room), "PUT", f"/v3/rooms/<{room}>/redact/<{target}>/t{number}", body,
        binds={f"event {number}": "event_id"},
    )


@action(8)
def state(world):
    room = world.room()
    who = world.somebody_in(room)
    kind, content = world.pick(
        ("m.room.name", {"name": f"s{world.seed}x name {world.count}"}),
        ("m.room.topic", {"topic": f"topic {world.count}"}),
        ("m.room.join_rules", {"join_rule": world.pick("public", "invite", "knock", "private")}),
        ("m.room.history_visibility", {"history_visibility": world.pick("world_readable", "shared", "invited", "joined")}),
        ("m.room.guest_access", {"guest_access": world.pick("can_join", "forbidden")}),
        ("m.room.pinned_events", {"pinned": [f"<{world.event(room)}>"]}),
        ("org.example.thing", {"a": [1, {"b": None}], "c": True}),
    )
    yield put_state(world, room, who, kind, world.pick("", "", "", "key") if kind.startswith("org") else "", content)


@action(2)
def power_levels(world):
    room = world.room()
    who = world.somebody_in(room)
    users = {world.user(who): 100, world.user(): world.pick(0, 50, 100)}
    content = {"users": users, "users_default": world.pick(0, 0, 10), "events": {"m.room.name": world.pick(0, 50)}}
    yield put_state(world, room, who, "m.room.power_levels", "", content)


@action(6)
def receipts(world):
    room = world.room()
    who = world.somebody_in(room)
    event = f"<{world.event(room)}>"
    kind = world.pick("m.read", "m.read.private", "m.fully_read")
    thread = {} if kind == "m.fully_read" else world.pick({}, {}, {"thread_id": "main"})
    yield world.pick(
        Step(who, "POST", f"/v3/rooms/<{room}>/receipt/{kind}/{event}", thread),
        Step(who, "POST", f"/v3/rooms/<{room}>/read_markers", {"m.fully_read": event, "m.read": event}),
    )


@action(2)
def typing(world):
    room = world.room()
    who = world.somebody_in(room)
    body = world.pick({"typing": True, "timeout": 20000}, {"typing": False})
    yield Step(who, "PUT", f"/v3/rooms/<{room}>/typing/{world.user(who if world.chance(90) else None)}", body)
