"""What belongs to a user alone."""

from oracle.actions import action
from oracle.step import Step


@action(5)
def profile(world):
    who = world.anybody()
    user = world.user(who if world.chance(80) else None)
    at = f"/v3/profile/{user}"
    step = world.pick(
        Step(who, "PUT", f"{at}/displayname", {"displayname": f"Name {world.count}"}, settles=True),
        Step(who, "PUT", f"{at}/avatar_url", {"avatar_url": f"mxc://hs1/{world.count}"}, settles=True),
        Step(who, "PUT", f"{at}/m.tz", {"m.tz": "Europe/Berlin"}),
        Step(who, "GET", at),
        Step(who, "GET", f"{at}/{world.pick('displayname', 'avatar_url', 'm.tz')}"),
        Step(who, "DELETE", f"{at}/{world.pick('displayname', 'avatar_url', 'm.tz')}", settles=True),
    )
    if step.settles and user == world.user(who):
        world.renamed.add(who)
    yield step


@action(5)
def account_data(world):
    who, room = world.anybody(), world.room()
    at = f"/v3/user/{world.user(who)}"
    if world.chance(50):
        at += f"/rooms/<{room}>"
    at += f"/account_data/{world.pick('org.example.a', 'org.example.b', 'm.direct')}"
    yield world.pick(Step(who, "PUT", at, {"n": world.fresh()}), Step(who, "GET", at))


@action(4)
def tags(world):
    room = world.room()
    who = world.somebody_in(room)
    at = f"/v3/user/{world.user(who)}/rooms/<{room}>/tags"
    tag = world.pick("m.favourite", "m.lowpriority", "u.work")
    yield world.pick(
        Step(who, "PUT", f"{at}/{tag}", world.pick({"order": 0.25}, {})),
        Step(who, "GET", at),
        Step(who, "DELETE", f"{at}/{tag}"),
    )


@action(2)
def presence(world):
    who = world.anybody()
    yield Step(who, "PUT", f"/v3/presence/{world.user(who)}/status", world.pick(
        {"presence": "online", "status_msg": "here"}, {"presence": "unavailable"}, {"presence": "bogus"},
    ))


@action(2)
def filters(world):
    who = world.anybody()
    number = world.fresh()
    definition = world.pick({"room": {"timeline": {"limit": 3}}}, {"event_fields": ["content.body"]}, {"room": 7})
    yield Step(who, "POST", f"/v3/user/{world.user(who)}/filter", definition, binds={f"filter {number}": "filter_id"})
    yield Step(who, "GET", f"/v3/user/{world.user(who)}/filter/<filter {number}>")


@action(3)
def devices(world):
    who = world.anybody()
    yield world.pick(
        Step(who, "GET", "/v3/devices", unordered=True),
        Step(who, "GET", "/v3/devices/D1"),
        Step(who, "PUT", "/v3/devices/D1", {"display_name": f"device {world.count}"}),
        Step(who, "GET", "/v3/account/whoami"),
        Step(who, "GET", f"/v3/{world.pick('account/3pid', 'thirdparty/protocols', 'voip/turnServer')}"),
        Step(who, "POST", "/v3/login", {
            "type": "m.login.password", "identifier": {"type": "m.id.user", "user": who}, "device_id": "D2",
            "password": world.pick("correct horse 7", "wrong"),
        }),
    )


@action(3)
def push_rules(world):
    who = world.anybody()
    # Rules of senders are named after them; Synapse accepts any name.
    rule = world.pick("override/mine", "override/.m.rule.master", "content/mine", "content/other", f"sender/{world.user()}")
    at = f"/v3/pushrules/global/{rule}"
    yield world.pick(
        Step(who, "GET", "/v3/pushrules/"),
        Step(who, "GET", f"/v3/pushrules/global/{world.pick('sender', 'bogus')}/"),
        Step(who, "PUT", at, {"actions": ["notify"], "pattern": "tea", "conditions": []}),
        Step(who, "DELETE", at),
        Step(who, "GET", at),
        Step(who, "PUT", f"{at}/enabled", {"enabled": world.chance(50)}),
        Step(who, "GET", f"{at}/actions"),
    )
