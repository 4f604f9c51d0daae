import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from p2d_lib.describe import comparison, faithfulness
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
    return faithfulness.class_prior(comparison.by_class(cases, truth.assign(image_id=cases["image_id"])), cases["dx"])


def seeing(truth: pd.DataFrame, auc: float, seed: int) -> pd.DataFrame:
    """A describer whose areas are `auc`: two normal distributions so far apart (Bamber, J Math Psychol 1975)."""
    noise = np.random.default_rng(seed).standard_normal(truth.shape)
    return pd.DataFrame(norm.cdf(noise + (truth >= PRESENT) * math.sqrt(2) * norm.ppf(auc)), columns=NAMES)


def test_a_describer_equal_to_the_truth_agrees_wholly(truth):
    agreement = faithfulness.by_feature(truth, truth)
    assert len(agreement) == 22
    assert (agreement["auc"] == 1).all()
    assert agreement["kappa"].tolist() == pytest.approx([1] * 22)


def test_agreement_is_that_of_scikit_learn_where_the_reference_knows(truth):
    rng = np.random.default_rng(2)
    reference = truth.mask(rng.uniform(size=truth.shape) < 0.2)
    silent = rng.uniform(size=truth.shape) < 0.1
    scores = seeing(truth, 0.7, seed=3).round(1).mask(silent)
    agreement = faithfulness.by_feature(scores, reference).set_index("feature")
    for name in NAMES:
        known = reference[name].notna()
        present, score = reference.loc[known, name] >= PRESENT, scores.loc[known, name].fillna(0)
        assert agreement.loc[name, ["n", "present"]].tolist() == [known.sum(), present.sum()]
        assert agreement.loc[name, "auc"] == pytest.approx(roc_auc_score(present, score))
        assert agreement.loc[name, "kappa"] == pytest.approx(cohen_kappa_score(present, score >= PRESENT))


def test_a_feature_that_the_reference_does_not_know_or_that_never_varies_is_left_out(truth):
    agreement = faithfulness.by_feature(truth, truth.assign(red=math.nan, white=0.9, black=0.1))
    assert set(NAMES) - set(agreement["feature"]) == {"red", "white", "black"}


def test_resamples_agree_with_repeated_rows(truth):
    scores, weights = seeing(truth, 0.7, seed=4)[:40], np.random.default_rng(0).integers(0, 3, (3, 40))
    agreement = faithfulness.resampled(scores, truth[:40], weights)
    for k, times in enumerate(weights):
        rows = np.repeat(np.arange(40), times)
        expected = faithfulness.by_feature(scores.iloc[rows], truth.iloc[rows])
        assert agreement["auc"][k] == pytest.approx(expected["auc"].mean())
        assert agreement["kappa"][k] == pytest.approx(expected["kappa"].mean())


@pytest.mark.parametrize("planted", [0.5, 0.9])
def test_a_planted_auc_is_recovered_and_its_interval_covers_it(cases, truth, planted):
    agreement = [
        faithfulness.macro(seeing(truth, planted, seed), truth, cases["lesion_id"], n_resamples=200)["auc"]
        for seed in range(10)
    ]
    assert np.mean([interval.estimate for interval in agreement]) == pytest.approx(planted, abs=0.005)
    assert sum(interval.low < planted < interval.high for interval in agreement) >= 8
    assert max(interval.high - interval.low for interval in agreement) < 0.04


def test_a_describer_that_denies_everything_agrees_by_chance_and_one_that_knows_nothing_has_no_agreement(cases, truth):
    denied = faithfulness.macro(truth * 0, truth, cases["lesion_id"], n_resamples=20)
    assert denied["auc"][:2] == (0.5, 0.5)
    assert denied["kappa"].estimate == pytest.approx(0)
    unknown = faithfulness.macro(truth * math.nan, truth, cases["lesion_id"], n_resamples=20)
    assert all(math.isnan(number) for interval in unknown.values() for number in interval)
    assert faithfulness.by_feature(truth * math.nan, truth).empty


