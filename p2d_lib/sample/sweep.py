"""The effect of guidance and denoising steps: the same prompts and noise at each of several settings.

Few images are sampled at each point, so the distance to real images is KID, which is 0 on average for equal laws at
any n. Simulated on the phantom with EfficientNet-Lite0 (4 images of each class, real images blurred more and more): KID
tells a blur of 0.6 px from one of 0.4 px in all of 150 replicates, and one of 0.4 px from none in 67 %; the Fréchet
distance, whose bias at this n is over twenty times its spread, calls a blur of 0.4 px better than none in 85 %; the AUC
is at its end for all generators.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import pandas as pd
import torch

from p2d_lib.instruments import distances
from p2d_lib.instruments.intervals import Difference
from p2d_lib.instruments.jackknife import jackknife
from p2d_lib.instruments.multiplicity import holm
from p2d_lib.models import classifiers, clip, sampling
from p2d_lib.vocabulary import DX

NOISE, FLOOR = "uniform noise", "real (train)"
Real = tuple[np.ndarray, np.ndarray]  # images, uint8 (m, s, s, 3), and their classes (m,)
REFERENCE = 20  # real images of each class, or as many as the rarest class has


def sweep(
    pipe, prompts: Sequence[str], seeds: Sequence[int], guidance: Sequence[float], steps: Sequence[int], **settings
) -> Iterator[tuple[dict, np.ndarray]]:
    """The same prompts and noise at each guidance scale and number of denoising steps.

    Yields {guidance, steps, seconds} and the images, uint8 (n, size, size, 3); seconds: per image. settings: of
    `sampling.sample`. Raises ValueError without prompts.
    """
    if not len(prompts):
        raise ValueError("a sweep needs prompts: an average over no images is none")
    n = settings.get("batch_size", 32)
    first = {"guidance_scale": float(guidance[0]), "num_inference_steps": 1}
    sampling.sample(pipe, prompts[:n], seeds[:n], **first, **settings)  # the first call takes longer: it warms up
    for scale, count in product(guidance, steps):
        started = time.perf_counter()
        sampled = sampling.sample(pipe, prompts, seeds, guidance_scale=scale, num_inference_steps=count, **settings)
        seconds = (time.perf_counter() - started) / len(prompts)
        yield {"guidance": float(scale), "steps": int(count), "seconds": seconds}, sampled


def balanced(cases: pd.DataFrame, per_class: int, seed: int) -> pd.DataFrame:
    """As many cases of each class as the rarest has lesions, at most per_class; one image of a lesion. Sorted by class,
    so that a jackknife leaves out of each class its share."""
    lesions = cases.sample(frac=1, random_state=seed % 2**32).drop_duplicates("lesion_id")
    chosen = lesions.groupby("dx").head(min(per_class, int(lesions["dx"].value_counts().min())))
    return chosen.sort_values("dx", kind="stable")


def further(
    reference: np.ndarray, floor: np.ndarray, features: np.ndarray, classes: Sequence[np.ndarray]
) -> Difference:
    """KID of features (n, d) to a reference (m, d), less that of the floor (k, d), other real images.

    classes: of reference, floor and features, the last two sorted. Interval (95 %) and p by `jackknife`, which leaves
    rows of features and floor out together; the reference stays, since both are compared with it. NaN where a class has
    fewer than three rows. Simulated with 28 images of 7 classes: where all follow one law, any of 8 sets that share the
    floor is called further after Holm's correction in 1 % of sweeps or fewer, so small differences are not shown.
    """

    def difference(rows: np.ndarray) -> np.ndarray:
        parts = [rows[rows < len(each)] for each in (floor, features)]
        of_floor, of_features = (
            distances.kid(reference, each[part], (classes[0], its_dx[part]))
            for each, its_dx, part in zip((floor, features), classes[1:], parts, strict=True)
        )
        return np.array([of_features - of_floor])

    return Difference(*(float(value[0]) for value in jackknife(difference, max(len(floor), len(features)))))


def points(
    sampled: Iterator[tuple[dict, np.ndarray]],
    rows: pd.DataFrame,
    reference: Real,
    floor: Real,
    extractor: Callable[[np.ndarray], np.ndarray],
    scout: classifiers.Classifier,
    aligner: clip.Clip,
    device: torch.device,
    seed: int,
) -> pd.DataFrame:
    """Each point of a sweep in numbers, real images and uniform noise by the same measures, as the ends of the scales.

    sampled: of `sweep`, an image for each of `rows` (dx, prompt) at each point. reference, floor: real images, uint8
    (m, s, s, 3), and their classes (m,): those that all are compared with, and others that show what real images get.
    extractor: an independent one. Columns images ("adapter", FLOOR or NOISE), n, guidance, steps, seconds (NaN for the
    ends), kid by the extractor with its 95 % jackknife interval over images (kid_low, kid_high), kid_scout by the
    scout's embeddings, class_read (share of images whose most probable class, by the scout, is the one asked for),
    alignment (mean cosine with the prompts); difference, low, high and p: of `further`, p by Holm over all rows. The
    columns after kid_high are NaN for FLOOR, which the scout has seen.
    """
    (real, real_dx), (others, others_dx), dx = reference, floor, rows["dx"].to_numpy()
    of_extractor, of_floor = extractor(real), extractor(others)
    of_scout = classifiers.predict(scout, real, device)["embedding"]

    def kid(features: np.ndarray, its_dx: np.ndarray) -> dict[str, float]:
        estimate = distances.kid_interval(of_extractor, features, (real_dx, its_dx))
        return {"n": len(features), **dict(zip(("kid", "kid_low", "kid_high"), estimate, strict=True))}

    def scores(pixels: np.ndarray) -> dict[str, float]:
        predictions, features = classifiers.predict(scout, pixels, device), extractor(pixels)
        tested = further(of_extractor, of_floor, features, (real_dx, others_dx, dx))
        return kid(features, dx) | {
            "kid_scout": distances.kid(of_scout, predictions["embedding"], (real_dx, dx)),
            "class_read": float((np.array(DX)[predictions["p"].argmax(1)] == dx).mean()),
            "alignment": float(clip.alignment(aligner, pixels, rows["prompt"].tolist()).mean()),
            **tested._asdict(),
        }

    records, shape = [], ()
    for point, pixels in sampled:
        records.append({"images": "adapter", **point, **scores(pixels)})
        shape = pixels.shape
    records.append({"images": FLOOR, **kid(of_floor, others_dx)})
    records.append({"images": NOISE, **scores(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))})
    return pd.DataFrame(records).assign(p=lambda table: holm(table["p"]))
