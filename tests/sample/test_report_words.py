"""Claims about the tables, the figure and the sentences on single words and counterfactual pairs."""

import numpy as np
import pandas as pd
import pytest

from p2d_lib.report import tables
from p2d_lib.sample import probes, report_words, word_readings
from p2d_lib.vocabulary import FEATURES

CONCORDANCE = ("concordance", "low", "high")
RANK = ("rank_correlation", "rank_low", "rank_high")


@pytest.fixture
def responses():
    """Hair follows its word, ink does not, and red cannot be read."""
    names = ["hair_amount", "ink_markings", "red"]
    columns = [(reader, name) for reader in ("real", "readout", "scout") for name in (*CONCORDANCE, *RANK, "present")]
    table = pd.DataFrame(0.5, index=names, columns=pd.MultiIndex.from_tuples(columns))
    table[("readout", "present")] = 28.0
    for name, value in zip(CONCORDANCE, (0.9, 0.8, 0.95), strict=True):
        table.loc["hair_amount", ("readout", name)] = value
    table[("p", "")] = [0.01, 0.7, np.nan]
    table[("verdict", "")] = [word_readings.FOLLOWS, word_readings.NOT_SHOWN, word_readings.UNREADABLE]
    return table


def test_what_cannot_be_read_gets_no_number_and_no_verdict(responses):
    table = report_words.attributes_table(responses).set_index("feature")
    assert table.loc["hair amount", ["synthetic", "p (Holm)", "verdict", "asked for"]].tolist() == [
        "0.90 [0.80, 0.95]", "0.010", word_readings.FOLLOWS, 28,
    ]  # fmt: skip
    assert table.loc["ink markings", "verdict"] == word_readings.NOT_SHOWN
    red = table.loc["red", ["synthetic", "rank correlation", "p (Holm)", "verdict"]]
    assert red.tolist() == [word_readings.UNREADABLE, word_readings.UNREADABLE, "–", ""]


def test_findings_name_the_words_that_are_followed_and_say_nothing_of_what_was_not_tested(responses):
    none = pd.DataFrame({"attribute": [], "accepted": []})
    (text,) = report_words.findings(responses, None, none, "EYE")
    assert (
        "Of 3 features" in text and "EYE reads 2" in text and "these 1 follow" in text and text.endswith("hair amount.")
    )
    assert report_words.findings(None, None, none, "EYE") == []
    assert report_words.attributes_table(None).empty and report_words.compositions_table(None, none).empty


def test_compositions_are_shown_with_what_replay_could_show_of_them():
    plan = pd.DataFrame({"kind": "skin tone", "absent": [True, True, False], "dx": ["df", "bkl", "nv"],
                         "words": "very dark skin", "in_train": [0, 1, 9]})  # fmt: skip
    index = pd.MultiIndex.from_tuples([("skin tone", True), ("skin tone", False)], names=["kind", "absent"])
    cells = [
        (2, 24, (0, 1), (0.5, 0.3, 0.7), (0.8, 0.7, 0.9)),
        (1, 12, (9, 9), (0.75, np.nan, np.nan), (0.9, 0.8, 1.0)),
    ]
    read = pd.DataFrame(cells, index, ["compositions", "n", "in_train", "class_read", "more"])
    table = report_words.compositions_table(read, plan)
    assert table["train images of each"].tolist() == ["0–1", "9"]
    assert table["compositions"].tolist() == ["df very dark skin; bkl very dark skin", "nv very dark skin"]
    assert table["class as asked"].tolist() == ["0.50 [0.30, 0.70]", "0.75"]  # too few images for an interval
    assert table["feature as asked"].tolist() == ["0.80 [0.70, 0.90]", "0.90 [0.80, 1.00]"]
    assert "0 to 1 such train images" in report_words.compositions_finding(read)
    of_none = read.assign(in_train=[(0, 0), (9, 9)])
    assert "(0 such train images each)" in report_words.compositions_finding(of_none)


def test_pairs_are_counted_by_question():
    moved, read = [True, False, False, True], [True, True, False, True]
    answers = {"changed_as_asked": moved, "same_lesion": True, "reads_the_same": read}
    judged = pd.DataFrame({"attribute": "hair", "accepted": [True, False, False, True], **answers})
    measures = pd.DataFrame({"by": "readout", "auc": [0.957, np.nan]}, index=["hair", "skin_tone"])
    table = report_words.pairs_table(judged, measures)
    assert table[[name for name in table if name.endswith("(%)")][:3]].iloc[0].tolist() == [50, 100, 75]
    assert table["accepted (%)"].item().startswith("50 [7, 93]")
    assert table[["measured by", "AUC, real"]].iloc[0].tolist() == ["readout", "0.96"]
    assert (
        report_words.pairs_table(judged.assign(attribute="skin_tone"), measures)["AUC, real"].item() == tables.NOTHING
    )
    assert "2 of 4 for hair" in report_words.pairs_finding(judged)


def test_a_strip_is_a_row_of_the_figure_with_its_own_name():
    names = ["hair_amount", "background_skin_tone"]
    strips = pd.DataFrame({"feature": np.repeat(names, 6), "dx": "mel", "prompt": "p"})
    figure = report_words.strips_figure(strips, np.zeros((12, 8, 8, 3), np.uint8))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [
        f"{FEATURES['hair_amount'].phrase}\nabsent · present",
        "skin tone\nI · II · III · IV · V · VI",
    ]
    caption = report_words.strips_caption(strips)
    assert list(report_words.strips_parts(strips)) == ["f4_strips"] and report_words.strips_parts(strips[:0]) == {}
    many = pd.concat([strips.assign(feature=f"{k}") for k in range(report_words.STRIPS + 1)], ignore_index=True)
    parts = report_words.strips_parts(many)
    assert list(parts) == ["f4_strips", "f4_strips_2"] and pd.concat(parts.values()).equals(many)
    assert "'p'" in caption and f"{probes.COLUMNS_OF_STRIP} images a row" in caption
