"""Answers without what may differ: ids and tokens become names by first appearance, times and words of errors disappear."""

import json
import re

TOKENS = {"next_batch", "prev_batch", "start", "end", "from", "next_token", "access_token", "refresh_token", "session", "filter_id"}
TIMES = {"origin_server_ts", "age", "ts", "last_seen_ts", "last_active_ago", "expires_in_ms", "age_ts"}
# Words, or what depends on the connection.
WORDS = {"error", "last_seen_ip", "last_seen_user_agent"}
ROOM = re.compile(r"^![^\s/]+$")
EVENT = re.compile(r"^\$[^\s/]+$")
# Lists without an order, at the end of the path to them.
UNORDERED = {
    "state", "account_data", "invite_state", "knock_state", "flows", "chunk", "joined_rooms", "aliases", "devices", "children_state",
}


class Normaliser:
    """Knows what one server has called the things of one plan."""

    def __init__(self):
        self._names = {}
        self._counts = {}

    def answer(self, step, status, body):
        body = comparable_sync(body)
        if step.names_event and isinstance(body, dict) and "event_id" in body:
            self._names[body["event_id"]] = f"$ of {step.names_event}"
        self._name_events(body, "")
        return {"status": status, "body": self._plain(body, step.unordered, "", "")}

    def _name(self, kind, value):
        if value not in self._names:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._names[value] = f"{kind} {self._counts[kind]}"
        return self._names[value]

    def _name_events(self, value, room):
        """Events are named by what they are, so that one that only one server shows does not rename all others."""
        if isinstance(value, list):
            for each in value:
                self._name_events(each, room)
        if not isinstance(value, dict):
            return
        identity = value.get("event_id")
        if isinstance(identity, str) and isinstance(value.get("type"), str) and "sender" in value:
            where = self._id(value.get("room_id", room))
            what = [value["type"], value["sender"], where, self._kind_of(value)]
            self._name("$" + "|".join(what), identity)
        for key in sorted(value, key=lambda each: (not ROOM.match(each), self._names.get(each, ""), each)):
            self._name_events(value[key], key if ROOM.match(key) else room)

    def _kind_of(self, event):
        """What tells events of one type and sender apart, as far as both servers agree on it."""
        content = event["content"] if isinstance(event.get("content"), dict) else {}
        told = content.get("membership", content.get("body", ""))
        if "state_key" not in event:
            return str(told)
        if event["type"] != "m.room.power_levels":
            told = told or json.dumps({key: content[key] for key in sorted(content) if isinstance(content[key], str)})
        return f"{self._id(event['state_key'])} {told}"

    def _id(self, text):
        if ROOM.match(text) and not text.startswith("!unknown"):
            return self._name("!", text)
        if EVENT.match(text) and text != "$unknown":
            # Of an event that was only mentioned yet nothing else is known.
            return self._names.get(text, "$ not seen yet")
        return text

    def _plain(self, value, unordered, key, parent):
        if isinstance(value, dict):
            return self._object(value, unordered, key)
        if isinstance(value, list):
            return self._list(value, unordered, key, parent)
        if key in TIMES and isinstance(value, int) and not isinstance(value, bool):
            return "(time)"
        if key in WORDS:
            return "(words)"
        if key in TOKENS and isinstance(value, str):
            return "(token)"
        return self._id(value) if isinstance(value, str) else value

    def _object(self, value, unordered, key):
        # Presence and typing come when they come.
        if key == "presence" and set(value) == {"events"}:
            return "(later)"
        if key == "ephemeral" and isinstance(value.get("events"), list):
            value = {**value, "events": [each for each in value["events"] if each.get("type") != "m.typing"]}
        plain = {}
        for name in sorted(value, key=lambda each: (self._names.get(each, ""), each)):
            plain[self._id(name)] = self._plain(value[name], unordered, name, key)
        return plain

    def _list(self, value, unordered, key, parent):
        plain = [self._plain(each, unordered, "", key) for each in value]
        if (unordered and key in UNORDERED | {""}) or (key == "events" and parent in UNORDERED) or key in ("state", "flows"):
            plain.sort(key=lambda each: json.dumps(each, sort_keys=True))
        return plain


def comparable_sync(answer):
    """A sync without the state that its timelines change (Synapse has some of it as it is after the first event), and without the
    leave that an invitation follows (Synapse tells both)."""
    rooms = answer.get("rooms") if isinstance(answer, dict) else None
    if not isinstance(rooms, dict):
        return answer
    kept = {}
    for kind, each in rooms.items():
        names = [name for name in each if kind != "leave" or name not in rooms.get("invite", {})]
        if names:
            kept[kind] = {name: without_state_of_timeline(each[name]) for name in names}
    return {**answer, "rooms": kept}


def without_state_of_timeline(room):
    if "state" not in room or "timeline" not in room:
        return room
    changed = {(each.get("type"), each.get("state_key")) for each in room["timeline"].get("events", []) if "state_key" in each}
    events = room["state"].get("events", [])
    kept = [each for each in events if (each.get("type"), each.get("state_key")) not in changed]
    return {**room, "state": {**room["state"], "events": kept}}
