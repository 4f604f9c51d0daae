"""The limit lets as many new values of the control's kind through as it says, and shows what lies beyond them."""

import numpy as np
import pytest

from p2d_lib.instruments.conformal import to_mix, upper_limit


@pytest.mark.parametrize("law", [np.random.Generator.standard_normal, np.random.Generator.standard_cauchy])
def test_new_values_exceed_it_at_its_rate_and_values_from_elsewhere_far_more_often(law):
    rng = np.random.default_rng(0)
    limits = [upper_limit(law(rng, 59), 0.05) for _ in range(4000)]
    values, chances = np.transpose(limits)
    assert chances.tolist() == [0.05] * 4000
    assert (law(rng, 4000) > values).mean() == pytest.approx(0.05, abs=0.01)  # 0.0034 is its standard error
    assert (law(rng, 4000) + 10 > values).mean() > 0.6


def test_too_few_values_give_the_largest_one_with_the_rate_that_it_has():
    assert upper_limit(np.array([3.0, 5.0, 4.0]), 0.05) == (5.0, 0.25)
    assert upper_limit(np.arange(19.0), 0.05) == (18.0, 0.05)
    assert upper_limit(np.array([]), 0.05) == (np.inf, 0.0)


@pytest.mark.parametrize("shift", [{"a": 0, "b": 0, "c": 0}, {"a": 0, "b": 1, "c": 3}, {"a": 3, "b": 0, "c": 0}])
def test_of_another_mix_of_classes_new_values_exceed_it_at_the_rate_at_most_if_the_control_is_weighted(shift):
    """A control of which nine tenths are of one class; the new values are of all classes alike."""
    rng, classes = np.random.default_rng(0), np.repeat(["a", "b", "c"], [360, 20, 20])
    mix = np.repeat(["a", "b", "c"], 50)
    weighted, plain, chances = [], [], []
    for _ in range(400):
        control, new = (rng.normal([shift[name] for name in names]) for names in (classes, mix))
        limit, chance = upper_limit(control, 0.05, to_mix(classes, mix))
        weighted.append((new > limit).mean())
        chances.append(chance)
        plain.append((new > upper_limit(control, 0.05)[0]).mean())
    assert np.mean(weighted) <= np.mean(chances) + 0.003 and np.mean(chances) <= 0.05
    assert np.mean(plain) > 0.1 or shift["c"] != 3


def test_weights_give_each_class_its_share_of_the_mix():
    weights = to_mix(["a", "a", "a", "b"], ["a", "b", "b", "c"])
    assert weights == pytest.approx([1 / 12, 1 / 12, 1 / 12, 1 / 2])
    values = np.array([4.0, 3.0, 2.0, 1.0])  # above the second lies 1/12; the new value may be of the heaviest class
    assert upper_limit(values, 0.5, weights) == pytest.approx((3.0, (1 / 12 + 1 / 2) / (3 / 4 + 1 / 2)))
