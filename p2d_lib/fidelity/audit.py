"""The memorisation audit: which synthetic images show a train lesion, how sure that is, and whether the set passes.

Everything is measured against lesions that the generator has not seen: they set the threshold, show how often an
innocent image is refused, and are the control of every rate. Similarity alone is no verdict on privacy (Delphi
consensus, arXiv:2503.04980), so membership and attribute disclosure are measured too.
"""

import bisect
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from p2d_lib.instruments import alterations, copies, disclosure, multiplicity, reidentification
from p2d_lib.instruments.conformal import to_mix
from p2d_lib.instruments.rates import exact_interval
from p2d_lib.instruments.reidentification import OperatingPoint, Originals
from p2d_lib.run import Run
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX

PLANTED = 30  # copies of each kind, and at most LIMIT other photographs, by which recall is measured
RATE = 0.01  # of false alarms that is wanted
LIMIT = 1000  # real images, and synthetic ones, at most, in a measurement: more make no rate much more precise
EMPTY = np.zeros((0, copies.THUMBNAIL, copies.THUMBNAIL, 3), np.uint8)
TRIES, POWER = 10, 0.8  # simulated sets in which a number of copies is planted; the share of them that is to be refused
TESTS = ("memorised", "worst case", "membership")  # the hypotheses on the adapter's set
HELD_OUT, OTHER_PHOTOGRAPH = "real (val and test)", "another photograph of a lesion"


class Detector(NamedTuple):
    """The search among train images with its operating point.

    train: rows of cases, in the order of `originals`. held_out: one row of cases for each lesion of val and test, so
    that rows are independent, with score, alarm (bool, refused at the threshold that the other half sets) and
    weight (for the classes of the adapter's images). recall: by kind of copy, as `rate_of`. scores: of the positives,
    by kind, for the ROC curve.
    """

    originals: Originals
    train: pd.DataFrame
    point: OperatingPoint
    held_out: pd.DataFrame
    recall: pd.DataFrame
    scores: dict[str, np.ndarray]


def detector(run: Run, cases: pd.DataFrame, synthetic: pd.DataFrame, seed: int) -> Detector:
    """The detector of a run: real images of val and test set its threshold, planted copies show its recall.

    The real images are weighted to the classes of the adapter's images among synthetic, for a false-alarm rate of RATE.
    Other photographs: of each held-out lesion with two images or more, one is put among the originals, another is
    searched for.
    """
    train, held_out = cases[cases["split"] == "train"], cases[cases["split"] != "train"]
    pixels = run.in_parts(train, copies.thumbnails)
    originals = Originals(pixels, train["lesion_id"])
    held_out = held_out.sample(min(len(held_out), 3 * LIMIT), random_state=seed).sort_index()
    real = run.in_parts(held_out, copies.thumbnails)
    innocent = ~held_out["lesion_id"].duplicated().to_numpy()
    score = originals.search(real[innocent], "real images")["score"].to_numpy()
    weights = to_mix(held_out["dx"][innocent], synthetic.loc[synthetic["generator"] == "adapter", "dx"])
    point = reidentification.operating_point(score, RATE, weights)
    alarm = reidentification.cross_fitted_alarms(score, held_out["lesion_id"][innocent], RATE, seed, weights)
    rows = np.random.default_rng(derive(seed, "planted")).permutation(len(pixels))[:PLANTED]
    planted = [alterations.altered(pixels[rows], name, seed) for name in alterations.ALTERATIONS]
    scores = originals.search(np.concatenate(planted), "planted copies")["score"].to_numpy()
    by_kind = dict(zip(alterations.ALTERATIONS, scores.reshape(len(planted), -1), strict=True))
    by_kind |= {OTHER_PHOTOGRAPH: _other_photographs(pixels, train, real, held_out)}
    recall = pd.DataFrame({name: rate_of(values >= point.threshold) for name, values in by_kind.items()}).T
    judged = held_out[innocent].assign(score=score, alarm=alarm, weight=weights)
    return Detector(originals, train, point, judged, recall, by_kind)


