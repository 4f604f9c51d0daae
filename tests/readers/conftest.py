"""A study of 70 images, built, and its sheet as one reader fills it."""

import pytest
from simulated_reader import SimulatedReader, answer, fill
from studies import pictures, pools

from p2d_lib.readers import roster, sheet, study


@pytest.fixture(scope="session")
def key():
    return study.choose(*pools(), n_images=70, seed=3)[0]


@pytest.fixture(scope="session")
def built(key, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "study"
    study.build(folder, key, pictures(len(key)))
    return folder


@pytest.fixture
def filled(key, tmp_path):
    answers = answer(key, SimulatedReader("Ada"), seed=0)
    sheet.write(tmp_path / "blank.xlsx", key, code=roster.code(key["study"].iloc[0], 1))  # in the order of the numbers
    fill(tmp_path / "blank.xlsx", tmp_path / "ada.xlsx", "Ada", answers)
    (tmp_path / "blank.xlsx").unlink()
    return tmp_path / "ada.xlsx", answers
