"""What the measures say of controls, of planted distances, and of images of another size."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_sets import CLASSES, eye, lesion

from p2d_lib.fidelity import compare
from p2d_lib.fidelity.controls import CONTROLS, SENSELESS
from p2d_lib.fidelity.measures import MEASURES, coordinates, misled, values
from p2d_lib.fidelity.sets import Sets
from p2d_lib.instruments import distances

DX = np.repeat(["mel", "nv"], 30)


def gaussians(seed=0, n=60, d=8):
    """Test and train of one law, the base far off, the adapter nearer, senseless controls farther still."""
    shifts = {"test": 0, "train": 0, "adapter": 0.5, "base": 1.5, **dict.fromkeys(SENSELESS, 8)}
    return {
        name: np.random.default_rng([seed, k]).normal(shift, 1, (n, d))
        for k, (name, shift) in enumerate(shifts.items())
    }


def measured(features, dx=DX, min_n=10):
    """The table of one extractor."""
    return compare.measured({"eye": features}, dx, min_n).loc["eye"].sort_index()


@pytest.fixture(scope="module")
def real(run) -> Sets:
    return Sets({split: run.table[run.table["split"] == split].reset_index(drop=True) for split in ("test", "train")})


@pytest.fixture(scope="module")
def of_scout(run, scout, real):
    return measured(compare.features(run, real, scout, 64, 0), real.dx)


def test_in_a_scouts_features_no_measure_that_is_printed_calls_nonsense_good(of_scout):
    """Precision gave uniform noise 0.89 and one flat colour 1.00 beside real images' 0.98."""
    scores = of_scout["estimate"].xs("all", level="dx").unstack("metric")
    omitted = misled(of_scout)
    assert "precision" in omitted and omitted["precision"][1] >= 0.5 * scores.at["train", "precision"]
    for metric in set(scores.columns[scores.notna().all()]) - set(omitted):
        real = scores.at["train", metric]
        for name in SENSELESS:
            control = scores.at[name, metric]
            if metric == "auc":
                assert control > 0.9 > real
            else:
                assert control > 2 * max(real, 0) if np.isinf(MEASURES[metric].worst) else control < 0.5 * real
    assert {"frechet", "kid", "auc"}.isdisjoint(omitted)


def test_worsened_real_images_lie_farther_than_real_ones_in_every_distance(run, real):
    scores = measured(compare.features(run, real, eye, 64, 0), real.dx)["estimate"]
    scores = scores.xs("all", level="dx").unstack("metric")
    for metric in ("frechet", "kid", "auc"):
        assert (scores.loc[["blurred", "blocky"], metric] > 1.5 * scores.at["train", metric]).all(), metric


def test_a_measure_is_kept_where_controls_are_bad_and_goes_where_one_outlier_lets_anything_in():
    features = gaussians()
    assert misled(measured(features)) == {}
    features["test"][:7] *= 60  # a cluster of outliers: their balls hold everything
    assert misled(measured(features))["precision"] == ("blobs", 1.0)


@pytest.mark.parametrize("metric", ["frechet_at_infinity", "kid", "cmmd"])
@pytest.mark.parametrize("floor", [-0.1, 0.1])
def test_a_distance_goes_where_a_control_lies_within_the_interval_of_real_images_also_if_their_estimate_is_below_0(
    metric, floor
):
    table = pd.concat({name: pd.DataFrame({"estimate": 9.0, "high": 9.5}, [metric]) for name in SENSELESS})
    table.loc[("train", metric), :] = floor, 1.0
    table = pd.concat({"all": table}).rename_axis(["dx", "set", "metric"])
    assert misled(table) == {}
    table.loc[("all", "blobs", metric), "estimate"] = 0.9
    assert misled(table) == {metric: ("blobs", 0.9)}


def test_the_order_real_adapter_base_is_recovered_in_every_class_with_intervals_around_it():
    table = measured(gaussians())
    for dx in ("mel", "nv", "all"):
        for metric in ("frechet", "kid", "auc"):
            train, adapter, base = (table.loc[(name, dx, metric)] for name in ("train", "adapter", "base"))
            assert train["estimate"] < adapter["estimate"] < base["estimate"] and base["low"] > train["high"]
            assert train["n"] == (60 if dx == "all" else 30)
    table = table.dropna()
    assert ((table["low"] <= table["estimate"]) & (table["estimate"] <= table["high"])).all()


def test_coverage_is_read_of_all_classes_pooled_alone_since_a_few_images_cover_a_small_class():
    """Three images repeated cover most of ten of their law, and little of a hundred."""

    def covered(n: int) -> float:
        real, other = np.random.default_rng(n).normal(size=(2, 40, n, 64))
        pairs = zip(real, other[:, np.arange(n) % 3], strict=True)
        return np.mean([distances.prdc(*pair)["coverage"] for pair in pairs])

    assert covered(10) > 0.7 and covered(100) < 0.3
    table = measured(gaussians())["estimate"].unstack("metric")["coverage"]
    assert table.xs("all", level="dx").notna().all() and table.drop("all", level="dx").isna().all()


