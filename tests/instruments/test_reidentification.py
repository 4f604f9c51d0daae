"""Claims about the search for copies and for other photographs of one lesion, and about its threshold."""

import numpy as np
import pytest
from phantom_photographs import SIZE, views

from p2d_lib.instruments import alterations, conformal, poses
from p2d_lib.instruments.reidentification import Originals, cross_fitted_alarms, more_refused, operating_point


@pytest.fixture(scope="module")
def pictures():
    return views(range(200))


@pytest.fixture(scope="module")
def originals(pictures):
    return Originals(pictures, range(200))


@pytest.fixture(scope="module")
def innocent(originals):
    return originals.search(views(range(1000, 1240)))["score"].to_numpy()


@pytest.fixture(scope="module")
def threshold(innocent):
    return operating_point(innocent[:200]).threshold


def test_copies_are_found_however_they_are_altered(pictures, originals, threshold):
    rows = np.random.default_rng(1).permutation(200)[:40]
    planted = [alterations.altered(pictures[rows], name, 0) for name in alterations.ALTERATIONS]
    found = originals.search(np.concatenate(planted))
    right = (found["original"].to_numpy() == np.tile(rows, len(planted))) & (found["score"] >= threshold)
    recall = dict(zip(alterations.ALTERATIONS, right.to_numpy().reshape(len(planted), -1).mean(1), strict=True))
    assert min(recall.values()) >= 0.95, recall


def test_real_pictures_of_other_lesions_are_hardly_ever_taken_for_copies(innocent, threshold):
    assert (innocent[200:] >= threshold).mean() <= 0.05  # 40 that did not set the threshold
    assert cross_fitted_alarms(innocent, range(len(innocent))).mean() <= 0.03


def test_noise_and_flat_colours_and_the_mean_of_all_resemble_nothing(pictures, originals, threshold):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (20, SIZE, SIZE, 3)).astype(np.uint8)
    flat = np.broadcast_to(rng.integers(0, 256, (20, 1, 1, 3)), (20, SIZE, SIZE, 3)).astype(np.uint8)
    mean = pictures.mean(0, keepdims=True).astype(np.uint8)
    scores = originals.search(np.concatenate([noise, flat, mean]))["score"]
    assert (scores < threshold).all() and (scores[20:40] == 0).all()


def test_another_photograph_of_a_lesion_is_found_far_more_often_than_chance(pictures, threshold):
    first, second = views(range(2000, 2040), 2).reshape(40, 2, SIZE, SIZE, 3).swapaxes(0, 1)
    found = Originals(np.concatenate([pictures, first]), range(240)).search(second)
    right = found["original"] == np.arange(200, 240)
    assert right.mean() > 0.4 and (right & (found["score"] >= threshold)).mean() > 0.2


def test_a_copy_is_found_though_its_lesion_has_several_photographs_that_are_alike(pictures, threshold):
    alike = np.concatenate([pictures, *[alterations.altered(pictures[:10], "recompressed", k) for k in range(3)]])
    lesions = [*range(200), *[*range(10)] * 3]
    copies = alterations.altered(pictures[:10], "tinted", 0)
    assert (Originals(alike, lesions).search(copies)["score"] >= threshold).all()
    assert (Originals(alike, range(len(alike))).search(copies)["score"] < threshold).mean() >= 0.5  # lesions not known


def test_suspicion_is_the_score_where_the_suspect_is_the_nearest_and_negative_where_it_is_not(pictures, originals):
    copies = alterations.altered(pictures[:20], "all of these", 0)
    scores, suspicion = originals.search(copies)["score"], originals.suspicion(copies, pictures[:20], range(20))
    np.testing.assert_allclose(suspicion, scores, atol=1e-4)
    assert (originals.suspicion(copies, pictures[20:40], range(20, 40)) < 0).all()


def test_a_suspect_that_is_no_original_is_found_alike(pictures, originals):
    outside = views(range(3000, 3015))
    suspicion = originals.suspicion(alterations.altered(outside, "all of these", 0), outside, ["other"] * 15)
    assert (suspicion > 0.5).all()


def test_a_result_does_not_depend_on_the_pictures_that_are_searched_for_together(pictures, originals):
    mixed = np.concatenate([pictures[:3], views([5000, 5001])])
    together, alone = originals.search(mixed), originals.search(mixed[3:])
    np.testing.assert_allclose(together["score"][3:], alone["score"], atol=1e-4)
    assert len(originals.search(mixed[:0])) == 0


def test_pictures_that_are_too_small_and_a_single_original_are_refused(pictures):
    with pytest.raises(ValueError, match="16 x 16 px: squares from 24"):
        poses.planes(np.zeros((1, 16, 16, 3), np.uint8))
    with pytest.raises(ValueError, match="1 originals: at least two"):
        Originals(pictures[:1], ["a"])


@pytest.mark.parametrize("n", [120, 390, 2000])
def test_new_innocent_pictures_pass_the_threshold_at_most_at_the_rate_that_was_asked_for(n):
    rng, passed = np.random.default_rng(n), []
    for _ in range(400):
        point = operating_point(rng.lognormal(size=n))
        passed.append((rng.lognormal(size=200) >= point.threshold).mean())
    assert np.mean(passed) <= point.nominal + 0.001 and point.nominal <= 0.01


def test_with_few_pictures_the_threshold_lies_above_all_and_says_what_rate_it_reaches():
    point = operating_point(np.arange(50.0))
    assert point.threshold > 49 and point.nominal == 1 / 51
    with pytest.raises(ValueError, match="no innocent picture"):
        operating_point(np.zeros(0))


def test_what_no_innocent_picture_stands_for_counts_as_refused():
    weights = conformal.to_mix(["nv"] * 99, ["nv", "nv", "nv", "df"])
    assert operating_point(np.arange(99.0), 0.01, weights).nominal == pytest.approx(0.25 + 0.75 * 0.01)
    point = operating_point(np.arange(9.0), 0.01, conformal.to_mix(["nv"] * 9, ["df"]))
    assert point.nominal == 1 and point.threshold > 8


def test_a_set_is_refused_more_often_by_its_copies_and_not_by_the_tendency_of_a_class():
    """Class b is more suspicious on both sides, and far more frequent in the set."""
    rng, p, of_set, of_innocent = (
        np.random.default_rng(0),
        [],
        np.repeat(["a", "b"], 60),
        np.repeat(["a", "b"], [180, 20]),
    )
    for k in range(150):
        scores, innocent = (rng.normal(3.0 * (names == "b")) for names in (of_set, of_innocent))
        copied = np.where(rng.random(len(scores)) < 0.1, scores + 10, scores)
        p.append([more_refused(of_side, of_set, innocent, of_innocent, 0.01, k, 99) for of_side in (scores, copied)])
    innocent, copying = (np.array(p) <= 0.05).mean(0)
    assert innocent <= 0.085 and copying >= 0.8


def test_no_picture_has_a_part_in_setting_its_own_threshold():
    scores = np.ones(400)
    scores[:2] = 9.0  # two photographs of one lesion: were they in different halves, neither would be refused
    lesions = [0, 0, *range(1, 399)]
    assert cross_fitted_alarms(scores, lesions)[:2].all()
    with pytest.raises(ValueError, match="1 lesion"):
        cross_fitted_alarms(scores, [0] * 400)
