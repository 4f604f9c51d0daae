"""Which images are compared: equal numbers, independent images, pairs of one prompt and seed."""

import pytest
from small_sets import CLASSES, cases, synthetic

from p2d_lib.fidelity import sets

ALL = ("adapter", "base", "scratch-unet", "cascade")


def test_every_set_has_the_same_classes_in_the_same_rows_and_the_smallest_set_decides():
    table = cases(30)
    table = table[~((table["split"] == "test") & (table["dx"] == "mel") & (table.index % 3 > 0))]  # 10 lesions are left
    chosen = sets.choose(table, synthetic(24, ALL), 10, 0)
    assert chosen.n.to_dict() == {"bcc": 24, "bkl": 24, "mel": 10, "nv": 24}
    assert list(chosen.tables) == ["test", "train", *ALL]
    assert all((rows["dx"].to_numpy() == chosen.dx).all() for rows in chosen.tables.values())


def test_of_each_lesion_one_image_is_taken_and_real_sets_share_none():
    chosen = sets.choose(cases(12, views=4), synthetic(24), 10, 0)
    lesions = [chosen.tables[split]["lesion_id"] for split in ("test", "train")]
    assert all(rows.is_unique and len(rows) == 48 for rows in lesions) and not set(lesions[0]) & set(lesions[1])


def test_row_i_of_all_generators_is_of_one_seed_and_of_accepted_images():
    table = synthetic(24, ALL)
    table.loc[(table["generator"] == "base") & (table.index % 4 == 0), "accepted"] = False
    chosen = sets.choose(cases(30), table, 10, 0)
    for name in chosen.generators:
        assert (chosen.tables[name]["seed"] == chosen.tables["adapter"]["seed"]).all()
        assert chosen.tables[name]["accepted"].all() and (chosen.tables[name]["generator"] == name).all()
    assert chosen.n.to_dict() == dict.fromkeys(CLASSES, 18)


def test_a_baseline_that_lost_a_class_is_named_and_costs_the_others_nothing():
    chosen = sets.choose(cases(30), synthetic(24, ALL, refused=[("cascade", "mel")]), 10, 0)
    assert chosen.too_few == ("cascade",) and chosen.generators == ["adapter", "base", "scratch-unet"]
    assert chosen.n.to_dict() == dict.fromkeys(CLASSES, 24)


def test_a_class_that_the_adapter_lost_is_left_out_and_without_any_class_it_says_what_to_do():
    chosen = sets.choose(cases(30), synthetic(24, refused=[("adapter", "mel")]), 10, 0)
    assert list(chosen.n.index) == ["bcc", "bkl", "nv"]
    with pytest.raises(ValueError, match=r"^0 classes .* 04 accepted 96 of 96 of the adapter and 0 of 0 of the base"):
        sets.choose(cases(30), synthetic(24, ("adapter",)), 10, 0)


def test_the_choice_is_the_seeds():
    one, again, other = (sets.choose(cases(30), synthetic(12), 10, seed).tables for seed in (1, 1, 2))
    assert all(one[name].equals(again[name]) for name in one)
    assert not one["test"].equals(other["test"]) and not one["adapter"].equals(other["adapter"])


def test_val_is_compared_at_the_n_that_it_allows_with_images_that_are_compared_anyway():
    table = cases(30, ("train", "val", "test"))
    table = table[(table["split"] != "val") | (table["lesion_id"].str.endswith(("1", "2")))]
    chosen = sets.choose(table, synthetic(24), 10, 0)
    splits = sets.real_splits(table, chosen, 0)
    assert {name: len(rows) for name, rows in splits.tables.items()} == {"test": 24, "train": 24, "val": 24}
    for name in ("test", "train"):
        assert splits.tables[name]["image_id"].isin(chosen.tables[name]["image_id"]).all()
    assert len(sets.real_splits(cases(5), sets.choose(cases(5), synthetic(5), 2, 0), 0).dx) == 0
