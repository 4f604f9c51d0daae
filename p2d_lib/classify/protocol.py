"""Arms x seeds: train each classifier, let it read the test images, keep finished trainings.

Nothing is chosen on the test split. The weights after the last step read or, with `patience`, those that read val best.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from p2d_lib.classify import arms
from p2d_lib.classify.curriculum import LOG, Curriculum, Rounds
from p2d_lib.classify.image_sets import ImageSets
from p2d_lib.files import atomic
from p2d_lib.models import classifiers
from p2d_lib.models.augmentation import TRANSFORMS
from p2d_lib.models.class_batches import class_weights
from p2d_lib.models.early_stopping import EarlyStopping
from p2d_lib.parameters import Classify
from p2d_lib.parameters.classify import WITH_SELECTION, arm_parts
from p2d_lib.readings import readings
from p2d_lib.run import Run
from p2d_lib.schemas import READINGS, SPLITS
from p2d_lib.seeds import derive

READ_AT_ONCE = 64  # test images per forward pass: 0.2 GB of floats at 512 px
PUBLISHED, ROUNDS = "published", "-rounds.parquet"
TRAINED = "trained"  # scratch folder of finished trainings: whoever calls discards it when all its work is done
ARTEFACTS = {
    "test": "network_readings",
    "external": "external_readings",
    "pairs": "pair_readings",
    PUBLISHED: "published_readings",
}


@dataclass(frozen=True)
class Protocol:
    """What is compared, at which budget: 06's parameters of these names."""

    arms: list[str]
    seeds: int  # trainings of each arm, paired by their initial weights
    synthetic_share: float
    backbone: str
    steps: int
    batch_size: int
    learning_rate: float
    seed: int  # all randomness derives from it
    input_size: int = 0
    dropout: float = 0.0
    test_time_flips: bool = False
    optimizer: str = "adamw"
    class_weights: str = "none"
    augmentation: tuple[str, ...] = ("flip", "colour")
    patience: int = 0
    evaluate_every: int = 100
    curriculum_rounds: int = 3


def of_parameters(p: Classify) -> Protocol:
    """The protocol that the parameters of 06 name."""
    return Protocol(**{field.name: getattr(p, field.name) for field in fields(Protocol)})


def training_seed(protocol: Protocol, index: int) -> int:
    """The seed from which initial weights, batches and augmentation of a training derive; index: of the training."""
    return derive(protocol.seed, "classify", index)


def train_and_read(
    run: Run, images: ImageSets, protocol: Protocol, device: torch.device, curriculum: Curriculum | None = None
) -> pd.DataFrame:
    """Readings of the test images by each arm's classifier of each seed: the artefact "network_readings".

    Also writes "external_readings", of the same classifiers on the external images; "pair_readings", on those of
    counterfactual pairs; "published_readings", of the arm `published` on the fifth of the pooled images that its seed
    tests on, real and synthetic; "curriculum", what the arms of that kind have sampled; and "classifiers", one folder
    per arm, of seed 0. A classifier of `published` has seen test images: it reads nothing else and is not kept. An
    interruption, also one after this call, costs no finished training (TRAINED) of the same images and protocol.
    curriculum: needed where an arm is one.
    """
    finished = run.scratch(f"{TRAINED}/{key_of(images, protocol, device, 'test')}")
    read = _trained(run, finished, images, protocol, device, ("test", "external", "pairs"), curriculum)
    with run.writing("classifiers") as partial:
        for arm in protocol.arms:
            if arm != PUBLISHED:
                shutil.copytree(finished / arm, partial / arm)
    tables = {
        name: run.write(artefact, read.loc[read["set"] == name, list(READINGS.columns)])
        for name, artefact in ARTEFACTS.items()
    }
    named = [finished / f"{arm}-{index}{ROUNDS}" for arm in protocol.arms for index in range(protocol.seeds)]
    rounds = [pd.read_parquet(path) for path in named if path.exists()]
    run.write("curriculum", pd.concat(rounds) if rounds else pd.DataFrame(columns=["arm", "seed", *LOG]))
    return tables["test"]


def train_and_read_val(run: Run, images: ImageSets, protocol: Protocol, device: torch.device) -> pd.DataFrame:
    """schemas.READINGS of the val images, by which something is chosen; goes on as `train_and_read` does."""
    finished = run.scratch(f"{TRAINED}/{key_of(images, protocol, device, 'val')}")
    return _trained(run, finished, images, protocol, device, ("val",))[list(READINGS.columns)]


