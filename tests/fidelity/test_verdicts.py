"""All that 05 announces together: rarely anything where nothing is, what was planted where something is."""

import numpy as np
import pandas as pd
import pytest

from p2d_lib.fidelity import alignment, copying, verdicts
from p2d_lib.instruments import multiplicity
from p2d_lib.instruments.multiplicity import LEVEL

DX = np.repeat(["bcc", "mel", "nv"], [24, 24, 8])
BASELINES = ["scratch-unet", "cascade"]


def features(seed, off=0.5, adapter=0.0, d=8):
    """All generators lie `off` from real images in every feature; the adapter less by `adapter`."""
    rng = np.random.default_rng(seed)
    sets = {name: rng.normal(off, 1, (len(DX), d)) for name in ("adapter", "base", *BASELINES)}
    sets["adapter"] -= adapter
    return sets | {name: rng.normal(0, 1, (len(DX), d)) for name in ("test", "train")}


def aligned(seed, obeyed):
    rng = np.random.default_rng([seed, 1])
    prompts, images = rng.normal(size=(2, len(DX), 16))
    prompts, images = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (prompts, images + obeyed * prompts))
    return {"adapter": alignment.align(images, prompts, DX)}


def copied(seed):
    """A generator that copies nothing: its p-value is uniform."""
    p = np.random.default_rng([seed, 2]).integers(1, 1001) / 1000
    return pd.DataFrame([("adapter", 48, 0.0, 0.5, 0.5, p)], columns=list(copying.COLUMNS))


def family(seed, obeyed=0.0, **planted):
    sets = features(seed, **planted)
    return verdicts.family(sets, sets, aligned(seed, obeyed), DX, copied(seed), BASELINES, 10, seed)


def test_without_any_effect_about_one_of_twenty_runs_announces_one():
    announced = [(family(seed, off=0.0)["holm"] < LEVEL).any() for seed in range(100)]
    assert np.mean(announced) <= 0.10


def test_planted_effects_are_announced_with_their_direction():
    tables = [family(seed, obeyed=1.0, off=1.0, adapter=1.0) for seed in range(10)]
    shown = pd.concat(tables).query("holm < 0.05").groupby(["first", "second", "measure", "dx"]).size()
    for key in (("adapter", "base", "kid", "all"), ("adapter", "cascade", "kid", "all"),
                ("base", "test", "auc", "all"), ("adapter", "other prompts", "wins", "all")):  # fmt: skip
        assert shown[key] >= 9, key
    assert shown.get(("train", "test", "auc", "all"), 0) + shown.get(("adapter", "test", "auc", "all"), 0) <= 2
    assert all((table.query("second == 'base' and dx == 'all'")["estimate"] < 0).all() for table in tables)


def test_the_family_is_everything_and_holm_runs_over_all_of_it():
    table = family(0)
    assert table["holm"].tolist() == pytest.approx(multiplicity.holm(table["p"]).tolist())
    assert table.groupby("measure").size().to_dict() == {"auc": 3, "copying": 1, "kid": 5, "wins": 1}
    assert "nv" not in set(table["dx"]), "eight images are too few to test"


def test_the_area_is_tested_by_its_own_null_and_not_read_off_its_size():
    """Of an area of 0.6 nobody can say by looking whether it is chance."""
    areas = family(3, off=1.0).query("measure == 'auc'").set_index("first")
    assert areas.at["base", "estimate"] > 0.8 and areas.at["base", "holm"] < 0.05
    assert areas.at["train", "p"] > 0.05


def test_a_class_of_two_images_is_not_tested_whatever_min_n_allows():
    rows = np.r_[0:6, 24:27, 48:50]
    sets = {name: of_set[rows] for name, of_set in features(0).items()}
    table = verdicts.family(sets, sets, {}, DX[rows], copied(0), [], 1, 0)
    assert set(table.query("measure == 'kid'")["dx"]) == {"all", "bcc", "mel"}
