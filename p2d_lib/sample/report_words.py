"""Tables, figures and findings of 04 on single words and counterfactual pairs."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from p2d_lib.instruments.rates import exact_interval
from p2d_lib.report import figures, tables
from p2d_lib.sample.probes import COLUMNS_OF_STRIP
from p2d_lib.sample.word_readings import FOLLOWS, UNREADABLE
from p2d_lib.vocabulary import DX_NAMES, FEATURES
from p2d_lib.words.at_random import scores_of

COMPOSED = {True: "rarest in train", False: "most frequent"}
STRIPS = 12  # rows of a figure, which is as high as a page allows


def findings(
    responses: pd.DataFrame | None, compositions: pd.DataFrame | None, pairs: pd.DataFrame, extractor: str
) -> list[str]:
    """The results of the tests of single words and of the pairs as sentences; nothing of what was not tested."""
    lines = [] if responses is None else [attributes_finding(responses, extractor)]
    lines += [] if compositions is None else [compositions_finding(compositions)]
    return [line for line in [*lines, pairs_finding(pairs)] if line]


def attributes_table(responses: pd.DataFrame | None) -> pd.DataFrame:
    """`word_readings.responses` as printed: a row a feature, no numbers of what cannot be read."""
    rows = []
    for name, row in () if responses is None else responses.iterrows():
        cells = {
            reader: tables.interval(*row[reader][["concordance", "low", "high"]], 2)
            for reader in ("real", "readout", "scout")
        }
        rank = tables.interval(*row["readout"][["rank_correlation", "rank_low", "rank_high"]], 2)
        verdict = row[("verdict", "")]
        if verdict == UNREADABLE:
            cells["readout"] = rank = UNREADABLE
        rows.append(
            {
                "feature": name.replace("_", " "),
                "asked for": int(row[("readout", "present")]),
                "synthetic": cells["readout"],
                "rank correlation": rank,
                "real": cells["real"],
                "synthetic, by the scout": cells["scout"],
                "p (Holm)": tables.p_value(row[("p", "")]),
                "verdict": "" if verdict == UNREADABLE else verdict,
            }
        )
    columns = ["feature", "asked for", "synthetic", "rank correlation", "real", "synthetic, by the scout"]
    return pd.DataFrame(rows, columns=[*columns, "p (Holm)", "verdict"])


def attributes_finding(responses: pd.DataFrame, extractor: str) -> str:
    """Which words do what they say."""
    verdict = responses[("verdict", "")]
    follow = [name.replace("_", " ") for name in verdict.index[verdict == FOLLOWS]]
    read = int((verdict != UNREADABLE).sum())
    return (
        f"Of {len(verdict)} features that prompts can name, a linear readout of {extractor} reads {read} on real "
        f"images; of these {len(follow)} follow their word where chance assigned it (permutation test, Holm)"
        + (f": {', '.join(follow)}." if follow else ".")
    )


def strips_parts(strips: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """`probes.strips` by figure, as many features in each that it fits on a page: f4_strips, f4_strips_2."""
    names = list(strips["feature"].unique())
    parts = np.array_split(names, -(-len(names) // STRIPS)) if names else []
    return {f"f4_strips_{k}" if k > 1 else "f4_strips": strips[strips["feature"].isin(part)]
            for k, part in enumerate(parts, 1)}  # fmt: skip


def strips_figure(strips: pd.DataFrame, images: np.ndarray) -> Figure:
    """A row a feature of `probes.strips`; images: uint8 (n, h, w, 3), one for each place."""
    rows, labels, blocks = [], [], []
    for name, places in strips.groupby("feature", sort=False).indices.items():
        levels = len(scores_of(name))
        words = "I · II · III · IV · V · VI" if levels == 6 else " · ".join(("absent", "present", "marked")[:levels])
        rows.append(images[places])
        labels.append(f"{FEATURES[name].title}\n{words}")
        blocks.append(COLUMNS_OF_STRIP // levels)
    return figures.grid(rows, labels, blocks=blocks)


def strips_caption(strips: pd.DataFrame) -> str:
    """What moves in the figure."""
    prompt = strips[strips["feature"] == "hair_amount"]["prompt"] if "hair_amount" in set(strips["feature"]) else []
    example = f" The first prompt of the row of hair: {prompt.iloc[0]!r}." if len(prompt) else ""
    return (
        f"One description of {DX_NAMES[strips['dx'].iloc[0]]}, {COLUMNS_OF_STRIP} images a row. One feature moves "
        f"through the levels that words can name, and after a gap again with the next noise.{example}"
    )


def compositions_table(read: pd.DataFrame | None, plan: pd.DataFrame) -> pd.DataFrame:
    """`word_readings.of_compositions` as printed, with what resampling of train images could show."""
    rows = []
    for (kind, absent), row in () if read is None else read.iterrows():
        part = plan[(plan["kind"] == kind) & (plan["absent"] == absent)]
        names = part[["dx", "words"]].drop_duplicates()
        rows.append(
            {
                "class with a": kind,
                "in train": COMPOSED[absent],
                "train images of each": "–".join(str(count) for count in dict.fromkeys(row["in_train"])),
                "synthetic": row["n"],
                "class as asked": tables.interval(*row["class_read"], 2),
                "feature as asked": tables.interval(*row["more"], 2),
                "compositions": "; ".join(f"{dx} {words}" for dx, words in names.itertuples(index=False)),
            }
        )
    columns = ["class with a", "in train", "train images of each", "synthetic", "class as asked", "feature as asked"]
    return pd.DataFrame(rows, columns=[*columns, "compositions"])


def compositions_finding(read: pd.DataFrame) -> str:
    """What words give that resampling of train images cannot."""
    parts = [
        f"of a class with a {kind} ({' to '.join(map(str, dict.fromkeys(row['in_train'])))} such train images each) "
        f"the class is read as asked in {row['class_read'][0]:.2f} and the {kind} in {row['more'][0]:.2f} (chance 0.50)"
        for (kind, absent), row in read.iterrows()
        if absent
    ]
    return f"Compositions that train hardly has: {'; '.join(parts)}." if parts else ""


def pairs_table(judged: pd.DataFrame, measures: pd.DataFrame | None) -> pd.DataFrame:
    """How many counterfactual pairs pass each question of `pair_check.check`, by attribute.

    measures: of `pair_check.measures`; None where there are no pairs.
    """
    rows = []
    for name, part in judged.groupby("attribute", sort=False):
        n, accepted = len(part), int(part["accepted"].sum())
        low, high = exact_interval(accepted, n)
        measure = measures.loc[name]
        rows.append(
            {
                "changed": name.replace("_", " "),
                "measured by": measure["by"],
                "AUC, real": tables.NOTHING if np.isnan(measure["auc"]) else f"{measure['auc']:.2f}",
                "pairs": n,
                "changed as asked (%)": 100 * part["changed_as_asked"].mean(),
                "same lesion (%)": 100 * part["same_lesion"].mean(),
                "reads the same (%)": 100 * part["reads_the_same"].mean(),
                "accepted (%)": tables.interval(100 * accepted / n, 100 * low, 100 * high, 0),
            }
        )
    columns = ["changed", "measured by", "AUC, real", "pairs", "changed as asked (%)", "same lesion (%)"]
    return pd.DataFrame(rows, columns=[*columns, "reads the same (%)", "accepted (%)"])


def pairs_finding(judged: pd.DataFrame) -> str:
    """The share of pairs that pass."""
    if judged.empty:
        return ""
    counts = judged.groupby("attribute", sort=False)["accepted"].agg(["sum", "size"])
    parts = [f"{row['sum']} of {row['size']} for {name.replace('_', ' ')}" for name, row in counts.iterrows()]
    return (
        f"Counterfactual pairs that pass their check: {', '.join(parts)}. Only these show that one attribute has "
        "changed and the lesion has not."
    )
