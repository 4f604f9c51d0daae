"""What is printed about the arms is what was planted in their readings."""

import numpy as np
import pandas as pd
import pytest

from p2d_lib.classify import comparison
from p2d_lib.vocabulary import DX

SKILL = {"real": 0.6, "real+replay": 0.75, "synthetic": 0.3, "mixed": 0.75}


@pytest.fixture(scope="module")
def read():
    """Readings of 400 images of 200 lesions by four arms of known recall, three seeds each, rows in any order."""
    rng = np.random.default_rng(0)
    dx = np.repeat(rng.choice(DX, 200), 2)
    cases = pd.DataFrame({"image_id": [f"i{i}" for i in range(400)], "lesion_id": np.arange(400) // 2, "dx": dx})
    parts = []
    for arm, skill in SKILL.items():
        for seed in range(3):
            p = rng.dirichlet(np.ones(7), 400)
            right = rng.random(400) < skill
            said = np.where(right, dx, np.array(DX)[(pd.Index(DX).get_indexer(dx) + rng.integers(1, 7, 400)) % 7])
            parts.append(
                pd.DataFrame({"image_id": cases["image_id"], "arm": arm, "seed": seed, "dx_read": said})
                .join(pd.DataFrame(p, columns=[f"p_{d}" for d in DX]))
                .sample(frac=1, random_state=seed)
            )
    return pd.concat(parts, ignore_index=True), cases


@pytest.fixture(scope="module")
def drawn(read):
    return comparison.draws(*read, seed=0, n_resamples=400)


def test_each_arm_is_printed_with_its_planted_skill_inside_its_interval(drawn):
    table = comparison.arms_table(drawn)
    assert table.index.tolist() == list(SKILL)
    for arm, cell in table["balanced accuracy"].items():
        estimate, low, high = (float(part.strip("[],")) for part in cell.split())
        assert low <= SKILL[arm] <= high
        assert abs(estimate - SKILL[arm]) < 0.05


def test_planted_differences_are_found_and_none_where_none_is(drawn):
    differences = comparison.paired(drawn).set_index(["score", "first", "second"]).loc["balanced_accuracy"]
    assert differences.loc[("mixed", "real"), "holm"] < 0.05
    assert differences.loc[("synthetic", "real"), "holm"] < 0.05
    assert differences.loc[("synthetic", "real"), "difference"] == pytest.approx(-0.3, abs=0.08)
    assert differences.loc[("mixed", "real+replay"), "holm"] > 0.05
    assert (differences["holm"] >= differences["p"]).all()


def test_findings_say_better_worse_and_not_shown_as_it_is(read, drawn):
    text = " ".join(comparison.findings(drawn, comparison.paired(drawn), read[1]))
    verdicts = {line.split(":")[0].rsplit(" ", 1)[0]: line for line in text.split(". ")}
    assert "mixed − real: +" in text
    assert "mixed − real+replay:" in text
    assert len([line for line in verdicts.values() if "no difference is shown" in line]) == 1
    assert "synthetic − real: -" in text
    assert "**lower**" in text
    assert "200 test lesions" in text


def test_recall_by_class_counts_images_and_lesions_of_the_class(read):
    table = comparison.classes_table(*read, seed=0, n_resamples=100).set_index("dx")
    assert table["images"].sum() == 400
    assert (table["images"] == 2 * table["lesions"]).all()
    readings, cases = read
    of_mel = readings.merge(cases).query("dx == 'mel' and arm == 'real'")
    assert float(table.loc["mel", "real"].split()[0]) == pytest.approx((of_mel["dx_read"] == "mel").mean(), abs=0.006)


def test_arms_that_were_not_run_are_not_compared(drawn):
    without = {arm: drawn[arm] for arm in ("real", "mixed")}
    assert comparison.paired(without)[["first", "second"]].drop_duplicates().to_numpy().tolist() == [["mixed", "real"]]
