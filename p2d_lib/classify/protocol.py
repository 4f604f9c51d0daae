"""Arms x seeds: train each classifier, let it read the test images, keep finished trainings.

Nothing is chosen on the test split or on val: the weights after the last step are the ones that read.
"""

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from p2d_lib.classify.arms import batches
from p2d_lib.files import atomic, sha256
from p2d_lib.image_store import store
from p2d_lib.models import classifiers
from p2d_lib.readings import readings
from p2d_lib.run import Run
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX

READ_AT_ONCE = 64  # test images per forward pass: 0.2 GB of floats at 512 px


@dataclass(frozen=True)
class Protocol:
    """What is compared, at which budget; the fields are 06's parameters."""

    arms: list[str]  # of arms.ARMS
    seeds: int  # trainings of each arm, paired by their initial weights
    synthetic_share: float  # of a batch of real+replay and mixed (0..1)
    backbone: str  # as `classifiers.build` takes it
    steps: int
    batch_size: int
    learning_rate: float
    seed: int  # all randomness derives from it


@dataclass(frozen=True)
class _Images:
    """The tables of images, and their pixels on disk."""

    real: pd.DataFrame
    synthetic: pd.DataFrame
    test: pd.DataFrame
    training_pixels: np.ndarray  # of real, followed by synthetic: uint8 (n, h, w, 3), mapped from a file
    test_pixels: np.ndarray

    @property
    def classes(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the real and of the synthetic images, as indices into DX."""
        return tuple(table["dx"].map(DX.index).to_numpy(int) for table in (self.real, self.synthetic))


def train_and_read(
    run: Run, cases: pd.DataFrame, synthetic: pd.DataFrame, protocol: Protocol, device: torch.device
) -> pd.DataFrame:
    """Readings of the test images by each arm's classifier of each seed: the artefact "network_readings".

    cases: all splits; train is trained on, test is read. synthetic: only rows with `accepted` and generator "adapter"
    are trained on. Also writes the artefact "classifiers": one folder per arm, of seed 0. An interrupted call
    continues after the last training it finished, as long as images and protocol are the same.
    """
    real, test = cases[cases["split"] == "train"], cases[cases["split"] == "test"]
    accepted = synthetic[synthetic["accepted"] & (synthetic["generator"] == "adapter")]
    finished = run.scratch(_key(run, (real, accepted, test), protocol, device))
    trainings = [(index, arm) for index in range(protocol.seeds) for arm in protocol.arms]
    parts = {at: finished / f"{at[1]}-{at[0]}.parquet" for at in trainings}
    to_do = [at for at, path in parts.items() if not path.exists()]
    steps_done = (len(trainings) - len(to_do)) * protocol.steps
    pixels = (_pixels(run, tables, finished) for tables in ((real, accepted), (test,)))
    images = _Images(real, accepted, test, *pixels)
    with tqdm(total=len(trainings) * protocol.steps, initial=steps_done, desc="all arms", mininterval=1) as bar:
        for index, arm in to_do:
            model = _train(images, protocol, arm, index, device, bar)
            if index == 0:
                with atomic(finished / arm) as partial:
                    classifiers.save(model, partial)
            with atomic(parts[index, arm]) as partial:
                _read(model, images, protocol, arm, index, device).to_parquet(partial, index=False)
    with run.writing("classifiers") as partial:
        for arm in protocol.arms:
            shutil.copytree(finished / arm, partial / arm)
    result = run.write("network_readings", pd.concat(map(pd.read_parquet, parts.values())))
    shutil.rmtree(finished)
    return result


def _pixels(run: Run, tables: tuple[pd.DataFrame, ...], folder: Path) -> np.ndarray:
    for table in tables:
        if len(table):
            run.images(table.head(1))  # notes the folder of these images as an input
    return store([run.folder / path for table in tables for path in table["path"]], folder)


def _train(
    images: _Images, protocol: Protocol, arm: str, index: int, device: torch.device, bar: tqdm
) -> classifiers.Classifier:
    """The classifier of an arm after its last step. index: of the training seed."""
    seed = derive(protocol.seed, "classify", index)
    budget = {"steps": protocol.steps, "batch_size": protocol.batch_size}
    model = classifiers.build(protocol.backbone, seed=seed)
    real, synthetic = images.classes
    classifiers.fit(
        model, images.training_pixels, np.concatenate([real, synthetic]), **budget,
        batches=batches(arm, real, synthetic, **budget, share=protocol.synthetic_share, seed=seed),
        learning_rate=protocol.learning_rate, seed=seed, device=device, on_step=lambda *_: bar.update(), progress=False,
    )  # fmt: skip
    return model


def _read(
    model: classifiers.Classifier, images: _Images, protocol: Protocol, arm: str, index: int, device: torch.device
) -> pd.DataFrame:
    started = time.perf_counter()
    p = classifiers.predict(model, images.test_pixels, device, batch_size=READ_AT_ONCE)["p"]
    seconds = (time.perf_counter() - started) / len(images.test)
    return readings(images.test["image_id"], protocol.backbone, "network", p=p, arm=arm, seed=index, seconds=seconds)


def _key(run: Run, tables: tuple[pd.DataFrame, ...], protocol: Protocol, device: torch.device) -> str:
    """Names the scratch folder of a comparison: changes with any image's file, class or the protocol.

    How many arms and seeds there are is not part of it: a finished training is kept when others are added.
    """
    files = [
        [(dx, sha256(run.folder / path)) for dx, path in zip(table["dx"], table["path"], strict=True)]
        for table in tables
    ]
    budget = {name: value for name, value in asdict(protocol).items() if name not in ("arms", "seeds")}
    return hashlib.sha256(json.dumps([files, budget, str(device)]).encode()).hexdigest()[:16]
