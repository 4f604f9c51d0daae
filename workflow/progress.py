"""The events of a run, as its stages record them, and what the terminal shows of them: what runs, and for how long."""

import json
import sys
import time
from pathlib import Path

from p2d_lib.files import atomic, read_record

EXPECTED = {  # seconds a stage on two CPU cores, until a run of the profile has been timed
    "smoke": (30, 75, 205, 116, 64, 115, 57, 8),
    "mini": (110, 260, 1300, 380, 240, 1000, 300, 20),
}


def record_event(folder: Path, notebook: str, event: str, shard: str = "") -> None:
    """Appends to events.jsonl in the run's folder. event: "begun", "done", "failed", or "unchanged" (not executed,
    since all that the stage reads came out as it was). shard: where only this part of the stage is meant."""
    with (folder / "events.jsonl").open("a") as stream:
        stream.write(json.dumps({"notebook": notebook, "event": event, "time": time.time(), "shard": shard}) + "\n")


class Progress:
    """Shows on the terminal which stage begins and ends. seconds: what each is expected to take."""

    def __init__(self, folder: Path, notebooks: list[str], scheduled: list[str], seconds: dict[str, float]):
        self._path, self._read = folder / "events.jsonl", 0  # bytes
        self._notebooks, self._scheduled, self._seconds = notebooks, scheduled, seconds
        self.current, self._begun = "", 0.0
        self.events: dict[str, str] = {}  # the last of each stage
        self._expected_done = self._done = 0.0

    def update(self) -> None:
        """Shows the events since the last call."""
        if not self._path.exists():
            return
        with self._path.open("rb") as stream:
            stream.seek(self._read)
            whole, end, _ = stream.read().rpartition(b"\n")  # the last line may be half written
        self._read += len(whole + end)
        for event in filter(None, map(_event, whole.decode("utf-8", "replace").splitlines())):
            self._show(event)

    def _show(self, event: dict) -> None:
        if event["shard"]:
            self._show_shard(event["notebook"], event["shard"], event["event"], event["time"])
            return
        self.events[event["notebook"]] = event["event"]
        if event["event"] == "begun":
            self._begin(event["notebook"], event["time"])
        else:
            self._end(event["notebook"], event["event"], event["time"])

    def _show_shard(self, notebook: str, shard: str, event: str, when: float) -> None:
        """Shards run side by side, so they have no part in the time left. A stage whose shards have begun has begun."""
        if event in ("begun", "failed"):
            self.events[notebook] = event
        say(f"{self._label(notebook)}  shard {shard} {event}, {time.strftime('%H:%M:%S', time.localtime(when))}")

    def _begin(self, notebook: str, when: float) -> None:
        self.current, self._begun = notebook, when
        left = ""
        if all(name in self._seconds for name in self._scheduled):
            speed = self._done / self._expected_done if self._expected_done > 20 else 1.0
            rest = self._scheduled[self._scheduled.index(notebook) :]
            here, whole = (speed * sum(self._seconds[name] for name in names) for names in ([notebook], rest))
            left = f", about {duration(here)}; the whole run: about {duration(whole)} left"
        say(f"{self._label(notebook)}  {time.strftime('%H:%M:%S', time.localtime(when))}{left}")

    def _end(self, notebook: str, event: str, when: float) -> None:
        if event == "unchanged":
            say(f"{self._label(notebook)}  unchanged: all that it reads came out as it was")
            return
        took = when - self._begun
        self._done += took
        self._expected_done += self._seconds.get(notebook, 0.0)
        self.current = ""
        say(f"{self._label(notebook)}  {event} {'in' if event == 'done' else 'after'} {duration(took)}")

    def _label(self, notebook: str) -> str:
        return label(notebook, self._notebooks)


def _event(line: str) -> dict:
    """A line's event; {} where shards on two nodes wrote at once, which network file systems may mix."""
    try:
        return json.loads(line)
    except ValueError:
        return {}


def label(notebook: str, notebooks: list[str]) -> str:
    """ "[5/8] 05_fidelity "."""
    return f"[{notebooks.index(notebook) + 1}/{len(notebooks)}] {notebook:<12}"


def say(text: str = "") -> None:
    print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """ "42 s", "3 min 05 s", "2 h 10 min"."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def last_timings(runs: Path, profile: str, run: str, notebooks: list[str]) -> dict[str, float]:
    """Seconds a stage takes: as measured in this run, else in the profile's own, else as expected on two cores."""
    known = dict(zip(notebooks, EXPECTED.get(profile, ()), strict=False))
    for path in (runs / name / "timings.json" for name in (profile, run)):
        timings = read_record(path)
        if timings.get("profile") == profile:
            known.update(timings["seconds"])
    return known


def save_timings(folder: Path, profile: str) -> dict[str, float]:
    """Keeps, and returns, the seconds that each stage took when it last ran to its end."""
    timings = folder / "timings.json"
    seconds = read_record(timings).get("seconds", {})
    for stage in sorted(folder.glob("stages/*.json")):
        if record := read_record(stage):
            seconds[record["notebook"]] = record["seconds"]
    with atomic(timings) as partial:
        partial.write_text(json.dumps({"profile": profile, "seconds": seconds}, indent=1) + "\n")
    return seconds
