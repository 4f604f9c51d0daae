"""Previews show what training changes, row by row, and outlive a run that is killed."""

import numpy as np

from p2d_lib.finetune import report
from p2d_lib.finetune.previews import Previews
from p2d_lib.models import sampling


def test_a_resumed_run_keeps_the_rows_before_and_drops_those_after(tmp_path, monkeypatch):
    def sample(pipe, prompts, seeds, size):
        assert (prompts, seeds) == (["melanoma", "nevus"], [3, 4])
        return np.full((len(prompts), size, size, 3), pipe, dtype=np.uint8)

    monkeypatch.setattr(sampling, "sample", sample)
    for brightness, done in ((1, 8), (2, 16), (3, 24), (9, 16)):  # the fourth is of a run that was killed after 8
        previews = Previews(brightness, ["melanoma", "nevus"], [3, 4], tmp_path, size=8)
        previews(done)
    assert {step: row[0, 0, 0, 0] for step, row in previews.rows().items()} == {8: 1, 16: 9}
    axis = report.previews_figure(previews.rows(), ["mel", "nv"], epoch=8).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["epoch 1", "epoch 2"]
    page = axis.images[0].get_array()
    assert [page[top, 0, 0] for top in (0, 9)] == [1, 9]  # rows of 8 px, 1 px apart
