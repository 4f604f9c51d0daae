import tracemalloc

import numpy as np
import pytest
from scipy.linalg import sqrtm

from p2d_lib.instruments import distances, mmd
from p2d_lib.instruments.moments import Moments


def gaussian(n, mean, covariance, seed):
    """n samples moved and stretched so that their sample mean and covariance are exactly those asked for."""
    x = np.random.default_rng(seed).normal(size=(n, len(mean)))
    x = (x - x.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    return x @ np.linalg.cholesky(covariance).T + mean


def normal(n, d, seed, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, size=(n, d))


@pytest.mark.parametrize("n", [8, 40, 500])
def test_fid_of_a_set_with_itself_is_zero_even_with_fewer_images_than_features(n):
    x = normal(n, 64, seed=1)
    assert distances.frechet(x, x[::-1]) == pytest.approx(0, abs=1e-10)


def test_fid_of_gaussians_is_the_closed_form():
    spread_a, spread_b = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 1.0])  # variances
    mean_a, mean_b = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])
    expected = ((mean_a - mean_b) ** 2).sum() + ((np.sqrt(spread_a) - np.sqrt(spread_b)) ** 2).sum()
    a, b = gaussian(200, mean_a, np.diag(spread_a), 1), gaussian(150, mean_b, np.diag(spread_b), 2)
    assert expected == 10
    assert distances.frechet(a, b) == pytest.approx(10, abs=1e-9)


@pytest.mark.parametrize("n", [300, 33, 20])  # well above d, just above and below it: singular covariances
def test_fid_is_the_number_of_the_matrix_square_root_and_of_clean_fid(n):
    from cleanfid.fid import frechet_distance

    rng = np.random.default_rng(3)
    a, b = (normal(n, 32, seed) @ rng.normal(size=(32, 32)) + rng.normal(size=32) for seed in (1, 2))
    moments = a.mean(axis=0), np.cov(a.T), b.mean(axis=0), np.cov(b.T)
    direct = ((moments[0] - moments[2]) ** 2).sum() + np.trace(
        moments[1] + moments[3] - 2 * np.real(sqrtm(moments[1] @ moments[3]))
    )
    assert distances.frechet(a, b) == pytest.approx(direct, rel=1e-5)
    assert distances.frechet(a, b) == pytest.approx(frechet_distance(*moments), rel=1e-5)


def test_fid_of_moments_in_any_batches_is_that_of_all_features():
    a, b = normal(300, 32, 1) ** 3 + 50, normal(90, 32, 2) ** 2 + 50
    parts = [Moments().add(part) for part in np.split(a, [1, 7, 200])]
    merged = parts[3].merge(parts[0]).merge(Moments()).merge(parts[2]).merge(parts[1])
    np.testing.assert_allclose(merged.covariance, np.cov(a.T), rtol=1e-10)
    np.testing.assert_allclose(Moments.of(300, a.mean(0), np.cov(a.T)).merge(merged).mean, a.mean(0), rtol=1e-12)
    assert distances.frechet_of_moments(merged, Moments().add(b)) == pytest.approx(distances.frechet(a, b), rel=1e-9)


def test_fid_of_moments_of_fewer_images_than_features_is_that_of_the_features():
    a, b = normal(40, 64, 1), normal(30, 64, 2)
    of_moments = distances.frechet_of_moments(Moments().add(a), Moments().add(b))
    assert of_moments == pytest.approx(distances.frechet(a, b), rel=1e-6)


def test_moments_keep_their_digits_far_from_zero():
    """The sum of squares less the square of the sum, in float64, has no digit left here."""
    x = normal(500, 3, 1)
    far = Moments()
    for part in np.split(x + 1e8, 10):
        far.add(part)
    np.testing.assert_allclose(far.covariance, np.cov(x.T), rtol=1e-5)


