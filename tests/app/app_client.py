"""Asks the app as a program would: by the addresses that the page itself uses, with any values."""

import json
import uuid

import httpx


class Client:
    """One visitor. address: ends with a slash."""

    def __init__(self, address: str, config: dict | None = None):
        self.http, self.session = httpx.Client(base_url=address, timeout=120), uuid.uuid4().hex
        self.config = config or self.http.get("config").json()

    def event(self, element: str, name: str) -> dict:
        """The handler of an event of the component with this elem_id."""
        ids = [part["id"] for part in self.config["components"] if part["props"].get("elem_id") == element]
        asked = [one for one in self.config["dependencies"] if one["backend_fn"]]
        return next(one for one in asked if [ids[0], name] in [list(target) for target in one["targets"]])

    def call(self, element: str, name: str, *data, event_data=None) -> dict:
        """The last message that answers an event: {"success": ..., "output": {...}}, or the refusal to take it."""
        body = {"data": list(data), "fn_index": self.event(element, name)["id"], "session_hash": self.session}
        joined = self.http.post("gradio_api/queue/join", json=body | {"event_data": event_data, "trigger_id": None})
        if joined.status_code != 200:
            return {"success": False, "output": {"error": joined.text}}
        with self.http.stream("GET", "gradio_api/queue/data", params={"session_hash": self.session}) as lines:
            for line in lines.iter_lines():
                message = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if message.get("msg") in ("process_completed", "unexpected_error"):
                    return message
        raise AssertionError("no answer")
