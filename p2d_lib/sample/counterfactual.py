"""Counterfactual pairs: one lesion in words and one noise, only the word for skin tone, hair or ruler changed.

A classifier that reads the lesion gives both sides of a pair one answer; 08 counts how often it does not. Whether the
generator has changed what it was asked to change, and nothing else, is checked first (pair_check). The control of that
check has the same noise too, and another word for the lesion itself.
"""

from collections.abc import Callable
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd

from p2d_lib.artefacts import ARTEFACTS
from p2d_lib.files import sha256
from p2d_lib.sample import single_words
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX, FEATURES, Lesion
from p2d_lib.words.choose import resample
from p2d_lib.words.render import mentioned
from p2d_lib.words.wording import Wording, lesions

FEATURE = {"skin_tone": "background_skin_tone", "hair": "hair_amount", "ruler": "ruler_presence"}
VALUES = {"skin_tone": ("fair skin", "dark brown skin"), "hair": ("no hair", "hair"), "ruler": ("no ruler", "ruler")}
SIDE_A = {"background_skin_tone": 1.5 / 6, "hair_amount": 0.0, "ruler_presence": 0.0}  # Fitzpatrick II
SIDE_B = {
    "skin_tone": {"background_skin_tone": 5.5 / 6},
    "hair": {"hair_amount": 1.0},
    "ruler": {"ruler_presence": 1.0},
}
CONTROL = "lesion"  # stands for an attribute in pairs of the control: a word for the lesion itself is changed
CONTROL_PAIRS, CONTROL_LESIONS = 3, 10  # of a class, at least; lesions of a class that have a control, at most
LESION_KINDS = ("shape", "colour")  # no structures: vessels and streaks are thin lines, as hair is
COLUMNS = ("image_id", "lesion", "attribute", "dx", "prompt", "prompted_by", "seed", "generator")


def make(train: pd.DataFrame, n: int, wording: Wording, count: Callable[[str], int], seed: int) -> pd.DataFrame:
    """The images of n lesions of each class: side a, which the pairs of a lesion share, and a side b an attribute.

    train: described train cases. One row an image: COLUMNS, where lesion names the pairs' lesion and attribute is what
    side b changes ("" for side a, CONTROL for a word of the lesion itself). An attribute that this run's prompts do
    not name has no side b. n 0: an empty plan.
    """
    rows = []
    for dx in DX:
        of_class = train[train["dx"] == dx]
        cases = resample(of_class, n if len(of_class) else 0, "empirical", derive(seed, "counterfactual", dx))
        for k, (case, lesion) in enumerate(zip(cases.itertuples(), lesions(cases, cases), strict=True)):
            base = lesion.model_copy(update=SIDE_A)
            noise, name = derive(seed, "counterfactual", dx, k), f"{dx}_{k:04d}"
            n_words = max(1, ceil((CONTROL_PAIRS - k) / n)) if k < CONTROL_LESIONS else 0
            edits = [("", {}), *SIDE_B.items(), *_other_words(base, wording, n_words, noise)]
            base = single_words.shortened(base, [edit for _, edit in edits], wording, count)
            prompts = [single_words.prompt(base.model_copy(update=edit), wording, count) for _, edit in edits]
            for j, ((attribute, _), text) in enumerate(zip(edits, prompts, strict=True)):
                if not attribute or text != prompts[0]:
                    suffix = f"{attribute}_{j}" if attribute == CONTROL else attribute or "a"
                    about = (f"pair_{name}_{suffix}", name, attribute, dx)
                    rows.append((*about, text, case.image_id, noise, "adapter"))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"seed": np.int64})


def _other_words(lesion: Lesion, wording: Wording, n: int, seed: int) -> list[tuple[str, dict]]:
    """What the sides b of the control change: n features of the lesion itself, which chance chooses."""
    names = [name for name in wording.concepts if FEATURES[name].kind in LESION_KINDS and name != "evolving"]
    shown = mentioned(lesion)
    chosen = np.random.default_rng(seed).permutation(sorted(names))[:n].tolist()
    return [(CONTROL, {name: 0.0 if name in shown else 1.0}) for name in chosen]


def pairs(plan: pd.DataFrame) -> pd.DataFrame:
    """The pairs of a plan of `make`, those of CONTROL too: pair_id, attribute, a and b (places of both in the plan)."""
    place = pd.Series(np.arange(len(plan)), plan["image_id"].to_numpy())
    of_b = plan[plan["attribute"] != ""]
    return pd.DataFrame(
        {
            "pair_id": of_b["image_id"].str.removeprefix("pair_").to_numpy(),
            "attribute": of_b["attribute"].to_numpy(),
            "a": place["pair_" + of_b["lesion"] + "_a"].to_numpy(int),
            "b": place[of_b["image_id"]].to_numpy(int),
        }
    )


def table(plan: pd.DataFrame, judged: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The artefact `counterfactual`: two rows a pair. judged: of `pair_check.check`; folder: holds <image_id>.png."""
    digests = np.array([sha256(folder / f"{name}.png") for name in plan["image_id"]], dtype=object)
    sides = []
    for side, place in (("a", 0), ("b", 1)):
        rows = judged[side].to_numpy(int)
        values = judged["attribute"].map(lambda name, place=place: VALUES[name][place])
        about = plan.iloc[rows][["dx", "prompt", "seed", "prompted_by"]].reset_index(drop=True)
        path = ARTEFACTS["counterfactual_images"].path + "/" + plan["image_id"].iloc[rows].to_numpy(str) + ".png"
        first = pd.DataFrame({"pair_id": judged["pair_id"], "side": side, "attribute": judged["attribute"]})
        files = {"value": values, "path": path, "sha256": digests[rows]}
        verdict = {"accepted": judged["accepted"], "reason": judged["reason"]}
        sides.append(pd.concat([first, about], axis=1).assign(**files, **verdict))
    both = pd.concat(sides).sort_values(["pair_id", "side"], ignore_index=True)
    columns = ["pair_id", "side", "attribute", "value", "dx", "prompt", "seed", "prompted_by", "path", "sha256"]
    types = {**dict.fromkeys((*columns, "reason"), str), "seed": "int64", "accepted": bool}
    return both[[*columns, "accepted", "reason"]].astype(types)
