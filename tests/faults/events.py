"""What a campaign notes: each event as a line of JSON in its log, and on the terminal."""

import json
from collections.abc import Callable
from pathlib import Path


def noted_in(log: Path) -> Callable[..., None]:
    """A function that takes an event as keywords and adds it to the log."""

    def note(**what: object) -> None:
        with log.open("a") as file:
            file.write(json.dumps(what) + "\n")
        print(*(f"{name}={value}" for name, value in what.items()), flush=True)

    return note
