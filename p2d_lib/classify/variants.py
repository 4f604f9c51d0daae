"""Variants of the adapter's images: 04's plan sampled anew with one thing changed, the prompt's words or the guidance.

A variant's name says what is changed: a template of `words.render` ("phrases" is structured, "sentence" is free text),
"rewritten" (paraphrased by rules), or "guidance-2". Cases, features that are asked for and noise stay those of 04.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd

from p2d_lib.classify.image_sets import ADAPTER
from p2d_lib.parameters.classify import arm_parts
from p2d_lib.words.render import TEMPLATES
from p2d_lib.words.wording import Wording, lesions

REWRITTEN, GUIDANCE = "rewritten", "guidance-"
Count = Callable[[str], int]  # tokens of a text


def guidance(scale: float) -> str:
    """The name of the variant of a guidance scale."""
    return f"{GUIDANCE}{scale:g}"


def is_variant(name: str) -> bool:
    """Whether an arm's selection is a variant, not a generator or a describer."""
    return name in (*TEMPLATES, REWRITTEN) or name.startswith(GUIDANCE)


def named(arms: Sequence[str]) -> list[str]:
    """The variants that arms select, each once."""
    return [name for name in dict.fromkeys(arm_parts(arm)[1] for arm in arms) if is_variant(name)]


def sampled(
    names: Sequence[str],
    synthetic: pd.DataFrame,
    cases: pd.DataFrame,
    sampler: Callable[[pd.DataFrame], pd.DataFrame],
    wording: Wording,
    count: Count,
    per_class: int | None = None,
) -> pd.DataFrame:
    """The images of variants: the rows of the adapter's accepted images, at most per_class of each class, once for each
    variant, with variant, prompt, guidance and what the sampler adds (path, accepted). See `AdapterSampler`.

    Raises ValueError for a guidance that is no number from 0 on.
    """
    rows = synthetic[synthetic["accepted"] & (synthetic["generator"] == ADAPTER)].assign(describer="")
    rows = rows.groupby("dx").head(per_class) if per_class else rows
    parts = [_plan(name, rows, cases, wording, count) for name in names]
    return pd.concat([sampler(part) for part in parts], ignore_index=True) if parts else rows.head(0).assign(variant="")


def _plan(name: str, rows: pd.DataFrame, cases: pd.DataFrame, wording: Wording, count: Count) -> pd.DataFrame:
    """The images of one variant to sample: 04's rows with another guidance or prompt."""
    rows = rows.assign(variant=name, image_id=name + "_" + rows["image_id"])
    if name.startswith(GUIDANCE):
        return rows.assign(guidance=_scale(name))
    paraphrased, template = name == REWRITTEN, wording.template if name == REWRITTEN else name
    worded = replace(wording, template=template, paraphrased=paraphrased)
    of_case = cases.set_index("image_id").loc[rows["prompted_by"]]
    about = lesions(of_case.assign(dx=rows["dx"].to_numpy()), rows)
    return rows.assign(prompt=worded.prompts(about, count, 0, rows["image_id"].tolist()))


def _scale(name: str) -> float:
    try:
        scale = float(name.removeprefix(GUIDANCE))
    except ValueError:
        scale = -1.0
    if not 0 <= scale <= 30:
        raise ValueError(f"{name!r}: write {GUIDANCE}2 or {GUIDANCE}3.5, with a guidance scale from 0 to 30")
    return scale
