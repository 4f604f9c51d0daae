"""The memorisation audit as the paper shows it: tables, a figure and findings."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from p2d_lib.fidelity import audit
from p2d_lib.fidelity.audit import HELD_OUT, OTHER_PHOTOGRAPH, Detector, Disclosure
from p2d_lib.instruments.alterations import ALTERATIONS
from p2d_lib.instruments.multiplicity import LEVEL
from p2d_lib.instruments.reidentification import operating_point
from p2d_lib.report import figures, tables

LABELS = {"all of these": "cropped, mirrored, tinted, noisy and recompressed"}  # in tables, figures and findings
LEAST_RECALL = 0.8  # of planted copies, for a set to pass: what misses more copies is no evidence that there are none
NAMES = {
    "memorised": "the adapter's images show train lesions more often than real images of their classes do",
    "worst case": "train prompts lead back to their own case more than val prompts do",
    "membership": "train records are nearer to the adapter's images than held-out ones",
}


def percent(row: pd.Series) -> str:
    """A row of `audit.rate_of` as "3.1 [1.2, 5.0]"."""
    return tables.interval(*100 * row[["rate", "low", "high"]].to_numpy(float), 1)


def detector_table(detector: Detector) -> pd.DataFrame:
    """Recall at the threshold for each kind of planted copy and for other photographs, then the false-alarm rate."""
    alarms = pd.DataFrame({f"{HELD_OUT}: false alarms": audit.rate_of(detector.held_out["alarm"].to_numpy())}).T
    rows = pd.concat([detector.recall, alarms]).rename(LABELS)
    return pd.DataFrame(
        {
            "images": rows.index,
            "n": rows["n"].astype(int).to_numpy(),
            "called memorised (%)": [percent(row) for _, row in rows.iterrows()],
        }
    )


def verdicts_table(rates: pd.DataFrame, repeats: pd.DataFrame, worst: pd.DataFrame) -> pd.DataFrame:
    """How many images are memorised, how many repeat others of their set, how many prompts give their case away."""
    asked = {
        f"adapter, {split} prompts, worst of several": audit.counts(part["memorised"], part["dx"])
        for split, part in worst.groupby("split")
    }
    rows = pd.concat([rates, pd.DataFrame(asked).T, repeats.loc[repeats.index.difference(rates.index)]])
    table = pd.DataFrame({"images": rows.index, "n": rows["n"].astype(int).to_numpy()})
    shown = rows.index.isin(repeats.index.difference(rates.index))
    table["memorised (%)"] = [
        "–" if skip else percent(row) for skip, (_, row) in zip(shown, rows.iterrows(), strict=True)
    ]
    table["memorised, by class"] = rows["by_class"].fillna("").replace("", tables.NOTHING).to_numpy()
    n_repeats = repeats["n"].reindex(rows.index)  # fewer where train has fewer lesions of a class
    table["n, repeats"] = ["–" if np.isnan(n) else f"{n:.0f}" for n in n_repeats.astype(float)]
    table["repeat another (%)"] = [percent(repeats.loc[name]) if name in repeats.index else "–" for name in rows.index]
    return table


def disclosure_table(disclosed: Disclosure) -> pd.DataFrame:
    """Membership and attributes: what an adversary reaches with the synthetic set, the control, the gain, and p.

    Control: of membership the F1 of one who calls every record a member; of attributes the share guessed right in
    records that were not in train.
    """
    member = disclosed.membership
    rows = [
        (
            "membership (F1)",
            tables.interval(member.f1, member.low, member.high, 2),
            member.naive,
            f"{member.gain:.2f}",
            member.p,
        )
    ]
    rows += [
        (
            f"{name} (share guessed right)",
            f"{one.train:.2f}",
            one.held_out,
            tables.interval(one.risk, one.low, one.high, 2),
            one.p,
        )
        for name, one in disclosed.attributes.items()
    ]
    table = pd.DataFrame(rows, columns=["disclosure", "with the set", "control", "gain", "p"])
    return table.assign(p=[tables.p_value(p) for p in table["p"]])


def detector_figure(detector: Detector) -> Figure:
    """Recall against the nominal false-alarm rate that is wanted, for kinds of copies and other photographs; at the
    operating point it is that of `detector_table`."""
    figure, axis = plt.subplots(figsize=(figures.TEXT_WIDTH, 2.6))
    innocent, rates = detector.held_out, np.union1d(np.geomspace(0.001, 1, 300), audit.RATE)
    points = [operating_point(innocent["score"].to_numpy(), rate, innocent["weight"].to_numpy()) for rate in rates]
    nominal, thresholds = (np.array([getattr(point, name) for point in points]) for name in ("nominal", "threshold"))
    kinds = [OTHER_PHOTOGRAPH, "exact", "all of these", "shifted by 6 to 12 %", "cropped by 15 to 25 %"]
    for k, kind in enumerate(kinds):
        scores, name = detector.scores[kind], LABELS.get(kind, kind)
        if len(scores):
            found = (scores >= thresholds[:, None]).mean(1)
            axis.step(nominal, found, where="post", color=f"C{k}", linestyle=figures.LINES[k], label=name)
    axis.axvline(detector.point.nominal, color="black", linewidth=0.8, linestyle=":")
    axis.set(xscale="log", xlabel="nominal false-alarm rate", ylabel="share found", ylim=(0, 1.02))
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axis.legend(loc="lower right")
    return figure


def findings(
    detector: Detector,
    rates: pd.DataFrame,
    worst: pd.DataFrame,
    disclosed: Disclosure,
    repeats: pd.DataFrame,
    tests: pd.DataFrame,
    least_share: float,
    base_is_innocent: bool,
) -> list[str]:
    """The audit as sentences, the verdict on the set first; least_share: of `audit.least_share`; the rest as in the
    tables."""
    copies = detector.recall.loc[list(ALTERATIONS)]
    photograph = detector.recall.loc[OTHER_PHOTOGRAPH]
    worst_kind, recall = copies["rate"].astype(float).idxmin(), audit.recall_of_copies(detector)
    lines = [
        verdict(tests, recall)
        + (_sensitivity(least_share, rates.loc["adapter", "n"]) if passes(tests, recall) else ""),
        f"The detector refuses {percent(rates.loc[HELD_OUT])} % of real images of lesions that the generator has not "
        f"seen, and {100 * audit.false_alarms(detector):.1f} % where their classes are mixed as the adapter's are. It "
        f"finds {recall:.0%} of planted copies (least: {LABELS.get(worst_kind, worst_kind)}, "
        f"{copies['rate'].astype(float)[worst_kind]:.0%})"
        + (f" and {percent(photograph)} % of other photographs of a lesion." if photograph["n"] else "."),
    ]
    base = f"; of base, which has not seen them, {percent(rates.loc['base'])} %" if base_is_innocent else ""
    lines.append(f"Of the adapter's images {percent(rates.loc['adapter'])} % show a train lesion{base}.")
    if len(worst):
        asked = {split: audit.rate_of(part["memorised"].to_numpy()) for split, part in worst.groupby("split")}
        lines.append(
            f"When a prompt is sampled several times, {asked['train']['k']} of {asked['train']['n']} train prompts "
            f"reveal their own case, and {asked['val']['k']} of {asked['val']['n']} val prompts."
        )
    member = disclosed.membership
    lines.append(
        "An adversary who says which records were in train reaches F1 "
        f"{tables.interval(member.f1, member.low, member.high, 2)} at "
        f"a share of train records of {member.share:.2f}; one who says this of every record reaches {member.naive:.2f}."
    )
    lines += [
        f"{name.capitalize()} is guessed right in {one.train:.0%} of train records and {one.held_out:.0%} of held-out "
        f"ones (risk {tables.interval(one.risk, one.low, one.high, 2)})."
        for name, one in disclosed.attributes.items()
    ]
    lines.append(
        f"{percent(repeats.loc['adapter'])} % of the adapter's images repeat another one; of as many real train images "
        f"{percent(repeats.loc['real (train)'])} %."
    )
    return lines


def _sensitivity(least_share: float, n: int) -> str:
    """What the verdict "passes" is worth: the smallest share of copies that would have led to another one."""
    if np.isnan(least_share):
        return f" {n} images are too few: with copies alone the set would not be refused."
    return (
        f" Had {100 * least_share:.1f} % of the {n} images been copies, spread over the classes by chance, the set "
        f"would have been refused in {audit.POWER:.0%} of tries; fewer may stay unseen."
    )


def passes(tests: pd.DataFrame, recall: float) -> bool:
    """Whether the adapter's set passes the audit: no test refuses it, and the detector finds LEAST_RECALL of copies."""
    return not (tests["holm"] <= LEVEL).any() and recall >= LEAST_RECALL


def verdict(tests: pd.DataFrame, recall: float = 1.0) -> str:
    """The verdict on the adapter's set, with what refuses it; tests: of `audit.set_tests`.

    recall: the share of planted copies that the detector finds; below LEAST_RECALL no set passes, since it may hold
    copies that nobody sees.
    """
    failed = tests[tests["holm"] <= LEVEL]
    if passes(tests, recall):
        return (
            f"The adapter's set passes the memorisation audit: none of {tests['p'].notna().sum()} tests finds a trace "
            f"of train images (smallest Holm p {tables.p_value(tests['holm'].min())}); this proves no absence. All "
            "images that the generator made are judged, also those that 04 refused."
        )
    if failed.empty:
        return (
            f"The memorisation audit gives no verdict on the adapter's set: no test refuses it, but the detector finds "
            f"only {recall:.0%} of planted copies ({LEAST_RECALL:.0%} are needed). More or sharper val and test images "
            "would let it see more."
        )
    reasons = "; ".join(f"{NAMES[row.test]} (Holm p {tables.p_value(row.holm, '')})" for row in failed.itertuples())
    return f"The adapter's set is refused by the memorisation audit: {reasons}."
