"""One request of a plan. What a server will have named is written as a reference: `<room 1>`, `<event 4>`, `<at 2>` (a token)."""

import re
from dataclasses import asdict, dataclass, field


@dataclass
class Step:
    actor: str
    method: str
    path: str
    # A text is sent as it is: JSON that is none.
    body: object = None
    query: dict = field(default_factory=dict)
    # Name of the plan -> key of the answer.
    binds: dict = field(default_factory=dict)
    # The order of this answer's list means nothing.
    unordered: bool = False
    # A change of the profile, which reaches the rooms of the actor later.
    settles: bool = False
    # The actor has changed the own profile before.
    renamed: bool = False

    @property
    def names_event(self):
        """What the plan calls the event that this request makes."""
        return next((name for name, key in self.binds.items() if key == "event_id"), None)

    @property
    def label(self):
        """The endpoint, as the table of differences calls it: without version, names and what is particular to this request."""
        path = re.sub(r"^/(v1|v3|unstable/[^/]+)/", "/", self.path)
        path = re.sub(r"/([tw][0-9]+|@[^/]*|%23[^/]*)(?=/|$)", "/*", re.sub("<[^>]*>", "*", path))
        return f"{self.method} {path}{self._variant}"

    @property
    def _variant(self):
        """What is asked of a sync, and by whom: each asks for other things."""
        if self.path != "/v3/sync":
            return ""
        wanted = self.query.get("filter", "")
        found = {
            "?first": "since" not in self.query, "?lazy": "lazy_load_members" in wanted, "?types": '"timeline": {"types"' in wanted,
            "?renamed": self.renamed, "?full_state": "full_state" in self.query,
        }
        return "".join(name for name, holds in found.items() if holds)

    def told(self):
        return asdict(self)
