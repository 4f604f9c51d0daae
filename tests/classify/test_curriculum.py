"""A planted weakness, a class that the network misreads, gets more images; nothing else of the training changes."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from p2d_lib import images
from p2d_lib.classify import image_sets, protocol
from p2d_lib.classify.curriculum import Curriculum, Rounds
from p2d_lib.models import classifiers
from p2d_lib.run import Run
from p2d_lib.sample import plan
from p2d_lib.vocabulary import DX, FEATURES

WEAK = "mel"  # always read as nv
PER_CLASS, STEPS, BATCH = 24, 30, 16
CPU = torch.device("cpu")


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A run of flat images: 8 of each class in train and val, 4 in test, PER_CLASS synthetic ones."""
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    run, rows = Run("test", "06_classify"), []
    for name, n in (("train", 8), ("val", 8), ("test", 4), ("synthetic", PER_CLASS)):
        (run.folder / name).mkdir(parents=True)
        for dx in DX:
            for i in range(n):
                path = f"{name}/{dx}{i}.png"
                images.save(run.folder / path, np.full((32, 32, 3), 30 * DX.index(dx), np.uint8))
                rows.append({"image_id": f"{name}_{dx}{i}", "dx": dx, "split": name, "path": path})
    table = pd.DataFrame(rows).assign(localization="back", age=50.0, sex="female")
    synthetic = table[table["split"] == "synthetic"].assign(accepted=True, generator="adapter")
    cases = table[table["split"] != "synthetic"]
    scores = dict.fromkeys(FEATURES, 0.0) | {"asymmetry": 0.8}
    about = {"prompt": cases["dx"] + " seen", "valid": True, "reviewer": "", "describer": "template"}
    descriptions = cases[["image_id"]].assign(**about, **scores)
    return run, cases, synthetic, descriptions


class Sampler:
    """Writes an image for each row and remembers the rows; refuses the first of each call as a copy."""

    def __init__(self, run):
        self.run, self.asked = run, []
        (run.folder / "new").mkdir()

    def __call__(self, rows):
        self.asked.append(rows)
        paths = [f"new/{name}.png" for name in rows["image_id"]]
        for path in paths:
            images.save(self.run.folder / path, np.full((32, 32, 3), 255, np.uint8))
        return rows.assign(path=paths, accepted=np.arange(len(rows)) > 0)


