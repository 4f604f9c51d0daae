"""Claims about the check of counterfactual pairs, on phantoms whose truth is known."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from p2d_lib.instruments import readout
from p2d_lib.models.extractors import Extractor
from p2d_lib.prep.phantom import make_view, render
from p2d_lib.prep.phantom.lesions import make_lesion
from p2d_lib.sample import counterfactual, pair_check
from p2d_lib.sample.counterfactual import CONTROL
from p2d_lib.vocabulary import DX, FEATURES

LESIONS, SIZE = 2, (128, 128)  # lesions a class; px
CHANGES = {"skin_tone": {"fitzpatrick": 5}, "hair": {"hairs": 14}, "ruler": {"ruler": True}}
AS_IT_WAS = ({"exposure": 1.05}, {"exposure": 1.13, "cast": (1.03, 1.0, 0.98)})  # what the control may change


@cache
def photograph(dx, k, fitzpatrick=2, **changes):
    """A picture of lesion k of a class and its truth; changes: of its view."""
    lesion = make_lesion(np.random.default_rng([DX.index(dx), k]), dx, fitzpatrick)
    view = make_view(np.random.default_rng([k, DX.index(dx)]), "clinic")
    plain = {"hairs": 0, "ruler": False, "ink": False, "bubbles": 0, "exposure": 1.1, "cast": (1.0, 1.0, 1.0)}
    view = replace(view, **(plain | changes))
    truth = lesion.truth | view.truth
    return render(lesion, view, SIZE)[0], [truth.get(f"true_{name}", np.nan) for name in FEATURES]


@pytest.fixture(scope="module")
def eye(tmp_path_factory):
    """The extractor by which 04 reads its images; it has seen no phantom, and embeds an image once."""
    return Extractor("efficientnet_lite0", torch.device("cpu"), tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def real(eye):
    """Other lesions, of all tones, with and without hair and ruler: class, images, features, scores."""
    rng, rows = np.random.default_rng(0), []
    for dx in DX:
        for k in range(24):
            picture = photograph(dx, 100 + k, int(rng.integers(1, 7)), hairs=int(rng.choice([0, 12])), ruler=k % 2 > 0)
            rows.append((dx, *picture))
    dx, images, scores = zip(*rows, strict=True)
    return np.array(dx), np.stack(images), eye(np.stack(images)), np.array(scores, float)


@pytest.fixture(scope="module")
def read(eye, real):
    """What a readout that was fitted on these lesions says of images."""
    dx, _, features, scores = real
    probe = readout.fit(features, dx, scores)
    return lambda pixels: probe.predict(eye(pixels))


@pytest.fixture(scope="module")
def measures(real):
    dx, images, features, scores = real
    held_out = readout.held_out(features, dx, scores, np.arange(len(dx)))
    known = pd.DataFrame(scores, columns=list(FEATURES))
    return pair_check.measures(known, held_out, pair_check.in_pixels(images))


@pytest.fixture(scope="module")
def seeds(read):
    """What stands for one prompt and several seeds: four lesions of each class on the same skin; and their prompts."""
    images = np.stack([photograph(dx, 50 + k)[0] for dx in DX for k in range(4)])
    return pair_check.lesions(images, read), np.repeat(DX, 4)


@pytest.fixture(scope="module")
def judged(read, seeds, measures):
    """The check of LESIONS a class; shown: what side b shows where an attribute is asked for; other_lesion: on another
    one."""

    def judge(other_lesion=False, **shown):
        rows, images = [], []
        for dx in DX:
            for k in range(LESIONS):
                sides = {"": {}} | {name: CHANGES.get(shown.get(name, name), {}) for name in CHANGES}
                sides |= {f"{CONTROL}_{j}": change for j, change in enumerate(AS_IT_WAS)}
                for name, edit in sides.items():
                    attribute = CONTROL if name.startswith(CONTROL) else name
                    another = 20 * (other_lesion and attribute in CHANGES)
                    rows.append((f"pair_{dx}_{k}_{name or 'a'}", f"{dx}_{k}", attribute))
                    images.append(photograph(dx, k + another, **edit)[0])
        pairs = counterfactual.pairs(pd.DataFrame(rows, columns=["image_id", "lesion", "attribute"]))
        appearance = pair_check.appearance(np.stack(images), read)
        return pair_check.check(pairs, appearance, *seeds, measures).set_index("attribute")

    return judge


def test_each_attribute_is_measured_by_what_tells_real_images_better(measures, real):
    assert measures["by"].to_dict() == {"skin_tone": "pixels", "hair": "readout", "ruler": "readout"}
    assert (measures["auc"] > 0.85).all()
    dx, images, _, scores = real
    known, pixels = pd.DataFrame(scores, columns=list(FEATURES)), pair_check.in_pixels(images)
    noise = np.random.default_rng(0).normal(size=(len(dx), len(DX) + len(FEATURES)))
    half = known.assign(background_skin_tone=np.nan)  # as on HAM10000
    half.loc[1::2, "hair_amount"] = np.nan
    by = pair_check.measures(half, noise, pixels)
    assert (by["by"] == "pixels").all() and np.isnan(by["auc"]["skin_tone"])
    of_known = pair_check.measures(known[::2], noise[::2], pixels[::2])
    assert by["auc"]["hair"] == of_known["auc"]["hair"], "images of which hair is not known say nothing"


def test_pairs_of_phantoms_with_one_attribute_changed_pass(judged):
    table = judged()
    as_asked = ~table["reason"].isin([pair_check.UNCHANGED, pair_check.OTHER_ATTRIBUTE])
    assert as_asked.groupby(level=0).mean().min() >= 0.85, table["reason"]
    assert (table["distance"] <= table["distance_limit"]).mean() >= 0.8
    accepted = table["accepted"].groupby(level=0).mean()
    assert accepted["skin_tone"] >= 0.3 and accepted["ruler"] >= 0.5 and accepted["hair"] >= 0.1, accepted
    assert (table["reason"] == "").eq(table["accepted"]).all()


def test_two_lesions_of_one_class_are_no_pair_even_where_the_attribute_has_changed(judged):
    table = judged(other_lesion=True)
    assert table["accepted"].mean() <= 0.05
    assert (table["reason"] == pair_check.OTHER_LESION).mean() > 0.6


def test_a_side_that_ignores_the_word_is_found(judged):
    table = judged(skin_tone="", hair="", ruler="")
    assert (table["reason"] == pair_check.UNCHANGED).all()


def test_a_ruler_is_not_taken_for_hair_nor_hair_for_a_ruler(judged):
    table = judged(hair="ruler", ruler="hair", skin_tone="hair")
    assert not table["accepted"].any(), table["reason"]
    assert table["reason"].isin([pair_check.UNCHANGED, pair_check.OTHER_ATTRIBUTE]).all()


def test_each_question_has_its_own_limit_and_refuses_by_its_own_reason():
    control = [[-1.0, 0.5, 2.0]] * 20  # skin tone, hair, ruler
    sides = {  # what side b shows more of, how far its lesion reads otherwise, and the verdict
        "hair": ([0, 1, 0], 0, ""),
        "hair, less ruler": ([0, 1, -5], 0, ""),
        "hair, more ruler": ([0, 1, 3], 0, pair_check.OTHER_ATTRIBUTE),
        "ruler": ([0, 0, 1], 0, pair_check.UNCHANGED),
        "skin_tone": ([-0.5, -1, -1], 0, pair_check.UNCHANGED),
        "hair, other lesion": ([0, 1, 0], 2, pair_check.OTHER_READING),
    }
    amounts, read, verdicts = zip(*sides.values(), strict=True)
    attributes = [name.split(",")[0] for name in sides]
    n = len(sides) + len(control)
    pairs = pd.DataFrame({"attribute": attributes + [CONTROL] * len(control), "a": 0, "b": range(1, n + 1)})
    readings = np.repeat([0, *read, *[0] * len(control)], 29).reshape(-1, 29)
    same = pair_check.Lesions(readings, np.full((n + 1, 4), 0.5))
    sampled = pair_check.Appearance(readings, np.array([[0] * 3, *amounts, *control]), same)
    apart = np.repeat([0, 1] * 21 + [0, 3] * 19, 29).reshape(-1, 29)  # a pair that reads 2 apart lies between them
    seeds = pair_check.Lesions(apart, np.tile(np.eye(4)[:2], (40, 1)))
    by = pd.DataFrame({"by": "pixels", "spread": 1.0}, index=list(CHANGES))
    table = pair_check.check(pairs, sampled, seeds, np.repeat(range(40), 2), by)
    assert table["reason"].tolist() == list(verdicts)
    assert table["changed_as_asked"].tolist() == [True, True, False, False, False, True]
    assert table["same_lesion"].all() and table["reads_the_same"].tolist() == [True] * 5 + [False]
    few = pair_check.check(pairs[:-2], sampled, seeds, np.repeat(range(40), 2), by)  # 18 pairs of the control
    assert set(few["reason"]) == {pair_check.TOO_FEW} and not few["accepted"].any()


@pytest.mark.parametrize("of_lesion", [0.0, 2.0])
def test_where_nothing_has_changed_five_in_a_hundred_pairs_pass_the_first_question(of_lesion):
    """of_lesion: how much more the pairs of one lesion have in common than they differ."""
    rng, n = np.random.default_rng(0), 14  # lesions, as in smoke
    names = [*CHANGES, CONTROL, CONTROL]
    pairs = pd.DataFrame({"attribute": names * n, "a": np.repeat(range(n), 5), "b": range(n, 6 * n)})
    same = pair_check.Lesions(np.zeros((6 * n, 29)), np.full((6 * n, 4), 0.5))
    seeds = pair_check.Lesions(rng.normal(size=(80, 29)), rng.normal(size=(80, 4)))
    by = pd.DataFrame({"by": "pixels", "spread": 1.0}, index=list(CHANGES))
    passed = []
    for _ in range(100):
        changes = of_lesion * np.repeat(rng.normal(size=(n, 3)), 5, axis=0) + rng.normal(size=(5 * n, 3))
        amounts = np.vstack([np.zeros((n, 3)), changes])
        sampled = pair_check.Appearance(np.zeros((6 * n, 29)), amounts, same)
        table = pair_check.check(pairs, sampled, seeds, np.repeat(range(40), 2), by)
        passed.append(table["attribute_change"] > table["attribute_limit"])
    assert 0.01 <= np.mean(passed) <= 0.05  # nominal 1 / 29


def test_few_controls_accept_nothing_and_none_is_an_error():
    assert pair_check._upper(np.arange(18.0)) == np.inf and pair_check._upper(np.arange(19.0)) == 18
    assert pair_check._lower(np.arange(18.0)) == -np.inf and pair_check._lower(np.arange(19.0)) == 0
    with pytest.raises(ValueError, match="several seeds"):
        pair_check.check(pd.DataFrame(), None, None, range(28), None)
