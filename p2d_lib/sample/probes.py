"""Prompts that test single words: named at random, moved alone, and put together as train never has them.

at_random     each prompt names a few features that chance has assigned, so that what is read of a feature is due to its
              word and not to what it comes with
strips        one description, one feature moved through all its words, everything else and the noise as they are
compositions  a class with a skin tone or a feature that train lacks
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from p2d_lib.instruments import obedience
from p2d_lib.sample import single_words
from p2d_lib.sample.plan import COLUMNS
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX, FEATURES, Lesion
from p2d_lib.words import at_random as at_random_words
from p2d_lib.words.at_random import TONE, scores_of
from p2d_lib.words.choose import resample
from p2d_lib.words.render import SKIN_WORDS, mentioned
from p2d_lib.words.wording import Wording, lesions

STRIP_DX, COLUMNS_OF_STRIP = "mel", 6  # the class whose words name most features
KEPT = 3  # features of its description that stay, so that a prompt has room for the one that is moved


def asked(wording: Wording) -> list[str]:
    """The features that this run's prompts can name and that one image can show: all but the change over time."""
    return [name for name in FEATURES if name in wording.concepts and name != "evolving"]


def at_random(
    train: pd.DataFrame, per_class: int, wording: Wording, count: Callable[[str], int], seed: int
) -> pd.DataFrame:
    """A plan of per_class images of each class; each names NAMED features and a skin tone that chance has chosen.

    train: described train cases, whose body sites are used. Columns plan.COLUMNS; scores are those that are asked for.
    """
    names, rows = [name for name in asked(wording) if name != TONE], []
    for dx in DX:
        of_class = train[train["dx"] == dx]
        cases = resample(of_class, per_class if len(of_class) else 0, "empirical", derive(seed, "at random", dx))
        tones = np.random.default_rng(derive(seed, "tones", dx)).permutation(max(per_class, 1))
        for k, case in enumerate(cases.itertuples()):
            rng = np.random.default_rng(derive(seed, "at random", dx, k))
            scores = at_random_words.scores(names, wording.max_features, rng)
            if TONE in wording.concepts:
                scores[TONE] = scores_of(TONE)[tones[k] % len(SKIN_WORDS)]
            lesion = single_words.shortened(
                Lesion(dx=dx, localization=case.localization, **scores), [{}], wording, count
            )
            rows.append(_row(f"random_{dx}_{k:04d}", lesion, case.image_id, wording, count, seed))
    return _plan(rows)


def strips(train: pd.DataFrame, wording: Wording, count: Callable[[str], int], seed: int) -> pd.DataFrame:
    """A plan of COLUMNS_OF_STRIP places a feature: all its levels at one seed, then at the next seeds.

    The lesion is a train description of STRIP_DX. Columns plan.COLUMNS, and feature, column. Places that show one image
    (the same prompt and seed) have one image_id. Empty where train has no such description.
    """
    of_class = train[train["dx"] == STRIP_DX]
    rows = []
    if len(of_class):
        case = resample(of_class, 1, "empirical", derive(seed, "strips"))
        lesion = lesions(case, case)[0]
        weak = dict.fromkeys(set(mentioned(lesion)) - set(mentioned(lesion, KEPT)), 0.0)
        lesion = lesion.model_copy(update=weak)
        for name in asked(wording):
            for column in range(COLUMNS_OF_STRIP):
                noise, level = divmod(column, len(scores_of(name)))
                moved = lesion.model_copy(update={name: scores_of(name)[level]})
                row = _row("", moved, case["image_id"].iloc[0], wording, count, seed)
                rows.append(row | {"seed": derive(seed, "strips", noise), "feature": name, "column": column})
    plan = _plan(rows, ("feature", "column"))
    codes = plan.groupby(["prompt", "seed"], sort=False).ngroup()
    return plan.assign(image_id="strip_" + codes.astype(str))


