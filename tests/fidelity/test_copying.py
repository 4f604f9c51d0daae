"""Copies of train images are noticed where they were planted, and unseen real images are not taken for copies."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from small_sets import cases, synthetic

from p2d_lib.fidelity import copying, report, sets, verdicts
from p2d_lib.fidelity.controls import RECONSTRUCTED

D = 16


class Images:
    """A run whose images are their names."""

    def in_parts(self, table, measure):
        return measure(table["image_id"])


@pytest.fixture(scope="module")
def examined():
    table = cases(30, ("train", "val", "test"))
    points = pd.DataFrame(np.random.default_rng(0).normal(size=(len(table), D)), table["image_id"])
    chosen = sets.choose(table, synthetic(24), 10, 0)
    rng, of_train = np.random.default_rng(1), points.loc[chosen.tables["train"]["image_id"]].to_numpy()
    features = {
        "adapter": of_train + 0.3 * rng.normal(size=of_train.shape),
        "base": rng.normal(0.5, 1, of_train.shape),
        RECONSTRUCTED: of_train + 0.1 * rng.normal(size=of_train.shape),
    }
    return Images(), table, chosen, features, lambda names: points.loc[names].to_numpy()


def test_planted_copies_are_noticed_and_neither_val_images_nor_a_generator_of_its_own_law(examined):
    table = copying.of_sets(*examined, seed=0).set_index("set")
    assert list(table.index) == ["adapter", "base", RECONSTRUCTED, "val"]
    assert table.at["adapter", "p"] == table.at[RECONSTRUCTED, "p"] == pytest.approx(0.001)
    assert table.loc[["base", "val"], "p"].min() > 0.05
    assert table.at[RECONSTRUCTED, "share"] > 0.95 > 0.7 > table.at["val", "share"]


def test_one_image_of_each_lesion_is_taken_that_of_the_sets_first():
    table = cases(12, views=3)
    chosen = sets.choose(table, synthetic(24), 10, 0)
    for split in ("train", "test"):
        rows = copying._of_each_lesion(table, chosen, split)
        assert rows["lesion_id"].is_unique and len(rows) == 48
        assert chosen.tables[split]["image_id"].isin(rows["image_id"]).all()


def test_an_extractor_that_was_fitted_on_train_images_is_not_asked(examined):
    run, table, chosen, features, _ = examined
    empty = copying.of_sets(run, table, chosen, features, SimpleNamespace(independent=False), 0)
    assert empty.empty and report.copying_finding(empty, pd.DataFrame()) == "" and report.copying_table(empty).empty


def test_the_verdict_is_one_of_the_family_and_the_sentence_has_both_controls(examined):
    table, chosen = copying.of_sets(*examined, seed=0), examined[2]
    features = {name: np.random.default_rng(3).normal(size=(len(chosen.dx), D)) for name in ("test", "train", "base")}
    features["adapter"] = features["base"]
    tests = verdicts.family(features, features, {}, chosen.dx, table, [], 10, 0)
    row = tests.set_index("measure").loc["copying"]
    assert row["p"] == pytest.approx(0.001) and row["holm"] > row["p"]
    line = report.copying_finding(table, tests)
    assert line.startswith("Of the adapter's accepted images ")
    assert "nearer to them than unseen real images allow" in line and "real (val)" in line and "reconstructed 1" in line
    innocent = tests.assign(holm=0.5)
    assert "no copying is shown" in report.copying_finding(table, innocent)
    assert len(report.copying_table(table)) == 4
