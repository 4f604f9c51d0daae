"""Tables of 08 that somebody has edited, or made with other programs: read or refused, never half believed."""

import cohorts
import numpy as np
import pandas as pd
import pytest

from p2d_lib.fairness import confidence, groups
from p2d_lib.readings import readings
from p2d_lib.run import ArtefactError, Run
from p2d_lib.vocabulary import DX

N = 28
CASES = pd.DataFrame(
    {
        "image_id": [f"i{k}" for k in range(N)], "lesion_id": [f"l{k}" for k in range(N)],
        "dx": [DX[k % 7] for k in range(N)], "dx_type": "histo", "age": 50.0, "sex": "male", "localization": "back",
        "dataset": "own", "split": "test", "path": "images/x.png", "sha256": "0" * 64, "width": 9, "height": 9,
        **dict.fromkeys(("entropy", "sharpness", "hair", "ruler", "ita", "ita_patches"), 1.0),
        **dict.fromkeys(("is_empty", "is_blurred", "has_hair", "has_ruler"), False),
    }
)  # fmt: skip


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads cases as 08 does, from a file that no notebook has written."""
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    run = Run("t", "08_fairness")
    run.folder.mkdir(parents=True)

    def of(**columns) -> pd.DataFrame:
        CASES.assign(**columns).to_parquet(run.folder / "cases.parquet")
        return run.read("cases")

    return of


@pytest.mark.parametrize("column", ["fitzpatrick", "true_fitzpatrick"])
@pytest.mark.parametrize("types", ["III", "3", 3.5, 34, 0])
def test_a_skin_type_that_is_none_does_not_make_the_attribute_vanish(read, column, types):
    with pytest.raises(ArtefactError, match=rf"cases: column '{column}', row 0: .* fails isin"):
        read(**{column: types})


def test_a_truth_value_is_no_skin_type(read):
    with pytest.raises(ArtefactError, match=r"cases: column 'fitzpatrick', row 0: True fails numbers"):
        read(fitzpatrick=True)


@pytest.mark.parametrize("types", [[3] * N, [3.0] * (N - 1) + [np.nan], pd.array([3] * (N - 1) + [None], "Int64")])
def test_skin_types_are_read_however_a_program_stores_them(read, types):
    known = groups.attributes(read(fitzpatrick=types))["skin type"]
    assert set(known.dropna()) == {"III–IV"} and known.isna().sum() == (pd.isna(pd.Series(types)).sum())


@pytest.mark.parametrize(
    ("column", "value"), [("lesion_id", ""), ("image_id", ""), ("localization", "Back "), ("localization", "")]
)
def test_no_name_and_another_word_for_a_site_are_no_group(read, column, value):
    with pytest.raises(ArtefactError, match=rf"column '{column}', row 3: '{value}' fails"):
        read(**{column: CASES[column].where(CASES.index != 3, value)})


def of_networks(**columns) -> pd.DataFrame:
    p = np.full((N, 7), 0.1) + 0.3 * np.eye(7)[[k % 7 for k in range(N)]]
    parts = [readings(CASES["image_id"], "classifier", "network", p=p, arm=arm, seed=0) for arm in ("real", "mixed")]
    return pd.concat(parts, ignore_index=True).assign(**columns)


@pytest.mark.parametrize(
    "columns",
    [{"p_mel": np.nan}, dict.fromkeys([f"p_{dx}" for dx in DX], 0.3), {"dx_read": ["", *["mel"] * (2 * N - 1)]}],
    ids=["an unknown probability", "probabilities that add up to 2.1", "an abstention"],
)
def test_calibration_is_of_networks_that_state_a_diagnosis_and_its_probability(columns):
    confidence.by_group(of_networks(), CASES, 5, ("real", "mixed"), 5)
    with pytest.raises(ValueError, match=r"\d+ readings of networks .* the first is of image 'i0' in arm 'real'"):
        confidence.by_group(of_networks(**columns), CASES, 5, ("real", "mixed"), 5)


def test_a_table_without_readings_says_so():
    with pytest.raises(ValueError, match="there are no readings of test images: run 06_classify again"):
        groups.by_group(cohorts.readings(CASES, 0.5).head(0), CASES, 5)
