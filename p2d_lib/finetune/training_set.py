"""What 03 trains on: images of the train split with their descriptions, and those of val beside them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from p2d_lib.finetune.latents import digest
from p2d_lib.image_store import store
from p2d_lib.run import ArtefactError, Run
from p2d_lib.vocabulary import DX, FEATURES
from p2d_lib.words.choose import chosen


@dataclass(frozen=True)
class Split:
    """Cases of one split, each with its prompt and feature scores, and their images in the same order."""

    cases: pd.DataFrame
    pixels: np.ndarray  # uint8 (n, size, size, 3), mapped from disk

    def __len__(self) -> int:
        return len(self.cases)

    @property
    def prompts(self) -> list[str]:
        return self.cases["prompt"].tolist()

    @property
    def labels(self) -> np.ndarray:
        """int (n,): places in `vocabulary.DX`."""
        return self.cases["dx"].map(DX.index).to_numpy()

    @property
    def features(self) -> np.ndarray:
        """float (n, 22) in 0..1, NaN where the describer does not know."""
        return self.cases[list(FEATURES)].to_numpy()

    @property
    def weights(self) -> np.ndarray:
        """float (n,): how often each image enters a training batch: 1 / square root of its class's number of images.

        So rare classes are learnt, but their few images are not memorised.
        """
        return self.cases["dx"].map(self.cases["dx"].value_counts() ** -0.5).to_numpy()

    def emphasis(self, factors: Mapping[str, float]) -> np.ndarray:
        """float (n,): how many times as often each image shall be trained on, by the features that its prompt names.

        factors: by feature. A denoiser that reads the prompt learns the same images of a prompt, only sooner: what is
        rare, thin and named, such as hair, is else the last thing that a small one learns. Images that show a feature
        which their prompt leaves out are not emphasised: that would change what such a prompt means.
        """
        times = np.ones(len(self))
        for feature, factor in factors.items():
            phrase = rf"\b{re.escape(FEATURES[feature].phrase)}\b"
            times[self.cases["prompt"].str.contains(phrase).to_numpy()] *= factor
        return times

    @property
    def examples(self) -> pd.DataFrame:
        """The first case of each class that the split has, indexed by dx, in the order of `vocabulary.DX`."""
        firsts = self.cases.drop_duplicates("dx").set_index("dx", drop=False)
        return firsts.loc[[dx for dx in DX if dx in firsts.index]]

    def one_of_a_lesion(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Rows of an image of each of n lesions (of all, where there are fewer), int (n,), in random order."""
        order = rng.permutation(len(self))
        first = ~self.cases["lesion_id"].iloc[order].duplicated().to_numpy()
        return order[first][:n]

    @property
    def key(self) -> str:
        """A digest of images, classes, prompts and scores."""
        return digest(self.pixels, self.features, *self.cases["dx"], *self.prompts)


def read(run: Run, reviewed_only: bool = False) -> tuple[Split, Split | None]:
    """The train and the val split (None where no val image has a valid description).

    One valid description counts per image, a person's before a machine's. reviewed_only: of train only the images whose
    description a person has accepted or edited; val, which is only measured, stays whole. Raises ArtefactError where
    train is empty, or a class has no reviewed image.
    """
    cases = run.read("cases").merge(chosen(run.read("descriptions")), on="image_id")
    if reviewed_only:
        cases = _reviewed(cases, run.name)
    run.path("images")  # which says what to run where it is missing, and notes it as an input
    splits = {}
    for name in ("train", "val"):
        rows = cases[cases["split"] == name].reset_index(drop=True)
        paths = [run.folder / path for path in rows["path"]]
        splits[name] = Split(rows, store(paths, run.scratch("pixels"))) if paths else None
    if splits["train"] is None:
        raise ArtefactError(
            f"run {run.name!r}: no image of the train split has a valid description; look at the column valid of "
            f"{run.path('descriptions')} and run notebooks/02_describe.ipynb with another describer"
        )
    return splits["train"], splits["val"]


def _reviewed(cases: pd.DataFrame, run: str) -> pd.DataFrame:
    train, reviewed = cases["split"] == "train", cases["reviewer"] != ""
    counts = (train & reviewed).groupby(cases["dx"]).sum()
    lacking = [dx for dx in DX if (train & (cases["dx"] == dx)).any() and not counts[dx]]
    if lacking:
        raise ArtefactError(
            f"run {run!r}: too few train images are reviewed ({counts.sum()} of {train.sum()}), none of "
            f"{', '.join(lacking)}: review more in the app (./run_all.sh app --run {run}) and name its file of edits "
            "as 02_describe.edits_file, or set 03_finetune.reviewed_only=false"
        )
    return cases[~train | reviewed]
