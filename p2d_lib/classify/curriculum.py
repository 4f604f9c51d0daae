"""The arm `curriculum`: a training in rounds, after each of which new images are sampled where val is misread.

It takes as many steps as every other arm, with the same initial weights, schedule and natural part of each batch as
`mixed`, and has as many synthetic images in all. It differs from mixed in which ones: the first round has a share of
those that 04 sampled, balanced over the classes. Then the network reads val, its errors choose the prompts of new
images (04's plan in its mode "curriculum"), and the next round shows old and new images equally often. So a class that
is misread gets more images. Val chooses images, test is not seen.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import f1_score

from p2d_lib.classify.image_sets import ImageSets
from p2d_lib.models import classifiers
from p2d_lib.models.class_batches import epochs, images_of_classes
from p2d_lib.run import Run
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX, FEATURES
from p2d_lib.words.choose import chosen

LOG = ("round", "step", "macro_f1", "dx", "n", "error", "sampled", "refused")


@dataclass(frozen=True)
class Curriculum:
    """How new images are chosen and made.

    errors: gives the errors on val, from the true and the read dx and the features of
    its images; plan: gives the rows of 7 x per_class images that such errors ask for, from per_class, seed and errors
    (of `sample.plan`: validation_errors, and make for the run's cases in the mode "curriculum"). sampler: samples these
    rows, see `AdapterSampler`. descriptions: the artefact, for the features of val.
    """

    errors: Callable[..., pd.DataFrame]
    plan: Callable[..., pd.DataFrame]
    sampler: Callable[[pd.DataFrame], pd.DataFrame]
    descriptions: pd.DataFrame


class Rounds:
    """What one training is shown: `pixels`, `labels` and `shown` change in place after each round.

    pixels: the images of `images` as `store` maps them; the places of synthetic images are overwritten in memory, for
    this training alone. shown: the rows that mixed shows, (steps, batch_size). rounds: 2 or more. name: of the
    training, for its images. `log` holds a table for each round from the second on, a row a class (LOG): macro_f1 on
    val before it, n images of val, their error, and how many images were sampled and, as copies, refused. Raises
    ValueError where there are too few synthetic images.
    """

    def __init__(
        self,
        curriculum: Curriculum,
        run: Run,
        images: ImageSets,
        pixels: np.memmap,
        shown: np.ndarray,
        *,
        rounds: int,
        seed: int,
        name: str,
    ):
        self.curriculum, self.run, self.images, self.seed, self.name = curriculum, run, images, seed, name
        self.pixels, self.labels = np.load(pixels.filename, mmap_mode="c"), images.labels.copy()
        self.shown, self.log = shown.copy(), []
        self.ends = np.linspace(0, len(shown), rounds + 1).round().astype(int)
        places = images.rows("synthetic")
        self.per_class = len(places) // (rounds * len(DX))
        if not self.per_class:
            raise ValueError(
                f"a curriculum of {rounds} rounds needs {rounds * len(DX)} accepted synthetic "
                f"images or more, and there are {len(places)}: raise 04_sample.per_class or lower "
                "06_classify.curriculum_rounds"
            )
        rank = pd.Series(self.labels[places]).groupby(self.labels[places]).cumcount().to_numpy()
        self.filled, self.free = places[rank < self.per_class], places[rank >= self.per_class]
        self.synthetic = ~np.isin(self.shown, images.rows("train"))
        first = self.synthetic & (np.arange(len(shown)) < self.ends[1])[:, None]
        at = images_of_classes(self.labels[self.filled], self.labels[self.shown[first]], derive(seed, "first round"))
        self.shown[first] = self.filled[at]

    def after(self, step: int, model: classifiers.Classifier, device: torch.device) -> None:
        """To be called after each step (from 0) of the training: at the end of a round it fills the next one."""
        (over,) = np.nonzero(self.ends[1:-1] == step + 1)
        if len(over):
            errors, macro_f1 = self._read_val(model, device)
            self._fill(int(over[0]) + 1, errors, macro_f1)
            model.train()

    def _read_val(self, model: classifiers.Classifier, device: torch.device) -> tuple[pd.DataFrame, float]:
        val = self.images.slice("val")
        names, dx = self.images.table["image_id"][val], self.images.table["dx"][val].to_numpy(object)
        read = np.array(DX, object)[classifiers.predict(model, self.pixels[val], device)["p"].argmax(1)]
        features = chosen(self.curriculum.descriptions).set_index("image_id")[list(FEATURES)].reindex(names)
        macro_f1 = f1_score(dx, read, labels=np.unique(dx), average="macro", zero_division=0)
        return self.curriculum.errors(dx, read, features.reset_index(drop=True)), float(macro_f1)

    def _fill(self, number: int, errors: pd.DataFrame, macro_f1: float) -> None:
        """Samples the images of a round and puts them, with all earlier ones, into its batches."""
        plan = self.curriculum.plan(per_class=self.per_class, seed=derive(self.seed, "round", number), errors=errors)
        sampled = self.curriculum.sampler(plan.assign(image_id=f"{self.name}-{number}_" + plan["image_id"]))
        kept = sampled[sampled["accepted"]].head(len(self.free))
        new, self.free = self.free[: len(kept)], self.free[len(kept) :]
        if len(kept):
            self.pixels[new], self.labels[new] = self.run.images(kept), kept["dx"].map(DX.index)
        self.filled = np.concatenate([self.filled, new])
        within = self.synthetic & (np.arange(len(self.shown)) >= self.ends[number])[:, None]
        order = epochs(len(self.filled), 1, int(within.sum()), derive(self.seed, "round", number, "order"))[0]
        self.shown[within] = self.filled[order]
        of_class = errors[errors["feature"] == ""].set_index("dx").reindex(DX)
        n_sampled, n_kept = (rows["dx"].value_counts().reindex(DX, fill_value=0) for rows in (sampled, kept))
        table = pd.DataFrame(
            {"n": of_class["n"].fillna(0).astype(int), "error": of_class["error"]}
            | {"sampled": n_sampled, "refused": n_sampled - n_kept},
        ).rename_axis("dx")
        about = {"round": number, "step": int(self.ends[number]), "macro_f1": macro_f1}
        self.log.append(table.reset_index().assign(**about)[list(LOG)])
