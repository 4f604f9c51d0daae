"""SSIM, PSNR and MSE of pairs: right on known pairs, and shown to say nothing where pairs show different lesions."""

import numpy as np
import pandas as pd
import pytest
from small_sets import eye, lesion

from p2d_lib.fidelity import compare, controls, pixel_pairs, report
from p2d_lib.fidelity.sets import Sets

IMAGES = np.stack([lesion("mel", k) for k in range(4)])
DX = np.repeat(["mel", "nv"], [3, 8])


def test_an_image_with_itself_has_ssim_1_and_mse_0_and_noise_is_worst():
    same, noise = (pixel_pairs.scores(IMAGES, other) for other in (IMAGES, controls.noise(IMAGES, 0)))
    assert same == pytest.approx(np.tile([1, np.inf, 0], (4, 1)))
    others = pixel_pairs.scores(IMAGES, np.roll(IMAGES, 1, axis=0))
    assert (noise[:, 0] < others[:, 0]).all() and (noise[:, 2] > others[:, 2]).all()


def test_a_planted_difference_has_the_error_it_was_given_and_ssim_falls_with_its_size():
    lighter = pixel_pairs.scores(IMAGES // 2, IMAGES // 2 + 10)
    assert lighter[:, 2] == pytest.approx(100) and lighter[:, 1] == pytest.approx(10 * np.log10(255**2 / 100))
    noise = np.random.default_rng(0).normal(size=IMAGES.shape)
    ssim = [pixel_pairs.scores(IMAGES, (IMAGES + dose * noise).clip(0, 255).astype(np.uint8))[:, 0].mean()
            for dose in (2, 8, 32)]  # fmt: skip
    assert ssim == sorted(ssim, reverse=True) and ssim[0] > 0.9 > 0.5 > ssim[2]


def test_random_pairs_stay_within_their_class_none_twice_and_follow_the_seed():
    pairs = pixel_pairs.random_pairs(DX, 20, 0)
    assert (DX[pairs[:, 0]] == DX[pairs[:, 1]]).all() and len(np.unique(pairs, axis=0)) == len(pairs) == 9 + 20
    assert (pixel_pairs.random_pairs(DX, 20, 0) == pairs).all()
    assert not (pixel_pairs.random_pairs(DX, 20, 1)[9:] == pairs[9:]).all()


def test_planted_neighbours_are_the_nearest_pairs_even_where_another_class_is_nearer():
    rng, order = np.random.default_rng(0), np.array([2, 0, 1, 10, 9, 8, 7, 6, 5, 4, 3])
    first = rng.normal(size=(11, 5))
    second = np.empty_like(first)
    second[order] = first + 0.01
    second[order[0]] += 0.1
    second[3] = first[0]  # of the other class
    pairs = pixel_pairs.nearest_pairs(first, second, DX, 8)
    keep = pairs[:, 1] != 3  # its own neighbour was overwritten
    assert (pairs[:, 1] == order)[keep].all() and (DX[pairs[:, 0]] == DX[pairs[:, 1]]).all() and keep[:3].all()


def test_pairs_that_share_an_image_do_not_count_as_independent():
    """Scores that are a sum of what both images bring: the intervals hold the mean as often as they say."""
    held, dx = [], np.repeat("mel", 30)
    for seed in range(150):
        rng = np.random.default_rng(seed)
        pairs = pixel_pairs.random_pairs(dx, 200, seed)
        value = rng.normal(size=30)[pairs[:, 0]] + rng.normal(size=30)[pairs[:, 1]]
        table = pd.DataFrame({"set": "adapter", "pairing": "random", "first": pairs[:, 0], "second": pairs[:, 1]})
        table = table.assign(**dict.fromkeys(pixel_pairs.SCORES, value))
        row = pixel_pairs.summarise(table, dx).loc[("adapter", "random", "mel", "ssim")]
        held.append(row["low"] <= 0 <= row["high"])
    assert 0.88 <= np.mean(held) <= 1


@pytest.fixture(scope="module")
def analysed(run):
    """Real lesions stand for the adapter's images; the autoencoder loses two grey levels."""
    tables = {split: run.table[run.table["split"] == split].reset_index(drop=True) for split in ("test", "train")}
    tables["adapter"] = pd.concat([part.sample(frac=1, random_state=1) for _, part in tables["train"].groupby("dx")])
    chosen = Sets({name: table.groupby("dx").head(12).reset_index(drop=True) for name, table in tables.items()})
    features = compare.features(run, chosen, eye, 64, 0)

    def worse(images, seed):
        return np.minimum(images, 250) + np.uint8(2)

    summary = pixel_pairs.summarise(pixel_pairs.of_sets(run, chosen, features, worse, 64, 0, 10), chosen.dx)
    return chosen, features, summary


def test_real_pairs_are_no_better_than_synthetic_pairs_and_only_true_pairs_are_near_1(analysed):
    ssim = analysed[2].xs(("random", "all", "ssim"), level=("pairing", "dx", "score"))
    assert ssim.at["train", "low"] < ssim.at["adapter", "estimate"] < ssim.at["train", "high"]
    assert ssim["estimate"].idxmin() == "noise" and ssim.at["train", "estimate"] < 0.7
    same = analysed[2].loc[("reconstructed", "same image", "all")]["estimate"]
    assert same["ssim"] > 0.95 and same["mse"] == pytest.approx(4, abs=0.5)


def test_nearest_pairs_are_more_alike_than_random_ones(analysed):
    estimate = analysed[2]["estimate"]
    assert estimate["adapter", "nearest", "all", "mse"] < estimate["adapter", "random", "all", "mse"]


def test_the_tables_print_every_pairing_and_the_sentence_names_what_scores_higher_than_real_images(analysed):
    chosen, features, summary = analysed
    measured = compare.measured({"eye": features}, chosen.dx, 13).loc["eye"]
    probabilities = dict.fromkeys(("adapter", "train"), np.full((len(chosen.dx), 4), 0.25))
    table = report.glide_table(summary, measured, probabilities, chosen.dx, 13).set_index("dx")
    assert table.at["mel", "Fréchet distance ↓"] == table.at["mel", "Inception Score ↑"] == report.TOO_SMALL
    assert table.at["all", "Inception Score ↑"] == "1.00" and table.at["all", "pairs"] == "40"
    scale = report.pairs_table(summary)
    assert scale["pairs"].unique().tolist() == ["random", "nearest", "same image"]
    assert scale["images"].iloc[0] == "real" and len(scale) == 11
    text = report.pairs_finding(summary)
    estimate = summary["estimate"]
    flat_is_better = estimate["flat colour", "random", "all", "ssim"] > estimate["train", "random", "all", "ssim"]
    assert ("flat colour scores higher than real images" in text) == flat_is_better
    planted = summary.copy()
    planted.loc[("noise", "random", "all", "ssim"), "estimate"] = 0.99
    assert "noise scores higher than real images: these numbers say nothing" in report.pairs_finding(planted)
