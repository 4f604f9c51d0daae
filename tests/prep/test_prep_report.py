import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from p2d_lib.prep import report


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_the_entropy_figure_shows_the_shares_that_are_kept():
    cases = pd.DataFrame({"dx": ["nv", "nv", "nv", "mel"], "entropy": [3.0, 5.0, 6.0, 5.5]})
    axis = report.entropy_figure(cases, [0, 5, 5.6], chosen=5).axes[0]
    shares = {line.get_label(): list(line.get_ydata()) for line in axis.lines[:3]}
    assert shares["nv"] == pytest.approx([100, 200 / 3, 100 / 3])
    assert shares["all"] == [100, 75, 25]


def test_the_bars_count_images_by_split_and_name_the_lesions():
    cases = pd.DataFrame({"dx": ["nv"] * 5 + ["mel"] * 2, "lesion_id": list("aabbcde")})
    cases["split"] = ["train", "train", "train", "test", "val", "train", "test"]
    axis = report.class_counts(cases).axes[0]
    widths = {bars.get_label(): [bar.get_width() for bar in bars] for bars in axis.containers if len(bars)}
    assert widths == {
        "all": [2, 5],
        "train": [1, 3],
        "val": [0, 1],
        "test": [1, 1],
    }  # the rarest class first, from below
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "melanoma (2 lesions)", "melanocytic nevus (3 lesions)",
    ]  # fmt: skip


def test_the_audit_figure_sets_the_blurred_and_the_doubted_apart():
    rng, n = np.random.default_rng(0), 60
    cases = pd.DataFrame({"sharpness": 10 ** rng.uniform(0, 3, n), "ita": rng.uniform(-20, 80, n)})
    cases["ita_patches"] = cases["ita"] + 5
    cases["is_blurred"] = cases["sharpness"] < 3
    doubts = pd.DataFrame({"self_confidence": rng.uniform(0, 1, n), "flagged": np.arange(n) < 9})
    sharp, _, labels = report.audit_figure(cases, doubts).axes
    counted = [sum(bar.get_height() for bar in bars) for bars in sharp.containers]
    assert counted == [(~cases["is_blurred"]).sum(), cases["is_blurred"].sum()]
    assert [outline.get_xy()[1:-1:2, 1].sum() for outline in labels.patches] == [n - 9, 9]


def test_the_cohort_counts_lesions_images_and_people():
    table = pd.DataFrame({"lesion_id": list("aabbccdd"), "dx": ["nv"] * 6 + ["mel"] * 2})
    table["split"] = ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    table["age"] = [30.0, 30, 40, 40, np.nan, np.nan, 70, 70]
    table["sex"] = ["female"] * 2 + ["male"] * 2 + ["unknown"] * 2 + ["female"] * 2
    table["dx_type"] = ["follow_up"] * 6 + ["histo"] * 2
    rows = report.cohort(table).set_index("diagnosis")
    nevi, both = rows.loc["melanocytic nevus (nv)"], rows.loc["all"]
    assert nevi.tolist() == [3, 6, 4, 2, 0, "35 [32, 38]", 50.0, 0.0]
    assert both[["lesions", "images", "% histology"]].tolist() == [4, 8, 25.0]
    unknown = report.cohort(table.assign(sex="unknown", dx_type="unknown"))
    assert unknown[["% female", "% histology"]].isna().all(axis=None)
