"""A strip shows what training changes, row by row, and outlives a run that is killed."""

import numpy as np
import pytest

from p2d_lib.finetune.strip import Strip
from p2d_lib.models import sampling


@pytest.fixture
def drawn(monkeypatch):
    """What is asked of the sampler; what it draws is as bright as the pipeline, a number, says."""
    asked = []

    def sample(pipe, prompts, seeds, size):
        asked.append((prompts, seeds))
        return np.full((len(prompts), size, size, 3), pipe[0], dtype=np.uint8)

    monkeypatch.setattr(sampling, "sample", sample)
    return asked


def _strip(pipe, folder):
    return Strip(pipe, ["melanoma", "nevus"], [3, 4], folder, size=8)


def test_rows_stand_in_the_order_of_their_steps_under_the_same_prompts_and_noise(drawn, tmp_path):
    pipe = [0]
    strip = _strip(pipe, tmp_path)
    for done in (8, 16, 100):
        pipe[0] = done
        strip(done)
    assert drawn == [(["melanoma", "nevus"], [3, 4])] * 3
    axis = strip.figure(["mel", "nv"], epoch=8).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["epoch 1", "epoch 2", "epoch 12.5"]
    page = axis.images[0].get_array()
    assert [page[top, 0, 0] for top in (0, 9, 18)] == [8, 16, 100]  # rows of 8 px, 1 px apart


def test_a_resumed_run_keeps_the_rows_before_and_drops_those_after(drawn, tmp_path):
    for done in (8, 16, 24):
        _strip([done], tmp_path)(done)
    again = _strip([1], tmp_path)
    again(16)
    labels = [label.get_text() for label in again.figure(["mel", "nv"], epoch=8).axes[0].get_yticklabels()]
    assert labels == ["epoch 1", "epoch 2"]
