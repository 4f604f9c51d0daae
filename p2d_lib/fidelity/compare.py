"""Features of every set and every control, and the measures between each and the real test images."""

import json
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from p2d_lib import images as pictures
from p2d_lib.fidelity.controls import CONTROLS, SENSELESS
from p2d_lib.fidelity.sets import FLOOR, REFERENCE, Sets
from p2d_lib.instruments import distances, two_sample
from p2d_lib.instruments.jackknife import jackknife
from p2d_lib.run import Run
from p2d_lib.seeds import derive

ALL = "all"
BY_CLASS = ("frechet", "kid")
MEASURES = {  # of all classes pooled: whether less is better, and the score of sets that share nothing
    "frechet": (True, np.inf),
    "kid": (True, np.inf),
    "auc": (True, 1.0),
    "precision": (False, 0.0),
    "recall": (False, 0.0),
    "density": (False, 0.0),
    "coverage": (False, 0.0),
}
BOUNDS = dict.fromkeys(MEASURES, (0, 1)) | {"frechet": (0, np.inf), "density": (0, np.inf), "kid": (-np.inf, np.inf)}


def side(run: Run, chosen: Sets) -> int:
    """Pixels a side of the real images."""
    return run.images(chosen.tables[REFERENCE].head(1)).shape[1]


def common_side(run: Run, chosen: Sets) -> int:
    """Pixels a side of the smallest images that a generator makes.

    Baselines from scratch may learn smaller images than the real ones and are enlarged in 04. What an enlargement lacks
    would decide every comparison, so all sets are reduced to this side before they are compared with baselines.
    """
    sides = [side(run, chosen)]
    for name in chosen.generators:
        record = run.path("baselines") / name / "baseline.json"
        sides += [json.loads(record.read_text())["side"]] if record.exists() else []
    return min(sides)


def features(
    run: Run, chosen: Sets, extractor: Callable[[np.ndarray], np.ndarray], px: int, seed: int
) -> dict[str, np.ndarray]:
    """Features (n, d) of every set and, under their names, of the controls, which are made of the train images.

    extractor: uint8 (b, px, px, 3) -> (b, d). px: images are reduced to this side before anything else. Memory holds
    512 images at a time.
    """
    sources = {name: (table, None) for name, table in chosen.tables.items()}
    sources |= {name: (chosen.tables[FLOOR], control) for name, control in CONTROLS.items()}
    result = {}
    for name, (table, control) in tqdm(sources.items(), desc="features", unit="set", mininterval=1):

        def embed(images: np.ndarray, rows: pd.DataFrame, name=name, control=control) -> np.ndarray:
            images = reduced(images, px)
            if control:
                images = control(images, derive(seed, name, rows["image_id"].iloc[0]))
            return extractor(images)

        result[name] = run.in_parts(table, embed)
    return result


def of_real(run: Run, splits: Sets, extractor: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
    """Features (n, d) of splits of real images as they are; {} where no class has images in all of them."""
    tables = splits.tables if len(splits.dx) else {}
    return {name: run.in_parts(table, lambda images, _: extractor(images)) for name, table in tables.items()}


def reduced(images: np.ndarray, px: int) -> np.ndarray:
    """uint8 (n, s, s, 3) as (n, px, px, 3), Lanczos; the images themselves where they have that side."""
    if images.shape[1] == px:
        return images
    return np.stack([np.asarray(pictures.square(Image.fromarray(image), px)) for image in images])


def measured(features: Mapping[str, np.ndarray], dx: np.ndarray, min_n: int) -> pd.DataFrame:
    """Every measure of every set beside the real test images, with its 95 % jackknife interval.

    features: (n, d) by set, row i of all sets of class dx[i] (n,). Index set, dx ("all": classes pooled) and metric;
    columns n, estimate, low, high. Classes have BY_CLASS alone; below min_n images NaN, so that no number is read.
    """
    rows = []
    for name in features:
        if name == REFERENCE:
            continue
        for group in (*dict.fromkeys(dx), ALL):
            members = np.flatnonzero((dx == group) | (group == ALL))
            metrics = tuple(MEASURES) if group == ALL else BY_CLASS
            values = np.full((3, len(metrics)), np.nan)
            if len(members) >= (min_n if group != ALL else 2):
                pair = features[REFERENCE][members], features[name][members]
                values = np.stack(
                    jackknife(lambda rows, pair=pair, m=metrics: _values(*pair, rows, m), len(members))[:3]
                )
            rows += [
                (name, group, metric, len(members), *values[:, k].clip(*BOUNDS[metric]))
                for k, metric in enumerate(metrics)
            ]
    columns = ["set", "dx", "metric", "n", "estimate", "low", "high"]
    return pd.DataFrame(rows, columns=columns).set_index(["set", "dx", "metric"]).sort_index()


def _values(real: np.ndarray, other: np.ndarray, rows: np.ndarray, metrics: tuple[str, ...]) -> np.ndarray:
    real, other = real[rows], other[rows]
    values = {"frechet": distances.frechet(real, other), "kid": distances.kid(real, other)} if len(rows) > 1 else {}
    if metrics != BY_CLASS and len(rows) > distances.NEIGHBOURS:
        values |= distances.prdc(real, other)
    if metrics != BY_CLASS and len(rows) >= 2 * two_sample.FOLDS:
        values["auc"] = two_sample.auc(real, other)
    return np.array([values.get(metric, np.nan) for metric in metrics])


def misled(table: pd.DataFrame) -> dict[str, tuple[str, float]]:
    """Measures that rate a senseless control as good, with the control that misleads each most and its score.

    table: of `measured`. Good is half the merit of real images of other lesions or more; merit runs from 0, the score
    of sets that share nothing, to 1, the best score. Such a measure is no evidence about a generator in these features.
    """
    scores = table["estimate"].xs(ALL, level="dx").unstack("metric")
    result = {}
    for metric, (less_is_better, worst) in MEASURES.items():
        real = scores.at[FLOOR, metric]
        controls = scores.loc[list(SENSELESS), metric]
        if less_is_better and np.isinf(worst):  # a distance: merit is inverse to it
            merit = max(real, 0.0) / controls.clip(lower=1e-12)
        elif less_is_better:
            merit = (worst - controls) / (worst - real)
        else:
            merit = controls / real
        if merit.max() >= 0.5:
            result[metric] = (str(merit.idxmax()), float(controls[merit.idxmax()]))
    return result
