"""The exports have the columns that the R packages document, and lead back to the same areas."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from studies import oracle

from p2d_lib.readers import exports


@pytest.fixture
def read(key):
    rng = np.random.default_rng(0)
    return pd.concat([oracle(key, rng.random(len(key)), name, kind="person") for name in ("Ada", "Bob")])


def test_imrmc_has_a_row_of_truth_for_each_case_and_gives_the_same_area(key, read):
    table = exports.imrmc(read, key, "synthetic")
    assert table.columns.tolist() == ["readerID", "caseID", "modalityID", "score"]
    truth = table[table["readerID"] == "truth"].set_index("caseID")
    assert set(truth["modalityID"]) == {"truth"} and set(truth["score"]) == {0, 1} and len(truth) == len(key)
    ada = table[table["readerID"] == "Ada"]
    area = roc_auc_score(truth["score"].reindex(ada["caseID"]), ada["score"])
    first = read[read["reader"] == "Ada"]
    assert area == roc_auc_score(key["source"] == "synthetic", first["is_synthetic_read"])


def test_mrmcaov_nests_cases_within_real_and_synthetic_images(key, read):
    table = exports.mrmcaov(read, key, "malignant")
    assert table.columns.tolist() == ["reader", "treatment", "case", "truth", "rating"]
    assert (table.groupby("case")["treatment"].nunique() == 1).all() and set(table["treatment"]) == {
        "real",
        "synthetic",
    }
    assert (table["truth"] == table["rating"]).all(), "a reader who knows each diagnosis"


def test_files_bear_plain_words_and_all_readings(key, read, tmp_path):
    names = exports.write(tmp_path / "out", read, key)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names) and len(names) == 5
    table = pd.read_csv(tmp_path / "out" / "readings.csv")
    assert len(table) == 2 * len(key) and "melanoma" in set(table["diagnosis_read"]) and table["right"].all()


def test_a_reader_called_truth_and_an_unknown_image_are_refused(key, read):
    with pytest.raises(ValueError, match="a reader is called 'truth'"):
        exports.imrmc(read.assign(reader="Truth"), key, "synthetic")
    with pytest.raises(ValueError, match="70 images read are not in the study's key"):
        exports.long(read.assign(image_id="x" + read["image_id"]), key)
