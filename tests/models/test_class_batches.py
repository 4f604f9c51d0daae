"""Batches hold what they promise, and class weights make classes equal."""

import numpy as np
import pytest

from p2d_lib.models import class_batches
from p2d_lib.vocabulary import DX


def test_batches_hold_all_images_before_any_twice_and_balanced_ones_all_classes_alike():
    assert (np.bincount(class_batches.epochs(10, 6, 5, seed=0).ravel()) == 3).all()
    labels = np.repeat([0, 1, 6], [50, 5, 1])
    classes = labels[class_batches.balanced(labels, 10, 9, seed=0)]
    assert np.unique(classes, return_counts=True)[1].tolist() == [30, 30, 30]
    with pytest.raises(ValueError, match="needs images of class df"):
        class_batches.images_of_classes(labels, np.array([3]), seed=0)


def test_class_weights_make_classes_equal_together_and_are_capped_at_three():
    labels = np.repeat([0, 5, 6], [50, 45, 5])
    weights = class_batches.class_weights(labels, "uncapped")
    together = [weights[k] * (labels == k).sum() for k in (0, 5, 6)]
    assert together == pytest.approx([100 / 3] * 3)
    assert weights[6] == pytest.approx(100 / 15)
    capped = class_batches.class_weights(labels, "capped")
    assert capped[6] == 3.0
    np.testing.assert_array_equal(capped[:6], weights[:6])
    assert weights.shape == (len(DX),)
    assert class_batches.class_weights(labels, "none") is None
    with pytest.raises(ValueError, match="no class weights 'inverse'"):
        class_batches.class_weights(labels, "inverse")


def test_frequent_repeats_count_as_often_as_they_are_shown():
    assert class_batches.class_weights(np.array([[0, 0], [0, 1]]), "uncapped")[:2] == pytest.approx([4 / 6, 2])
