"""Each audit finds what was planted for it, as much of it as there is, and stays silent where there is nothing."""

import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from p2d_lib import images
from p2d_lib.instruments import copies
from p2d_lib.prep import label_doubts, phantom, picture_quality, plants, report, skin_tone, splits
from p2d_lib.prep.pixels import DataError, measure_one
from p2d_lib.prep.raw import find, read
from p2d_lib.report import tables
from p2d_lib.schemas import MEASUREMENTS, QUARANTINE
from p2d_lib.vocabulary import DX

COUNTS = {"duplicated_lesions": 12, "near_duplicates": 40, "mislabelled": 14, "blurred": 12, "empty": 6}
SIZE = 64


def prepared(folder) -> tuple[pd.DataFrame, np.ndarray, pd.DataFrame]:
    """cases, images (n, 64, 64, 3) and measurements of a raw set, as 01 leaves them."""
    raw = read(folder)
    files = [(name, raw.images[name], raw.masks.get(name)) for name in raw.metadata["image_id"]]
    squares = np.stack([np.asarray(images.square(file.image(), SIZE)) for _, file, _ in files])
    pixels = pd.DataFrame(map(measure_one, files))
    cases = raw.metadata.assign(split=splits.split(raw.metadata, 0.25, 0.2, 42)).join(pixels)
    return cases, squares, cases[list(MEASUREMENTS.columns)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A phantom of 330 images without plants: (folder, cases, images, measurements)."""
    folder = tmp_path_factory.mktemp("sound") / "set"
    phantom.write(folder, 330, seed=4, tail=0.3, camera="clinic", progress=False)
    return folder, *prepared(folder)


@pytest.fixture(scope="module")
def planted(sound, tmp_path_factory):
    """(cases, images, measurements, plants) of the same set with COUNTS faults."""
    folder = tmp_path_factory.mktemp("planted") / "set"
    shutil.copytree(sound[0], folder)
    table = plants.plant(folder, 7, **COUNTS)
    return *prepared(folder), table


@pytest.fixture(scope="module")
def pairs(planted):
    return copies.duplicates(planted[0], planted[1])


def as_sets(pairs: pd.DataFrame) -> set[frozenset]:
    return set(map(frozenset, zip(pairs["image_a"], pairs["image_b"], strict=True)))


def pairs_of(table: pd.DataFrame, kind: str) -> set[frozenset]:
    rows = table[table["plant"] == kind]
    return set(map(frozenset, zip(rows["image_id"], rows["source"], strict=True)))


def lesions_confused(pairs: pd.DataFrame, planted) -> pd.DataFrame:
    """Pairs of lesions that are not one before planting: a copy belongs to the lesion of its source."""
    cases, _, _, table = planted
    lesion = cases.set_index("image_id")["lesion_id"]
    origin = table[table["source"].isin(lesion.index)].set_index("image_id")["source"]
    truly = lesion.index.to_series().replace(origin).map(lesion)
    return pairs[truly[pairs["image_a"]].to_numpy() != truly[pairs["image_b"]].to_numpy()]


# ------------------------------------------------------------------------------------------------------------- copies
def test_every_copied_file_is_found_and_nothing_else_is_called_identical(planted, pairs):
    assert as_sets(pairs[pairs["kind"] == "bytes"]) == pairs_of(planted[3], "duplicated_lesions")
    assert (pairs.loc[pairs["kind"] == "bytes", "distance"] == 0).all()


def test_near_duplicates_are_found_and_nothing_else_between_lesions(planted, pairs):
    near, expected = pairs[pairs["kind"] == "perceptual"], pairs_of(planted[3], "near_duplicates")
    assert len(expected & as_sets(near)) >= 0.9 * len(expected)
    assert len(lesions_confused(near, planted)) == 0


def test_no_two_lesions_are_as_close_as_any_near_duplicate_is_to_its_source(planted):
    expected, wider = pairs_of(planted[3], "near_duplicates"), copies.duplicates(*planted[:2], near=0.2)
    true = np.array([frozenset(pair) in expected for pair in zip(wider["image_a"], wider["image_b"], strict=True)])
    assert true.sum() == COUNTS["near_duplicates"]
    assert len(lesions_confused(wider[wider["distance"] <= wider.loc[true, "distance"].max()], planted)) <= 1


def test_a_set_without_plants_has_no_pair_between_lesions(sound):
    pairs = copies.duplicates(sound[1], sound[2])
    assert pairs["same_lesion"].all()
    assert not (pairs["kind"] == "bytes").any()


def test_a_pair_says_whether_lesion_dx_and_split_are_the_same(planted, pairs):
    cases = planted[0].set_index("image_id")
    for row in pairs.itertuples():
        a, b = cases.loc[row.image_a], cases.loc[row.image_b]
        assert row.same_lesion == (a["lesion_id"] == b["lesion_id"])
        assert row.same_dx == (a["dx"] == b["dx"])
        assert row.same_split == (a["split"] == b["split"])
        assert sorted(row.splits.split("–")) == sorted([a["split"], b["split"]])
    assert pairs["distance"].is_monotonic_increasing


def test_leakage_counts_copies_across_splits_and_lesions_on_both_sides(planted, pairs):
    cases, _, _, table = planted
    split = cases.set_index("image_id")["split"]
    across = sum(split[a] != split[b] for a, b in map(tuple, pairs_of(table, "duplicated_lesions")))
    rows = splits.leakage(cases, pairs).set_index("check")["result"]
    copies = COUNTS["duplicated_lesions"]
    assert rows["lesions in more than one split"] == "0"
    assert rows["identical pairs (of these, of different lesions)"] == f"{copies} ({copies})"
    assert rows["identical pairs across splits (of these, of different lesions)"] == f"{across} ({across})"
    assert 0 < across < copies
    mixed = cases.assign(split=np.resize(["train", "test"], len(cases)))
    several = (cases.groupby("lesion_id").size() > 1).sum()
    assert splits.leakage(mixed, pairs)["result"][0] == str(several)


def test_planted_near_duplicates_of_ham10000_are_all_found(ham, tmp_path):
    raw, subset = read(find()), ham.drop_duplicates("lesion_id").iloc[::90].drop(columns="age")
    for place in ("HAM10000_images_part_1", "HAM10000_segmentations_lesion_tschandl"):
        (tmp_path / place).mkdir()
    for name in subset["image_id"]:
        (tmp_path / "HAM10000_images_part_1" / f"{name}.jpg").write_bytes(raw.images[name].data())
        mask = tmp_path / "HAM10000_segmentations_lesion_tschandl" / f"{name}_segmentation.png"
        mask.write_bytes(raw.masks[name].data())
    subset.assign(age="").to_csv(tmp_path / "HAM10000_metadata.csv", index=False)
    table = plants.plant(tmp_path, 0, near_duplicates=len(subset))
    metadata = pd.read_csv(tmp_path / "HAM10000_metadata.csv")
    squares = [images.read(tmp_path / "HAM10000_images_part_1" / f"{name}.jpg", SIZE) for name in metadata["image_id"]]
    assert as_sets(copies.duplicates(metadata, np.stack(squares))) == pairs_of(table, "near_duplicates")


# ------------------------------------------------------------------------------------------------------------- labels
def test_planted_mislabels_are_those_least_believed(sound):
    _, cases, squares, measurements = sound
    features, lesions = label_doubts.cheap_features(squares, measurements), cases.drop_duplicates("lesion_id")
    believed, flagged, falsely, blind = [], [], [], []
    for seed in range(8):
        swapped = lesions.sample(15, random_state=seed).set_index("lesion_id")["dx"]
        other = {lesion: DX[(DX.index(dx) + 1 + seed % 6) % 7] for lesion, dx in swapped.items()}
        wrong, dx = cases["lesion_id"].isin(other), cases["lesion_id"].map(other).fillna(cases["dx"])
        doubts = label_doubts.suspect_labels(features, dx, cases["lesion_id"], seed)
        assert (doubts["dx"] == dx).all()
        believed.append(roc_auc_score(wrong, -doubts["self_confidence"]))
        flagged.append(doubts.loc[wrong, "flagged"].mean())
        falsely.append(doubts.loc[~wrong, "flagged"].mean())
        shuffled = features.sample(frac=1, random_state=seed).set_axis(features.index)
        doubts = label_doubts.suspect_labels(shuffled, dx, cases["lesion_id"], seed)
        blind.append(roc_auc_score(wrong, -doubts["self_confidence"]))
    assert np.mean(believed) > 0.93
    assert np.mean(flagged) > 0.75
    assert np.mean(falsely) < 0.2
    assert np.mean(blind) == pytest.approx(0.5, abs=0.12)


def test_doubts_point_to_what_was_planted_on_disk(planted):
    cases, squares, measurements, table = planted
    truth = table[table["plant"] == "mislabelled"].set_index("image_id")["source"]
    doubts = label_doubts.suspect_labels(
        label_doubts.cheap_features(squares, measurements), cases["dx"], cases["lesion_id"], 0
    ).set_index(cases["image_id"])
    assert (doubts.loc[truth.index, "suggested"] == truth).mean() > 0.3  # one in seven by chance
    assert doubts.loc[truth.index, "flagged"].mean() > 2 * doubts["flagged"].mean()


def test_a_label_is_judged_by_a_model_that_has_not_seen_the_lesion():
    rng = np.random.default_rng(0)
    lesions = np.repeat(np.arange(100), 3)
    features = pd.DataFrame(rng.normal(size=(100, 60))[lesions])  # a lesion's images are alike, and say nothing of dx
    dx = np.array(["mel", "nv"])[rng.integers(0, 2, 100)][lesions]
    doubts = label_doubts.suspect_labels(features, dx, lesions, 0)
    assert 0.3 < (doubts["self_confidence"] > 0.5).mean() < 0.7
    assert (doubts.groupby(lesions)["flagged"].nunique() == 1).all()


def test_without_masks_labels_are_doubted_all_the_same(planted):
    cases, squares, measurements, _ = planted
    bare = measurements.assign(**dict.fromkeys(measurements.columns[1:], np.nan))
    doubts = label_doubts.suspect_labels(label_doubts.cheap_features(squares, bare), cases["dx"], cases["lesion_id"], 0)
    assert doubts["self_confidence"].between(0, 1).all()


def test_a_dx_with_one_lesion_cannot_be_judged_and_is_named():
    dx = ["nv"] * 8 + ["df"] * 2
    with pytest.raises(ValueError, match="dx 'df' has one lesion"):
        label_doubts.suspect_labels(pd.DataFrame({"x": np.arange(10.0)}), dx, [*range(8), 8, 8], 0)


# ---------------------------------------------------------------------------------------------------------- skin tone
LESIONS = {"nv": 60, "mel": 25, "bkl": 25, "bcc": 15, "akiec": 12, "df": 7, "vasc": 6}


def tones(seed: int, effect: float, times: int = 1) -> pd.DataFrame:
    """Lesions whose tone is normal, melanomas' shifted by so many standard deviations."""
    dx = np.repeat(list(LESIONS), [times * n for n in LESIONS.values()])
    tone = np.random.default_rng(seed).normal(size=len(dx)) + effect * (dx == "mel")
    return pd.DataFrame({"lesion_id": [f"L{k}" for k in range(len(dx))], "dx": dx, "ita": tone})


def test_without_a_tie_to_skin_tone_the_alarm_goes_off_as_rarely_as_it_should():
    alarms = [skin_tone.tone_association(tones(k, 0), n_resamples=99, seed=k).p <= 0.05 for k in range(200)]
    assert 2 <= sum(alarms) <= 20  # 10 expected; both ends are beyond 1 in 300


@pytest.mark.parametrize("effect", [1.0, 2.0])
def test_a_planted_tie_to_skin_tone_is_recovered(effect):
    in_truth = skin_tone.tone_association(tones(0, effect, times=300), n_resamples=2).epsilon2.estimate
    results = [skin_tone.tone_association(tones(k, effect), n_resamples=200, seed=k) for k in range(1, 41)]
    assert np.mean([r.epsilon2.low <= in_truth <= r.epsilon2.high for r in results]) >= 0.85
    assert np.mean([r.epsilon2.estimate for r in results]) == pytest.approx(in_truth, rel=0.2)
    assert np.mean([r.p < 0.05 for r in results]) > 0.8


def test_the_association_is_that_of_kruskal_and_wallis_with_equal_tones_and_in_every_resample():
    rng, n = np.random.default_rng(0), 60
    tone, codes, times = rng.integers(0, 6, n).astype(float), np.arange(n) % 3, rng.integers(0, 3, (4, n))
    found = skin_tone._epsilon2(*skin_tone._rank_sums(tone, codes, times))
    for epsilon2, weights in zip(found, times, strict=True):
        sample, of = np.repeat(tone, weights), np.repeat(codes, weights)
        h = stats.kruskal(*(sample[of == k] for k in range(3))).statistic
        assert epsilon2 == pytest.approx((h - 2) / (len(sample) - 3))


def test_melanomas_that_the_phantom_moves_to_dark_skin_are_noticed(sound, tmp_path):
    phantom.write(tmp_path / "tied", 150, 4, 0.3, "clinic", size=(32, 24), tone_effect=0.9, progress=False)
    tied = read(tmp_path / "tied").metadata
    assert skin_tone.tone_association(sound[1], "true_fitzpatrick").p > 0.05
    result = skin_tone.tone_association(tied, "true_fitzpatrick")
    assert result.p < 0.01 and result.epsilon2.low > 0


def test_tone_is_counted_by_lesion_and_unknown_tones_do_not_count():
    once = tones(3, 1.0)
    often = pd.concat([once, once[once["dx"] == "mel"], once.assign(ita=np.nan)], ignore_index=True)
    assert skin_tone.tone_association(often).epsilon2.estimate == skin_tone.tone_association(once).epsilon2.estimate
    assert skin_tone.tone_association(often).n == sum(LESIONS.values())


def test_an_association_needs_two_dx_with_a_known_tone():
    with pytest.raises(ValueError, match="ita is known of 1 dx"):
        skin_tone.tone_association(tones(0, 0).query("dx == 'nv'"))


def test_two_readings_of_ita_are_compared_by_category_where_both_are_known():
    edges = pd.Series([60.0, 55, 41, 28, 10, -30])
    assert skin_tone.ita_category(edges).tolist() == ["very light", "light", "intermediate", "tan", "brown", "dark"]
    cases = pd.DataFrame({"ita": [60.0, 50, 30, 20, np.nan], "ita_patches": [62.0, 56, 34, 24, 10]})
    assert skin_tone.ita_disagreement(cases) == 0.25


# ----------------------------------------------------------------------------------------------------------- pictures
def test_exactly_the_empty_and_the_blurred_pictures_are_flagged(planted):
    cases, _, _, table = planted
    flags = picture_quality.flags(cases).set_index(cases["image_id"])
    for kind in ("empty", "blurred"):
        expected = set(table.loc[table["plant"] == kind, "image_id"])
        assert set(flags.index[flags[f"is_{kind}"]]) == expected


def test_hardly_a_picture_of_a_sound_set_is_flagged(sound):
    assert picture_quality.flags(sound[1])[["is_empty", "is_blurred"]].sum().tolist() == [0, 0]


def test_hair_and_rulers_are_flagged_where_the_phantom_has_them(sound):
    cases = sound[1]
    flags, hairs = picture_quality.flags(cases), cases["true_hair_amount"]
    assert stats.spearmanr(cases["hair"], hairs).statistic > 0.4
    assert flags["has_hair"][hairs > 0.5].mean() > 2 * flags["has_hair"][hairs == 0].mean()
    ruled = cases["true_ruler_presence"] > 0
    assert flags["has_ruler"][ruled].mean() > 0.8 and flags["has_ruler"][~ruled].mean() < 0.05


ENTROPY = pd.DataFrame({"dx": ["nv", "nv", "nv", "mel"], "entropy": [3.0, 5.0, 6.0, 5.5]})


def test_the_entropy_filter_counts_what_each_threshold_keeps():
    kept = picture_quality.entropy_filter(ENTROPY, [0, 5, 5.6])
    assert list(kept) == ["mel", "nv", "all"] and list(kept.index) == [0, 5, 5.6]
    assert kept.to_numpy().tolist() == [[1, 3, 4], [1, 2, 3], [0, 1, 1]]


def test_flat_train_images_go_to_quarantine_with_their_reason_and_no_others():
    cases = pd.DataFrame({"image_id": list("abcd"), "split": ["train", "train", "test", "val"], "dx": "nv"})
    cases["path"], cases["entropy"] = "images/" + cases["image_id"] + ".png", [2.0, 5.0, 2.0, 2.0]
    none = pd.DataFrame({name: [] for name in QUARANTINE.columns})
    leave_out = partial(picture_quality.leave_out_flat, cases, cases[["image_id"]], none)
    kept, measured, out = leave_out(3.0)
    assert kept["image_id"].tolist() == measured["image_id"].tolist() == ["b", "c", "d"]
    assert kept.index.tolist() == [0, 1, 2]
    rows = QUARANTINE.validate(out)
    assert rows["image_id"].tolist() == ["a"]
    assert rows["reason"].tolist() == ["entropy 2.00 bits is below min_entropy 3.0"]
    assert len(leave_out(0.0)[0]) == 4
    with pytest.raises(DataError, match=r"min_entropy 6\.0 bits leaves no train image of 'nv'"):
        leave_out(6.0)


def test_the_summary_says_what_was_planted(planted, pairs):
    cases, squares, measurements, _ = planted
    doubts = label_doubts.suspect_labels(
        label_doubts.cheap_features(squares, measurements), cases["dx"], cases["lesion_id"], 0
    )
    tone = skin_tone.tone_association(cases, n_resamples=50)
    cases = cases.join(picture_quality.flags(cases))
    rows = report.audit_table(cases, pairs, doubts, tone).set_index("check")["result"]
    for kind in ("empty", "blurred"):
        assert rows[f"{kind} pictures"].startswith(f"{COUNTS[kind]} (")
    assert rows["labels doubted"].startswith(f"{doubts['flagged'].sum()} (")
    assert rows.iloc[-1] == f"{tables.interval(*tone.epsilon2)}, p = {tone.p:.3g}"
    assert len(report.audit_table(cases, pairs, doubts)) == len(rows) - 1
    assert set(doubts["suggested"]) <= set(DX)
    known = report.audit_table(cases, pairs, doubts, tone, {"empty": 6, "mislabelled": 14}).set_index("check")
    known = known["by known truth"]
    assert (known["empty pictures"], known["labels doubted"]) == ("6 planted", "14 planted")
    assert known["blurred pictures"] == "0 planted" and known.iloc[[0, 2, -1]].eq("–").all()
    hairs = cases["true_hair_amount"] > 0
    assert known["hairy pictures"].startswith(f"{hairs.sum()}; {cases['has_hair'][hairs].mean():.0%} flagged")
