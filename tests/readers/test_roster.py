"""Blocks are balanced, orders are each reader's own, and the two showings of an image lie apart."""

import pandas as pd
import pytest
from simulated_reader import SimulatedReader, answer, fill
from studies import pictures, pools

from p2d_lib.readers import answers, roster, study
from p2d_lib.readers.roster import Design


@pytest.fixture(scope="module")
def blocks():
    """168 images, half of each class and source for all readers, the others in three blocks; 14 shown twice."""
    return study.choose(*pools(), n_images=168, seed=1, design=Design(blocks=3, shared=0.5, repeated=14))[0]


def test_each_reader_sees_the_shared_images_and_one_block_with_equal_counts(blocks):
    seen = {reader: roster.seen_by(blocks, reader) for reader in (1, 2, 3, 4)}
    shared = set(blocks["number"][blocks["block"] == 0])
    for reader, rows in seen.items():
        counts = rows[rows["showing"] == 1].groupby(["source", "dx"]).size()
        assert (counts == 8).all() and len(counts) == 14  # 6 shared and 2 of a block, in each class and source
        assert shared <= set(rows["number"]), reader
    rest = [set(rows["number"]) - shared for rows in seen.values()]
    assert rest[0] == rest[3] and not rest[0] & rest[1] and not rest[1] & rest[2]
    assert rest[0] | rest[1] | rest[2] | shared == set(blocks["number"])


def test_orders_differ_between_readers_and_are_the_same_each_time(blocks):
    orders = [roster.seen_by(blocks, reader)["number"].tolist() for reader in (1, 4, 1)]
    assert orders[0] == orders[2] != orders[1] and sorted(orders[0]) == sorted(orders[1])


def test_an_image_is_shown_twice_far_apart_and_under_two_numbers(blocks):
    firsts = 0
    for reader in range(1, 7):
        rows = roster.seen_by(blocks, reader).reset_index(drop=True)
        twice = rows[rows["image_id"].duplicated(keep=False)]
        assert len(twice) == 28 and twice["number"].is_unique
        assert (twice.groupby("image_id").apply(lambda pair: pair.index[1] - pair.index[0]) >= len(rows) / 12).all()
        firsts += (twice.drop_duplicates("image_id")["showing"] == 1).sum()
    assert 20 <= firsts <= 64, "either showing comes first, by chance"
    assert twice["source"].value_counts().to_dict() == {"real": 14, "synthetic": 14}


def test_a_place_in_the_order_tells_nothing_of_the_source(blocks):
    places = [roster.seen_by(blocks, reader).reset_index(drop=True) for reader in range(1, 40)]
    means = pd.concat(places).reset_index().groupby("source")["index"].mean()
    assert abs(means["real"] - means["synthetic"]) < 4


def test_a_sheet_of_one_block_lacks_nothing_and_a_foreign_image_in_it_is_named(blocks, tmp_path):
    study.build(tmp_path / "study", blocks, pictures(len(blocks)), n_readers=2)
    filled = tmp_path / "ada.xlsx"
    given = answer(blocks, SimulatedReader("Ada"), seed=0)
    fill(tmp_path / "study" / "reader_02.xlsx", filled, "Ada", given)
    back = answers.read(filled, blocks)
    assert len(back.readings) == 112 and len(back.repeats) == 14 and not back.missing
    assert set(back.repeats["image_id"]) <= set(back.readings["image_id"])
    other = blocks.loc[blocks["block"] == 1, "number"].iloc[0]
    code = roster.code(blocks["study"].iloc[0], 2)
    rows = pd.DataFrame({"No.": [other], "Real or synthetic?": "real", "Diagnosis": "nevus", "Confidence (1–5)": 1,
                         "Image quality (1–5)": 1, "Comment": "", "Study": code})  # fmt: skip
    rows.to_csv(tmp_path / "bob.csv", index=False)
    with pytest.raises(answers.SheetError, match=r"bob.csv, line 2, column No\.: .* that this reader does not see"):
        answers.read(tmp_path / "bob.csv", blocks)


def test_the_realism_scale_grades_the_source(tmp_path):
    key, _ = study.choose(*pools(), n_images=14, seed=0)
    study.build(tmp_path / "study", key, pictures(len(key)), realism_scale=True)
    grades = answer(key, SimulatedReader("Ada"), seed=0)
    grades["realism"] = [1, 2, 3, 4, 5, 6, 7] * 2
    fill(tmp_path / "study" / "reader_01.xlsx", tmp_path / "ada.xlsx", "Ada", grades)
    back = answers.read(tmp_path / "ada.xlsx", key).readings.set_index("image_id")["is_synthetic_read"]
    expected = key.set_index("image_id")["number"].map(grades.set_index("number")["realism"])
    assert back.sort_index().tolist() == pytest.approx(((7 - expected) / 6).sort_index().tolist())
    assert "Realism (1–7)" in (tmp_path / "study" / "form.html").read_text(encoding="utf-8")
