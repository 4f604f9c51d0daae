"""Every kind of reader leaves rows of one form, and what is no reading is refused."""

import numpy as np
import pandas as pd
import pytest

from p2d_lib.readings import readings
from p2d_lib.schemas import KINDS, READINGS
from p2d_lib.vocabulary import DX


@pytest.mark.parametrize("kind", KINDS)
def test_rows_fit_the_schema(kind):
    p = np.full((2, 7), 1 / 7)
    for values in ({"dx_read": ["nv", "mel"]}, {"p": p}, {"p": p, "p_synthetic": [0.2, 1.0], "arm": "real", "seed": 2}):
        READINGS.validate(readings(["a", "b"], "Ada", kind, **values))


def test_a_reader_with_probabilities_names_the_most_probable_diagnosis():
    rows = readings(["a", "b"], "net", "network", p=np.eye(7)[[3, 5]])
    assert rows["dx_read"].tolist() == [DX[3], DX[5]]
    assert rows[[f"p_{dx}" for dx in DX]].to_numpy().tolist() == np.eye(7)[[3, 5]].tolist()


def test_answers_that_a_reader_does_not_give_stay_empty():
    rows = readings(["a"], "Ada", "person", dx_read=["nv"])
    assert rows[[*(f"p_{dx}" for dx in DX), "is_synthetic_read", "seconds"]].isna().all(axis=None)
    assert (rows["arm"].item(), rows["seed"].item()) == ("", -1)


def test_a_reading_without_diagnosis_or_with_probabilities_of_other_classes_is_refused():
    with pytest.raises(ValueError, match="reader 'Ada' has neither dx_read nor p"):
        readings(["a"], "Ada", "person")
    with pytest.raises(ValueError, match=r"p has shape \(2, 6\); \(2, 7\) is expected for 2 images"):
        readings(["a", "b"], "net", "network", p=np.zeros((2, 6)))


def test_a_probability_out_of_range_does_not_pass_the_schema():
    rows = readings(["a"], "net", "network", p=np.eye(7)[[0]] * 1.5)
    with pytest.raises(Exception, match="less_than_or_equal_to"):
        READINGS.validate(rows)
    assert isinstance(rows, pd.DataFrame)
