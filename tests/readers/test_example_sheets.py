"""The shipped example is what its recipe makes."""

import pandas as pd
import simulated_reader

from p2d_lib.readers import answers
from p2d_lib.readers.example_sheets import EXAMPLE


def test_the_shipped_example_is_what_its_recipe_makes(tmp_path):
    simulated_reader.write_example(tmp_path)
    made, shipped = (answers.read_all(at, answers.read_key(at / "key.csv"))[0] for at in (tmp_path, EXAMPLE))
    assert [sheet.reader for sheet in shipped] == [reader.name for reader in simulated_reader.EXAMPLE_READERS]
    for one, other in zip(made, shipped, strict=True):
        for part in ("readings", "grades", "repeats"):
            pd.testing.assert_frame_equal(getattr(one, part), getattr(other, part))
        assert len(one.readings) == 140 and len(one.repeats) == 14
    assert (tmp_path / "key.csv").read_text() == (EXAMPLE / "key.csv").read_text()
