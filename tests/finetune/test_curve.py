"""The curve of a base in training: planted samples lie where they should, and a resumed training keeps its rows."""

import numpy as np
import pytest
import torch
from tiny_run import make_run, tiny_parameters

from p2d_lib.finetune import curve, report
from p2d_lib.finetune.curve import Curve
from p2d_lib.finetune.stages import Stages
from p2d_lib.run import Run


@pytest.fixture
def stages(tmp_path, monkeypatch) -> Stages:
    """A run of 42 images, 28 of them train; colours of single pixels stand for the network's features."""
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    monkeypatch.setattr(curve, "Extractor", lambda kind, device: _Colours())
    make_run("tiny", 42)
    p = tiny_parameters(base_steps=6, curve_images=10, decoder_steps=0)
    return Stages(Run("tiny", "03_finetune"), p, torch.device("cpu"))


class _Pipe:
    device = torch.device("cpu")


class _Colours:
    caption = "Features: colours."

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1, 3)[:, ::199].reshape(len(images), -1).astype(float)


def _measured(stages: Stages, sampled: np.ndarray, folder, monkeypatch) -> dict:
    """The curve's row where the base samples these images."""
    monkeypatch.setattr(curve.sampling, "sample", lambda *_, **__: sampled)
    one = Curve(_Pipe(), stages.train, stages.val, 10, 0, folder)
    one(7)
    return one.table().iloc[0].to_dict()


def test_real_images_lie_at_the_floor_the_same_images_at_zero_and_noise_far_off(stages, tmp_path, monkeypatch):
    probe = Curve(_Pipe(), stages.train, stages.val, 10, 0, tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
    planted = {"same": stages.val.pixels[probe.held_out], "real": stages.train.pixels[probe.known], "noise": noise}
    rows = {name: _measured(stages, images, tmp_path / name, monkeypatch) for name, images in planted.items()}
    assert rows["same"]["frechet"] == pytest.approx(0, abs=1e-6 * rows["real"]["floor"])
    assert rows["real"]["frechet"] == pytest.approx(rows["real"]["floor"])
    assert rows["noise"]["frechet"] > 3 * rows["real"]["floor"]


def test_the_images_compared_are_of_different_lesions_and_their_prompts_are_sampled(stages, tmp_path):
    stages.val.cases["lesion_id"] = [f"lesion {k // 2}" for k in range(len(stages.val))]  # two images each
    one = Curve(_Pipe(), stages.train, stages.val, 100, 0, tmp_path)
    assert one.n == len(stages.val) // 2
    held_out = stages.val.cases.iloc[one.held_out]
    assert held_out["lesion_id"].is_unique and one.prompts == held_out["prompt"].tolist()
    assert len(one.known) == one.n and stages.train.cases.iloc[one.known]["lesion_id"].is_unique


def test_a_base_in_training_is_measured_at_each_evaluation_and_again_with_its_decoder(stages, monkeypatch):
    stages.p = stages.p.model_copy(update={"decoder_steps": 1})
    monkeypatch.setattr(stages, "_fit_decoder", lambda pipe: None)
    stages.base()
    table = stages.curve.table()
    assert table["steps"].tolist() == [6, 6]  # an epoch of 28 images has 7 steps; the last step counts as well
    assert table["decoder_fitted"].tolist() == [False, True] and (table["n"] == 10).all()
    assert stages.logs["base"]["val_loss"].notna().sum() == 1
    shown = report.curve_table(stages)
    assert shown["images seen"].tolist() == [24, 24]
    assert np.allclose(shown["times the floor"], table["frechet"] / table["floor"])
    assert "10 samples" in report.curve_caption(stages)
    assert len(report.curve_figure(stages).axes[0].lines) == 3  # samples, the fitted decoder, the floor
    assert "after 24 (0.9 epochs, with its fitted decoder)" in report._curve_finding(shown)
    again = Stages(stages.run, stages.p, stages.device)
    monkeypatch.setattr(again, "_fit_decoder", lambda pipe: None)
    again.base()  # from its finished checkpoint: only the decoder's row is measured anew
    assert again.curve.table().equals(table)


def test_no_curve_is_measured_unless_it_is_asked_for(stages):
    stages.p = stages.p.model_copy(update={"curve_images": 0})
    stages.base()
    assert stages.curve is None
