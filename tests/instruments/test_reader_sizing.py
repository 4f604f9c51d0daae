"""More readers and images give more power, and at chance the test keeps its level."""

import numpy as np
import pytest

from p2d_lib.instruments import multi_reader_scores, reader_sizing, roe_metz
from p2d_lib.instruments.roe_metz import Variances


def test_power_grows_with_readers_and_images_and_both_verdicts_gain():
    table = reader_sizing.power([2, 8], [60, 240], area=0.65, margin=0.1, n_replicates=80).set_index(
        ["readers", "images"]
    )
    small, large = table.loc[(2, 60)], table.loc[(8, 240)]
    assert small["finds"] <= 0.65 and large["finds"] >= 0.85
    assert small["cannot_tell"] <= 0.2 and large["cannot_tell"] >= 0.5


def test_readers_at_chance_are_called_better_in_few_studies_and_at_the_margin_rarely_equivalent():
    at_chance = reader_sizing.power([5], [140], area=0.5, margin=0.1, n_replicates=200)["finds"].item()
    assert at_chance <= 0.07
    rng = np.random.default_rng(2)
    studies = (multi_reader_scores.delong(*roe_metz.ratings(rng, [0.6], 5, 140)) for _ in range(200))
    called = [reader_sizing.against_chance(scores, margin=0.1).p_equivalent <= 0.05 for scores in studies]
    assert np.mean(called) <= 0.1


def test_one_reader_is_tested_for_itself():
    positive, ratings = roe_metz.ratings(np.random.default_rng(0), [0.8], 1, 200, Variances(reader=0))
    result = reader_sizing.against_chance(multi_reader_scores.delong(positive, ratings), margin=0.1)
    assert result.low < 0.8 < result.high and result.p < 1e-6 and result.p_equivalent > 0.9
    assert result.estimate == pytest.approx(multi_reader_scores.empirical_auc(positive, ratings[0, 0]))
