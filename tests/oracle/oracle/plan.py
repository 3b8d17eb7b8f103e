"""Random requests that mostly make sense: the same for a seed, whatever the servers answer."""

import random

# For their actions, in this order: a seed means the same only as long as that does not change.
from oracle import accounts, reading, refused, rooms, talk  # noqa: F401
from oracle.actions import ACTIONS
from oracle.step import Step

PEOPLE = ("alice", "bob", "carol")
# Both homeservers are called "hs1": `conformance.cluster.SERVER_NAME`, which user ids in the requests contain.


class World:
    """What the plan believes: it is often wrong, which makes the requests that are refused."""

    def __init__(self, seed):
        self.seed = seed
        self.random = random.Random(seed)
        self.people = [f"{name}-{seed}" for name in PEOPLE]
        # Room -> who is believed to be in it; room -> what was sent there; person -> where the last sync ended.
        self.members = {}
        self.events = {}
        self.tokens = {}
        # Who has changed the own profile, and so has new member events.
        self.renamed = set()
        self.count = 0

    def pick(self, *choices):
        return self.random.choice(choices)

    def chance(self, percent):
        return self.random.randrange(100) < percent

    def fresh(self):
        self.count += 1
        return self.count

    def anybody(self):
        return self.random.choice(self.people)

    def user(self, name=None):
        return f"@{name or self.anybody()}:hs1"

    def room(self):
        if self.members and not self.chance(2):
            return self.random.choice(list(self.members))
        return "room 0"

    def somebody_in(self, room):
        """Mostly a member."""
        inside = sorted(self.members.get(room, ()))
        return self.random.choice(inside) if inside and not self.chance(8) else self.anybody()

    def event(self, room):
        known = self.events.get(room)
        return self.random.choice(known) if known and not self.chance(3) else "event 0"


def make_plan(seed, steps):
    world = World(seed)
    for person in world.people:
        yield Step(person, "POST", "/v3/register", {"username": person, "password": "correct horse 7", "device_id": "D1"})
        yield Step(person, "POST", "/v3/register", {
            "username": person, "password": "correct horse 7", "device_id": "D1", "auth": {"type": "m.login.dummy"},
        }, binds={f"token of {person}": "access_token"})
        # Synapse names newcomers after their account, Quorate does not: told once here, and not by every member event.
        yield Step(person, "GET", f"/v3/profile/@{person}:hs1")
        yield Step(person, "PUT", f"/v3/profile/@{person}:hs1/displayname", {"displayname": f"Name of {person}"})
    yield from ACTIONS["create_room"][1](world)
    names = list(ACTIONS)
    weights = [ACTIONS[name][0] for name in names]
    made = 0
    while made < steps:
        name = world.random.choices(names, weights)[0]
        for step in ACTIONS[name][1](world):
            made += 1
            yield step
