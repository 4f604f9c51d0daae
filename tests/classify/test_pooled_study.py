"""The study of pooled images recovers what is planted in it, finds nothing where nothing is, and resumes."""

import numpy as np
import pandas as pd
import pytest
import torch

from p2d_lib import images
from p2d_lib.classify import pooled_study, report_pooled
from p2d_lib.classify.image_sets import ImageSets, collect
from p2d_lib.classify.pooled_study import AI, ENTITY, ORIGINAL, SOURCE
from p2d_lib.classify.protocol import Protocol
from p2d_lib.models import classifiers
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX

CPU = torch.device("cpu")
HUES = {"mel": (60, 40, 40), "nv": (200, 150, 60), "vasc": (220, 40, 60)}
BUDGET = Protocol(
    arms=[], seeds=1, synthetic_share=0.5, backbone="three_conv", steps=45, batch_size=16, learning_rate=2e-3, seed=0,
    optimizer="adam", patience=3, evaluate_every=15,
)  # fmt: skip


def picture_set(run: Run, tint: int) -> ImageSets:
    """Squares whose hue is the class; synthetic ones are darker by `tint`, which says that they are synthetic."""
    rng, rows = np.random.default_rng(1), []
    (run.folder / "pictures").mkdir(parents=True)
    for k in range(120):
        dx, is_real = list(HUES)[k % 3], k % 2 == 0
        picture = np.clip(np.array(HUES[dx]) - (0 if is_real else tint) + rng.normal(0, 12, (24, 24, 3)), 0, 255)
        path = f"pictures/{k}.png"
        images.save(run.folder / path, picture.astype(np.uint8))
        rows.append({"image_id": f"i{k}", "lesion_id": f"l{k}", "dx": dx, "path": path, "is_real": is_real})
    table = pd.DataFrame(rows)
    cases = table[table["is_real"]].assign(split=["train", "train", "val", "test"] * 15)
    synthetic = table[~table["is_real"]].assign(accepted=True, generator="adapter")
    return collect(run, cases, synthetic)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("P2D_HOME", str(tmp_path_factory.mktemp("home")))
        yield patch


@pytest.fixture(scope="module")
def planted(home) -> tuple[Run, ImageSets, pooled_study.Study]:
    run = Run("planted", "06_classify")
    pictures = picture_set(run, 40)
    return run, pictures, pooled_study.study(run, pictures, BUDGET, CPU)


def test_planted_entities_and_a_planted_tint_are_read_on_original_and_ai_images(planted):
    readings = planted[2].readings
    assert set(readings["question"]) == {ENTITY, SOURCE} and len(readings) == 2 * 24
    entities = report_pooled.entities_table(readings).set_index(["read on", "entity"])
    for name in ("original images", "AI images"):
        assert entities.loc[(name, "macro mean"), "F1"] > 0.8
    sources = report_pooled.source_table(readings).set_index("source")
    assert sources.loc[AI, "recall"] >= 0.75 and sources.loc[ORIGINAL, "recall"] >= 0.75
    assert sources.loc[[ORIGINAL, AI], "n"].sum() == sources.loc["macro mean", "n"] == 24
    of_source = readings[readings["question"] == SOURCE]
    is_odd = of_source["image_id"].str[1:].astype(int) % 2 == 1  # the synthetic ones
    assert ((of_source["source"] == AI) == is_odd).all() and ((of_source["truth"] == AI) == is_odd).all()
    np.testing.assert_allclose(of_source["p_AI"] + of_source["p_original"], 1, rtol=1e-5)


def test_synthetic_images_of_the_same_law_are_not_told_from_original_ones(home):
    run = Run("same", "06_classify")
    study = pooled_study.study(run, picture_set(run, 0), BUDGET, CPU)
    of_source = study.readings[study.readings["question"] == SOURCE]
    assert 0.2 <= (of_source["truth"] == of_source["read"]).mean() <= 0.8
    *_, line = report_pooled.findings(study, pd.DataFrame({"image_id": [], "lesion_id": []}), 0, 100)
    low, high = line.split("[")[1].split("]")[0].split(", ")
    assert float(low) < 0.5 < float(high)
    most = of_source["truth"].value_counts().max()
    assert f" alone: {most / len(of_source):.2f})" in line, "what it is worth is seen beside what no network needs"


def test_a_finished_training_is_not_done_again_and_its_log_has_the_losses_of_val(planted, monkeypatch):
    run, pictures, study = planted
    monkeypatch.setattr(classifiers, "fit", lambda *_, **__: pytest.fail("trained again"))
    again = pooled_study.study(run, pictures, BUDGET, CPU)
    pd.testing.assert_frame_equal(again.readings, study.readings)
    for log in again.logs.values():
        evaluated = log.dropna(subset="val_loss")
        assert evaluated["step"].tolist() == [14, 29, 44][: len(evaluated)] and evaluated["val_loss"].min() < 1.9


def test_the_report_is_precision_recall_and_f1_of_known_counts():
    truth, read = ["mel"] * 4 + ["nv"] * 6, ["mel"] * 3 + ["nv"] * 6 + ["mel"]
    readings = pd.DataFrame({"question": ENTITY, "source": ORIGINAL, "truth": truth, "read": read})
    table = report_pooled.entities_table(readings).set_index("entity")
    assert table.loc["mel", ["precision", "recall", "F1"]].tolist() == pytest.approx([0.75, 0.75, 0.75])
    assert table.loc["nv", "precision"] == pytest.approx(5 / 6)
    assert table.loc["macro mean", "F1"] == pytest.approx((0.75 + 5 / 6) / 2)
    assert table.loc["weighted mean", "F1"] == pytest.approx(0.4 * 0.75 + 0.6 * 5 / 6)
    assert set(table["read on"]) == {"original images"}


def test_the_caption_counts_each_entity_on_original_and_ai_images():
    truth = ["mel"] * 3 + ["nv"]
    readings = pd.DataFrame({"question": ENTITY, "source": [ORIGINAL, ORIGINAL, AI, AI], "truth": truth})
    original, ai = report_pooled.counted(readings).split("; ")
    assert original == "original images: 0 akiec, 0 bcc, 0 bkl, 0 df, 2 mel, 0 nv, 0 vasc"
    assert ai == "AI images: 0 akiec, 0 bcc, 0 bkl, 0 df, 1 mel, 1 nv, 0 vasc"


def test_the_curves_of_the_figure_name_each_entity_with_its_area(planted):
    figure = report_pooled.roc_figure(planted[2].readings)
    for axis in figure.axes[:2]:
        names = [text.get_text().split()[0] for text in axis.get_legend().get_texts()]
        assert names == [dx for dx in DX if dx in HUES]
        assert {line.get_linestyle() for line in axis.lines} == {"-", "--", ":"}  # of nv, mel and vasc, chance
    (text,) = figure.axes[2].get_legend().get_texts()
    assert text.get_text().startswith("AI ") and float(text.get_text().split()[1]) > 0.9
