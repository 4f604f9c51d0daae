"""KID and CMMD of sets with fixed class counts: no bias however far the classes lie apart; a planted shift is found."""

import numpy as np
import pytest

from p2d_lib.instruments.distances import kid
from p2d_lib.instruments.mmd import cmmd

CLASSES = np.repeat(np.arange(7), [8, 6, 4, 4, 2, 2, 2])
BOTH = (CLASSES, CLASSES)


def features(seed, apart, shift=0.0, classes=CLASSES):
    of_class = apart * np.random.default_rng(0).normal(size=(7, 8))
    return of_class[classes] + shift + np.random.default_rng([1, seed]).normal(size=(len(classes), 8))


@pytest.mark.parametrize("distance", [kid, cmmd])
@pytest.mark.parametrize("apart", [0.0, 1.0, 3.0])
def test_equal_laws_are_at_0_however_far_their_classes_lie_apart(apart, distance):
    pairs = [(features(2 * k, apart), features(2 * k + 1, apart)) for k in range(200)]
    values = np.array([distance(*pair, classes=BOTH) for pair in pairs])
    error = values.std() / len(values) ** 0.5
    assert abs(values.mean()) < 3 * error
    if apart == 3.0:
        assert np.mean([distance(*pair) for pair in pairs]) < -15 * error, "without classes it is far below 0"


@pytest.mark.parametrize("distance", [kid, cmmd])
def test_a_planted_shift_has_the_distance_that_large_sets_of_the_same_shares_have(distance):
    many = np.repeat(CLASSES, 50)
    truth = distance(features(0, 1.0, classes=many), features(1, 1.0, 1.0, classes=many))
    pairs = [(features(2 * k, 1.0), features(2 * k + 1, 1.0, 1.0)) for k in range(300)]
    assert np.mean([distance(*pair, classes=BOTH) for pair in pairs]) == pytest.approx(truth, rel=0.15)


def test_a_class_of_one_image_or_of_none_has_no_number():
    x = features(0, 1.0)
    assert np.isnan(kid(x, x, (CLASSES, np.arange(28) % 28)))
    assert np.isnan(kid(x[8:], x, (CLASSES[8:], CLASSES)))
