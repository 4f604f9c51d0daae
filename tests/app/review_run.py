"""A small run for the Review and Read tabs: two images of each class with a description, and a reader study."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
from plain_cases import descriptions, write_cases

from p2d_lib.readers import study
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX, DX_NAMES
from p2d_lib.words.wording import Wording

MARKUP = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"
N_READERS = 2


def make_run(name: str) -> tuple[Run, pd.DataFrame]:
    """The run, as the app opens it, and the key of its study."""
    prep, rng = Run(name, "01_prep"), np.random.default_rng(0)
    pixels = rng.integers(0, 256, (14, 16, 16, 3), np.uint8)
    cases = write_cases(prep, DX * 2, ["train"] * 12 + ["val", "test"], pixels)
    describe, names = Run(name, "02_describe", {"seed": 0}), [DX_NAMES[dx] for dx in cases["dx"]]
    prompts = [f"dermoscopic image of {one}, red color, back" for one in names]
    texts = [f"A {one}, red. {MARKUP}" for one in names]
    describe.write("descriptions", descriptions(cases, 0.1, prompts, text=texts, red=0.8, black=np.nan))
    with describe.writing("wording") as partial:
        partial.write_text(json.dumps(asdict(Wording("phrases", 8, 62))))
    return Run(name, "app"), _study(name, cases)


def _study(name: str, cases: pd.DataFrame) -> pd.DataFrame:
    synthetic = cases[["dx"]].assign(path="synthetic/x.png", generator="adapter", accepted=True)
    synthetic = synthetic.assign(image_id=[f"synthetic_{k}" for k in range(14)])
    key, _ = study.choose(cases.assign(split="test"), synthetic, n_images=14, seed=0)
    pictures = np.random.default_rng(1).integers(0, 256, (len(key), 16, 16, 3), np.uint8)
    with Run(name, "07_readers").writing("study") as folder:
        study.build(folder, key, pictures, N_READERS)
    return key


def count(text: str) -> int:
    """Tokens, one a word."""
    return len(text.split())