@pytest.fixture
def rounds(made, monkeypatch):
    """A training of three rounds whose network reads every class but WEAK rightly; after(step) is all that is done."""
    run, cases, synthetic, descriptions = made
    collected = image_sets.collect(run, cases, synthetic)

    def predict(model, pixels, device):
        p = np.eye(7)[pixels[:, 0, 0, 0] // 30]
        p[p.argmax(1) == DX.index(WEAK)] = np.eye(7)[DX.index("nv")]
        return {"p": p}

    monkeypatch.setattr(classifiers, "predict", predict)
    by_errors = partial(plan.make, cases, descriptions, others_per_class=0, others=(), mode="curriculum")
    curriculum = Curriculum(plan.validation_errors, by_errors, Sampler(run), descriptions)
    settings = protocol.Protocol(["curriculum"], 2, 0.5, "tiny_resnet", STEPS, BATCH, 1e-3, 0)
    shown = protocol.shown(collected, settings, "mixed", 7)
    pixels = collected.pixels(run.scratch("store"))
    return Rounds(curriculum, run, collected, pixels, shown, rounds=3, seed=7, name="curriculum-0"), shown, pixels


def after_all_steps(rounds):
    model = classifiers.build("tiny_resnet")
    for step in range(STEPS):
        rounds.after(step, model, CPU)
    return rounds


def test_the_class_that_is_misread_gets_more_images_and_none_goes_without(rounds):
    rounds = after_all_steps(rounds[0])
    for asked in rounds.curriculum.sampler.asked:
        counts = asked["dx"].value_counts()
        assert len(asked) == 7 * (PER_CLASS // 3)
        assert counts.idxmax() == WEAK and counts[WEAK] >= 2 * counts.drop(WEAK).max(), counts.to_dict()
        assert set(counts.index) == set(DX)
    assert len(rounds.curriculum.sampler.asked) == 2, "after the first and the second of three rounds"
    log = pd.concat(rounds.log)
    of_weak = log[log["dx"] == WEAK]
    assert list(of_weak["step"]) == [10, 20] and (of_weak["error"] == 0.9).all(), "(8 wrong + 1) / (8 + 2)"
    assert (log["refused"].groupby(log["round"]).sum() == 1).all()
    assert (log["macro_f1"] < 0.9).all()


def test_a_network_that_errs_nowhere_asks_for_all_classes_alike(rounds, monkeypatch):
    monkeypatch.setattr(
        classifiers, "predict", lambda model, pixels, device: {"p": np.eye(7)[pixels[:, 0, 0, 0] // 30]}
    )
    for asked in after_all_steps(rounds[0]).curriculum.sampler.asked:
        counts = asked["dx"].value_counts()
        assert counts.max() - counts.min() <= 1


def test_prompts_come_from_train_alone(rounds):
    rounds = after_all_steps(rounds[0])
    prompted_by = pd.concat(rounds.curriculum.sampler.asked)["prompted_by"]
    assert prompted_by.str.startswith("train_").all()


def test_the_natural_part_the_steps_and_the_number_of_synthetic_images_are_those_of_mixed(rounds):
    rounds, mixed, pixels = rounds
    after_all_steps(rounds)
    assert rounds.shown.shape == mixed.shape
    real = np.isin(mixed, rounds.images.rows("train"))
    np.testing.assert_array_equal(rounds.shown[real], mixed[real])
    synthetic = rounds.images.rows("synthetic")
    assert np.isin(rounds.shown[~real], synthetic).all()
    assert len(rounds.filled) == len(synthetic) - 2, "two were refused as copies"
    assert len(np.unique(rounds.filled)) == len(rounds.filled)
    assert (np.asarray(pixels)[synthetic] != 255).all(), "other arms see the images of 04"


def test_the_first_round_is_balanced_and_later_ones_show_new_images_as_often_as_old_ones(rounds):
    rounds, mixed, _ = rounds
    first = rounds.shown[:10][rounds.synthetic[:10]]
    np.testing.assert_array_equal(rounds.labels[first], rounds.labels[mixed[:10][rounds.synthetic[:10]]])
    assert len(np.unique(first)) == 7 * (PER_CLASS // 3)
    after_all_steps(rounds)
    last = rounds.shown[20:][rounds.synthetic[20:]]
    times = np.bincount(last, minlength=len(rounds.labels))[rounds.filled]
    assert times.max() - times.min() <= 1
    is_new = (rounds.pixels[rounds.filled] == 255).all((1, 2, 3))
    assert is_new.sum() == 2 * (7 * (PER_CLASS // 3) - 1)
    np.testing.assert_array_equal(  # flat images tell their class, but for the new ones
        rounds.pixels[rounds.filled][~is_new][:, 0, 0, 0] // 30, rounds.labels[rounds.filled][~is_new]
    )


def test_too_few_synthetic_images_are_refused_with_what_to_do(rounds):
    rounds, mixed, pixels = rounds
    with pytest.raises(ValueError, match="a curriculum of 30 rounds needs 210 accepted synthetic images or more"):
        Rounds(rounds.curriculum, rounds.run, rounds.images, pixels, mixed, rounds=30, seed=0, name="x")


def test_a_curriculum_is_trained_read_and_noted_beside_mixed(made):
    run, cases, synthetic, descriptions = made
    by_errors = partial(plan.make, cases, descriptions, others_per_class=0, others=(), mode="curriculum")
    curriculum = Curriculum(plan.validation_errors, by_errors, Sampler(run), descriptions)
    collected = image_sets.collect(run, cases, synthetic)
    settings = protocol.Protocol(["mixed", "curriculum"], 2, 0.5, "tiny_resnet", 6, BATCH, 1e-3, 0)
    readings = protocol.train_and_read(run, collected, settings, CPU, curriculum)
    assert set(readings["arm"]) == {"mixed", "curriculum"}
    assert readings.groupby(["arm", "seed"]).size().eq(4 * 7).all()
    noted = run.read("curriculum")
    assert noted.groupby(["seed", "round"]).size().to_dict() == {(s, r): 7 for s in (0, 1) for r in (1, 2)}
    names = pd.concat(curriculum.sampler.asked)["image_id"]
    assert names.is_unique, "each training and round asks for images of its own"
