"""What happens to rooms and to who is in them."""

from oracle.actions import action
from oracle.step import Step


@action(5)
def create_room(world):
    who = world.anybody()
    number = world.fresh()
    body = {}
    if world.chance(70):
        body["preset"] = world.pick("public_chat", "private_chat", "trusted_private_chat")
    if world.chance(40):
        body["visibility"] = world.pick("public", "private")
    if world.chance(60):
        body["name"] = f"s{world.seed}x room {number}"
    if world.chance(30):
        body["topic"] = f"talk {number}"
    if world.chance(30):
        body["room_alias_name"] = f"s{world.seed}-{number}"
    others = [each for each in world.people if each != who]
    if world.chance(40):
        body["invite"] = [world.user(each) for each in world.random.sample(others, world.pick(1, 2))]
    if world.chance(15):
        body["is_direct"] = True
    # Synapse's preset public_chat lacks it, and each timeline would be longer by one.
    body["initial_state"] = [{"type": "m.room.guest_access", "state_key": "", "content": {"guest_access": "forbidden"}}]
    if world.chance(30):
        # Not "invited" or "joined": what they hide from who joins later ends the timeline of Quorate's /sync, and Synapse's
        # goes on with the events before them, which both show in /messages.
        visibility = world.pick("world_readable", "shared")
        body["initial_state"].append({
            "type": "m.room.history_visibility", "state_key": "", "content": {"history_visibility": visibility},
        })
    if world.chance(10):
        body["creation_content"] = {"m.federate": False, "type": "m.space"}
    if world.chance(10):
        body["power_level_content_override"] = {"events_default": world.pick(0, 50)}
    # The presets of the two give different levels for invitations, which the specification leaves open.
    body["power_level_content_override"] = {"invite": world.pick(0, 50), **body.get("power_level_content_override", {})}
    if world.chance(15):
        body["room_version"] = world.pick("6", "7", "8", "9", "10", "11", "12", "99")
    room = f"room {number}"
    world.members[room] = {who}
    yield Step(who, "POST", "/v3/createRoom", body, binds={room: "room_id"})
    for other in others:
        if world.chance(70):
            if body.get("preset") != "public_chat" and world.user(other) not in body.get("invite", []):
                yield Step(who, "POST", f"/v3/rooms/<{room}>/invite", {"user_id": world.user(other)})
            world.members[room].add(other)
            yield Step(other, "POST", f"/v3/join/<{room}>", {})


@action(5)
def invite(world):
    room = world.room()
    body = world.pick({"user_id": world.user()}, {"user_id": world.user(), "reason": "come"})
    yield Step(world.somebody_in(room), "POST", f"/v3/rooms/<{room}>/invite", body)


@action(7)
def join(world):
    room, who = world.room(), world.anybody()
    world.members.setdefault(room, set()).add(who)
    # Without a reason: to join again with another one is a new event for Synapse, and none for Quorate.
    yield Step(who, "POST", world.pick(f"/v3/rooms/<{room}>/join", f"/v3/join/<{room}>"), {})


@action(4)
def leave(world):
    room = world.room()
    who = world.somebody_in(room)
    world.members.get(room, set()).discard(who)
    yield Step(who, "POST", f"/v3/rooms/<{room}>/leave", world.pick({}, {"reason": "bye"}))


@action(5)
def remove(world):
    room, target = world.room(), world.anybody()
    verb = world.pick("kick", "ban", "unban")
    if verb != "unban":
        world.members.get(room, set()).discard(target)
    yield Step(
        world.somebody_in(room), "POST", f"/v3/rooms/<{room}>/{verb}", {"user_id": world.user(target), **world.pick({}, {"reason": "x"})},
    )


@action(2)
def forget(world):
    yield Step(world.anybody(), "POST", f"/v3/rooms/<{world.room()}>/forget", {})


@action(2)
def knock(world):
    yield Step(world.anybody(), "POST", f"/v3/knock/<{world.room()}>", world.pick({}, {"reason": "please"}))


@action(5)
def alias(world):
    room = world.room()
    who = world.somebody_in(room)
    name = f"%23a{world.seed}-{world.random.randrange(4)}%3Ahs1"
    at = f"/v3/directory/room/{name}"
    yield world.pick(
        Step(who, "PUT", at, {"room_id": f"<{room}>"}),
        Step(who, "PUT", at, {"room_id": f"<{room}>"}),
        Step(who, "GET", at),
        Step(who, "DELETE", at),
        Step(who, "GET", f"/v3/rooms/<{room}>/aliases", unordered=True),
    )


@action(3)
def directory(world):
    room = world.room()
    who = world.somebody_in(room)
    yield world.pick(
        Step(who, "PUT", f"/v3/directory/list/room/<{room}>", {"visibility": world.pick("public", "private")}),
        Step(who, "GET", f"/v3/directory/list/room/<{room}>"),
        Step(who, "POST", "/v3/publicRooms", {"filter": {"generic_search_term": f"s{world.seed}x"}}, unordered=True),
        Step(who, "GET", f"/v1/room_summary/<{room}>"),
        Step(who, "GET", f"/v1/rooms/<{room}>/hierarchy"),
    )
