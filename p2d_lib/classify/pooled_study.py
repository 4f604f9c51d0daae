"""The two classifiers of the GLIDE study: which of seven entities an image shows, and whether AI made it.

Shavlokhova et al. (Front Med 10, 2023, doi 10.3389/fmed.2023.1231436) pool real and synthetic images, divide them at
random and train a network of three convolutional layers for each question, with early stopping on images that are
turned, shifted and zoomed. Images of one lesion stand on both sides, so the scores are no estimate of what new patients
can expect: they are the numbers that such studies print.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from p2d_lib.classify import arms
from p2d_lib.classify.image_sets import ImageSets
from p2d_lib.classify.protocol import READ_AT_ONCE, TRAINED, Protocol, key_of, pooled
from p2d_lib.files import atomic
from p2d_lib.models import classifiers
from p2d_lib.models.class_batches import balanced
from p2d_lib.models.early_stopping import EarlyStopping
from p2d_lib.run import Run
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX

ENTITY, SOURCE = "entity", "source"  # the two questions
ORIGINAL, AI = "original", "AI"
ANSWERS = {ENTITY: DX, SOURCE: (ORIGINAL, AI)}
VAL = 0.1  # share of the train part that early stopping reads
AUGMENTATION = ("turn", "shift", "zoom")


@dataclass(frozen=True)
class Study:
    """readings: one row per question and image of the test fifth: question, image_id, source (ORIGINAL or AI), truth,
    read, and p_<answer> for the answers of its question. logs: of the trainings, by question (`classifiers.fit`)."""

    readings: pd.DataFrame
    logs: Mapping[str, pd.DataFrame]


def study(run: Run, images: ImageSets, budget: Protocol, device: torch.device) -> Study:
    """Trains and reads the two classifiers. budget: its backbone, steps, batch size, optimizer, learning rate, patience
    and times of evaluation count, its arms do not. Batches are balanced over the answers. Finished trainings are kept
    in the scratch folder protocol.TRAINED.
    """
    rows = pooled(images)
    train, test = arms.published_split(len(rows), derive(budget.seed, "pooled study"))
    finished = run.scratch(f"{TRAINED}/{key_of(images, budget, device, 'pooled')}")
    pixels, tables, logs = images.pixels(finished), [], {}
    for question, answers in ANSWERS.items():
        part, log = finished / f"{question}.parquet", finished / f"{question}-log.json"
        if not part.exists():
            labels = _labels(images, rows, question)
            model, curve = _train(pixels, rows[train], labels[train], budget, question, device)
            with atomic(log) as partial:
                partial.write_text(json.dumps(curve.to_dict("list")))
            p = classifiers.predict(model, pixels[rows[test]], device, READ_AT_ONCE)["p"][:, : len(answers)]
            with atomic(part) as partial:
                _readings(images, rows[test], labels[test], p, question).to_parquet(partial, index=False)
        tables.append(pd.read_parquet(part))
        logs[question] = pd.DataFrame(json.loads(log.read_text()))
    return Study(pd.concat(tables, ignore_index=True), logs)


def _labels(images: ImageSets, rows: np.ndarray, question: str) -> np.ndarray:
    """The right answers as indices into ANSWERS[question], of the images in these rows."""
    return images.labels[rows] if question == ENTITY else _by_ai(images, rows).astype(int)


def _by_ai(images: ImageSets, rows: np.ndarray) -> np.ndarray:
    return images.table["set"].to_numpy()[rows] == "synthetic"


def _train(
    pixels: np.ndarray, rows: np.ndarray, labels: np.ndarray, budget: Protocol, question: str, device: torch.device
) -> tuple[classifiers.Classifier, pd.DataFrame]:
    """A network for one question, with the weights that were best on a tenth of the rows; and its log."""
    seed = derive(budget.seed, "pooled study", question)
    order = np.random.default_rng(derive(seed, "val")).permutation(len(rows))
    n_val = max(1, round(VAL * len(rows)))
    val, fitted = order[:n_val], order[n_val:]
    stopping = EarlyStopping(pixels[rows[val]], labels[val], budget.evaluate_every, budget.patience)
    model = classifiers.build(budget.backbone, seed=seed, side=budget.input_size, dropout=budget.dropout)
    batches = rows[fitted][balanced(labels[fitted], budget.steps, budget.batch_size, derive(seed, "batches"))]
    of_all = np.zeros(len(pixels), int)
    of_all[rows] = labels
    log = classifiers.fit(
        model, pixels, of_all, steps=budget.steps, batch_size=budget.batch_size, batches=batches,
        learning_rate=budget.learning_rate, optimizer=budget.optimizer, augmentation=AUGMENTATION, seed=seed,
        device=device, stopping=stopping,
    )  # fmt: skip
    return model, log


def _readings(images: ImageSets, rows: np.ndarray, labels: np.ndarray, p: np.ndarray, question: str) -> pd.DataFrame:
    answers = np.array(ANSWERS[question], object)
    p = p / p.sum(1, keepdims=True)  # the network has seven outputs, of which a question of two uses two
    return pd.DataFrame(
        {
            "question": question,
            "image_id": images.table["image_id"].to_numpy()[rows],
            "source": np.where(_by_ai(images, rows), AI, ORIGINAL),
            "truth": answers[labels],
            "read": answers[p.argmax(1)],
            **{f"p_{answer}": p[:, k] for k, answer in enumerate(answers)},
        }
    )
