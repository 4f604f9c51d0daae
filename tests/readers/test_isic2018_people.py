"""The published counts become readings, one for each time that somebody read an image."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2d_lib.readers import isic2018_people, scoring
from p2d_lib.readings import readings
from p2d_lib.vocabulary import DX

NAME = "ISIC2018_Task3_Test_NatureMedicine_AI_Interaction_Benefit.csv"


def _row(image_id, without, with_, crowd):
    row = {"image_id": image_id, "interaction_modality": "CBIR (AI)"}
    for prefix, values in zip(
        (*isic2018_people.COUNTS.values(), isic2018_people.CROWD_SHARES), (without, with_, crowd), strict=True
    ):
        row |= {f"{prefix}{dx}": values.get(dx, 0) for dx in DX}
    return row


@pytest.fixture
def file(tmp_path):
    """Two images, one of them read with two kinds of support; decimal commas, as published."""
    rows = [
        _row("a", {"nv": 2, "mel": 1}, {"mel": 3}, {"mel": "0,75", "nv": "2,5E-01"}),
        _row("a", {"bcc": 1}, {"bcc": 1}, {"mel": "0,75", "nv": "2,5E-01"}),
        _row("b", {"df": 1}, {"nv": 1}, {"df": 1}),
    ]
    pd.DataFrame(rows).to_csv(tmp_path / NAME, index=False)
    return tmp_path / NAME


def test_each_count_is_a_reading_and_the_crowd_has_probabilities(file):
    table = isic2018_people.read(file)
    counts = table.groupby(["reader", "image_id"])["dx_read"].apply(sorted).to_dict()
    assert counts == {
        (isic2018_people.WITHOUT, "a"): ["bcc", "mel", "nv", "nv"], (isic2018_people.WITHOUT, "b"): ["df"],
        (isic2018_people.WITH, "a"): ["bcc", "mel", "mel", "mel"], (isic2018_people.WITH, "b"): ["nv"],
        (isic2018_people.CROWD, "a"): ["mel"], (isic2018_people.CROWD, "b"): ["df"],
    }  # fmt: skip
    crowd = table[table["reader"] == isic2018_people.CROWD].set_index("image_id")
    assert crowd.loc["a", "p_mel"] == 0.75 and crowd.loc["a", "p_nv"] == 0.25


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("user_dx_without_interaction_nv", "x", "column 'user_dx_without_interaction_nv' is missing"),
        ('"0,75"', "many", "line 2, column prob_h_dx_mel: 'many' is no number from 0"),
        ("CBIR (AI),0,0,0,0,1,2", "CBIR (AI),0,0,0,0,1.5,2", "line 2: a count of user_dx_without_interaction_"),
        (
            "CBIR (AI),0,0,0,0,1,2",
            "CBIR (AI),0,0,0,0,1,2000000",
            "line 2: a count of .* is no whole number up to 100,000",
        ),
        ('"0,75"', "75", "line 2: the shares of prob_h_dx_. add up to 75.25, expected 0.9 to 1"),
        ("a,CBIR", "NA,CBIR", "line 2: image_id is empty"),
    ],
)
def test_a_changed_file_is_named_with_its_line(file, old, new, message):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(isic2018_people.PublishedError, match=message):
        isic2018_people.read(file)


def test_networks_and_people_are_compared_on_the_same_images_alone(file):
    cases = pd.DataFrame({"image_id": ["a", "c"], "lesion_id": ["l1", "l2"], "dx": ["mel", "nv"]})
    external = readings(["a", "c"], "tiny_resnet", "network", dx_read=["mel", "nv"], arm="real", seed=0)
    both, truth = isic2018_people.beside(isic2018_people.read(file), external, cases)
    assert set(both["image_id"]) == {"a"} == set(truth["image_id"])
    assert set(both["reader"]) == {isic2018_people.WITHOUT, isic2018_people.WITH, isic2018_people.CROWD, "real"}
    with pytest.raises(
        isic2018_people.PublishedError, match="none of the 2 images that people read is among the 1 external"
    ):
        isic2018_people.beside(isic2018_people.read(file), external, cases[cases["image_id"] == "c"])


@pytest.mark.skipif(not os.environ.get("P2D_ISIC2018"), reason="P2D_ISIC2018 names no ISIC 2018 test set")
def test_the_published_file_gives_its_known_counts_and_support_helps():
    folder = Path(os.environ["P2D_ISIC2018"])
    table = isic2018_people.read(folder / NAME)
    assert table.groupby("reader").size().to_dict() == {
        isic2018_people.WITHOUT: 6907, isic2018_people.WITH: 6907, isic2018_people.CROWD: 712,
    }  # fmt: skip
    truth = pd.read_csv(folder / "ISIC2018_Task3_Test_GroundTruth.csv").assign(source="real")
    result = scoring.scores(table, truth, n_resamples=200, seed=0).set_index("reader")
    accuracy = {name: result.loc[name, "accuracy_real"].estimate for name in result.index}
    assert accuracy == pytest.approx(
        {isic2018_people.WITHOUT: 0.6821, isic2018_people.WITH: 0.7342, isic2018_people.CROWD: 0.8413}, abs=1e-4
    )
    batch = isic2018_people.in_batches(result.reset_index()).set_index("reader")["right"]
    assert batch[isic2018_people.WITHOUT] == pytest.approx(30 * 0.6821, abs=0.01)
    assert np.isnan(result.loc[isic2018_people.WITH, "auc_real"].estimate)
