"""Effects of known size between arms are recovered, one by one, and none is shown where there is none."""

import numpy as np
import pandas as pd
import pytest

from p2d_lib.classify import decomposition
from p2d_lib.readings import readings
from p2d_lib.vocabulary import DX

N_LESIONS, SEEDS = 280, 3


@pytest.fixture(scope="module")
def cases():
    """Two images of each lesion, classes in turn; all in test."""
    rows = [(f"i{k}{view}", f"l{k}", DX[k % 7]) for k in range(N_LESIONS) for view in "ab"]
    return pd.DataFrame(rows, columns=["image_id", "lesion_id", "dx"])


def read(cases, right, arm, seed):
    """Readings of which a share is right, the same images first in all arms; the rest says the next class."""
    rng = np.random.default_rng(11)  # of the images: arms differ in the share alone
    hard = rng.random(len(cases))
    wrong = hard + np.random.default_rng(seed).normal(0, 0.02, len(cases)) > right
    codes = cases["dx"].map(DX.index).to_numpy()
    return readings(cases["image_id"], "net", "network", p=np.eye(7)[(codes + wrong) % 7], arm=arm, seed=seed)


def all_arms(cases, **shares):
    return pd.concat([read(cases, share, arm, seed) for arm, share in shares.items() for seed in range(SEEDS)])


def published(cases, *right):
    """Each seed reads a fifth of the images, and synthetic ones. right: the share of all seeds, or of each."""
    parts = []
    for seed in range(SEEDS):
        of_seed = read(cases, right[seed % len(right)], "published", seed).sample(frac=0.2, random_state=seed)
        parts += [of_seed, of_seed.assign(image_id="s" + of_seed["image_id"])]
    return pd.concat(parts)


def test_each_planted_effect_is_recovered_and_of_no_effect_none_is_shown(cases):
    table = all_arms(cases, **{"real": 0.5, "real+replay": 0.7, "mixed": 0.7, "pretrain": 0.8})
    found = decomposition.effects(table, cases, 0, published(cases, 0.9), n_resamples=300).set_index("effect")
    planted = {"pixels": 0.0, "balancing": 0.2, "schedule": 0.1, "leak": 0.2}
    assert list(found.index) == list(planted)
    for effect, size in planted.items():
        row = found.loc[effect]
        assert row["difference"] == pytest.approx(size, abs=0.06), effect
        assert row["low"] <= size <= row["high"] or abs(row["difference"] - size) < 0.04
        assert (row["low"] > 0) == (size > 0), effect
    assert found.loc["leak", "images"] == pytest.approx(0.2 * len(cases), abs=1)
    assert found.loc["leak", "detectable"] > found.loc["balancing", "detectable"], "a fifth of the images tells less"


def test_the_published_protocol_without_a_leak_shows_none(cases):
    table = all_arms(cases, real=0.7, mixed=0.7)
    found = decomposition.effects(table, cases, 0, published(cases, 0.7), n_resamples=300).set_index("effect")
    assert list(found.index) == ["leak"]
    assert found.loc["leak", "low"] <= 0 <= found.loc["leak", "high"]


def test_a_seed_of_one_protocol_is_compared_with_the_same_seed_of_the_other(cases):
    shares = (0.5, 0.7, 0.9)
    mixed = pd.concat([read(cases, share, "mixed", seed) for seed, share in enumerate(shares)])
    found = decomposition.effects(mixed, cases, 0, published(cases, *shares), n_resamples=300).iloc[0]
    assert abs(found["difference"]) < 0.03
    assert found["high"] - found["low"] < 0.1, "the seeds differ by 40 points, their pairs hardly"


def test_effects_of_arms_that_are_not_there_are_left_out(cases):
    table = all_arms(cases, real=0.5, mixed=0.7)
    assert decomposition.effects(table, cases, 0, n_resamples=20).empty


def test_the_table_has_a_block_of_each_set_in_points(cases):
    table = all_arms(cases, **{"real": 0.5, "real+replay": 0.7})
    of = decomposition.effects(table, cases, 0, n_resamples=50)
    printed = decomposition.effects_table({"test": of, "external": of})
    assert list(printed["set"]) == ["test", "external"]
    assert set(printed["comparison"]) == {"real+replay − real"}
    assert printed["difference (points)"].iloc[0].startswith(f"{100 * of['difference'].iloc[0]:.1f} [")


def test_a_sentence_gives_the_difference_its_interval_and_what_could_be_detected(cases):
    table = decomposition.effects(all_arms(cases, **{"real": 0.5, "real+replay": 0.7}), cases, 0, n_resamples=100)
    (sentence,) = decomposition.sentences({"external": table})
    low, high, detectable = (100 * table[name].iloc[0] for name in ("low", "high", "detectable"))
    assert sentence.startswith("Balancing (real+replay − real, 560 images, external): +")
    assert f"[{low:+.1f}, {high:+.1f}]" in sentence and f"about {detectable:.1f} points" in sentence


def test_a_published_protocol_that_reads_no_test_image_shows_no_leak(cases):
    table, elsewhere = all_arms(cases, real=0.5, mixed=0.7), published(cases, 0.9)
    elsewhere["image_id"] = "s" + elsewhere["image_id"]
    assert decomposition.effects(table, cases, 0, elsewhere, n_resamples=20).empty


def test_the_protocols_are_printed_with_their_share_of_synthetic_images(cases):
    synthetic = cases.assign(image_id="s" + cases["image_id"])
    table = all_arms(cases, real=0.5, mixed=0.7)
    printed = decomposition.protocols_table(table, published(cases, 0.9), cases, synthetic).set_index("protocol")
    assert list(printed["synthetic"]) == ["0%", "50%"]
    assert list(printed["images"]) == [len(cases), 2 * round(0.2 * len(cases))]
    accuracy = [float(text.split()[0]) for text in printed["accuracy"]]
    assert accuracy == pytest.approx([0.7, 0.9], abs=0.05)
