"""Claims about copies: a generator that copies is found however it hides, and what cannot copy is let through."""

import os

import numpy as np
import pandas as pd
import pytest
from phantom_photographs import SIZE, views
from PIL import Image
from scipy import fft

from p2d_lib import images
from p2d_lib.instruments import copies
from p2d_lib.instruments.alterations import cropped, noisy, recompressed, tinted
from p2d_lib.prep.raw import find, read


@pytest.fixture(scope="module")
def originals():
    return views(range(400))


@pytest.fixture(scope="module")
def new_lesions():
    return views(range(1000, 1200))


# ------------------------------------------------------------------------------------------- a generator that copies
def turn(image, rng):
    return np.rot90(image, rng.integers(1, 4)).copy()


def mirror(image, _):
    return image[:, ::-1].copy()


WAYS = {
    "as it is": (), "crop": (cropped,), "tint": (tinted,), "turn": (turn,), "mirror": (mirror,), "noise": (noisy,),
    "recompression": (recompressed,), "all at once": (cropped, tinted, turn, mirror, noisy, recompressed),
}  # fmt: skip


def copied(originals, rows, changes, seed=0):
    rng, pictures = np.random.default_rng(seed), []
    for row in rows:
        picture = originals[row]
        for change in changes:
            picture = change(picture, rng)
        pictures.append(picture)
    return np.stack(pictures)


@pytest.mark.parametrize("way", WAYS)
def test_a_generator_that_copies_is_found_however_it_changes_its_originals(originals, way):
    rows = np.random.default_rng(1).choice(len(originals), 150, replace=False)
    table = copies.nearest_originals(copied(originals, rows, WAYS[way]), originals)
    assert table["copy"].mean() >= 0.95
    assert (table["original"] == rows).mean() >= 0.95


def test_lesions_that_no_original_shows_are_called_copies_at_most_as_often_as_stated(originals, new_lesions):
    assert copies.nearest_originals(new_lesions, originals)["copy"].mean() <= 0.01


def flat(rng):
    return np.full((SIZE, SIZE, 3), rng.integers(0, 256, 3), np.uint8)


def white_noise(rng):
    return rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)


def blob(rng):
    """A dark disc with a soft edge on light skin."""
    down, across = np.mgrid[:SIZE, :SIZE]
    distance = np.hypot(down - rng.uniform(24, 40), across - rng.uniform(24, 40)) - rng.uniform(8, 24)
    inside = 1 / (1 + np.exp(distance / rng.uniform(0.5, 5)))[..., None]
    skin, lesion = rng.uniform([160, 120, 100], [240, 200, 180]), rng.uniform([60, 30, 20], [160, 110, 90])
    return ((1 - inside) * skin + inside * lesion + rng.normal(0, 2, (SIZE, SIZE, 3))).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("picture", [flat, white_noise, blob])
def test_what_is_no_lesion_at_all_is_no_copy(originals, picture):
    rng = np.random.default_rng(2)
    table = copies.nearest_originals(np.stack([picture(rng) for _ in range(200)]), originals)
    assert table["copy"].mean() <= 0.01
    assert picture is not flat or (table["ratio"] == 1).all()


def test_the_most_typical_picture_is_no_copy(originals):
    rng = np.random.default_rng(3)
    means = [originals[rng.choice(len(originals), 12)].mean(0).astype(np.uint8) for _ in range(100)]
    assert not copies.nearest_originals(np.stack(means), originals)["copy"].any()


def test_an_original_that_the_set_holds_many_times_is_still_found_to_be_copied(originals):
    often = np.concatenate([originals, np.repeat(originals[:1], 2 * copies.NEIGHBOURS, axis=0)])
    table = copies.nearest_originals(originals[:2], often)
    assert table["copy"].tolist() == [True, True]
    assert table["distance"].tolist() == pytest.approx([0, 0], abs=1e-5)


def test_a_picture_is_judged_alike_alone_and_among_others(originals, new_lesions):
    mixed = np.concatenate([new_lesions, originals[:100]])  # more than one block
    together, alone = (copies.nearest_originals(part, originals) for part in (mixed, mixed[260:270]))
    assert (together["original"][260:270].to_numpy() == alone["original"]).all()
    assert together["distance"][260:270].to_numpy() == pytest.approx(alone["distance"], abs=1e-4)


def test_no_images_and_a_single_original_are_no_special_case(originals):
    assert len(copies.nearest_originals(originals[:0], originals)) == 0
    table = copies.nearest_originals(originals[:2], originals[:1])
    assert table["original"].tolist() == [0, 0]


@pytest.fixture(scope="session")
def ham():
    """Real images of every eighth lesion of HAM10000: (metadata, uint8 (n, 64, 64, 3))."""
    if not os.environ.get("P2D_HAM10000"):
        pytest.skip("set P2D_HAM10000 to the folder of the real HAM10000")
    raw = read(find())
    table = raw.metadata[raw.metadata["lesion_id"].isin(raw.metadata["lesion_id"].unique()[::8])]
    pictures = [raw.images[name].image(at_least=SIZE) for name in table["image_id"]]
    return table.reset_index(drop=True), np.stack([np.asarray(images.square(picture, SIZE)) for picture in pictures])


def test_on_ham10000_copies_are_found_and_other_lesions_are_not(ham):
    table, squares = ham
    first = table["lesion_id"].isin(table["lesion_id"].unique()[::2]).to_numpy()
    known, other = squares[first], squares[~first]
    rows = np.random.default_rng(4).choice(len(known), 200, replace=False)
    hidden = copied(known, rows, WAYS["all at once"])
    assert copies.nearest_originals(hidden, known)["copy"].mean() >= 0.95
    assert copies.nearest_originals(other, known)["copy"].mean() <= 0.01


