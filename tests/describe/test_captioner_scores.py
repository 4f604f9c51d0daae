"""The scores of a captioner's stages and of its diagnoses, and the second encoder, on texts whose scores are known."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from p2d_lib.describe import image_text, report
from p2d_lib.describe.captioner_scores import MAJORITY, diagnoses, stages_table
from p2d_lib.describe.captioner_training import StageCaptions
from p2d_lib.models import clip
from p2d_lib.vocabulary import DX, DX_NAMES

N = 210
CASES = pd.DataFrame(
    {
        "image_id": [f"i{k}" for k in range(N)],
        "lesion_id": [f"l{k // 2}" for k in range(N)],
        "dx": [("nv", "nv", "nv", "mel", "bcc", "df", "vasc")[k // 2 % 7] for k in range(N)],
    }
)
TRAIN = pd.Series(["nv"] * 5 + ["mel"] * 2)


def clinical(dx) -> list[str]:
    return [f"A skin lesion with hair, on fair skin. Most likely {DX_NAMES[name]}." for name in dx]


def test_captions_that_name_the_diagnosis_are_right_and_those_that_name_none_are_errors():
    right = clinical(CASES["dx"])
    half = [text if k % 2 else "A skin lesion with hair." for k, text in enumerate(right)]
    table = diagnoses(CASES, {"right": right, "half": half, "vlm": ["A brown spot."] * N}, TRAIN, 0, 100)
    assert table["describer"].tolist() == ["right", "half", MAJORITY], (
        "a model that is asked for no diagnosis has no row"
    )
    table = table.set_index("describer")
    assert table.loc["right", "accuracy"] == (1, 1, 1) and table.loc["right", "abstentions"] == 0
    assert table.loc["half", "accuracy"][0] == pytest.approx(0.5) and table.loc["half", "abstentions"] == N // 2
    assert table.loc[MAJORITY, "accuracy"][0] == pytest.approx(3 / 7)
    assert table.loc[MAJORITY, "balanced_accuracy"] == pytest.approx((1 / 5,) * 3)
    accuracies = report.diagnoses_table(table.reset_index())["accuracy"].tolist()
    assert accuracies[0] == "1.000"


def test_diagnoses_at_random_are_not_shown_to_be_above_a_guess_and_better_ones_are():
    rng = np.random.default_rng(0)
    share_above = []
    for _ in range(40):
        table = diagnoses(CASES, {"random": clinical(rng.choice(DX, N))}, TRAIN, 0, 200)
        (line,) = report.diagnosis_findings(table, None)
        share_above.append("which is above a guess" in line)
    assert np.mean(share_above) <= 0.1
    better = [dx if rng.random() < 0.5 else rng.choice(DX) for dx in CASES["dx"]]
    (line,) = report.diagnosis_findings(diagnoses(CASES, {"better": clinical(better)}, TRAIN, 0, 200), None)
    assert "which is above a guess (20%, Holm p < 0.001)" in line


def test_of_four_describers_of_no_skill_any_is_called_above_a_guess_at_the_level_of_one_test():
    """All seven diagnoses occur, so that a guess has 1/7. One test is one-sided at 2.5 %; 1.6 % in 500 studies."""
    rng, dx = np.random.default_rng(1), np.repeat([*DX], [8, 10, 20, 5, 20, 65, 6]).repeat(2)
    cases = pd.DataFrame({"image_id": range(len(dx)), "lesion_id": np.arange(len(dx)) // 2, "dx": dx})
    announced = []
    for seed in range(40):
        guesses = {str(k): clinical(rng.choice(DX, len(dx), p=rng.dirichlet(np.full(7, 2)))) for k in range(4)}
        lines = report.diagnosis_findings(diagnoses(cases, guesses, TRAIN, seed, 100), None)
        announced.append(any("which is above a guess" in line for line in lines))
    assert np.mean(announced) <= 0.075  # 2.5 % and two standard errors


def test_one_describer_that_is_just_above_a_guess_is_called_so_alone_and_not_as_the_best_of_four():
    """Its p is 0.03."""
    majority = {"describer": MAJORITY, "accuracy": (0.6, 0.6, 0.6), "balanced_accuracy": (1 / 7,) * 3}
    for others in (0, 3):
        of_others = [(f"other {k}", (0.13, 0.09, 0.17)) for k in range(others)]
        rows = [
            {"describer": name, "n": 210, "accuracy": balanced, "balanced_accuracy": balanced}
            for name, balanced in [("one", (0.22, 0.15, 0.29)), *of_others]
        ]
        lines = report.diagnosis_findings(pd.DataFrame([*rows, majority]), None)
        assert ("is above a guess" in lines[0]) == (not others)


@pytest.fixture(scope="module")
def colours() -> tuple[np.ndarray, list[str], pd.DataFrame]:
    """Images of one colour each, their texts, and cases of two diagnoses."""
    rng = np.random.default_rng(0)
    is_red = np.arange(96) % 4 < 2
    images = np.where(is_red[:, None], (200, 40, 40), (40, 40, 200)).astype(np.uint8)[:, None, None, :]
    images = np.broadcast_to(images, (96, 64, 64, 3)) + rng.integers(0, 20, (96, 64, 64, 3), dtype=np.uint8)
    cases = pd.DataFrame({"dx": ["mel", "nv"] * 48, "lesion_id": np.arange(96).astype(str)})
    return images, ["red lesion" if red else "blue lesion" for red in is_red], cases


@pytest.fixture(scope="module")
def encoder(colours) -> clip.Clip:
    cpu = torch.device("cpu")
    return clip.fit(colours[0], colours[1], steps=40, batch_size=32, seed=1, device=cpu)[0]


def test_an_encoder_that_has_learnt_the_colours_prefers_the_text_of_the_image(colours, encoder):
    images, texts, cases = colours
    assert image_text.prefers_own(encoder, images, texts, cases, 0) > 0.7, "texts of half of the exchanges are equal"
    shuffled = images[np.random.default_rng(3).permutation(96)]
    assert image_text.prefers_own(encoder, shuffled, texts, cases, 0) == pytest.approx(0.5, abs=0.12)
    assert image_text.prefers_own(encoder, images, ["red lesion"] * 96, cases, 0) == 0.5


def test_the_other_encoder_learns_the_texts_of_train_from_other_weights(colours, monkeypatch):
    images, texts, cases = colours
    cases = cases.assign(split=["train", "val", "test"] * 32)
    run = SimpleNamespace(images=lambda of: images[of.index])
    monkeypatch.setattr(clip, "fit", lambda *pairs, seed, **_: [(*pairs, seed)])
    made = [
        fit("tiny", run, cases, texts, steps=1, seed=5, device=torch.device("cpu"))
        for fit in (image_text.encoder, image_text.other_encoder)
    ]
    for of_images, of_texts, _ in made:
        assert np.array_equal(of_images, images[::3]) and of_texts.tolist() == texts[::3]
    assert made[0][2] == 5 != made[1][2]


def test_a_row_per_stage_has_the_loss_of_the_weights_kept_and_the_captions_scores(colours, encoder):
    images, texts, _ = colours
    log = pd.DataFrame({"stage": ["A", "A", "A", "B"], "val_loss": [2.0, 1.0, 1.5, 0.5]})
    swapped = ["blue lesion" if text.startswith("red") else "red lesion" for text in texts]
    written = [StageCaptions("A", "phrases", swapped, texts), StageCaptions("B", "clinical", texts, texts)]
    table = stages_table(written, log, images, {image_text.OWN: encoder, image_text.OTHER: encoder})
    assert table["val loss"].tolist() == [1.0, 0.5]
    assert table["PPL"].tolist() == pytest.approx([np.e, np.exp(0.5)])
    assert table["ROUGE-L"].tolist() == pytest.approx([0.5, 1.0])
    assert (table[image_text.OWN].diff()[1] > 10) and "BERTScore F1" not in table