def test_dead_features_and_large_matrices_change_nothing(monkeypatch):
    """A network's rectified features are often zero for all images; above EXACT rows another path computes."""
    a, b = (np.maximum(normal(300, 40, seed) - 1, 0) * (np.arange(40) % 4 > 0) for seed in (1, 2))
    exact = distances.frechet(a, b)
    direct = sqrtm(np.cov(a.T) @ np.cov(b.T))
    assert exact == pytest.approx(
        ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * np.real(direct)), rel=1e-4
    )
    monkeypatch.setattr(distances, "EXACT", 8)
    assert distances.frechet(a, b) == pytest.approx(exact, rel=1e-5)
    assert distances.frechet(a[:30], b) == pytest.approx(distances.frechet(b, a[:30]), rel=1e-6)


def test_fifty_thousand_images_take_the_memory_of_one_thousand():
    def peak(n):
        tracemalloc.start()
        moments, rng = Moments(), np.random.default_rng(0)
        for _ in range(n // 500):
            moments.add(rng.normal(size=(500, 64)))
        assert moments.n == n
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(500)  # what the first call of all allocates
    assert peak(50_000) < 1.1 * peak(1_000)


@pytest.mark.parametrize(
    ("features", "message"),
    [(np.zeros((3, 5)), "5"), (np.full((3, 4), np.nan), "finite"), (np.zeros(4), r"shape \(4,\)")],
)
def test_features_that_do_not_belong_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        Moments().add(np.ones((2, 4))).add(features)
    with pytest.raises(ValueError, match="two images or more, there are 1"):
        _ = Moments().add(np.ones((1, 4))).covariance
    with pytest.raises(ValueError, match="two extractors"):
        distances.frechet_of_moments(Moments().add(normal(9, 4, 1)), Moments().add(normal(9, 5, 1)))


def test_kid_is_the_number_of_clean_fid():
    from cleanfid.fid import kernel_distance

    a, b = normal(80, 16, 1), normal(80, 16, 2, shift=0.3)
    whole = kernel_distance(a, b, num_subsets=1)  # a subset of all images: only their order is random
    assert distances.kid(a, b) == pytest.approx(whole, rel=1e-9)


def test_kid_of_one_law_is_zero_on_average_and_fid_is_not():
    pairs = [(normal(30, 8, 2 * i), normal(30, 8, 2 * i + 1)) for i in range(200)]
    kids = np.array([distances.kid(a, b) for a, b in pairs])
    assert abs(kids.mean()) < 3 * kids.std() / np.sqrt(len(kids))
    assert (kids < 0).any()  # unbiased: it must be able to fall below zero
    assert np.mean([distances.frechet(a, b) for a, b in pairs]) > 0.5  # the bias that the floor shows


def test_fid_and_kid_grow_with_a_planted_shift():
    a = normal(400, 8, 1)
    for distance in (distances.frechet, distances.kid):
        grown = [distance(a, normal(400, 8, 2, shift)) for shift in (0.0, 0.25, 0.5, 1.0)]
        assert grown == sorted(grown)
    assert grown[-1] > 10 * abs(grown[0])


def test_dropped_modes_cost_recall_and_foreign_images_cost_precision():
    near, far = normal(200, 4, 1), normal(200, 4, 2, shift=20)
    both = np.vstack([near, far])
    dropped = distances.prdc(real=both, synthetic=normal(400, 4, 3))
    foreign = distances.prdc(real=near, synthetic=np.vstack([normal(200, 4, 4), far]))
    assert dropped["recall"] == pytest.approx(0.5, abs=0.05) and dropped["precision"] > 0.9
    assert dropped["coverage"] == pytest.approx(0.5, abs=0.05)
    assert foreign["precision"] == pytest.approx(0.5, abs=0.05) and foreign["recall"] > 0.9


def test_density_and_coverage_of_one_law_are_those_of_naeem():
    n, k = 500, 5
    scores = [distances.prdc(normal(n, 6, i), normal(n, 6, i + 100)) for i in range(5)]
    expected = 1 - np.prod([(n - i) / (2 * n - i) for i in range(k)])  # their eq. 9 at N = M: about 1 - 2**-k
    assert np.mean([s["density"] for s in scores]) == pytest.approx(1, abs=0.05)  # their eq. 7
    assert np.mean([s["coverage"] for s in scores]) == pytest.approx(expected, abs=0.02)


def test_kid_and_prdc_are_the_same_in_parts_and_need_no_memory_for_all_pairs(monkeypatch):
    real, other = normal(130, 6, 1), normal(90, 6, 2, shift=0.4)
    classes = np.arange(130) % 3, np.arange(90) % 3
    whole = [distances.kid(real, other), distances.kid(real, other, classes), *distances.prdc(real, other).values()]
    for module in (distances, mmd):
        monkeypatch.setattr(module, "AT_ONCE", 40)
    parts = [distances.kid(real, other), distances.kid(real, other, classes), *distances.prdc(real, other).values()]
    assert parts[:2] == pytest.approx(whole[:2], rel=1e-9) and parts[2:] == whole[2:]
    real, other = normal(1500, 6, 1), normal(1500, 6, 2)
    for measure in (distances.kid, distances.prdc):
        tracemalloc.start()
        measure(real, other)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1500 * 1500 * 8 / 4  # one matrix of all pairs takes four times as much


def test_too_few_images_are_refused():
    for distance, least in ((distances.frechet, 2), (distances.kid, 2), (distances.prdc, distances.NEIGHBOURS + 1)):
        with pytest.raises(ValueError, match=f"there are .*{least - 1}"):
            distance(normal(least - 1, 3, 0), normal(20, 3, 0))


def test_one_flat_colour_is_far_from_everything_and_covers_nothing():
    real, flat = normal(100, 8, 1), np.zeros((100, 8))
    near = distances.prdc(real, flat)
    assert near["recall"] == 0 and near["coverage"] < 0.5
    assert distances.frechet(real, flat) > 10 * distances.frechet(real, normal(100, 8, 2))
    assert distances.kid(real, flat) > 10 * abs(distances.kid(real, normal(100, 8, 2)))


def test_one_far_real_image_makes_precision_call_anything_good():
    """Why precision is printed only where negative controls are bad (Naeem et al. 2020, sec. 2)."""
    real, nonsense = normal(100, 8, 1), normal(100, 8, 2, shift=20)
    assert distances.prdc(real, nonsense)["precision"] == 0
    real[0] += 100
    assert distances.prdc(real, nonsense)["precision"] == 1 and distances.prdc(real, nonsense)["coverage"] < 0.05


def test_the_interval_of_kid_holds_it_given_the_real_images_and_the_kid_of_the_laws_less_often():
    rng, (m, n) = np.random.default_rng(0), (28, 56)
    real, many = rng.normal(1, 1, (1500, 8)), rng.normal(0, 1, (1500, 8))
    of_laws, within = distances.kid(real, many), distances.cubic_kernel(many, many).sum()
    within = (within - np.trace(distances.cubic_kernel(many, many))) / (1500 * 1499)
    given, of_both = [], []
    for _ in range(200):
        reference, features = rng.normal(1, 1, (m, 8)), rng.normal(0, 1, (n, 8))
        interval = distances.kid_interval(reference, features, (np.zeros(m), np.zeros(n)))
        kernel = distances.cubic_kernel(reference, reference)
        truth = (kernel.sum() - np.trace(kernel)) / (m * (m - 1)) + within
        truth -= 2 * distances.cubic_kernel(reference, many).mean()
        given.append(interval.low <= truth <= interval.high)
        of_both.append(interval.low <= of_laws <= interval.high)
    assert 0.92 <= np.mean(given) <= 0.98 and np.mean(of_both) < 0.85, (np.mean(given), np.mean(of_both))
