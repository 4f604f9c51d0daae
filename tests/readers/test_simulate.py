"""The shipped example is what its recipe makes."""

import pandas as pd

from p2d_lib.readers import answers, simulate
from p2d_lib.readers.simulate import EXAMPLE


def test_the_shipped_example_is_what_its_recipe_makes(tmp_path):
    simulate.write_example(tmp_path)
    made, shipped = (answers.read(at / "sheet.xlsx", answers.read_key(at / "key.csv")) for at in (tmp_path, EXAMPLE))
    pd.testing.assert_frame_equal(made.readings, shipped.readings)
    pd.testing.assert_frame_equal(made.grades, shipped.grades)
    assert (tmp_path / "key.csv").read_text() == (EXAMPLE / "key.csv").read_text()
