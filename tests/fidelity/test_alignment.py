"""Prompts: their effect is measured where it was planted, and words without effect stay at chance."""

import numpy as np
import pytest

from p2d_lib.fidelity import alignment

CLASSES = np.repeat(["mel", "nv", "df"], [20, 60, 10])


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def vectors(seed, obeyed, d=16):
    """Prompts of classes that differ, and images that are `obeyed` parts their own prompt, the rest noise."""
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(0)
    of_class = {name: fixed.normal(size=d) for name in ("df", "mel", "nv")}
    prompts = unit(np.array([of_class[name] for name in CLASSES]) + rng.normal(size=(len(CLASSES), d)))
    return unit(obeyed * prompts + (1 - obeyed) * unit(rng.normal(size=prompts.shape))), prompts


def test_each_image_is_compared_with_its_own_prompt_and_those_of_other_classes_alone():
    images, prompts = vectors(0, 0.3)
    aligned, cosines = alignment.align(images, prompts, CLASSES), images @ prompts.T
    for i in (0, 25, 85):
        others = cosines[i, CLASSES[i] != CLASSES]
        assert aligned.own_prompt[i] == pytest.approx(cosines[i, i]) and aligned.other_prompts[i] == pytest.approx(
            others.mean()
        )
        assert aligned.wins[i] == pytest.approx((cosines[i, i] > others).mean())
        assert aligned.wins_with[i, 3] == pytest.approx((cosines[i, 3] > cosines[i, CLASSES != "mel"]).mean())


def test_images_taken_a_few_at_a_time_are_compared_with_all_prompts_alike(monkeypatch):
    whole = alignment.align(*vectors(0, 0.3), CLASSES)
    monkeypatch.setattr(alignment, "AT_ONCE", 7)
    for part, of_all in zip(alignment.align(*vectors(0, 0.3), CLASSES), whole, strict=True):
        assert part == pytest.approx(of_all, abs=1e-12)


def test_a_prompt_of_several_images_ranks_alike_for_all_of_them():
    """A product of matrices may give equal columns other last digits, by which a prompt would be its own rival."""
    rng, n = np.random.default_rng(0), 199
    images, prompts, prompt_of = unit(rng.normal(size=(n, 64))), unit(rng.normal(size=(66, 64))), rng.integers(0, 66, n)
    aligned = alignment.align(images, prompts[prompt_of], np.resize(CLASSES, n))
    own = (images * prompts[prompt_of]).sum(axis=1)
    is_best = own >= (images @ prompts[np.unique(prompt_of)].T).max(axis=1) - 1e-9
    assert (aligned.r_precision[is_best] == 1).all() and (aligned.r_precision[~is_best] < 1).all()


def test_images_without_any_relation_to_their_prompts_are_announced_at_the_nominal_rate():
    tests = [alignment.follows_prompts(alignment.align(*vectors(seed, 0.0), CLASSES), seed) for seed in range(100)]
    assert np.mean([test.observed for test in tests]) == pytest.approx(0.5, abs=0.02)
    assert np.mean([test.p <= 0.05 for test in tests]) <= 0.10


def test_images_that_are_all_alike_follow_no_prompt():
    """One image for every prompt resembles the largest class most; that is no obedience."""
    _, prompts = vectors(1, 0.0)
    alike = np.tile(unit(prompts[CLASSES == "nv"].mean(axis=0, keepdims=True)), (len(CLASSES), 1))
    assert alignment.follows_prompts(alignment.align(alike, prompts, CLASSES), 0).p == 1


def test_a_planted_effect_is_measured_with_an_interval_that_holds_it():
    aligned = [alignment.align(*vectors(seed, 0.5), CLASSES) for seed in range(30)]
    summaries = [alignment.summarise(one) for one in aligned]
    truth = np.mean([one.wins.mean() for one in aligned])
    assert truth > 0.8 and alignment.follows_prompts(aligned[0], 0).p == pytest.approx(0.001)
    held = [table.at["wins", "low"] <= truth <= table.at["wins", "high"] for table in summaries]
    assert np.mean(held) >= 0.85
    assert all(table.at["own_prompt", "estimate"] > table.at["other_prompts", "estimate"] for table in summaries)


def test_r_precision_falls_to_chance_with_shuffled_prompts_and_in_proportion_to_swapped_ones():
    images, prompts = vectors(2, 0.5)
    dx, n = CLASSES, len(CLASSES)
    whole = alignment.align(images, prompts, dx)
    own, class_alone, chance = (getattr(whole, name).mean() for name in ("r_precision", "r_same_class", "r_shuffled"))
    assert own > 0.5 and class_alone < 0.1 and chance <= 1 / (1 + whole.n_others)
    rng = np.random.default_rng(0)
    for share in (0.25, 0.5, 1.0):
        fallen = []
        for _ in range(5):
            rows, swapped = rng.permutation(n)[: int(share * n)], prompts.copy()
            swapped[rows] = prompts[np.roll(rows, 1)]
            fallen.append(alignment.align(images, swapped, dx).r_precision.mean())
        assert np.mean(fallen) == pytest.approx(own - share * (own - chance), abs=0.04)


def test_prompts_that_name_the_class_alone_have_no_r_precision_beyond_that_of_their_class():
    """Images that show their class and nothing else of their prompts: the control within the class says so."""
    rng, (_, prompts) = np.random.default_rng(30), vectors(3, 0.0)
    of_class = np.stack([prompts[dx == CLASSES].mean(axis=0) for dx in CLASSES])
    aligned = alignment.align(unit(of_class + 0.1 * rng.normal(size=prompts.shape)), prompts, CLASSES)
    table = alignment.summarise(aligned)
    assert table.at["r_same_class", "estimate"] > 1.5 * table.at["r_shuffled", "estimate"], "the class counts"
    assert table.at["r_precision", "low"] <= table.at["r_same_class", "estimate"] <= table.at["r_precision", "high"]


def test_equal_cosines_count_half():
    same = unit(np.ones((4, 3)))
    assert alignment.align(same, same, np.array(["mel", "mel", "nv", "nv"])).wins.tolist() == [0.5] * 4


def test_one_class_alone_has_no_other_prompts():
    with pytest.raises(ValueError, match="only 'mel'"):
        alignment.align(np.eye(2), np.eye(2), np.array(["mel", "mel"]))
