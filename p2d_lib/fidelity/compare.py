"""Features of every set and every control, and the measures between each and the real test images."""

import json
from collections.abc import Callable, Mapping
from itertools import product

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from p2d_lib import images as pictures
from p2d_lib.fidelity.controls import CONTROLS, Control
from p2d_lib.fidelity.measures import ALL, MEASURES, coordinates, of_group, values
from p2d_lib.fidelity.sets import FLOOR, REFERENCE, Sets
from p2d_lib.instruments.jackknife import jackknife
from p2d_lib.run import Run
from p2d_lib.seeds import derive

BY_CLASS = ("adapter", "base", FLOOR)  # the sets that are also compared class by class


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
    run: Run,
    chosen: Sets,
    extractor: Callable[[np.ndarray], np.ndarray],
    px: int,
    seed: int,
    controls: Mapping[str, Control] = CONTROLS,
) -> dict[str, np.ndarray]:
    """Features (n, d) of every set and, under their names, of the controls, which are made of the train images.

    extractor: uint8 (b, px, px, 3) -> (b, d), of a network or of the pixels. px: images are reduced to this side before
    anything else. Memory holds 512 images at a time.
    """
    sources = {name: (table, None) for name, table in chosen.tables.items()}
    sources |= {name: (chosen.tables[FLOOR], control) for name, control in controls.items()}
    result = {}
    for name, (table, control) in tqdm(sources.items(), desc="features", unit="set", mininterval=1):
        result[name] = of_set(run, name, table, control, extractor, seed, px)
    return result


def of_set(
    run: Run,
    name: str,
    table: pd.DataFrame,
    control: Control | None,
    measure: Callable[[np.ndarray], np.ndarray],
    seed: int,
    px: int | None = None,
) -> np.ndarray:
    """measure(images) (n, d) of a set's images, first reduced to px, or of what a control makes of them.

    A control's chance depends on seed, its name and the first image of a part.
    """
    parts = []
    for images, rows in run.parts(table):
        images = reduced(images, px) if px else images
        if control:
            images = control(images, derive(seed, name, rows["image_id"].iloc[0]))
        parts.append(measure(images))
    return np.concatenate(parts)


def of_real(run: Run, splits: Sets, extractor: Callable[[np.ndarray], np.ndarray]) -> dict[str, np.ndarray]:
    """Features (n, d) of splits of real images as they are; {} where no class has images in all of them."""
    tables = splits.tables if len(splits.dx) else {}
    return {name: run.in_parts(table, extractor) for name, table in tables.items()}


def reduced(images: np.ndarray, px: int) -> np.ndarray:
    """uint8 (n, s, s, 3) as (n, px, px, 3), Lanczos; the images themselves where they have that side."""
    if images.shape[1] == px:
        return images
    return np.stack([np.asarray(pictures.square(Image.fromarray(image), px)) for image in images])


def measured(features: Mapping[str, Mapping[str, np.ndarray]], dx: np.ndarray, min_n: int) -> pd.DataFrame:
    """Every measure of every set beside the real test images, by each extractor, with its 95 % jackknife interval.

    features: by extractor and set, (n, d); row i of all sets is of class dx[i]. Index extractor (as given), set, dx
    ("all": classes pooled; single classes of BY_CLASS alone) and metric; columns n, estimate, low, high. NaN where a
    class has fewer than min_n images, or fewer than the interval of a measure needs, so that no number is read.
    """
    rows = []
    for (extractor, of_extractor), group in product(features.items(), (*dict.fromkeys(dx), ALL)):
        members, names = np.flatnonzero((dx == group) | (group == ALL)), of_group(group)
        enough = len(members) >= (min_n if group != ALL else 2)
        for name in (name for name in of_extractor if name in BY_CLASS or (group == ALL and name != REFERENCE)):
            pair = of_extractor[REFERENCE][members], of_extractor[name][members]
            estimates = _estimates(*pair, names, dx[members]) if enough else np.full((len(names), 3), np.nan)
            rows += [
                (extractor, name, group, metric, len(members), *row.clip(MEASURES[metric].low, MEASURES[metric].high))
                for metric, row in zip(names, estimates, strict=True)
            ]
    columns = ["extractor", "set", "dx", "metric", "n", "estimate", "low", "high"]
    return pd.DataFrame(rows, columns=columns).set_index(["extractor", "set", "dx", "metric"])


def _estimates(real: np.ndarray, other: np.ndarray, names: tuple[str, ...], dx: np.ndarray) -> np.ndarray:
    """Estimate, low and high of each measure, (k, 3); NaN where one cannot be computed."""
    spanned = coordinates(real, other)

    def statistic(rows: np.ndarray) -> np.ndarray:
        return values((real[rows], other[rows]), (spanned[0][rows], spanned[1][rows]), names, dx[rows])

    estimates = jackknife(statistic, len(real))
    table = np.stack([estimates.estimate, estimates.low, estimates.high], axis=1)
    return np.where(np.isnan(table).any(axis=1, keepdims=True), np.nan, table)
