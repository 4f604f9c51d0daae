"""./run_all.sh --verify and figures: what is missing, edited, or looks otherwise without a reason in the data."""

from pathlib import Path

import numpy as np
import planted_runs
import pytest
import reference as references
import verify
import verify_figures
from PIL import Image, ImageDraw
from planted_runs import judged


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("home")
    planted_runs.make(home)
    planted_runs.make(home, "on-1", threads=1)
    return home


@pytest.fixture
def reference(home, tmp_path, monkeypatch) -> Path:
    planted_runs.take_as_home(home, monkeypatch)
    return references.write(tmp_path / "reference", "smoke", ["on-1"])


def _figure(home: Path, name: str) -> Path:
    return home / "figures" / "smoke" / f"{name}.png"


def test_the_figures_of_the_run_itself_have_the_same_pixels(reference, home):
    verdict = judged(reference, home / "data/runs/smoke")
    assert verdict.agrees and "2 of 2 figures have the same pixels." in verdict.line()
    assert "Figures that differ" not in verify.markdown(verdict)


def test_figures_of_other_data_differ_with_a_reason_and_their_distance_stands_beside_that_of_reruns(
    reference, tmp_path
):
    verdict = judged(reference, planted_runs.make(tmp_path, threads=8))
    assert verdict.agrees and not any(figure.same or figure.unexplained for figure in verdict.figures)
    assert all(0 < figure.difference < 0.2 and 0 < figure.reruns < 0.2 for figure in verdict.figures)
    assert "- f4_samples differs in " in verify.markdown(verdict) and "(reruns: " in verify.markdown(verdict)


def test_a_figure_that_is_missing_is_named_and_the_run_does_not_agree(reference, tmp_path):
    folder = planted_runs.make(tmp_path)
    _figure(tmp_path, "f6_effects").unlink()
    verdict = judged(reference, folder)
    assert not verdict.agrees and "; figure f6_effects is missing" in verdict.line()


def test_a_figure_that_was_edited_by_hand_is_named_and_the_run_does_not_agree(reference, tmp_path):
    folder = planted_runs.make(tmp_path)
    with Image.open(_figure(tmp_path, "f4_samples")) as picture:
        picture.putpixel((3, 3), 0)
        picture.save(_figure(tmp_path, "f4_samples"))
    verdict = judged(reference, folder)
    assert not verdict.agrees and "f4_samples.png was changed by hand since it was made" in verdict.line()


def test_a_figure_drawn_otherwise_from_the_same_data_is_named(reference, tmp_path, monkeypatch):
    monkeypatch.setitem(planted_runs.FIGURES, "04_sample", "f4_samples")
    monkeypatch.setattr(Image.Image, "save", lambda self, path, save=Image.Image.save: save(self.rotate(180), path))
    folder = planted_runs.make(tmp_path)
    monkeypatch.undo()
    verdict = judged(reference, folder)
    assert verdict.agrees and verdict.figures[0].unexplained and verdict.figures[0].difference > 0.3
    assert "same pixels; without a difference in the data: f4_samples, f6_effects" in verdict.line()


def test_a_reference_without_hashes_says_nothing_of_figures(reference, home):
    loaded, record = references.load(reference)
    del record["figures"]
    verdict = verify.judge(loaded, record, home / "data/runs/smoke", home / "tables/smoke", "the reference")
    assert verdict.agrees and not verdict.figures and "figure" not in verdict.line()


def _chart(folder: Path, heights: list[int], scale: float = 1.0) -> str:
    picture = Image.new("RGB", (400, 300), "white")
    for k, height in enumerate(heights):
        ImageDraw.Draw(picture).rectangle((40 + 60 * k, 280 - height, 80 + 60 * k, 280), fill="navy")
    folder.mkdir(exist_ok=True)
    picture.resize((int(400 * scale), int(300 * scale)), Image.Resampling.LANCZOS).save(folder / "f1_bars.png")
    return verify_figures.hashes(folder)["f1_bars"]["look"]


def test_the_perceptual_hash_stays_at_another_size_and_moves_with_the_bars_and_with_noise(tmp_path):
    before = _chart(tmp_path, [200, 120, 60, 180])
    assert verify_figures.difference(before, _chart(tmp_path, [200, 120, 60, 180], scale=1.5)) < 0.05
    assert verify_figures.difference(before, _chart(tmp_path, [60, 200, 180, 90])) > 0.05
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "f1_bars.png")
    assert verify_figures.difference(before, verify_figures.hashes(tmp_path)["f1_bars"]["look"]) > 0.3
