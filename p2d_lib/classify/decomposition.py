"""What the gain of synthetic images is made of, and what the published protocol adds to it.

Each effect is a paired difference of two arms that differ in one thing: pixels (mixed − real+replay), balancing
(real+replay − real), schedule (pretrain − mixed), curriculum (curriculum − mixed) and leak (published − mixed). A
classifier of `published` has been trained on a part of the test split; the leak is read on the test images that it has
not been trained on, where mixed reads the same ones. Its train images are also more, as the pool holds val and test.
"""

import numpy as np
import pandas as pd

from p2d_lib.classify import comparison
from p2d_lib.classify.comparison import PRIMARY
from p2d_lib.instruments import intervals, scores
from p2d_lib.report.tables import interval
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX

EFFECTS = {
    "pixels": ("mixed", "real+replay"),
    "balancing": ("real+replay", "real"),
    "schedule": ("pretrain", "mixed"),
    "curriculum": ("curriculum", "mixed"),
    "leak": ("published", "mixed"),
}
COLUMNS = ("effect", "first", "second", "images", "difference", "low", "high", "detectable")
SHOWN = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro-F1"}


def effects(
    readings: pd.DataFrame,
    cases: pd.DataFrame,
    seed: int,
    published: pd.DataFrame | None = None,
    n_resamples: int = 1000,
) -> pd.DataFrame:
    """One row per effect whose arms are there: COLUMNS, differences of the primary score in -1..1.

    readings, cases: as in `comparison.replicates`; published: the artefact "published_readings". images: read by both
    arms, per seed. low, high: 95 % interval over lesions and training seeds (`intervals.compare`). detectable:
    `intervals.minimal_detectable`, of a single test at 5 %.
    """
    of_arms = {arm: of[PRIMARY] for arm, of in comparison.replicates(readings, cases, seed, n_resamples).items()}
    n_images, rows = readings["image_id"].nunique(), []
    for effect, (first, second) in EFFECTS.items():
        n, pair = n_images, (of_arms.get(first), of_arms.get(second))
        if effect == "leak" and published is not None and len(published) and second in of_arms:
            n, pair = _leak(readings[readings["arm"] == second], published, cases, seed, n_resamples)
        if pair[0] is None or pair[1] is None:
            continue
        difference = intervals.compare(*pair)
        values = (effect, first, second, n, *difference[:3], intervals.minimal_detectable(*pair))
        rows.append(dict(zip(COLUMNS, values, strict=True)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def effects_table(of_sets: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """`effects` of the test split and of external sets as they are printed, in points (hundredths)."""
    rows = []
    for name, table in of_sets.items():
        for row in table.itertuples():
            points = interval(*(100 * value for value in (row.difference, row.low, row.high)), digits=1)
            names = {"set": name, "effect": row.effect, "comparison": f"{row.first} − {row.second}"}
            rows.append(
                {**names, "images": row.images, "difference (points)": points}
                | {"detectable, single test (points)": f"{100 * row.detectable:.1f}"}
            )
    return pd.DataFrame(rows)


def sentences(of_sets: dict[str, pd.DataFrame]) -> list[str]:
    """`effects` of the test split and of external sets, one sentence each; they announce nothing."""
    lines = []
    for name, table in of_sets.items():
        for row in table.itertuples():
            lines.append(
                f"{row.effect.capitalize()} ({row.first} − {row.second}, {row.images:,} images, {name}): "
                f"{100 * row.difference:+.1f} points [{100 * row.low:+.1f}, {100 * row.high:+.1f}]; "
                f"a single test detects from about {100 * row.detectable:.1f} points on (power 80 %)."
            )
    return lines


def protocols_table(
    readings: pd.DataFrame, published: pd.DataFrame, cases: pd.DataFrame, synthetic: pd.DataFrame
) -> pd.DataFrame:
    """The published protocol as published, and mixed by lesion: mean over training seeds [least, greatest].

    images: read per seed; synthetic: their share. A protocol that nobody was trained by has no row.
    """
    classes = pd.concat([cases, synthetic])[["image_id", "dx"]]
    rows = []
    for name, table in (("by lesion (mixed)", readings[readings["arm"] == "mixed"]), ("as published", published)):
        of_seeds = [_plain_scores(of_seed.merge(classes, on="image_id")) for _, of_seed in table.groupby("seed")]
        if not of_seeds:
            continue
        is_synthetic = ~table["image_id"].isin(cases["image_id"])
        row = {"protocol": name, "images": len(table) // len(of_seeds), "synthetic": f"{is_synthetic.mean():.0%}"}
        for score, words in SHOWN.items():
            values = [of[score] for of in of_seeds]
            row[words] = interval(np.mean(values), min(values), max(values))
        rows.append(row)
    return pd.DataFrame(rows)


def _plain_scores(table: pd.DataFrame) -> dict[str, float]:
    p, once = table[[f"p_{dx}" for dx in DX]], np.ones((1, len(table)))
    return {name: float(of[0]) for name, of in scores.resampled_scores(table["dx"], table["dx_read"], p, once).items()}


def _leak(
    by_lesion: pd.DataFrame, published: pd.DataFrame, cases: pd.DataFrame, seed: int, n_resamples: int
) -> tuple[int, tuple[np.ndarray, np.ndarray] | tuple[None, None]]:
    """Images per seed that both protocols read, and the replicates of both on them, (n_seeds, 1 + B) each.

    The lesions of all test images are resampled, so that the seeds, which read different ones, share their resamples.
    None where a seed of the published protocol reads no test image.
    """
    columns = cases[["image_id", "lesion_id", "dx"]]
    test = columns[columns["image_id"].isin(by_lesion["image_id"])]
    shared = {index: test["image_id"].isin(of["image_id"]).to_numpy() for index, of in published.groupby("seed")}
    if not all(both.any() for both in shared.values()):
        return 0, (None, None)
    weights = intervals.resample(test["lesion_id"], n_resamples, seed=derive(seed, "leak") % 2**32)
    pair = []
    for table in (published, by_lesion):
        of_seeds = [
            test[both].merge(table[table["seed"] == index], on="image_id", validate="one_to_one")
            for index, both in shared.items()
        ]
        pair.append(scores.scores_by_seed(of_seeds, [weights[:, both] for both in shared.values()])[PRIMARY])
    return round(np.mean([both.sum() for both in shared.values()])), tuple(pair)