def compositions(
    train: pd.DataFrame, known: pd.DataFrame, n: int, n_seeds: int, wording: Wording, count: Callable, seed: int
) -> pd.DataFrame:
    """A plan of n compositions that train lacks, or has most rarely, and for each one with the same word that it has.

    train: described train cases; known: their known scores (readout.known_scores). Half are of a class with a skin tone
    where skin tones are known, the others of a class with a feature; n_seeds images each. Columns plan.COLUMNS, and
    feature, kind ("skin tone" or "feature"), words, in_train (images of train that show it), absent (bool: one of the
    rarest).
    """
    counts = _counts(train["dx"].to_numpy(), known, asked(wording))
    counts["order"] = [derive(seed, "compositions", *key) for key in zip(counts["dx"], counts["words"], strict=True)]
    counts = counts.sort_values(["in_train", "order"], ignore_index=True)
    of_tones = min(n // 2, int((counts["kind"] == "skin tone").sum()))
    rows = []
    for kind, number in (("skin tone", of_tones), ("feature", n - of_tones)):
        rarest = counts[counts["kind"] == kind]
        if kind == "feature":  # classes take turns, or the class with the fewest features would have them all
            rarest = rarest.iloc[rarest.groupby("dx").cumcount().argsort(kind="stable")]
        for chosen in rarest[:number].itertuples():
            same = counts[counts["words"] == chosen.words].iloc[-1]
            for absent, part in ((True, chosen), (False, same)):
                rows += _composed(train, part, absent, n_seeds, wording, count, seed)
    plan = _plan(rows, ("feature", "kind", "words", "in_train", "absent"))
    return plan.drop_duplicates("image_id", ignore_index=True)


def _counts(dx: np.ndarray, known: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """How many images of each class show each skin tone and each feature; only of what is known."""
    rows = []
    for name in names:
        level = obedience.levels(name, known[name].to_numpy(float))
        if not np.isfinite(level).any():
            continue
        if name == TONE:
            shown = [(f"{SKIN_WORDS[k]} skin", score, level == k) for k, score in enumerate(scores_of(TONE))]
        else:
            shown = [(FEATURES[name].phrase, scores_of(name)[-1], level >= 1)]
        kind = "skin tone" if name == TONE else "feature"
        for words, score, shows in shown:
            rows += [(each, name, kind, words, score, int((shows & (dx == each)).sum())) for each in DX if each in dx]
    return pd.DataFrame(rows, columns=["dx", "feature", "kind", "words", "score", "in_train"])


def _composed(train, part, absent, n_seeds, wording, count, seed) -> list[dict]:
    """Rows of n_seeds images of a composition, after train descriptions of its class."""
    cases = resample(train[train["dx"] == part.dx], n_seeds, "empirical", derive(seed, "composed", part.dx, part.words))
    about = {"feature": part.feature, "kind": part.kind, "words": part.words, "in_train": part.in_train}
    rows = []
    for k, (case, lesion) in enumerate(zip(cases.itertuples(), lesions(cases, cases), strict=True)):
        edit = {part.feature: part.score}
        lesion = single_words.shortened(lesion, [edit], wording, count).model_copy(update=edit)
        name = f"composed_{part.dx}_{part.words.replace(' ', '-')}_{k}" + ("" if absent else "_known")
        rows.append(_row(name, lesion, case.image_id, wording, count, seed) | about | {"absent": absent})
    return rows


def _row(image_id: str, lesion: Lesion, case: str, wording: Wording, count: Callable, seed: int) -> dict:
    scores = {name: getattr(lesion, name) for name in FEATURES}
    about = {"image_id": image_id, "dx": lesion.dx, "prompt": single_words.prompt(lesion, wording, count)}
    return about | scores | {"prompted_by": case, "seed": derive(seed, "probe", image_id), "generator": "adapter"}


def _plan(rows: list[dict], more: tuple[str, ...] = ()) -> pd.DataFrame:
    plan = pd.DataFrame(rows, columns=[*COLUMNS, *more])
    return plan.astype(dict.fromkeys(FEATURES, float) | {"seed": np.int64})