# ---------------------------------------------------------------------------------------------------- the fingerprint
def turns(image: np.ndarray) -> list[np.ndarray]:
    """The eight ways to turn and mirror a square image (h, w, 3)."""
    return [np.rot90(side, k) for side in (image, image[:, ::-1]) for k in range(4)]


def names(prefix: str, n: int) -> pd.DataFrame:
    return pd.DataFrame({"image_id": [f"{prefix}{k}" for k in range(n)]})


def pairs_of(table: pd.DataFrame) -> set[frozenset]:
    return set(map(frozenset, zip(table["image_a"], table["image_b"], strict=True)))


def between(cases, images, others, other_images) -> pd.DataFrame:
    """The pairs of the two sets together that lie in both."""
    pairs = copies.duplicates(pd.concat([cases, others], ignore_index=True), np.concatenate([images, other_images]))
    in_both = pairs["image_a"].isin(cases["image_id"]) & pairs["image_b"].isin(others["image_id"])
    return pairs[in_both].reset_index(drop=True)


def test_its_cosines_are_the_discrete_cosine_transform():
    transform = fft.dct(np.eye(20), axis=0, norm="ortho")[:12] / np.sqrt(20)
    np.testing.assert_allclose(copies._cosines(20, 0, 1), transform, atol=1e-6)


def test_that_of_a_part_is_that_of_the_part_cut_out_and_enlarged(originals):
    box, part = (8 / SIZE, 4 / SIZE, 52 / SIZE), originals[:50, 8:60, 4:56]
    enlarged = np.stack([np.asarray(Image.fromarray(image).resize((SIZE, SIZE))) for image in part])
    one, other = copies.fingerprint(originals[:50], [box]), copies.fingerprint(enlarged)
    assert ((one * other).sum((1, 2, 3)) > 0.995).mean() > 0.9


@pytest.mark.parametrize("turn", range(8))
def test_a_turned_or_mirrored_image_is_the_same_picture(turn):
    rng = np.random.default_rng(0)
    squares = np.kron(rng.integers(40, 220, (30, 8, 8, 3)), np.ones((1, 6, 6, 1))).astype(np.uint8)
    turned = np.stack([turns(image)[turn] for image in squares])
    pairs = between(names("a", 30), squares, names("b", 30), turned)
    assert pairs_of(pairs) == {frozenset({f"a{k}", f"b{k}"}) for k in range(30)}
    assert pairs["distance"].max() < 1e-4
    assert (pairs["kind"] == ("bytes" if turn == 0 else "perceptual")).all()


def test_the_best_of_eight_turns_is_that_of_comparing_all_eight(originals):
    prints = copies.fingerprint(originals[:40])
    turned = np.stack([copies.fingerprint(np.stack(side)) for side in zip(*map(turns, originals[:40]), strict=True)])
    one_by_one = np.einsum("taxyz,bxyz->tab", turned, prints).max(axis=0)
    np.testing.assert_allclose(copies._correlation(prints, prints), one_by_one, atol=1e-5)


def test_exposure_and_white_balance_do_not_hide_a_copy(originals):
    tinted = (originals * np.array([0.9, 0.8, 0.75])).astype(np.uint8)
    pairs = between(names("", 400), originals, names("tinted ", 400), tinted)
    expected = {frozenset({f"{k}", f"tinted {k}"}) for k in range(400)}
    assert len(expected & pairs_of(pairs)) >= 0.99 * 400  # of a very dark picture rounding leaves little


def test_a_copy_and_a_turned_copy_are_the_only_pairs_of_a_set_with_another(originals, new_lesions):
    synthetic = new_lesions[:20].copy()
    synthetic[3], synthetic[11] = originals[0], np.rot90(originals[1])
    cases = names("real", 400).assign(dx="mel", split="train"), names("syn", 20).assign(dx="mel", split="val")
    pairs = between(cases[0], originals, cases[1], synthetic)
    assert pairs_of(pairs) == {frozenset({"real0", "syn3"}), frozenset({"real1", "syn11"})}
    assert pairs["kind"].tolist() == ["bytes", "perceptual"]
    assert pairs["splits"].tolist() == ["train–val", "train–val"]
    assert not pairs[["same_lesion", "same_split"]].any(axis=None) and pairs["same_dx"].all()


def test_the_two_identical_pairs_of_ham10000_are_found():
    if not os.environ.get("P2D_HAM10000"):
        pytest.skip("set P2D_HAM10000 to the folder of the real HAM10000")
    twins = {frozenset({"ISIC_0024366", "ISIC_0029861"}), frozenset({"ISIC_0024777", "ISIC_0029938"})}
    raw = read(find())
    chosen = raw.metadata["image_id"].isin(set().union(*twins)) | (raw.metadata.index % 40 == 0)
    subset = raw.metadata[chosen].reset_index(drop=True)
    pictures = [raw.images[name].image(at_least=SIZE) for name in subset["image_id"]]
    pairs = copies.duplicates(subset, np.stack([np.asarray(images.square(picture, SIZE)) for picture in pictures]))
    assert pairs_of(pairs[pairs["kind"] == "bytes"]) == twins
    assert pairs["same_lesion"].all()


def test_thumbnails_keep_a_picture_and_its_copies_findable():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (6, 16, 16, 3), np.uint8)
    large = np.stack([np.asarray(Image.fromarray(image).resize((256, 256))) for image in coarse])
    small = copies.thumbnails(large)
    assert small.shape == (6, 64, 64, 3) and copies.thumbnails(small) is small
    pairs = between(names("", 6), small, names("x", 6), small[:, :, ::-1])
    assert pairs["distance"].max() < 1e-3 and len(pairs) == 6
