"""Copying is called where there is some, whatever the quality, and nowhere else: level and power of the test."""

import numpy as np
import pytest

from p2d_lib.instruments.overfitting import _relative, overfitting

SHARES = (0.5, 0.3, 0.2)  # of three classes


def law(n, d, rng):
    """Features of n images whose variances fall as those of a network's do, with the class of each."""
    dx = np.repeat(np.arange(3), [int(share * n) for share in SHARES])
    return rng.normal(size=(len(dx), d)) / np.sqrt(np.arange(1, d + 1)) + 0.3 * dx[:, None], dx


def noise(features, rng, dose):
    return dose * features.std(axis=0) * rng.normal(size=features.shape)


def of_law(train, fresh, rng):
    return fresh


def blurred(train, fresh, rng):
    return fresh.mean(0) + 0.6 * (fresh - fresh.mean(0))


def poor(train, fresh, rng):
    return fresh + noise(fresh, rng, 1)


def noisy_copies(train, fresh, rng):
    return train + noise(train, rng, 0.7)


def blurred_copies(train, fresh, rng):
    return train.mean(0) + 0.6 * (train - train.mean(0)) + noise(train, rng, 0.4)


def one_in_ten(train, fresh, rng):
    return np.where(np.arange(len(train))[:, None] % 10, fresh, train + noise(train, rng, 0.3))


def exact(train, fresh, rng):
    return np.where(np.arange(len(train))[:, None] % 10, fresh, train)


def outcome(generator, seed, n=100, d=128, permutations=99):
    rng = np.random.default_rng(seed)
    (train, dx), (unseen, _), (fresh, _) = (law(n, d, rng) for _ in range(3))
    return overfitting((train, dx), (unseen, dx), (generator(train, fresh, rng), dx), permutations, seed)


@pytest.mark.parametrize("generator", [of_law, blurred, poor])
def test_a_generator_that_copies_nothing_is_called_at_the_nominal_rate_whatever_its_quality(generator):
    p = np.array([outcome(generator, seed, n=40, d=32).p for seed in range(400)])
    assert 0.02 <= (p <= 0.05).mean() <= 0.08  # 0.05 give or take 2.75 standard errors
    assert (p <= 0.5).mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("generator", [noisy_copies, blurred_copies, one_in_ten, exact])
@pytest.mark.parametrize("d", [128, 1280])
def test_copies_are_called_whatever_the_quality_even_if_only_one_image_in_ten_is_one(generator, d):
    results = [outcome(generator, seed, d=d) for seed in range(3)]
    assert all(result.p <= 0.05 and result.difference < 0 for result in results), results
    if generator in (noisy_copies, blurred_copies):
        assert all(result.share > 0.9 for result in results)


def test_the_difference_grows_with_the_share_of_copies():
    rng = np.random.default_rng(0)
    (train, dx), (unseen, _), (fresh, _) = (law(100, 128, rng) for _ in range(3))
    order = rng.permutation(100)
    differences = []
    for share in (0, 0.1, 0.3, 1):
        made = np.where((order < share * 100)[:, None], train, fresh)
        differences.append(overfitting((train, dx), (unseen, dx), (made, dx), 99).difference)
    assert differences == sorted(differences, reverse=True) and differences[-1] == pytest.approx(-1, abs=0.05)


def test_distance_to_train_images_alone_would_call_blur_a_copy():
    """Why unseen images stand beside train images: the two-distance comparison of Meehan et al. fails this control."""
    from scipy import stats
    from scipy.spatial.distance import cdist

    rng = np.random.default_rng(0)
    train, unseen, fresh = (rng.normal(size=(100, 128)) for _ in range(3))
    to_train = [cdist(images, train).min(axis=1) for images in (blurred(train, fresh, rng), unseen)]
    assert stats.mannwhitneyu(*to_train, alternative="less").pvalue < 1e-6
    one = np.zeros(100)
    assert overfitting((train, one), (unseen, one), (blurred(train, fresh, rng), one), 99).p > 0.05


def test_more_train_than_unseen_images_and_classes_at_different_places_make_no_copies():
    rng = np.random.default_rng(5)
    p = []
    for seed in range(100):
        (train, dx), (unseen, dx_unseen), (made, dx_made) = (law(n, 32, rng) for n in (160, 40, 40))
        result = overfitting((train + 5 * dx[:, None], dx), (unseen + 5 * dx_unseen[:, None], dx_unseen),
                             (made + 5 * dx_made[:, None], dx_made), 99, seed)  # fmt: skip
        p.append(result.p)
        assert result.expected == pytest.approx(0.8)
    assert 0.0 <= (np.array(p) <= 0.05).mean() <= 0.11


def test_classes_without_images_on_one_side_are_left_out_and_no_class_at_all_is_refused():
    rng = np.random.default_rng(1)
    (train, dx), (unseen, _), (made, _) = (law(60, 16, rng) for _ in range(3))
    without = dx != 2
    partly = overfitting((train, dx), (unseen[without], dx[without]), (made, dx), 99)
    assert partly == overfitting(*((x[without], dx[without]) for x in (train, unseen, made)), 99)
    with pytest.raises(ValueError, match="no class has train, unseen and synthetic images"):
        overfitting((train, dx), (unseen, dx + 3), (made, dx), 99)


def test_one_flat_colour_is_no_copy_and_equal_arguments_give_equal_answers():
    rng = np.random.default_rng(2)
    (train, dx), (unseen, _) = (law(60, 16, rng) for _ in range(2))
    flat = np.zeros_like(train)
    first, second = (overfitting((train, dx), (unseen, dx), (flat, dx), 99, seed=4) for _ in range(2))
    assert first == second and first.p > 0.05
    same = [(np.ones((60, 16)), np.zeros(60))] * 3
    assert overfitting(*same, 99)[::3] == (0, 1)  # all images equal: no difference, and nothing called


def test_the_nearest_of_both_labels_are_found_beyond_the_first_few():
    """Among the nearest 32 images all may be train images: then the others are looked at too."""
    rng = np.random.default_rng(0)
    distances = rng.random(2000)  # numpy sorts the nearest of a few hundred without being asked
    is_train = rng.random((300, 2000)) < 0.97  # in a third of the lines the nearest 32 images have one label
    is_train[:, :2] = True, False
    expected = [(t - u) / (t + u) for t, u in ((distances[line].min(), distances[~line].min()) for line in is_train)]
    assert (is_train[:, np.argsort(distances)[:32]].all(axis=1)).mean() > 0.2
    assert _relative(distances, is_train) == pytest.approx(expected, abs=1e-12)