def _other_photographs(pixels: np.ndarray, train: pd.DataFrame, real: np.ndarray, held_out: pd.DataFrame) -> np.ndarray:
    """Scores of held-out images whose lesion is among the originals by another image; 0: another is nearer."""
    views = pd.Series(np.arange(len(held_out))).groupby(held_out["lesion_id"].to_numpy())
    pairs = np.array([rows.to_numpy()[:2] for _, rows in views if len(rows) > 1][:LIMIT], int).reshape(-1, 2)
    if not len(pairs):
        return np.zeros(0)
    lesions = held_out["lesion_id"].to_numpy()
    known = np.concatenate([train["lesion_id"].to_numpy(), lesions[pairs[:, 0]]])
    nearest = Originals(np.concatenate([pixels, real[pairs[:, 0]]]), known).search(
        real[pairs[:, 1]], "other photographs"
    )
    return np.where(known[nearest["original"]] == lesions[pairs[:, 1]], nearest["score"], 0.0)


def false_alarms(detector: Detector) -> float:
    """The share of real held-out images that is refused where their classes are mixed as the adapter's are; 0..1."""
    weight = detector.held_out["weight"]
    return float(weight[detector.held_out["alarm"]].sum() / max(weight.sum(), 1e-12))


def recall_of_copies(detector: Detector) -> float:
    """The share of planted copies that the detector finds, all kinds of alteration together."""
    return float(detector.recall.loc[list(alterations.ALTERATIONS), "rate"].mean())


def rate_of(flags: np.ndarray) -> dict[str, float]:
    """n, k, rate and the 95 % `exact_interval` (low, high) of flags (n,), bool."""
    n, k = len(flags), int(np.sum(flags))
    low, high = exact_interval(k, n)
    return {"n": n, "k": k, "rate": k / n if n else np.nan, "low": low, "high": high}


def judge(run: Run, synthetic: pd.DataFrame, detector: Detector) -> pd.DataFrame:
    """The artefact `memorisation`: a verdict on each synthetic image, accepted or not."""
    nearest = detector.originals.search(run.in_parts(synthetic, copies.thumbnails), "synthetic images")
    memorised = nearest["score"].to_numpy() >= detector.point.threshold
    cases = detector.train["image_id"].to_numpy()[nearest["original"]]
    return pd.DataFrame(
        {
            "image_id": synthetic["image_id"].to_numpy(),
            "sha256": synthetic["sha256"].to_numpy(),
            "generator": synthetic["generator"].to_numpy(),
            "score": nearest["score"],
            "distance": nearest["distance"].clip(0, 2),
            "nearest_case": cases,
            "threshold": detector.point.threshold,
            "false_alarm_rate": detector.point.nominal,
            "memorised": memorised,
            "reason": [
                f"shows the lesion of {case}" if is_so else "" for case, is_so in zip(cases, memorised, strict=True)
            ],
        }
    )


def rates(verdicts: pd.DataFrame, detector: Detector) -> pd.DataFrame:
    """How often images are called memorised: a row for each generator and for HELD_OUT, columns of `counts`.

    verdicts: of `judge`, with dx.
    """
    table = {name: counts(part["memorised"], part["dx"]) for name, part in verdicts.groupby("generator", sort=False)}
    table[HELD_OUT] = counts(detector.held_out["alarm"], detector.held_out["dx"])
    return pd.DataFrame(table).T.rename_axis("images")


def counts(flags: pd.Series, dx: pd.Series) -> dict:
    """`rate_of` flags (n,), bool, and by_class: "df 2 of 48" of each class that has any; dx (n,)."""
    of_class = flags.groupby(dx.to_numpy()).agg(["sum", "size"]).reindex(DX).dropna().astype(int)
    parts = [f"{name} {row['sum']} of {row['size']}" for name, row in of_class.iterrows() if row["sum"]]
    return rate_of(flags.to_numpy()) | {"by_class": ", ".join(parts)}


