"""A model is asked once about an image: killed or not, and never answers for other pixels, words or weights."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2d_lib.llm.errors import ApiError
from p2d_lib.readers.vlm_asking import ask, settings

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = """
import os, sys
from pathlib import Path
import numpy as np, pandas as pd
from p2d_lib.readers.vlm_asking import ask

folder, batches_before_the_kill = Path(sys.argv[1]), int(sys.argv[2])
table = pd.DataFrame({"image_id": [f"i{k}" for k in range(20)]})
batches = 0

def load(rows):
    return np.stack([np.full((2, 2, 3), int(name[1:]), np.uint8) for name in rows["image_id"]])

def answer(images):
    global batches
    if batches == batches_before_the_kill:
        os.kill(os.getpid(), 9)
    batches += 1
    with (folder / "asked.txt").open("a") as log:
        log.writelines(f"{image[0, 0, 0]}\\n" for image in images)
    return [f"answer {image[0, 0, 0]}" for image in images]

print(ask(table, load, answer, asked="q", model="m", file=folder / "a.jsonl", batch_size=3)["answer"].tolist())
"""


def work(folder, batches_before_the_kill):
    command = [sys.executable, "-c", SCRIPT, str(folder), str(batches_before_the_kill)]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)


def test_work_that_is_killed_half_way_asks_nothing_twice(tmp_path):
    assert work(tmp_path, 4).returncode == -9
    assert len((tmp_path / "asked.txt").read_text().split()) == 12
    done = work(tmp_path, 99)
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "asked.txt").read_text().split()
    assert sorted(map(int, asked)) == list(range(20))
    assert eval(done.stdout) == [f"answer {k}" for k in range(20)]


def table(n=4):
    return pd.DataFrame({"image_id": [f"i{k}" for k in range(n)]})


def images_of(rows, shade=0):
    return np.stack([np.full((2, 2, 3), int(name[1:]) + shade, np.uint8) for name in rows["image_id"]])


class Model:
    """Answers with its number of calls, and counts the images that it is shown."""

    def __init__(self):
        self.calls, self.images = 0, 0

    def __call__(self, images):
        self.calls, self.images = self.calls + 1, self.images + len(images)
        return [f"call {self.calls}"] * len(images)


def test_an_answer_serves_the_same_question_alone(tmp_path):
    model, file = Model(), tmp_path / "a.jsonl"
    more = {"model": "m", "file": file, "batch_size": 2}
    first = ask(table(), images_of, model, asked=settings(prompt="q", weights="w"), **more)
    again = ask(table(), images_of, model, asked=settings(weights="w", prompt="q"), **more)
    pd.testing.assert_frame_equal(first, again)
    assert model.images == 4
    for asked in (settings(prompt="p", weights="w"), settings(prompt="q", weights="v")):
        ask(table(), images_of, model, asked=asked, **more)
    ask(table(), lambda rows: images_of(rows, shade=100), model, asked=settings(prompt="q", weights="w"), **more)
    assert model.images == 16, "other words, weights and pixels are asked about, each once"


def test_one_image_can_be_asked_anew_and_the_later_answer_counts(tmp_path):
    model, more = Model(), {"asked": "q", "model": "m", "file": tmp_path / "a.jsonl", "batch_size": 4}
    ask(table(), images_of, model, **more)
    changed = ask(table(), images_of, model, **more, anew=["i2"])
    assert changed["answer"].tolist() == ["call 1", "call 1", "call 2", "call 1"] and model.images == 5
    pd.testing.assert_frame_equal(ask(table(), images_of, model, **more), changed)


def test_a_file_of_something_else_is_refused_and_half_a_line_is_asked_again(tmp_path):
    (tmp_path / "other.jsonl").write_text("image_id,answer\n")
    more = {"asked": "q", "model": "m", "batch_size": 4}
    with pytest.raises(ApiError, match=r"other\.jsonl: is no cache of replies"):
        ask(table(), images_of, Model(), file=tmp_path / "other.jsonl", **more)
    ask(table(), images_of, Model(), file=tmp_path / "a.jsonl", **more)
    (tmp_path / "a.jsonl").write_bytes((tmp_path / "a.jsonl").read_bytes()[:-20])
    model = Model()
    ask(table(), images_of, model, file=tmp_path / "a.jsonl", **more)
    assert model.images == 1