def test_a_class_below_min_n_or_below_what_the_interval_needs_has_no_number():
    table = measured(gaussians(), np.repeat(["mel", "nv"], [9, 51]))
    assert table.loc[("adapter", "mel")]["estimate"].isna().all() and table.at[("adapter", "mel", "kid"), "n"] == 9
    assert table.loc[("adapter", "nv")].notna().all(axis=None)
    of_all = table.loc[("adapter", "all"), "estimate"]
    assert of_all.index[of_all.isna()].tolist() == ["frechet_at_infinity"], "its line needs three images a component"
    table = measured(gaussians(), np.repeat(["mel", "nv"], [10, 50])).loc[("adapter", "mel")]
    assert table.index[table["estimate"].isna()].tolist() == ["auc"], "its folds need ten images without the group"


def test_each_extractor_has_its_own_rows_in_the_order_given():
    first, second = gaussians(0), gaussians(1)
    table = compare.measured({"b": first, "a": second}, DX, 10)
    assert table.index.unique("extractor").tolist() == ["b", "a"]
    assert all(table.loc[name].sort_index().equals(measured(sets)) for name, sets in (("b", first), ("a", second)))


@pytest.mark.parametrize(("n", "d"), [(30, 200), (40, 12)])
def test_coordinates_keep_every_length_distance_and_angle_and_every_measure(n, d):
    rng = np.random.default_rng(d)
    real, other = rng.normal(1, 1, (n, d)), rng.normal(1.3, 1.2, (n, d))
    a, b = coordinates(real, other)
    assert a.shape[1] == min(d, 2 * n)
    np.testing.assert_allclose(a @ b.T, real @ other.T, atol=1e-9)
    names = [name for name, measure in MEASURES.items() if measure.needs <= n]
    by_spanned, by_all = (values((real, other), sets, names, np.arange(n) % 2) for sets in ((a, b), (real, other)))
    np.testing.assert_allclose(by_spanned, by_all)


@pytest.fixture
def enlarged(run, tmp_path):
    """Sets in which the baseline makes perfect images of 32 px, enlarged to 64, and the adapter perfect ones of 64."""
    tables = {split: run.table[run.table["split"] == split].reset_index(drop=True) for split in ("test", "train")}
    for k, name in enumerate(("adapter", "base", "scratch-unet")):
        rows = tables["test"].assign(generator=name, image_id=[f"{name}_{i}" for i in range(80)])
        rows["path"] = "images/" + rows["image_id"] + ".png"
        for i, row in enumerate(rows.itertuples()):
            image = Image.fromarray(lesion(row.dx, 1000 * (k + 1) + i))
            if name == "scratch-unet":
                image = image.resize((32, 32), Image.Resampling.LANCZOS).resize((64, 64), Image.Resampling.BICUBIC)
            image.save(run.folder / row.path)
        tables[name] = rows
    (run.folder / "baselines" / "scratch-unet").mkdir(exist_ok=True)
    (run.folder / "baselines" / "scratch-unet" / "baseline.json").write_text(json.dumps({"side": 32}))
    return Sets(tables)


def test_a_baseline_of_smaller_images_is_compared_at_its_size(run, enlarged):
    assert compare.side(run, enlarged) == 64 and compare.common_side(run, enlarged) == 32
    by_side = {side: compare.features(run, enlarged, eye, side, 0, {}) for side in (64, 32)}
    far, near = (
        measured(features, enlarged.dx)["estimate"].xs("all", level="dx").unstack() for features in by_side.values()
    )
    assert far.at["scratch-unet", "frechet"] > 2 * far.at["adapter", "frechet"], "what it lacks is the enlargement's"
    assert near.at["scratch-unet", "frechet"] < 1.5 * near.at["adapter", "frechet"]


def test_images_are_reduced_only_where_they_are_larger():
    images = np.stack([lesion(dx, 1) for dx in CLASSES])
    assert compare.reduced(images, 64) is images
    half = compare.reduced(images, 32)
    assert half.shape == (4, 32, 32, 3)
    np.testing.assert_allclose(half.mean((1, 2)), images.mean((1, 2)), atol=1)


def test_every_control_is_made_of_the_train_images(run, scout, real):
    features = compare.features(run, real, scout, 64, 0)
    assert set(features) == {"test", "train", *CONTROLS}
    blurred = CONTROLS["blurred"](run.images(real.tables["train"]), 0)
    np.testing.assert_allclose(features["blurred"], scout(blurred), atol=1e-4)
