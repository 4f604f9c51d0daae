"""R-precision: equal to the plain experiment, 1 where every prompt fits best, chance where none does."""

import numpy as np
import pytest

from p2d_lib.instruments import retrieval


def test_the_mean_over_all_choices_is_what_the_experiment_gives():
    """Ties among the scores and prompts of several images included."""
    rng = np.random.default_rng(0)
    prompt_of = np.array([0, 1, 2, 3, 4, 5, 5, 2])
    scores = rng.integers(0, 4, (8, 6)).astype(float)[:, prompt_of]
    best, n_others = retrieval.best_of(scores, prompt_of, 3)
    assert n_others == 3
    for i, j in ((0, 0), (3, 3), (5, 6), (7, 2)):
        hits = []
        for _ in range(1000):
            others = rng.permutation(np.setdiff1d(prompt_of, prompt_of[j]))[:3]
            rivals = np.array([scores[i, np.flatnonzero(prompt_of == k)[0]] for k in others])
            hits.append((rivals <= scores[i, j]).all() / (1 + (rivals == scores[i, j]).sum()))
        assert best[i, j] == pytest.approx(np.mean(hits), abs=0.05)


def test_prompts_that_all_fit_best_give_one_and_prompts_that_say_nothing_give_chance():
    n = 150
    best, n_others = retrieval.best_of(np.eye(n), np.arange(n))
    assert n_others == 99 and np.diag(best) == pytest.approx(1)
    for scores in (np.ones((n, n)), np.random.default_rng(0).normal(size=(n, n))):
        best, _ = retrieval.best_of(scores, np.arange(n))
        assert best.mean() == pytest.approx(0.01), "over all prompts the chance is exactly 1 in 100"
        assert np.diag(best).mean() < 0.04


def test_an_identical_prompt_of_another_image_is_no_rival():
    prompt_of = np.repeat(np.arange(60), 2)
    scores = (prompt_of[:, None] == prompt_of).astype(float)
    best, n_others = retrieval.best_of(scores, prompt_of)
    assert n_others == 59 and np.diag(best) == pytest.approx(1)


def test_one_prompt_alone_has_no_rival_and_a_chance_of_one():
    best, n_others = retrieval.best_of(np.ones((3, 3)), np.zeros(3))
    assert n_others == 0 and best == pytest.approx(1)
