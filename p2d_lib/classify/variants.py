"""Variants of the adapter's images: 04's plan sampled anew with one thing changed, the prompt's words or the guidance.

A variant's name says what is changed: a template of `words.render` ("phrases" is structured, "sentence" is free text),
"rewritten" (paraphrased by rules), "class-name" (the class alone), "guidance-2", "skin-tones" (each of the six skin
tones is asked for equally often, whatever the case's is), or a describer ("captioner"), whose descriptions of the same
cases are worded. Noise and all else that is asked for stay those of 04, and so do the cases, unless the describer has
not described them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from p2d_lib.classify.image_sets import ADAPTER
from p2d_lib.parameters.classify import (
    CLASS_NAME,
    GUIDANCE,
    PROMPT_DESCRIBERS,
    REWRITTEN,
    SKIN_TONES,
    WITH_SELECTION,
    arm_parts,
    guidance_scale,
)
from p2d_lib.vocabulary import FEATURES
from p2d_lib.words import at_random
from p2d_lib.words.choose import chosen
from p2d_lib.words.render import TEMPLATES
from p2d_lib.words.truth import has_truth, truth
from p2d_lib.words.wording import Wording, lesions

TRUTH = "truth"  # the describer that only phantoms have
Count = Callable[[str], int]  # tokens of a text


def guidance(scale: float) -> str:
    """The name of the variant of a guidance scale."""
    return f"{GUIDANCE}{scale:g}"


def named(arms: Sequence[str], synthetic: pd.DataFrame, descriptions: pd.DataFrame) -> list[str]:
    """The variants that arms with synthetic images select, each once: what is neither a generator nor a describer that
    has prompted 04."""
    of_04 = synthetic.loc[synthetic["accepted"] & (synthetic["generator"] == ADAPTER), "prompted_by"]
    prompted = set(of_04.map(chosen(descriptions).set_index("image_id")["describer"]))
    others = {*PROMPT_DESCRIBERS} - prompted
    known = {*TEMPLATES, REWRITTEN, CLASS_NAME, SKIN_TONES, *others}
    selected = dict.fromkeys(selection for kind, selection, _ in map(arm_parts, arms) if kind in WITH_SELECTION)
    return [name for name in selected if name in known or name.startswith(GUIDANCE)]


def by_describer(cases: pd.DataFrame, descriptions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Valid rows of each describer by its kind ("api:gpt-4.1" is "api"), without edits by people; of phantoms also the
    truth: image_id and the 22 scores at least."""
    valid = descriptions[descriptions["valid"] & (descriptions["reviewer"] == "")]
    tables = {str(name): part for name, part in valid.groupby(valid["describer"].str.partition(":")[0])}
    if has_truth(cases):
        tables[TRUTH] = truth(cases).assign(image_id=cases["image_id"])
    return tables


def sampled(
    names: Sequence[str],
    synthetic: pd.DataFrame,
    cases: pd.DataFrame,
    sampler: Callable[[pd.DataFrame], pd.DataFrame],
    wording: Wording,
    count: Count,
    descriptions: pd.DataFrame,
    per_class: int | None = None,
) -> pd.DataFrame:
    """The images of variants: the rows of the adapter's accepted images, at most per_class of each class, once for each
    variant, with variant, prompt, guidance and what the sampler adds (path, accepted). See `AdapterSampler`.

    synthetic, cases, descriptions: the artefacts. A describer that has not described the case of an image words another
    train case of the class. Raises ValueError for a guidance that is no number from 0 on, for a describer that has
    described no train case of a class, and for skin-tones where the wording does not name the skin tone.
    """
    rows = synthetic[synthetic["accepted"] & (synthetic["generator"] == ADAPTER)].assign(describer="")
    rows = rows.groupby("dx").head(per_class) if per_class else rows
    described, nothing = by_describer(cases, descriptions), pd.DataFrame(columns=["image_id", *FEATURES])
    parts = []
    for name in names:
        of_describer = name in PROMPT_DESCRIBERS
        worded = _described(name, rows, cases, described.get(name, nothing), wording) if of_describer else rows
        parts.append(_plan(name, worded, cases, wording, count))
    return pd.concat([sampler(part) for part in parts], ignore_index=True) if parts else rows.head(0).assign(variant="")


def unnamed(cases: pd.DataFrame) -> pd.DataFrame:
    """Cases of which a prompt can name the class alone, where their features are not named either."""
    return cases.assign(localization="unknown", age=np.nan, sex="unknown")


def _plan(name: str, rows: pd.DataFrame, cases: pd.DataFrame, wording: Wording, count: Count) -> pd.DataFrame:
    """The images of one variant to sample: 04's rows with another guidance or prompt."""
    rows = rows.assign(variant=name, image_id=name + "_" + rows["image_id"])
    if name.startswith(GUIDANCE):
        return rows.assign(guidance=guidance_scale(name))
    if name == SKIN_TONES:  # the images of a class in turn
        if at_random.TONE not in wording.concepts:
            raise ValueError(
                f"{SKIN_TONES}: the prompts of this run do not name the skin tone, so none would change; raise "
                f"02_describe.top_concepts, or take the arms of {SKIN_TONES} out of 06_classify.arms"
            )
        tones = np.array(at_random.scores_of(at_random.TONE))
        rows = rows.assign(**{at_random.TONE: tones[rows.groupby("dx").cumcount() % len(tones)]})
    template = name if name in TEMPLATES else wording.template
    worded = replace(wording, template=template, paraphrased=name == REWRITTEN)
    of_case = cases.set_index("image_id").loc[rows["prompted_by"]]
    if name == CLASS_NAME:
        of_case, rows = unnamed(of_case), rows.assign(**dict.fromkeys(FEATURES, np.nan))
    about = lesions(of_case.assign(dx=rows["dx"].to_numpy()), rows)
    return rows.assign(prompt=worded.prompts(about, count, 0, rows["image_id"].tolist()))


def _described(
    name: str, rows: pd.DataFrame, cases: pd.DataFrame, scores: pd.DataFrame, wording: Wording
) -> pd.DataFrame:
    """04's rows with the 22 scores of a describer's descriptions in place of theirs (NaN: not named in prompts).

    scores: of `by_describer`. A row whose case it has not described takes another train case of the class, in turn.
    """
    scores = scores.drop_duplicates("image_id").set_index("image_id")[list(FEATURES)].astype(float)
    known, parts = cases[(cases["split"] == "train") & cases["image_id"].isin(scores.index)], []
    for dx, part in rows.groupby("dx", sort=False):
        of_class = known.loc[known["dx"] == dx, "image_id"].to_numpy(object)
        if not len(of_class):
            raise ValueError(
                f"{name} has described no train case of {dx}: let 02_describe describe some, or take the arms of "
                f"{name} out of 06_classify.arms"
            )
        others = pd.Series(np.resize(of_class, len(part)), part.index)
        parts.append(part.assign(prompted_by=part["prompted_by"].where(part["prompted_by"].isin(of_class), others)))
    rows = pd.concat(parts)
    asked = scores.loc[rows["prompted_by"]].set_axis(rows.index)
    return rows.assign(**asked.assign(**dict.fromkeys(set(FEATURES) - set(wording.concepts), np.nan)))
