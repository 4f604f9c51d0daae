import math

import numpy as np
import pandas as pd
import pytest

from p2d_lib.describe import scores
from p2d_lib.vocabulary import FEATURES


@pytest.fixture
def described() -> tuple[pd.DataFrame, pd.DataFrame]:
    """red tells mel from nv and nothing else, white tells nothing, black is known of half the images."""
    rng, ids = np.random.default_rng(0), [f"i{k}" for k in range(400)]
    cases = pd.DataFrame({"image_id": ids, "dx": np.repeat(["mel", "nv"], 200)})
    table = pd.DataFrame({"image_id": ids, **dict.fromkeys(FEATURES, math.nan)})
    table["red"] = np.repeat([0.8, 0.2], 200)
    table["white"] = rng.uniform(size=400)
    table["black"] = np.where(np.arange(400) % 2, 0.5, math.nan)
    return cases, table.sample(frac=1, random_state=0)


def test_means_by_class_are_those_planted(described):
    found = scores.by_class(*described)
    assert found.loc["red", ["mel", "nv"]].tolist() == pytest.approx([0.8, 0.2])
    assert found["known"][["red", "black", "asymmetry"]].tolist() == [1, 0.5, 0]
    assert found["akiec"].isna().all()


def test_a_feature_that_is_the_class_separates_wholly_and_noise_not(described):
    found = scores.separation(*described)
    assert found.index[0] == "red"
    assert found["red"] == pytest.approx(1)
    assert found["white"] < 0.02
    assert not {"black", "asymmetry"} & set(found.index)  # constant, unknown


def test_agreement_is_one_in_the_same_order_and_missing_where_one_does_not_know():
    base = pd.DataFrame(dict.fromkeys(FEATURES, math.nan), index=range(50))
    truth = base.assign(red=np.linspace(0, 1, 50), white=np.linspace(0, 1, 50), black=0.3, asymmetry=0.5)
    measured = base.assign(red=np.linspace(0, 1, 50) ** 3, white=np.linspace(1, 0, 50), black=np.linspace(0, 1, 50))
    found = scores.agreement(truth, measured)
    assert found["feature"].tolist() == ["red", "white"]
    assert found["rho"].tolist() == pytest.approx([1, -1])
    assert (found["n"] == 50).all()
    assert scores.agreement(base, measured).empty
