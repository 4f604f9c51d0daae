import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from p2d_lib.describe import faithfulness, scores
from p2d_lib.vocabulary import DX, FEATURES
from p2d_lib.words.render import PRESENT

N = 600
NAMES = list(FEATURES)


def graded(present: np.ndarray) -> pd.DataFrame:
    """Scores 0.9 where present, 0.1 where not."""
    return pd.DataFrame(np.where(present, 0.9, 0.1), columns=NAMES)


@pytest.fixture(scope="module")
def cases() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    dx = rng.choice(DX, N // 2, p=[0.1, 0.1, 0.1, 0.1, 0.2, 0.35, 0.05]).repeat(2)
    lesions = [f"lesion {k // 2}" for k in range(N)]  # two images each
    return pd.DataFrame({"image_id": [f"i{k}" for k in range(N)], "lesion_id": lesions, "dx": dx})


@pytest.fixture(scope="module")
def truth(cases) -> pd.DataFrame:
    """What is there differs between diagnoses and, of the same diagnosis, between lesions."""
    rng = np.random.default_rng(1)
    share = pd.DataFrame(rng.uniform(0.1, 0.9, (len(DX), 22)), index=DX).loc[cases["dx"]].to_numpy()
    return graded(rng.uniform(size=(N // 2, 22)).repeat(2, axis=0) < share)


@pytest.fixture(scope="module")
def prior(cases, truth) -> pd.DataFrame:
    return faithfulness.class_prior(scores.by_class(cases, truth.assign(image_id=cases["image_id"])), cases["dx"])


def seeing(truth: pd.DataFrame, auc: float, seed: int) -> pd.DataFrame:
    """A describer whose areas are `auc`: two normal distributions so far apart (Bamber, J Math Psychol 1975)."""
    noise = np.random.default_rng(seed).standard_normal(truth.shape)
    return pd.DataFrame(norm.cdf(noise + (truth >= PRESENT) * math.sqrt(2) * norm.ppf(auc)), columns=NAMES)


def test_a_describer_equal_to_the_truth_agrees_wholly(truth):
    found = faithfulness.by_feature(truth, truth)
    assert len(found) == 22
    assert (found["auc"] == 1).all()
    assert found["kappa"].tolist() == pytest.approx([1] * 22)


def test_agreement_is_that_of_scikit_learn_where_the_reference_knows(truth):
    rng = np.random.default_rng(2)
    reference = truth.mask(rng.uniform(size=truth.shape) < 0.2)
    silent = rng.uniform(size=truth.shape) < 0.1
    own = seeing(truth, 0.7, seed=3).round(1).mask(silent)
    found = faithfulness.by_feature(own, reference).set_index("feature")
    for name in NAMES:
        known = reference[name].notna()
        there, score = reference.loc[known, name] >= PRESENT, own.loc[known, name].fillna(0)
        assert found.loc[name, ["n", "present"]].tolist() == [known.sum(), there.sum()]
        assert found.loc[name, "auc"] == pytest.approx(roc_auc_score(there, score))
        assert found.loc[name, "kappa"] == pytest.approx(cohen_kappa_score(there, score >= PRESENT))


def test_a_feature_that_the_reference_does_not_know_or_that_never_varies_is_left_out(truth):
    found = faithfulness.by_feature(truth, truth.assign(red=math.nan, white=0.9, black=0.1))
    assert set(NAMES) - set(found["feature"]) == {"red", "white", "black"}


def test_resamples_agree_with_repeated_rows(truth):
    own, weights = seeing(truth, 0.7, seed=4)[:40], np.random.default_rng(0).integers(0, 3, (3, 40))
    found = faithfulness.resampled(own, truth[:40], weights)
    for k, times in enumerate(weights):
        rows = np.repeat(np.arange(40), times)
        expected = faithfulness.by_feature(own.iloc[rows], truth.iloc[rows])
        assert found["auc"][k] == pytest.approx(expected["auc"].mean())
        assert found["kappa"][k] == pytest.approx(expected["kappa"].mean())


@pytest.mark.parametrize("planted", [0.5, 0.9])
def test_a_planted_auc_is_recovered_and_its_interval_covers_it(cases, truth, planted):
    found = [
        faithfulness.macro(seeing(truth, planted, seed), truth, cases["lesion_id"], n_resamples=200)["auc"]
        for seed in range(10)
    ]
    assert np.mean([interval.estimate for interval in found]) == pytest.approx(planted, abs=0.005)
    assert sum(interval.low < planted < interval.high for interval in found) >= 8
    assert max(interval.high - interval.low for interval in found) < 0.04


def test_a_silent_describer_agrees_by_chance_only(cases, truth):
    found = faithfulness.macro(truth * math.nan, truth, cases["lesion_id"], n_resamples=20)
    assert found["auc"][:2] == (0.5, 0.5)
    assert found["kappa"].estimate == pytest.approx(0)


def test_equal_describers_do_not_differ_and_a_better_one_does(cases, truth):
    first, twin, better = seeing(truth, 0.7, 6), seeing(truth, 0.7, 7), seeing(truth, 0.8, 8)
    same = faithfulness.compare(first, twin, truth, cases["lesion_id"], n_resamples=300)
    assert all(found.low < 0 < found.high for found in same.values())
    gain = faithfulness.compare(better, first, truth, cases["lesion_id"], n_resamples=300)
    assert gain["auc"].low < 0.1 < gain["auc"].high
    assert all(found.low > 0 and found.p < 0.05 for found in gain.values())


def test_the_class_prior_says_the_train_images_mean(cases, truth):
    described = truth.assign(image_id=cases["image_id"])
    mel = cases["dx"] == "mel"
    by_class = scores.by_class(cases[mel], described)
    found = faithfulness.class_prior(by_class, ["mel", "nv", "mel"])
    assert found.iloc[0].tolist() == pytest.approx(truth[mel].mean().tolist())
    assert found.iloc[0].equals(found.iloc[2].rename(0))
    assert found.iloc[1].isna().all()  # no train image of it


def test_a_class_prior_agrees_and_loses_nothing_by_the_exchange(cases, truth, prior):
    assert faithfulness.macro(prior, truth, cases["lesion_id"])["auc"].low > 0.6
    swap = faithfulness.swap_sensitivity(prior, truth, cases["dx"], cases["lesion_id"], n_resamples=200)
    assert [found.difference for found in swap.values()] == pytest.approx([0, 0])


def test_a_describer_that_sees_the_class_through_noise_gains_nothing_from_the_image(cases, truth, prior):
    noisy = (prior + np.random.default_rng(9).normal(0, 0.2, prior.shape)).clip(0, 1)
    swap = faithfulness.swap_sensitivity(noisy, truth, cases["dx"], cases["lesion_id"], n_resamples=200)
    assert all(found.low < 0 < found.high for found in swap.values())


def test_a_describer_that_sees_the_image_loses_what_the_class_does_not_tell(cases, truth, prior):
    swap = faithfulness.swap_sensitivity(truth, truth, cases["dx"], cases["lesion_id"], n_resamples=200)
    assert swap["auc"].low > 0.2
    # its exchanged texts are as good as a draw from the class, so no better than the prior
    assert 1 - swap["auc"].difference < faithfulness.macro(prior, truth, cases["lesion_id"])["auc"].estimate


def test_the_exchange_is_within_the_class_and_to_another_lesion(cases):
    other = faithfulness.exchange(cases["dx"], cases["lesion_id"], seed=0)
    assert sorted(other) == list(range(N))
    assert (cases["dx"].to_numpy()[other] == cases["dx"]).all()
    assert (cases["lesion_id"].to_numpy()[other] != cases["lesion_id"]).all()
    assert (other == faithfulness.exchange(cases["dx"], cases["lesion_id"], seed=0)).all()
    assert (other != faithfulness.exchange(cases["dx"], cases["lesion_id"], seed=1)).mean() > 0.9


def test_small_classes_are_exchanged_as_far_as_they_can_be():
    other = faithfulness.exchange(["df", "mel", "mel", "vasc", "vasc", "vasc"], ["a", "b", "b", "c", "c", "d"], seed=0)
    assert other[:3].tolist() == [0, 2, 1]  # alone; two of one lesion
    assert sorted(other[3:]) == [3, 4, 5]
    assert (other[3:] != [3, 4, 5]).all()


def test_other_images_than_the_references_are_an_error(cases, truth):
    with pytest.raises(ValueError, match=r"scores of 599, a reference of 600 and lesions of 600 images"):
        faithfulness.macro(truth[1:], truth, cases["lesion_id"])


def spoken(features: pd.DataFrame) -> list[str]:
    return [
        ", ".join(FEATURES[name].phrase for name in NAMES if row[name] >= PRESENT) for _, row in features.iterrows()
    ]


@pytest.fixture(scope="module")
def described(cases, truth, prior) -> pd.DataFrame:
    """Three describers in one table, in no order: the truth, one that sees much, one that repeats itself."""
    seen = seeing(truth, 0.9, seed=10)
    texts = {"truth": spoken(truth), "seeing": spoken(seen), "dull": ["Melanocytic nevus. Colors: red."] * N}
    tables = {"truth": truth, "seeing": seen, "dull": prior}
    parts = [
        table.assign(image_id=cases["image_id"], describer=name, text=texts[name]) for name, table in tables.items()
    ]
    return pd.concat(parts).sample(frac=1, random_state=0)


def test_describers_are_compared_side_by_side(cases, described):
    truth = described[described["describer"] == "truth"]
    found = scores.compared(
        cases, described, "truth", prior=scores.by_class(cases, truth), perplexity={"dull": 2.5}, n_resamples=50
    )
    assert tuple(found.columns) == scores.COMPARED
    assert found["describer"].tolist()[0] == "truth"
    found = found.set_index("describer")
    assert set(found.index) == {"truth", "seeing", "dull", "class prior"}
    assert found.loc["truth", ["BLEU-4", "CIDEr-D", "AUC", "swap sensitivity"]].isna().all()
    assert found.loc["seeing", "CIDEr-D"] > found.loc["dull", "CIDEr-D"]
    assert found.loc["seeing", "AUC"].startswith("0.90 [")
    assert found.loc["dull", "AUC"] == found.loc["class prior", "AUC"]
    assert found.loc["dull", "swap sensitivity"] == "0.00 [0.00, 0.00]"
    assert found.loc["dull", ["perplexity", "self-BLEU", "coverage"]].tolist() == pytest.approx([2.5, 1, 1 / 22])
    assert found[["BERTScore F1", "CLIP similarity"]].isna().all(axis=None)


def test_a_describer_that_leaves_an_image_out_is_named(cases, described):
    gap = described[~((described["describer"] == "dull") & described["image_id"].isin(["i7", "i9"]))]
    with pytest.raises(ValueError, match=r"describer 'dull' describes i7 0 times \(2 of 600"):
        scores.compared(cases, gap, "truth")
    with pytest.raises(ValueError, match="describer 'nobody' describes i0 0 times"):
        scores.compared(cases, described, "nobody")
