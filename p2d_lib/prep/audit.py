"""What in a set would spoil results on it: copies, leaks, doubtful labels, classes tied to skin tone, bad pictures.

Each function looks at tables and arrays and changes nothing; each is tested on faults of known number (plants.py).
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from scipy import fft, stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from p2d_lib.images import square
from p2d_lib.prep import splits
from p2d_lib.prep.pixels import DataError
from p2d_lib.schemas import SPLITS
from p2d_lib.stats import Interval, resample
from p2d_lib.tables import interval
from p2d_lib.vocabulary import DX

NEAR = 0.06  # largest distance of near-duplicates; see `duplicates`
FLAT = 4.0  # weighted grey levels: a picture with less contrast resembles nothing
EMPTY = 3.0  # bits: noise around one grey level has less, log2(sd sqrt(2 pi e)) for a standard deviation up to 1.9
HAIRY, RULED = 0.01, 7  # share of the picture; ticks
THUMBNAIL = 64  # px
BLURRED = 3.0  # robust standard deviations below the median of log sharpness
ITA_CATEGORIES = ("dark", "brown", "tan", "intermediate", "light", "very light")
ITA_EDGES = (-np.inf, -30, 10, 28, 41, 55, np.inf)  # degrees, of these

_SIDE, _SIDE_OF_COLOUR, _COLOUR = 12, 8, 1.75  # colour is coarser, as JPEG keeps it, and counts for more
_OPPONENT = np.array([[0.299, 0.587, 0.114], [1, -1, 0], [0, 1, -1]], np.float32).T
_U, _V = np.mgrid[:_SIDE, :_SIDE]
_LOW = (_U + _V < _SIDE) & (_U + _V > 0)
_FINER = np.where(_LOW, np.hypot(_U, _V) ** 0.5, 0).astype(np.float32)  # pictures differ more in what is finer
_WEIGHT = np.stack([_FINER, *[_COLOUR * _FINER * (_U + _V < _SIDE_OF_COLOUR)] * 2]).astype(np.float32)
_PARITIES = [_LOW & (np.reshape(odd, (2, 1, 1)) == (_U % 2, _V % 2)).all(0) for odd in np.ndindex(2, 2)]


def _planes(images: np.ndarray, balanced: bool, at_once: int = 500) -> Iterator[np.ndarray]:
    """Lightness and two opponent colours, float32 (b, 3, h, w), of uint8 (n, h, w, 3), some images at a time.

    balanced: each band is first brought to the mean 128 (von Kries), which undoes exposure and white balance.
    """
    for start in range(0, len(images), at_once):
        block = images[start : start + at_once].astype(np.float32)
        if balanced:
            block *= 128 / np.maximum(block.mean(axis=(1, 2), keepdims=True), 32)
        yield np.moveaxis(block @ _OPPONENT, -1, 1)


def fingerprint(images: np.ndarray) -> np.ndarray:
    """What stays of a picture however it is compressed, exposed, balanced or scaled a little: float32 (n, 3, 12, 12).

    images: uint8 (n, h, w, 3), at least 12 px. The low frequencies of the discrete cosine transform, as in the DCT hash
    (Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010), but of colours too, and not cut
    to bits; of length 1, or 0 where there is no picture. A mirrored picture has the odd coefficients' signs changed, a
    transposed one rows and columns exchanged.
    """
    h, w = images.shape[1:3]
    down, across = (fft.dct(np.eye(n, dtype=np.float32), axis=0, norm="ortho")[:_SIDE] for n in (h, w))
    prints = [down @ planes @ across.T * _WEIGHT / np.sqrt(h * w) for planes in _planes(images, balanced=True)]
    return _normed(np.concatenate([np.zeros((0, 3, _SIDE, _SIDE), np.float32), *prints]), FLAT)


def _normed(prints: np.ndarray, floor: float) -> np.ndarray:
    length = np.sqrt((prints**2).sum(axis=(1, 2, 3), keepdims=True))
    return np.where(length >= floor, prints / np.maximum(length, floor), 0)


def _centred(prints: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Fingerprints less what the pictures `of` have in common however turned: a round spot, dark corners."""
    mean = of.mean(axis=0) * ((_U % 2 == 0) & (_V % 2 == 0))
    common = (mean + mean.swapaxes(1, 2)) / 2
    return _normed(np.where(prints.any(axis=(1, 2, 3), keepdims=True), prints - common, 0), 1e-3)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Largest correlation of fingerprints over the eight turns and mirrorings: (n_a, n_b).

    Of a product's four parts by parity, mirroring changes signs only: the eight cost two products.
    """
    best = np.full((len(a), len(b)), -1, np.float32)
    for turned in (a, a.swapaxes(2, 3)):
        ee, eo, oe, oo = (turned[..., k].reshape(len(a), -1) @ b[..., k].reshape(len(b), -1).T for k in _PARITIES)
        for mirrored in (ee + oo + abs(eo + oe), ee - oo + abs(eo - oe)):
            np.maximum(best, mirrored, out=best)
    return best


def duplicates(
    cases: pd.DataFrame,
    images: np.ndarray,
    others: pd.DataFrame | None = None,
    other_images: np.ndarray | None = None,
    near: float = NEAR,
) -> pd.DataFrame:
    """Pairs of copies within a set, or between it and another (real and synthetic), the closest first.

    cases, others: tables with image_id and, where they have them, sha256, lesion_id, dx, split; images, other_images:
    their squares, uint8 (n, h, w, 3). Returns image_a, image_b, kind, distance, same_lesion, same_dx, same_split (False
    where one side has none) and splits ("test–train"; "" where unknown). kind "bytes": the same file, or the same
    pixels; distance is 0. kind "perceptual": at most `near`, which is 1 - the correlation of `fingerprint`s, less what
    all of `cases` share, in the best of the eight turns and mirrorings.
    """
    within = others is None
    others, other_images = (cases, images) if within else (others, other_images)
    pairs = [_identical(cases, images, others, other_images)]
    prints = fingerprint(images)
    a, b = _centred(prints, prints), _centred(fingerprint(other_images), prints)
    for start in range(0, len(a), 500):
        first = start if within else 0
        distance = 1 - _correlation(a[start : start + 500], b[first:])
        i, j = np.nonzero(distance <= near)
        pairs.append(pd.DataFrame({"a": i + start, "b": j + first, "kind": "perceptual", "distance": distance[i, j]}))
    found = pd.concat(pairs).drop_duplicates(["a", "b"]).sort_values(["distance", "a", "b"], ignore_index=True)
    if within:
        found = found[found["a"] < found["b"]].reset_index(drop=True)
    left, right = cases.iloc[found["a"]].reset_index(drop=True), others.iloc[found["b"]].reset_index(drop=True)
    table = pd.DataFrame({"image_a": left["image_id"], "image_b": right["image_id"], "kind": found["kind"]})
    table["distance"] = found["distance"].astype(float).clip(lower=0)
    for column in ("lesion_id", "dx", "split"):
        known = column in left and column in right
        table[f"same_{column.removesuffix('_id')}"] = left[column] == right[column] if known else False
    parts = [side["split"] if "split" in side else [""] * len(side) for side in (left, right)]
    table["splits"] = ["–".join(sorted(filter(None, pair), key=SPLITS.index)) for pair in zip(*parts, strict=True)]
    return table


def _identical(*sides: pd.DataFrame | np.ndarray) -> pd.DataFrame:
    """Pairs of the same file or the same pixels; sides: cases, images, others, other_images."""
    keys = []
    for table, images in zip(sides[::2], sides[1::2], strict=True):
        pixels = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
        files = list(table["sha256"]) if "sha256" in table else []
        keys.append(pd.DataFrame({"key": pixels + files, "row": [*range(len(pixels)), *range(len(files))]}))
    pairs = keys[0].merge(keys[1], on="key")
    return pd.DataFrame({"a": pairs["row_x"], "b": pairs["row_y"], "kind": "bytes", "distance": 0.0})


def leakage(cases: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """What crosses the split, in columns check and found (texts): lesions, which must be 0, and copies.

    pairs: `duplicates(cases, images)`.
    """
    found = {"lesions in more than one split": splits.shared_lesions(cases)}
    for kind, name in (("bytes", "identical pairs"), ("perceptual", "pairs that look alike")):
        rows = pairs[pairs["kind"] == kind]
        for where, those in (("", rows), (" across splits", rows[~rows["same_split"]])):
            apart = (~those["same_lesion"]).sum()
            found[f"{name}{where} (of these, of different lesions)"] = f"{len(those)} ({apart})"
    return pd.DataFrame({"check": list(found), "found": [str(value) for value in found.values()]})


def summary(
    cases: pd.DataFrame, pairs: pd.DataFrame, doubts: pd.DataFrame, tone: "ToneAssociation | None" = None
) -> pd.DataFrame:
    """The audit in one table, check and found (texts): `leakage`, the `flags` of cases, and what was found below."""
    named = {"is_empty": "empty pictures", "is_blurred": "blurred pictures", "has_hair": "hairy pictures",
             "has_ruler": "pictures with a ruler"}  # fmt: skip
    found = {name: cases[flag].sum() for flag, name in named.items()} | {"labels doubted": doubts["flagged"].sum()}
    found = {name: f"{n} ({n / len(cases):.1%})" for name, n in found.items()}
    if tone:
        strength = interval(*tone.epsilon2)
        found["diagnosis tied to skin tone, epsilon squared [95 % interval]"] = f"{strength}, p = {tone.p:.3g}"
    return pd.concat(
        [leakage(cases, pairs), pd.DataFrame(found.items(), columns=["check", "found"])], ignore_index=True
    )


def cheap_features(images: np.ndarray, measurements: pd.DataFrame) -> pd.DataFrame:
    """What a linear model needs to doubt a label: measurements, colours, and how coarse the structures are.

    images: uint8 (n, h, w, 3); measurements: their rows of `schemas.MEASUREMENTS`, whose index is kept. Colours are
    means and standard deviations of lightness and opponent colours, and means of the central half; coarseness is the
    logarithm of the energy in twelve rings of the cosine transform of the central three quarters.
    """
    h, w = images.shape[1:3]
    centre, spot = ((..., *(np.s_[n // part : n - n // part] for n in (h, w))) for part in (8, 4))
    frequency = np.hypot(*np.ogrid[: h - 2 * (h // 8), : w - 2 * (w // 8)]).ravel()
    rings = np.eye(14, dtype=np.float32)[np.digitize(frequency, np.geomspace(1, 0.75 * max(h, w), 13))][:, 1:13]
    pixels = []
    for planes in _planes(images, balanced=False):
        energy = fft.dctn(planes[centre], axes=(2, 3), norm="ortho").reshape(len(planes), 3, -1) ** 2 @ rings
        parts = planes.mean((2, 3)), planes.std((2, 3)), planes[spot].mean((2, 3)), *np.moveaxis(np.log1p(energy), 1, 0)
        pixels.append(np.hstack(parts))
    table = pd.DataFrame(np.vstack(pixels), measurements.index).add_prefix("pixels_")
    return measurements.drop(columns="image_id").join(table)


def suspect_labels(features: pd.DataFrame, dx: Sequence[str], groups: Sequence[str], seed: int) -> pd.DataFrame:
    """Which labels a model that has not seen them doubts: dx, self_confidence (0..1), suggested, flagged, per row.

    Confident learning (Northcutt, Jiang, Chuang, JAIR 70, 2021): self_confidence is the probability of the given dx,
    suggested the likeliest of the dx whose probability reaches its own mean over the rows given it, and a label is
    flagged when that is another. Probabilities are those of linear discriminant analysis (shrunk after Ledoit, Wolf
    2004), out of up to five folds by group (lesion_id), and the mean over a group's rows.
    features: numbers, NaN allowed (n, p), e.g. `cheap_features`; dx: one per group. Raises ValueError for a dx with
    one group only.
    """
    table = pd.DataFrame({"dx": np.asarray(dx), "group": np.asarray(groups)}, features.index)
    lesions = table.drop_duplicates("group").set_index("group")["dx"]
    counts = lesions.value_counts()
    if counts.iloc[-1] < 2:
        raise ValueError(f"dx {counts.index[-1]!r} has one lesion: no model that has not seen it can know it")
    p = pd.DataFrame(0.0, features.index, sorted(counts.index))
    folds = StratifiedKFold(min(5, counts.iloc[-1]), shuffle=True, random_state=seed % 2**32)
    for _, out in folds.split(lesions, lesions):
        left_out = table["group"].isin(lesions.index[out])
        model = make_pipeline(
            SimpleImputer(strategy="median", keep_empty_features=True),
            StandardScaler(),
            LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
        )
        model.fit(features[~left_out], table["dx"][~left_out])
        p.loc[left_out, model.classes_] = model.predict_proba(features[left_out])
    p = p.groupby(table["group"]).transform("mean")
    given = pd.get_dummies(table["dx"])[list(p)].astype(bool)
    confident = p.where(p >= p.where(given).mean(), -1)
    suggested = confident.idxmax(axis=1).where(confident.max(axis=1) >= 0, table["dx"])
    return table[["dx"]].assign(
        self_confidence=p.where(given).max(axis=1), suggested=suggested, flagged=suggested != table["dx"]
    )


class ToneAssociation(NamedTuple):
    """How far dx is tied to tone over n lesions: epsilon squared, p of no tie; lesions, median, quartiles per dx."""

    epsilon2: Interval
    p: float
    n: int
    medians: pd.DataFrame


def tone_association(cases: pd.DataFrame, tone: str = "ita", n_resamples: int = 1000, seed: int = 0) -> ToneAssociation:
    """Is the diagnosis tied to skin tone? The share of the variance of tone's ranks that dx explains, over lesions.

    tone: a column of cases, NaN unknown (ita; true_fitzpatrick on the phantom); a lesion has the median of its images.
    The share is H / (n - 1) of Kruskal & Wallis (JASA 1952) freed of what chance explains: epsilon squared (Kelley,
    PNAS 1935), 0 without association on average, 1 when tone decides. Its 95 % interval is the bootstrap's over
    lesions, less its bias; p comes from permuting dx. Raises ValueError unless two dx have a known tone.
    """
    known = cases.dropna(subset=tone).groupby("lesion_id").agg({"dx": "first", tone: "median"})
    codes, names = pd.factorize(known["dx"], sort=True)
    if len(names) < 2:
        raise ValueError(f"{tone} is known of {len(names)} dx; an association needs two")
    values, rng = known[tone].to_numpy(float), np.random.default_rng(seed)
    drawn = resample(known.index, n_resamples, seed)
    draws = np.array([_epsilon2(np.repeat(values, times), np.repeat(codes, times)) for times in drawn])
    permuted = np.array([_epsilon2(values, rng.permutation(codes)) for _ in range(n_resamples)])
    bias = draws[1:].mean() - draws[0]
    low, high = (np.quantile(draws[1:], (0.025, 0.975)) - bias).clip(0, 1)
    p = (1 + (permuted >= draws[0]).sum()) / (1 + n_resamples)
    of_dx = known.groupby("dx")[tone]
    medians = of_dx.agg(
        lesions="size", median="median", low=lambda v: v.quantile(0.25), high=lambda v: v.quantile(0.75)
    )
    return ToneAssociation(Interval(float(draws[0]), float(low), float(high)), float(p), len(known), medians)


def _epsilon2(values: np.ndarray, codes: np.ndarray) -> float:
    ranks = stats.rankdata(values)
    counts, sums = np.bincount(codes), np.bincount(codes, ranks)
    counts, sums = counts[counts > 0], sums[counts > 0]
    total = ((ranks - ranks.mean()) ** 2).sum()
    within = total - (counts * (sums / counts - ranks.mean()) ** 2).sum()
    return 1 - (within / (len(ranks) - len(counts))) / (total / (len(ranks) - 1)) if total else 0.0


def ita_category(ita: pd.Series) -> pd.Series:
    """ITA_CATEGORIES of angles in degrees: Del Bino, Bernerd, Br J Dermatol 169(s3), 2013."""
    return pd.cut(ita, ITA_EDGES, labels=ITA_CATEGORIES)


def ita_disagreement(cases: pd.DataFrame) -> pd.Series:
    """How far two methods agree on ITA (columns ita and ita_patches, degrees), over images where both have one.

    images; other_category (0..1, in another category of `ita_category`); mean_difference (ita_patches - ita) and
    low_limit, high_limit, between which 95 % of differences lie (Bland, Altman, Lancet 1986), degrees.
    """
    both = cases[["ita", "ita_patches"]].dropna()
    difference = both["ita_patches"] - both["ita"]
    mean, spread = difference.mean(), 1.96 * difference.std()
    other = ita_category(both["ita"]).astype(str) != ita_category(both["ita_patches"]).astype(str)
    found = {"images": len(both), "other_category": other.mean(), "mean_difference": mean}
    return pd.Series(found | {"low_limit": mean - spread, "high_limit": mean + spread})


def entropy_filter(cases: pd.DataFrame, thresholds: Sequence[float]) -> pd.DataFrame:
    """How many images of each dx and of all have at least so much entropy: counts, one row per threshold (bits)."""
    kept = {float(bits): cases.loc[cases["entropy"] >= bits, "dx"].value_counts() for bits in thresholds}
    table = pd.DataFrame(kept, [dx for dx in DX if (cases["dx"] == dx).any()]).T.fillna(0).astype(int)
    return table.assign(all=table.sum(axis=1)).rename_axis("bits")


def leave_out_flat(
    cases: pd.DataFrame, measurements: pd.DataFrame, quarantine: pd.DataFrame, min_entropy: float
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The three tables with train images of less entropy (bits) moved to quarantine; val and test stay as they are.

    Raises DataError where no train image of a dx would be left.
    """
    flat = (cases["split"] == "train") & (cases["entropy"] < min_entropy)
    gone = set(cases["dx"]) - set(cases.loc[(cases["split"] == "train") & ~flat, "dx"])
    if flat.any() and gone:
        raise DataError(f"01_prep.min_entropy {min_entropy} bits leaves no train image of {min(gone)!r}; lower it")
    reason = "entropy " + cases["entropy"].map("{:.2f}".format) + f" bits is below min_entropy {min_entropy}"
    out = cases[["image_id"]].assign(file=cases["path"], row=0, stage="image", reason=reason)[flat]
    kept = (table[~flat].reset_index(drop=True) for table in (cases, measurements))
    return *kept, pd.concat([quarantine, out], ignore_index=True)


