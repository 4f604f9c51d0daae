"""The same train cases in the words of several sources, so that what a wrong description costs can be measured.

A source says what a prompt is made of: a describer's description of the case, the class alone, features that chance has
assigned, or the run's own description in another wording. Class and noise of a case are the same for all sources.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from p2d_lib.classify.image_sets import ADAPTER
from p2d_lib.classify.variants import Count, by_describer, unnamed
from p2d_lib.instruments import readout
from p2d_lib.parameters.classify import CLASS_NAME, PROMPT_DESCRIBERS, REWRITTEN
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import FEATURES
from p2d_lib.words import at_random
from p2d_lib.words.choose import chosen
from p2d_lib.words.render import TEMPLATES
from p2d_lib.words.wording import Wording, lesions

RANDOM = "random"


@dataclass(frozen=True)
class Cases:
    """n train cases, one of a lesion and as many of each class where there are enough, rows of all tables alike."""

    table: pd.DataFrame
    scores: dict[str, pd.DataFrame]  # the 22 scores by describer; the first describer is the run's own
    known: pd.DataFrame  # the 22 scores that are known of the image: a phantom's truth, else the run's own description
    missing: tuple[str, ...]  # describers that were asked for and have not described enough train cases


def shared_cases(
    cases: pd.DataFrame, descriptions: pd.DataFrame, sources: Sequence[str], per_class: int, seed: int
) -> Cases:
    """Up to per_class train cases of each class that all describers among the sources have described validly.

    A describer that leaves a class without a case is not taken; `missing` names it. Edits by people are no describer's.
    Raises ValueError where train has no described case.
    """
    own = chosen(descriptions)
    train = cases[cases["split"] == "train"].merge(own[["image_id"]], on="image_id")
    if train.empty:
        raise ValueError("no valid description of a train image: nothing to compare prompts on; look at 02_describe")
    by_name = by_describer(cases, descriptions)
    ids, missing = set(train["image_id"]), []
    for name in (name for name in PROMPT_DESCRIBERS if name in sources):
        both = ids & set(by_name[name]["image_id"]) if name in by_name else set()
        if train["image_id"].isin(both).groupby(train["dx"]).any().all():
            ids = both
        else:
            missing.append(name)
    shuffled = train[train["image_id"].isin(ids)].sample(frac=1, random_state=derive(seed, "prompts") % 2**32)
    table = shuffled.drop_duplicates("lesion_id").groupby("dx").head(per_class)
    table = table.sort_values("dx", kind="stable").reset_index(drop=True)
    taken = [name for name in PROMPT_DESCRIBERS if name in sources and name not in missing]
    scores = {name: _rows(table, part) for name, part in {"": own, **{name: by_name[name] for name in taken}}.items()}
    known = readout.known_scores(table.join(scores[""]))
    return Cases(table, scores, known, tuple(missing))


def plan(cases: Cases, sources: Sequence[str], wording: Wording, count: Count, seed: int) -> pd.DataFrame:
    """A row for each source and case, in the order of the sources: variant (the source), image_id, dx, prompt,
    prompted_by, the 22 scores that are asked for (NaN: the prompt does not name it), seed, generator.

    wording: of the run. A source that `cases` misses is left out. Raises PromptError.
    """
    parts = []
    for source in (source for source in sources if source not in cases.missing):
        table, scores, worded = cases.table, cases.scores.get(source, cases.scores[""]), wording
        if source == CLASS_NAME:
            table, scores = unnamed(table), scores * np.nan
        elif source == RANDOM:
            scores = _at_random(table, wording, seed)
        elif source == REWRITTEN:
            worded = replace(wording, paraphrased=True)
        elif source in TEMPLATES:
            worded = replace(wording, template=source)
        of_source = {"variant": source, "image_id": source + "_" + table["image_id"], "dx": table["dx"]}
        asked = scores.assign(**dict.fromkeys(set(FEATURES) - set(wording.concepts), np.nan))
        prompts = worded.prompts(lesions(table, asked), count, seed, table["image_id"].tolist())
        of_source |= {"prompt": prompts, "prompted_by": table["image_id"], "generator": ADAPTER}
        seeds = [derive(seed, "prompts", image_id) for image_id in table["image_id"]]
        parts.append(pd.DataFrame(of_source).assign(seed=seeds).join(asked))
    return pd.concat(parts, ignore_index=True)


def _rows(table: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """The 22 scores of these cases, index of `table`."""
    rows = scores.drop_duplicates("image_id").set_index("image_id")[list(FEATURES)].reindex(table["image_id"])
    return rows.astype(float).set_axis(table.index)


def _at_random(table: pd.DataFrame, wording: Wording, seed: int) -> pd.DataFrame:
    """Features that chance assigns to each case; skin tone is one of its six words, or is not named where the run's
    wording does not know it."""
    names = [name for name in FEATURES if name in wording.concepts and name not in ("evolving", at_random.TONE)]
    rows = []
    for image_id in table["image_id"]:
        rng = np.random.default_rng(derive(seed, "prompts at random", image_id))
        tone = {at_random.TONE: float(rng.choice(at_random.scores_of(at_random.TONE)))}
        rows.append(at_random.scores(names, wording.max_features, rng) | tone)
    return pd.DataFrame(rows, table.index, list(FEATURES), dtype=float)
