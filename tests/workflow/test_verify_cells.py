"""What a cell holds, as tables.save writes them, and how near two cells are."""

import pytest
from verify_cells import INSIDE, OUTSIDE, ROUNDING, SAME, SPREAD, Cell, nearness, unformatted


@pytest.mark.parametrize(
    ("text", "numbers", "words"),
    [
        ("0.712 [0.688, 0.735]", [0.712, 0.688, 0.735], "# [#, #]"),
        ("-0.01 [-0.24, 0.21]", [-0.01, -0.24, 0.21], "# [#, #]"),
        ("−0.5", [-0.5], "#"),
        ("486 (34.7%)", [486, 34.7], "# (#%)"),
        ("1,010 of 1,010", [1010, 1010], "# of #"),
        ("0.001 [0.000, 0.017], p = 0.287", [0.001, 0.0, 0.017, 0.287], "# [#, #], p = #"),
        ("-1.5 to 0.0", [-1.5, 0.0], "# to #"),
        ("< 0.001", [0.001], "#"),
        ("1e-05", [1e-5], "#"),
        ("+0.0018", [0.0018], "#"),
        ("EfficientNet-Lite0", [], "EfficientNet-Lite0"),
        ("n too small", [], "n too small"),
        ("", [], ""),
    ],
)
def test_numbers_and_words_of_a_cell(text, numbers, words):
    assert Cell(text).numbers == pytest.approx(numbers) and Cell(text).words == words


@pytest.mark.parametrize("text", ["36 [13, 65]", "5 (5)", "34.7%", "< 0.001", "3 of 3", "-0.5"])
def test_a_cell_that_begins_with_a_number_is_numeric(text):
    assert Cell(text).is_numeric


@pytest.mark.parametrize("text", ["45–59", "III–IV", "under 30", "not readable", "–", "0x12", "3rd"])
def test_a_label_is_not_numeric(text):
    assert not Cell(text).is_numeric


@pytest.mark.parametrize(
    ("reference", "cell", "expected"),
    [
        ("0.712 [0.688, 0.735]", "0.712 [0.688, 0.735]", SAME),
        ("0.712 [0.688, 0.735]", "0.713 [0.687, 0.735]", ROUNDING),
        ("0.712 [0.688, 0.735]", "0.714 [0.688, 0.735]", INSIDE),
        ("0.712 [0.688, 0.735]", "0.736 [0.712, 0.760]", OUTSIDE),
        ("0.712 [0.688, 0.735]", "0.714 [0.600, 0.800]", OUTSIDE),  # an interval four times as wide
        ("0.712 [0.688, 0.735], p = 0.030", "0.714 [0.688, 0.735], p = 0.500", OUTSIDE),
        ("36 [13, 65]", "37 [13, 65]", ROUNDING),
        ("36 [13, 65]", "64 [35, 87]", INSIDE),
        ("1.000", "1.000 [0.999, 1.000]", INSIDE),
        ("1.000 [0.999, 1.000]", "0.998", OUTSIDE),
        ("0.712 [0.688, 0.735]", "0.712", OUTSIDE),  # an interval that is lost
        ("0.45", "0.46", ROUNDING),
        ("0.45", "0.47", OUTSIDE),
        ("48", "49", OUTSIDE),
        ("5 (5)", "5 (6)", OUTSIDE),
        ("0.5", "n too small", OUTSIDE),
        ("< 0.001", "0.002", ROUNDING),
        ("higher", "lower", OUTSIDE),
    ],
)
def test_the_class_of_a_cell(reference, cell, expected):
    assert nearness(Cell(reference), Cell(cell)) == expected


def test_six_significant_digits_have_a_unit_in_the_sixth():
    assert unformatted(["0.45", "0.651232", ""]) and not unformatted(["0.45", "-6.3 [-10.3, -2.2]", "1496", "249.0"])
    assert nearness(Cell("0.651232", formatted=False), Cell("0.651233", formatted=False)) == ROUNDING
    assert nearness(Cell("0.45", formatted=False), Cell("0.46", formatted=False)) == OUTSIDE


def test_the_reruns_may_allow_what_no_interval_does_and_must_allow_each_number():
    reference, cell = Cell("8.0 to 12.4"), Cell("9.0 to 13.0")
    assert nearness(reference, cell, [(7.0, 9.5), (11.0, 13.5)]) == SPREAD
    assert nearness(reference, cell, [(7.0, 9.5), (11.0, 12.5)]) == OUTSIDE