def worst_cases(run: Run, table: pd.DataFrame, cases: pd.DataFrame, detector: Detector) -> pd.DataFrame:
    """For each prompt that was sampled several times, the most suspicious of its images.

    table: the artefact `worst_case`. Columns prompted_by, split (of that case), dx, suspicion (the largest over the
    prompt's images, each compared with the prompt's own case) and memorised (bool, at the detector's threshold).
    """
    prompted = table[["prompted_by"]].merge(cases, left_on="prompted_by", right_on="image_id", how="left")
    images, suspects = (
        (run.in_parts(part, copies.thumbnails) for part in (table, prompted)) if len(table) else (EMPTY, EMPTY)
    )
    suspicion = detector.originals.suspicion(images, suspects, prompted["lesion_id"], "several images a prompt")
    by_prompt = table.assign(suspicion=suspicion).groupby(["prompted_by", "split", "dx"], sort=False)["suspicion"]
    return by_prompt.max().reset_index().assign(memorised=lambda rows: rows["suspicion"] >= detector.point.threshold)


class Disclosure(NamedTuple):
    """What the adapter's images give away: membership, and by attribute what is inferred beyond the population."""

    membership: disclosure.Membership
    attributes: dict[str, disclosure.AttributeInference]


KNOWN = {  # attribute that an adversary infers -> attributes that the adversary knows beforehand
    "sex": ("dx", "age band", "localization"),
    "age band": ("dx", "sex", "localization"),
    "localization": ("dx", "sex", "age band"),
}


def disclosed(run: Run, cases: pd.DataFrame, synthetic: pd.DataFrame, seed: int) -> Disclosure:
    """What an adversary learns who holds a photograph and looks for the adapter's image that resembles it most.

    The adversary says "this record was in train" where such an image is very near, and guesses an attribute that the
    photograph does not show from the case whose description was that image's prompt.
    """
    of_adapter = synthetic[synthetic["generator"] == "adapter"]
    # rows are sorted by class, so the first LIMIT of a large set would be of few classes
    of_adapter = of_adapter.sample(min(len(of_adapter), LIMIT), random_state=derive(seed, "released") % 2**32)
    lesions = cases.drop_duplicates("lesion_id")
    fraction = float((lesions["split"] == "train").mean())
    is_train = (cases["split"] == "train").to_numpy()
    rows = disclosure.attack_set(is_train, cases["lesion_id"], fraction, derive(seed, "attack") % 2**32, LIMIT)
    attacked, is_train = cases.iloc[rows].reset_index(drop=True), is_train[rows]
    released = Originals(run.in_parts(of_adapter, copies.thumbnails), of_adapter["image_id"])
    nearest = released.search(run.in_parts(attacked, copies.thumbnails), "attacked records")
    member = disclosure.membership(-nearest["distance"].to_numpy(), is_train, seed)
    about = _attributes(cases).set_index(cases["image_id"].to_numpy())
    true = _attributes(attacked)
    guessed = about.loc[of_adapter["prompted_by"].to_numpy()[nearest["original"]]].reset_index(drop=True)
    inferred = {}
    for name, known in KNOWN.items():
        rows = (true[name] != "unknown").to_numpy()
        strata = true.loc[rows, list(known)].agg(" ".join, axis=1)
        try:
            inferred[name] = disclosure.attribute_inference(
                guessed.loc[rows, name], true.loc[rows, name], is_train[rows], strata, derive(seed, name) % 2**32
            )
        except ValueError:  # no stratum holds both sides: nothing can be said of this attribute
            continue
    return Disclosure(member, inferred)