def test_a_describer_is_judged_by_the_features_that_it_scores(cases, truth):
    half = NAMES[:11]
    partial_scores = seeing(truth, 0.8, seed=11)
    partial_scores[NAMES[11:]] = math.nan
    assert faithfulness.by_feature(partial_scores, truth)["feature"].tolist() == half
    assert faithfulness.macro(partial_scores, truth, cases["lesion_id"], n_resamples=50)[
        "auc"
    ].estimate == pytest.approx(0.8, abs=0.01)
    # the other describer is perfect elsewhere, which does not count against this one
    other = truth.copy()
    other[half] = seeing(truth, 0.8, seed=12)[half]
    gap = faithfulness.compare(other, partial_scores, truth, cases["lesion_id"], n_resamples=200)["auc"]
    assert gap.low < 0 < gap.high and abs(gap.difference) < 0.02


def test_of_two_equal_describers_one_is_called_better_as_often_as_the_level_allows():
    """ "describes more than the diagnosis" is the verdict for an interval above 0: for 2.5 % of equal pairs."""
    rng = np.random.default_rng(0)
    lesions, few = np.arange(60).repeat(2), NAMES[:5]
    better = 0
    for seed in range(120):
        truth = graded(rng.uniform(size=(60, 22)).repeat(2, axis=0) < 0.4)
        first, second = (seeing(truth, 0.75, 2 * seed + k).assign(**dict.fromkeys(NAMES[5:], math.nan)) for k in (0, 1))
        better += faithfulness.compare(first, second, truth, lesions, n_resamples=200, seed=seed)["auc"].low > 0
    assert few == faithfulness.by_feature(first, truth)["feature"].tolist()
    assert 0.005 <= better / 120 <= 0.06


def test_equal_describers_do_not_differ_and_a_better_one_does(cases, truth):
    first, twin, better = seeing(truth, 0.7, 6), seeing(truth, 0.7, 7), seeing(truth, 0.8, 8)
    same = faithfulness.compare(first, twin, truth, cases["lesion_id"], n_resamples=300)
    assert all(agreement.low < 0 < agreement.high for agreement in same.values())
    gain = faithfulness.compare(better, first, truth, cases["lesion_id"], n_resamples=300)
    assert gain["auc"].low < 0.1 < gain["auc"].high
    assert all(agreement.low > 0 and agreement.p < 0.05 for agreement in gain.values())


def test_the_class_prior_is_the_train_images_mean(cases, truth):
    described = truth.assign(image_id=cases["image_id"])
    mel = cases["dx"] == "mel"
    by_class = comparison.by_class(cases[mel], described)
    agreement = faithfulness.class_prior(by_class, ["mel", "nv", "mel"])
    assert agreement.iloc[0].tolist() == pytest.approx(truth[mel].mean().tolist())
    assert agreement.iloc[0].equals(agreement.iloc[2].rename(0))
    assert agreement.iloc[1].isna().all()  # no train image of it


def test_a_class_prior_agrees_and_loses_nothing_by_the_exchange(cases, truth, prior):
    assert faithfulness.macro(prior, truth, cases["lesion_id"])["auc"].low > 0.6
    swap = faithfulness.exchange_loss(prior, truth, cases["dx"], cases["lesion_id"], n_resamples=200)
    assert [agreement.difference for agreement in swap.values()] == pytest.approx([0, 0])


def test_a_describer_that_knows_the_class_through_noise_gains_nothing_from_the_image(cases, truth, prior):
    noisy = (prior + np.random.default_rng(9).normal(0, 0.2, prior.shape)).clip(0, 1)
    swap = faithfulness.exchange_loss(noisy, truth, cases["dx"], cases["lesion_id"], n_resamples=200)
    assert all(agreement.low < 0 < agreement.high for agreement in swap.values())


def test_a_describer_that_sees_the_image_loses_what_the_class_does_not_tell(cases, truth, prior):
    swap = faithfulness.exchange_loss(truth, truth, cases["dx"], cases["lesion_id"], n_resamples=200)
    assert swap["auc"].low > 0.2
    # its exchanged texts are as good as those of a random image of the class, so no better than the prior
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
