"""The terminal shows each event of a run once, when its line is whole, and reads no event twice."""

import json
import time

from workflow.progress import Progress, record_event

NOTEBOOKS = ["04_sample", "05_fidelity"]


def progress(folder):
    return Progress(folder, NOTEBOOKS, NOTEBOOKS, {})


def test_each_event_is_shown_once_and_a_half_written_line_when_it_is_whole(tmp_path, capsys):
    shown, path = progress(tmp_path), tmp_path / "events.jsonl"
    shown.update()
    record_event(tmp_path, "04_sample", "begun")
    line = json.dumps({"notebook": "04_sample", "event": "done", "time": time.time(), "shard": ""})
    with path.open("a") as stream:
        stream.write(line[:20])
    shown.update()
    assert shown.events == {"04_sample": "begun"} and shown.current == "04_sample"
    with path.open("a") as stream:
        stream.write(f"{line[20:]}\nmixed by two nodes\n")
    shown.update()
    shown.update()
    assert shown.events == {"04_sample": "done"}
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_looking_again_reads_only_what_was_added(tmp_path, monkeypatch):
    shown, decoded = progress(tmp_path), []
    monkeypatch.setattr("workflow.progress._event", lambda line: decoded.append(line))
    for k in range(50):
        record_event(tmp_path, "04_sample", "done", f"{k}-of-50")
        shown.update()
    assert len(decoded) == 50 and len(set(decoded)) == 50
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"x" * path.stat().st_size)  # what was read may not be looked at again
    record_event(tmp_path, "04_sample", "done", "50-of-51")
    shown.update()
    assert len(decoded) == 51 and json.loads(decoded[-1])["shard"] == "50-of-51"
