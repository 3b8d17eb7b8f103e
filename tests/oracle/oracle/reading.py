"""What people ask of rooms, and syncs."""

import json

from oracle.actions import action
from oracle.step import Step


@action(8)
def read_room(world):
    room = world.room()
    who = world.somebody_in(room)
    at = f"/v3/rooms/<{room}>"
    event = world.event(room)
    yield world.pick(
        Step(who, "GET", f"{at}/state", unordered=True),
        Step(who, "GET", f"{at}/state/{world.pick('m.room.name', 'm.room.power_levels', 'm.room.topic', 'm.room.create')}/"),
        Step(who, "GET", f"{at}/state/m.room.member/{world.user()}"),
        Step(who, "GET", f"{at}/members", query=world.pick(
            {}, {"membership": "join"}, {"not_membership": "leave"}, {"membership": "ban"},
        ), unordered=True),
        Step(who, "GET", f"{at}/joined_members"),
        Step(who, "GET", "/v3/joined_rooms", unordered=True),
        Step(who, "GET", f"{at}/event/<{event}>"),
        Step(who, "GET", f"{at}/event/<{event}>"),
    )


@action(10)
def messages(world):
    room = world.room()
    who = world.somebody_in(room)
    direction = world.pick("b", "b", "f")
    number = world.fresh()
    query = {"dir": direction, "limit": world.pick("1", "3", "5", "50")}
    if world.chance(30):
        query["filter"] = json.dumps(world.pick(
            {"types": ["m.room.message"]}, {"not_types": ["m.room.member"]}, {"senders": [world.user()]},
            {"lazy_load_members": True}, {"rel_types": ["m.thread"]}, {"contains_url": True},
        ))
    yield Step(who, "GET", f"/v3/rooms/<{room}>/messages", query=query, binds={f"at {number}": "end"})
    if world.chance(50):
        yield Step(who, "GET", f"/v3/rooms/<{room}>/messages", query={**query, "from": f"<at {number}>"})


@action(5)
def context(world):
    room = world.room()
    query = {"limit": world.pick("0", "2", "5", "20")}
    yield Step(world.somebody_in(room), "GET", f"/v3/rooms/<{room}>/context/<{world.event(room)}>", query=query, unordered=True)


@action(6)
def relations(world):
    room = world.room()
    at = f"/v1/rooms/<{room}>/relations/<{world.event(room)}>"
    at += world.pick("", "/m.annotation", "/m.thread", "/m.replace", "/m.annotation/m.reaction")
    query = world.pick({}, {"limit": "2"}, {"dir": "f"}, {"recurse": "true"})
    yield world.pick(
        Step(world.somebody_in(room), "GET", at, query=query),
        Step(world.somebody_in(room), "GET", at, query=query),
        Step(world.somebody_in(room), "GET", f"/v1/rooms/<{room}>/threads", query=world.pick({}, {"include": "participated"})),
    )


@action(14)
def sync(world):
    who = world.anybody()
    query = {"timeout": "0"}
    last = world.tokens.get(who)
    if last and not world.chance(15):
        query["since"] = f"<{last}>"
    if world.chance(35):
        query["filter"] = json.dumps(world.pick(
            {"room": {"timeline": {"limit": 2}}},
            {"room": {"timeline": {"limit": 50}}},
            {"room": {"state": {"lazy_load_members": True}}},
            {"room": {"include_leave": True}},
            {"room": {"timeline": {"types": ["m.room.message"]}}},
            {"account_data": {"types": []}, "room": {"account_data": {"types": []}}},
            {"room": {"timeline": {"unread_thread_notifications": True}}},
        ))
    if world.chance(8):
        query["full_state"] = "true"
    world.tokens[who] = f"at {world.fresh()}"
    yield Step(who, "GET", "/v3/sync", query=query, binds={world.tokens[who]: "next_batch"}, renamed=who in world.renamed)