def flags(cases: pd.DataFrame) -> pd.DataFrame:
    """What stands out of a picture: is_empty, is_blurred, has_hair, has_ruler, bool, with the index of cases.

    is_empty: entropy below EMPTY bits. is_blurred: log sharpness lies BLURRED robust standard deviations below the
    median, both taken over pictures that are not empty; the deviation is 1.4826 x the median distance of those below
    the median, for hair and rulers only reach upwards. has_hair: hair covers HAIRY of the picture or more. has_ruler:
    RULED ticks or more stand in a row. Descriptive: nothing is left out for a flag, and ridges of the palm count as
    ticks too.
    """
    empty = cases["entropy"] < EMPTY
    sharpness = np.log(cases["sharpness"].clip(lower=1e-3))
    median = sharpness[~empty].median()
    below = (median - sharpness)[~empty & (sharpness < median)]
    return pd.DataFrame(
        {
            "is_empty": empty,
            "is_blurred": ~empty & (median - sharpness > BLURRED * 1.4826 * below.median()),
            "has_hair": cases["hair"] >= HAIRY,
            "has_ruler": cases["ruler"] >= RULED,
        }
    )


def thumbnails(images: np.ndarray, rows: object = None) -> np.ndarray:
    """Pictures of THUMBNAIL px at most, uint8, for `duplicates` and `cheap_features`, which need no more.

    images: uint8 (n, s, s, 3). rows: not used; so it fits `Run.in_parts`.
    """
    if images.shape[1] <= THUMBNAIL:
        return images
    return np.stack([square(Image.fromarray(image), THUMBNAIL, Image.Resampling.BOX) for image in images])
