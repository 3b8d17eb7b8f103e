"""Requests that no server may accept."""

from oracle.actions import action
from oracle.step import Step


@action(4)
def wrong(world):
    """Requests that no server may accept."""
    room = world.room()
    who = world.somebody_in(room)
    at = f"/v3/rooms/<{room}>"
    yield world.pick(
        Step(who, "POST", f"{at}/invite", {}),
        Step(who, "POST", f"{at}/kick", {"user_id": "nonsense"}),
        Step(who, "POST", f"{at}/ban", "{"),
        Step(who, "PUT", f"{at}/send/m.room.message/w{world.fresh()}", "[]"),
        Step(who, "PUT", f"{at}/send/m.room.message/w{world.fresh()}", '{"body": 1.5, "msgtype": "m.text"}'),
        Step(who, "PUT", f"{at}/state/m.room.power_levels/", {"users": {"nonsense": 1}}),
        Step(who, "PUT", f"{at}/state/m.room.create/", {"creator": "x"}),
        Step(who, "GET", f"{at}/messages", query={"dir": "sideways"}),
        Step(who, "GET", f"{at}/messages", query={"dir": "b", "from": "nonsense"}),
        Step(who, "GET", f"{at}/context/nonsense"),
        Step("stranger", "GET", f"{at}/state"),
        Step("stranger", "POST", "/v3/createRoom", {}),
        Step(who, "GET", "/v3/sync", query={"timeout": "0", "since": "nonsense"}),
        Step(who, "GET", "/v3/no_such_endpoint"),
        Step(who, "DELETE", f"{at}/state"),
        Step(who, "POST", "/v3/createRoom", {"preset": "nonsense"}),
        Step(who, "POST", "/v3/createRoom", {"invite": ["nonsense"]}),
        Step(who, "POST", "/v3/join/nonsense", {}),
    )