def _trained(
    run: Run,
    finished: Path,
    images: ImageSets,
    protocol: Protocol,
    device: torch.device,
    sets: Sequence[str],
    curriculum: Curriculum | None = None,
) -> pd.DataFrame:
    """Readings of the sets by all classifiers; each finished training lies in the folder `finished`."""
    trainings = [(index, arm) for index in range(protocol.seeds) for arm in protocol.arms]
    parts = {at: finished / f"{at[1]}-{at[0]}.parquet" for at in trainings}
    to_do = [at for at, path in parts.items() if not path.exists()]
    steps_done = (len(trainings) - len(to_do)) * protocol.steps
    pixels = images.pixels(finished)
    with tqdm(total=len(trainings) * protocol.steps, initial=steps_done, desc="all arms", mininterval=1) as bar:
        for index, arm in to_do:
            seed, rounds = training_seed(protocol, index), None
            rows = shown(images, protocol, arm, seed)
            if arm_parts(arm)[0] == "curriculum":
                n, name = protocol.curriculum_rounds, f"{arm}-{index}"
                rounds = Rounds(curriculum, run, images, pixels, rows, rounds=n, seed=seed, name=name)
            model = _train(images, pixels, protocol, arm, seed, rows, device, bar, rounds)
            if index == 0 and arm != PUBLISHED and "test" in sets:
                with atomic(finished / arm) as partial:
                    classifiers.save(model, partial)
            if rounds and rounds.log:
                with atomic(finished / f"{arm}-{index}{ROUNDS}") as partial:
                    pd.concat(rounds.log).assign(arm=arm, seed=index).to_parquet(partial, index=False)
            with atomic(parts[index, arm]) as partial:
                _read(model, images, pixels, protocol, arm, index, device, sets).to_parquet(partial, index=False)
    return pd.concat(map(pd.read_parquet, parts.values()))


def _train(
    images: ImageSets,
    pixels: np.ndarray,
    protocol: Protocol,
    arm: str,
    seed: int,
    rows: np.ndarray,
    device: torch.device,
    bar: tqdm,
    rounds: Rounds | None,
) -> classifiers.Classifier:
    """The classifier of an arm. rows: what it shows, (steps, batch_size); rounds: of a curriculum, which change it."""
    labels, ended = images.labels, bar.n + protocol.steps
    classical = arm_parts(arm)[0] == "real+classical"
    weighted = "capped" if classical and protocol.class_weights == "none" else protocol.class_weights
    weights, val, stopping = class_weights(labels[rows], weighted), images.slice("val"), None
    if protocol.patience:
        stopping = EarlyStopping(pixels[val], labels[val], protocol.evaluate_every, protocol.patience)
    model = classifiers.build(protocol.backbone, seed=seed, side=protocol.input_size, dropout=protocol.dropout)
    if rounds:
        pixels, labels, rows = rounds.pixels, rounds.labels, rounds.shown

    def on_step(step: int, _: dict) -> None:
        bar.update()
        if rounds:
            rounds.after(step, model, device)

    classifiers.fit(
        model, pixels, labels, steps=protocol.steps, batch_size=protocol.batch_size, batches=rows,
        learning_rate=protocol.learning_rate, optimizer=protocol.optimizer, weights=weights, seed=seed, device=device,
        augmentation=TRANSFORMS if classical else protocol.augmentation,
        stopping=stopping, on_step=on_step, progress=False,
    )  # fmt: skip
    bar.update(ended - bar.n)  # where the training stopped early
    return model


def shown(images: ImageSets, protocol: Protocol, arm: str, seed: int) -> np.ndarray:
    """The rows of the images that an arm shows, (steps, batch_size); of a curriculum those of its first round.

    seed: of the training.
    """
    if arm == PUBLISHED:
        pool = pooled(images)
        real, synthetic = pool[arms.published_split(len(pool), seed)[0]], np.empty(0, int)
    else:
        kind, selection, _ = arm_parts(arm)
        real, synthetic = images.rows("train"), images.rows("synthetic", selection if kind in WITH_SELECTION else "")
    at = arms.batches(
        arm, images.labels[real], images.labels[synthetic], steps=protocol.steps, batch_size=protocol.batch_size,
        share=protocol.synthetic_share, seed=seed, tones=images.table["skin_tone"].to_numpy()[real],
    )  # fmt: skip
    return np.concatenate([real, synthetic])[at]


def pooled(images: ImageSets) -> np.ndarray:
    """The rows of all real images and of the adapter's synthetic ones."""
    return np.concatenate([images.rows(name) for name in (*SPLITS, "synthetic")])


def _read(
    model: classifiers.Classifier,
    images: ImageSets,
    pixels: np.ndarray,
    protocol: Protocol,
    arm: str,
    index: int,
    device: torch.device,
    sets: Sequence[str],
) -> pd.DataFrame:
    """The readings of one classifier, with the set that they belong to."""
    if arm == PUBLISHED:
        seed = training_seed(protocol, index)
        pool = pooled(images)
        rows_of = {PUBLISHED: pool[arms.published_split(len(pool), seed)[1]]}
    else:
        rows_of = {name: images.slice(name) for name in sets}
    parts = []
    for name, rows in rows_of.items():
        started, of_set = time.perf_counter(), images.table["image_id"].to_numpy()[rows]
        if not len(of_set):
            continue
        p = classifiers.predict(model, pixels[rows], device, READ_AT_ONCE, flips=protocol.test_time_flips)["p"]
        seconds = (time.perf_counter() - started) / len(of_set)
        part = readings(of_set, protocol.backbone, "network", p=p, arm=arm, seed=index, seconds=seconds)
        parts.append(part.assign(set=name))
    return pd.concat(parts)


def key_of(images: ImageSets, protocol: Protocol, device: torch.device, read: str) -> str:
    """Names the scratch folder of a comparison: changes with any image's file, class or the protocol.

    How many arms and seeds there are is not part of it: a finished training is kept when others are added. read: the
    set that classifiers read.
    """
    budget = {name: value for name, value in asdict(protocol).items() if name not in ("arms", "seeds")}
    return hashlib.sha256(json.dumps([images.contents(), budget, str(device), read]).encode()).hexdigest()[:16]
