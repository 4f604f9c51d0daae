"""Arms x seeds: train each, let it read the test images, keep what is finished.

No choice is made on the test split, and none on val: the last weights of the last step are the ones that read.
"""

import hashlib
import json
import shutil
import time

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from p2d_lib.classify import arms as plan
from p2d_lib.files import atomic
from p2d_lib.models import classifiers
from p2d_lib.run import Run
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX


def read_by_arms(
    run: Run,
    cases: pd.DataFrame,
    synthetic: pd.DataFrame,
    *,
    arms: list[str],
    backbone: str,
    seeds: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
    synthetic_share: float,
    seed: int,
    device: torch.device,
) -> pd.DataFrame:
    """Readings of the test images by each arm's classifier of each seed: the artefact "network_readings".

    cases: all splits; train is trained on, test is read. synthetic: only rows with `accepted` and generator "adapter"
    are trained on. Also writes the artefact "classifiers": one folder per arm, of seed 0. An interrupted call
    continues after the last (arm, seed) it finished, as long as images and parameters are the same.
    """
    train, test = cases[cases["split"] == "train"], cases[cases["split"] == "test"]
    made = synthetic[synthetic["accepted"] & (synthetic["generator"] == "adapter")]
    real_dx, made_dx = (table["dx"].map(DX.index).to_numpy(int) for table in (train, made))
    budget = {"steps": steps, "batch_size": batch_size}
    finished = run.scratch(
        _digest(
            [*train["sha256"], *made["sha256"], *test["sha256"], *real_dx.tolist(), *made_dx.tolist()],
            [backbone, budget, learning_rate, synthetic_share, seed, str(device)],
        )
    )
    pool = test_images = None
    todo = [(index, arm) for index in range(seeds) for arm in arms]
    done = {(index, arm) for index, arm in todo if (finished / f"{arm}-{index}.parquet").exists()}
    bar = tqdm(total=len(todo) * steps, initial=len(done) * steps, desc="all arms", unit="step", mininterval=1)
    for index, arm in todo:
        if (index, arm) in done:
            continue
        if pool is None:
            pool = np.concatenate([run.images(table) for table in (train, made) if len(table)])
            test_images = run.images(test)
        address = derive(seed, "classify", index)
        model = classifiers.build(backbone, seed=address)
        drawn = plan.draws(arm, real_dx, made_dx, **budget, share=synthetic_share, seed=address)
        classifiers.fit(
            model, pool, np.concatenate([real_dx, made_dx]), **budget, learning_rate=learning_rate, seed=address,
            device=device, batches=drawn, on_step=lambda *_: bar.update(), progress=False,
        )  # fmt: skip
        started = time.perf_counter()
        p = classifiers.predict(model, test_images, device)["p"]
        if index == 0:
            with atomic(finished / arm) as partial:
                classifiers.save(model, partial)
        with atomic(finished / f"{arm}-{index}.parquet") as partial:
            seconds = (time.perf_counter() - started) / len(test)
            _readings(test, p, backbone, arm, index, seconds).to_parquet(partial, index=False)
    bar.close()
    readings = pd.concat(pd.read_parquet(finished / f"{arm}-{index}.parquet") for index, arm in todo)
    with run.writing("classifiers") as partial:
        for arm in arms:
            shutil.copytree(finished / arm, partial / arm)
    readings = run.write("network_readings", readings)
    shutil.rmtree(finished)
    return readings


def _readings(test: pd.DataFrame, p: np.ndarray, reader: str, arm: str, seed: int, seconds: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": test["image_id"].to_numpy(),
            "reader": reader,
            "kind": "network",
            "arm": arm,
            "seed": seed,
            "dx_read": np.array(DX)[p.argmax(1)],
            **{f"p_{dx}": p[:, k].astype(float) for k, dx in enumerate(DX)},
            "is_synthetic_read": np.nan,
            "seconds": seconds,
        }
    )


def _digest(*parts: list) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