def _attributes(cases: pd.DataFrame) -> pd.DataFrame:
    """dx, sex, age band (20 years) and localization as texts, "unknown" where they are."""
    band = (cases["age"] // 20 * 20).map(lambda low: "unknown" if np.isnan(low) else f"{low:.0f} to {low + 19:.0f}")
    known = cases[["dx", "sex", "localization"]].fillna("unknown").astype(str).replace("", "unknown")
    return known.assign(**{"age band": band.astype(str)})


def repeated(run: Run, cases: pd.DataFrame, synthetic: pd.DataFrame, seed: int) -> pd.DataFrame:
    """How many images of each generator, and of train at equal n of each class, repeat another of their set.

    Images repeat one another as `copies.duplicates` says. Of train one image of each lesion is taken, so that
    photographs of one lesion do not count. Index images (generators, and "real (train)"), columns of `rate_of`.
    """
    table, real = {}, cases[cases["split"] == "train"].sample(frac=1, random_state=seed).drop_duplicates("lesion_id")
    for name, part in synthetic.groupby("generator", sort=False):
        sizes = part["dx"].value_counts()
        same = pd.concat([real[real["dx"] == dx].head(n) for dx, n in sizes.items()])
        kept = pd.concat([part[part["dx"] == dx].head(n) for dx, n in same["dx"].value_counts().items()])
        table[name] = rate_of(_repeats(run, kept))
        if name == "adapter":
            table["real (train)"] = rate_of(_repeats(run, same))
    return pd.DataFrame(table).T.rename_axis("images")


def _repeats(run: Run, table: pd.DataFrame) -> np.ndarray:
    table = table.reset_index(drop=True)
    pairs = copies.duplicates(table, run.in_parts(table, copies.thumbnails))
    return table["image_id"].isin({*pairs["image_a"], *pairs["image_b"]}).to_numpy()


def set_tests(
    verdicts: pd.DataFrame, detector: Detector, worst: pd.DataFrame, given_away: Disclosure, seed: int
) -> pd.DataFrame:
    """The three hypotheses by which the adapter's set is judged, one-sided; columns test, p and holm.

    memorised: its images are refused more often than real ones of their classes would be
    (`reidentification.more_refused`; verdicts: of `judge`, with dx). worst case: train prompts lead back to their own
    case more than val prompts do (Mann and Whitney's test of the suspicion). membership: train records are nearer to
    the set than held-out ones. One of them suffices to refuse the set; Holm's correction keeps the rate at which
    innocent sets are refused at multiplicity.LEVEL.
    """
    of_set = verdicts[verdicts["generator"] == "adapter"]
    memorised = _more_refused(of_set["score"].to_numpy(), of_set["dx"], detector, derive(seed, "set"))
    suspicion = [worst.loc[worst["split"] == split, "suspicion"] for split in ("train", "val")]
    asked = all(len(values) for values in suspicion)
    repeated_asking = stats.mannwhitneyu(*suspicion, alternative="greater").pvalue if asked else np.nan
    p = [memorised, repeated_asking, given_away.membership.p]
    return pd.DataFrame({"test": TESTS, "p": p, "holm": multiplicity.holm(p)})


def least_share(verdicts: pd.DataFrame, detector: Detector, seed: int) -> float:
    """The smallest share of planted copies, 0..1, with which the adapter's set would be refused in POWER of tries.

    In each of TRIES, images of the set that are chosen at random get the scores of planted copies; the test
    "memorised" alone has to refuse, at the level that Holm's correction leaves for the smallest of all p. NaN where no
    share suffices. verdicts: of `judge`, with dx.
    """
    of_set, rng = verdicts[verdicts["generator"] == "adapter"], np.random.default_rng(derive(seed, "least share"))
    scores, dx = of_set["score"].to_numpy(), of_set["dx"]
    planted = np.concatenate([detector.scores[name] for name in alterations.ALTERATIONS])
    tries = [(rng.permutation(len(scores)), rng.choice(planted, len(scores))) for _ in range(TRIES)]

    def is_refused(n_copies: int) -> bool:
        p = []
        for k, (order, of_copies) in enumerate(tries):
            altered = scores.copy()
            altered[order[:n_copies]] = of_copies[:n_copies]
            p.append(_more_refused(altered, dx, detector, k, n_permutations=199))
        return np.mean(np.array(p) <= multiplicity.LEVEL / len(TESTS)) >= POWER

    numbers = range(len(scores) + 1)
    n_copies = bisect.bisect_left(numbers, True, key=is_refused)
    return n_copies / len(scores) if n_copies < len(numbers) else np.nan


def _more_refused(scores: np.ndarray, dx: pd.Series, detector: Detector, seed: int, **options) -> float:
    held_out = detector.held_out
    return reidentification.more_refused(
        scores, dx, held_out["score"].to_numpy(), held_out["dx"], RATE, seed, **options
    )
