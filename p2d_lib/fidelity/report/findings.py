"""The results of 05 as sentences, what a sceptical reader asks first at the top."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import pandas as pd

from p2d_lib.fidelity import compare, pixels, sets
from p2d_lib.fidelity.alignment import Alignment
from p2d_lib.fidelity.controls import CONTROLS, RECONSTRUCTED, WORSENED
from p2d_lib.fidelity.measures import ALL, MEASURES, misled
from p2d_lib.fidelity.report.cells import BOUNDS, number
from p2d_lib.fidelity.sets import FLOOR, REFERENCE, Sets
from p2d_lib.instruments.multiplicity import LEVEL
from p2d_lib.instruments.pixel_statistics import BANDS
from p2d_lib.report import tables
from p2d_lib.report.tables import TOO_SMALL
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX_NAMES

SETS = {"adapter": "the adapter's images", "base": "the base's images", FLOOR: "real train images"}


class Extractor(Protocol):
    """What the findings say of an extractor."""

    title: str
    note: str
    independent: bool


def findings(
    measured: pd.DataFrame,
    in_pixels: pd.DataFrame,
    aligned: Mapping[str, Alignment],
    tests: pd.DataFrame,
    chosen: Sets,
    extractors: Sequence[Extractor],
    more: Sequence[str] = (),
) -> list[str]:
    """The results as sentences. measured: of `compare.measured`, by the titles of extractors, the judge first.

    in_pixels: of `pixels.measured`. aligned: of `alignment.of_sets`. tests: of `verdicts.family`. more:
    sentences that follow what the judge says; empty ones are left out.
    """
    of_judge = measured.loc[extractors[0].title]
    against_base = tests[(tests["second"] == "base") & (tests["dx"] == ALL)]
    (change,) = (_change(row, of_judge) for row in against_base.itertuples())
    lines = [_realism(extractors[0], tests), _floor(extractors[0], of_judge), _pixels(in_pixels), _variety(of_judge)]
    lines += [f"From base to adapter, {change}.", _by_class(tests, chosen.n), _scale(of_judge)]
    lines += [_baselines(tests, chosen, of_judge)] if len(chosen.generators) > 2 or chosen.too_few else []
    lines += [_prompts(tests, aligned), *more]
    lines += [_other_extractor(extractor, measured.loc[extractor.title]) for extractor in extractors[1:]]
    lines += [_omitted(extractor.title, measured.loc[extractor.title]) for extractor in extractors]
    return [line for line in lines if line]


def _realism(judge: Extractor, tests: pd.DataFrame) -> str:
    """Whether a network tells synthetic images from real ones, and real from real."""
    rows = tests[tests["measure"] == "auc"]
    if rows.empty:
        return ""
    parts = [
        f"{SETS[row.first]} with {row.estimate:.3f} (Holm p {tables.p_value(row.holm, '= ')}: "
        f"{'they differ' if row.holm <= LEVEL else 'no difference is shown'})"
        for row in rows.itertuples()
    ]
    who = judge.title if judge.independent else f"{judge.title}, which is no judge of realism,"
    return (
        f"**By AUC, {who} tells from real test images {', '.join(parts)}.** Chance is 0.5. About {judge.title}: "
        f"{judge.note}."
    )


def _floor(judge: Extractor, measured: pd.DataFrame) -> str:
    """How far from the floor, and how far the autoencoder alone lies from it."""
    scores = measured["estimate"].xs(ALL, level="dx").unstack("metric")
    times = scores["frechet"] / scores.at[FLOOR, "frechet"]
    cells = scores.apply(lambda column: [number(column.name, value) for value in column])
    infinite = cells["frechet_at_infinity"]
    extrapolated = f"; extrapolated to infinite n, {infinite['adapter']} (real train images {infinite[FLOOR]})"
    return (
        f"In the features of {judge.title}, the Fréchet distance of the adapter's images to real test images is "
        f"{cells.at['adapter', 'frechet']}, {times['adapter']:.1f} times the floor at equal n "
        f"({cells.at[FLOOR, 'frechet']}); the base's images lie at {times['base']:.1f} times"
        f"{extrapolated if infinite['adapter'] != tables.NOTHING else ''}. Real images that only went through the "
        f"autoencoder and back lie at {times[RECONSTRUCTED]:.1f} times, with an AUC of "
        f"{cells.at[RECONSTRUCTED, 'auc']}: what is lost there, no denoiser brings back. A Fréchet distance near "
        "or below the floor can also mean little variety: no verdict rests on it."
    )


def _variety(measured: pd.DataFrame) -> str:
    """Whether the adapter's images vary as real ones do, by the measures of it that no control misleads."""
    of_all, omitted = measured.xs(ALL, level="dx"), misled(measured)
    parts = [
        f"{MEASURES[metric].plain} {number(metric, *of_all.loc[('adapter', metric), BOUNDS])} (real train images "
        f"{number(metric, of_all.at[(FLOOR, metric), 'estimate'])})"
        for metric in ("vendi", "recall", "coverage")
        if metric not in omitted
    ]
    return f"Variety of the adapter's images: {', '.join(parts)}." if parts else ""


def _pixels(in_pixels: pd.DataFrame) -> str:
    """Borders of blocks and fine detail of the adapter's images, of reconstructed and of real ones."""
    of_all = in_pixels.xs(ALL, level="dx")

    def cells(metric: str) -> str:
        others = {FLOOR: "real train images", RECONSTRUCTED: "reconstructed ones"}
        text = ", ".join(f"{who} {of_all.at[(name, metric), 'estimate']:.2f}" for name, who in others.items())
        return f"{number('', *of_all.loc[('adapter', metric), BOUNDS], digits=2)} ({text})"

    return (
        "In pixels: in the adapter's images the energy of steps across the borders of the autoencoder's blocks, over "
        f"that of other steps, is {cells(pixels.BORDERS)}; power from {BANDS[pixels.FINE][0]:g} cycles/px on, over "
        f"that of real test images, is {cells(pixels.DETAIL)}."
    )


def _other_extractor(extractor: Extractor, measured: pd.DataFrame) -> str:
    """What an extractor says of which no verdict is made."""
    scores = measured["estimate"].xs(ALL, level="dx").unstack("metric")
    times = scores["frechet"] / scores.at[FLOOR, "frechet"]
    areas = ", ".join(f"{text} {number('auc', scores.at[name, 'auc'])}" for name, text in SETS.items())
    return (
        f"{extractor.title}, of which no verdict is made: AUC against real test images {areas}; Fréchet distance "
        f"{times['adapter']:.1f} (adapter) and {times['base']:.1f} (base) times the floor. About it: {extractor.note}."
    )


def opinion(run: Run, cases: pd.DataFrame, synthetic: pd.DataFrame, network: Extractor, seed: int) -> str:
    """What one more extractor says of the sets that 05 compares, without verdict; network is called with images."""
    chosen = sets.choose(cases, synthetic, 10, seed)
    chosen = replace(chosen, tables={name: chosen.tables[name] for name in (REFERENCE, *compare.BY_CLASS)})
    features = compare.features(run, chosen, network, compare.side(run, chosen), seed, {})
    measured = compare.measured({network.title: features}, chosen.dx, len(chosen.dx) + 1)  # of all classes pooled alone
    return _other_extractor(network, measured.loc[network.title])


def _omitted(extractor: str, measured: pd.DataFrame) -> str:
    scores = "; ".join(
        f"{MEASURES[metric].plain} gives {name} {score:.2f}" for metric, (name, score) in misled(measured).items()
    )
    why = "because a senseless control scores at least half as well as real images, or within their interval"
    return f"Not printed for {extractor}, {why}: {scores}." if scores else ""


def _change(row: tuple, measured: pd.DataFrame) -> str:
    before, after = (measured.at[(name, row.dx, row.measure), "estimate"] for name in ("base", "adapter"))
    if pd.isna(row.p):
        return f"the {MEASURES[row.measure].plain} says nothing: {TOO_SMALL}"
    verdict = ("falls" if row.estimate < 0 else "**rises**") if row.holm <= LEVEL else "no change is shown"
    digits = MEASURES[row.measure].digits
    change = f"{row.estimate:+.{digits}f} [{row.low:+.{digits}f}, {row.high:+.{digits}f}]"
    return (
        f"the {MEASURES[row.measure].plain} to real test images goes from {before:.{digits}f} to {after:.{digits}f} "
        f"(change {change}, Holm p {tables.p_value(row.holm, '= ')}): {verdict}"
    )


def _by_class(tests: pd.DataFrame, n: pd.Series) -> str:
    by_class = tests[(tests["measure"] == "kid") & (tests["dx"] != ALL)]
    shown = by_class[by_class["holm"] <= LEVEL]
    falls, rises = (_names(shown["dx"][side]) for side in (shown["estimate"] < 0, shown["estimate"] > 0))
    small = [f"{DX_NAMES[dx]} ({count})" for dx, count in n.items() if dx not in set(by_class["dx"])]
    tested = f"of {len(by_class)} tested, the KID falls in {falls} and rises in {rises}"
    parts = ([tested] if len(by_class) else []) + ([f"too few images to test: {', '.join(small)}"] if small else [])
    return f"By class, {'; '.join(parts)}."


def _scale(measured: pd.DataFrame) -> str:
    of_frechet = measured.xs((ALL, "frechet"), level=("dx", "metric"))
    score = of_frechet["estimate"]
    controls = ", ".join(f"{name} {score[name]:.1f}" for name in CONTROLS)
    line = f"Scale of the Fréchet distance at this n: real images of other lesions {score[FLOOR]:.1f}, {controls}."
    if unnoticed := [name for name in WORSENED if score[name] <= of_frechet.at[FLOOR, "high"]]:
        line += f" Real images that were made {' and '.join(unnoticed)} are as near: these features do not see that."
    return line


def _baselines(tests: pd.DataFrame, chosen: Sets, measured: pd.DataFrame) -> str:
    rows = tests[(tests["measure"] == "kid") & (tests["dx"] == ALL) & (tests["second"] != "base")]
    nearer, farther = (rows["holm"] <= LEVEL) & (rows["estimate"] < 0), (rows["holm"] <= LEVEL) & (rows["estimate"] > 0)
    groups = {
        "nearer to real images than": rows["second"][nearer],
        "farther from them than": rows["second"][farther],
        "not shown to differ from": rows["second"][rows["holm"] > LEVEL],
        "too few to be tested against": rows["second"][rows["holm"].isna()],
    }
    parts = [f"{text} {', '.join(names)}" for text, names in groups.items() if len(names)]
    text = f"By KID the adapter's images are {'; '.join(parts)}." if parts else ""
    score = measured["estimate"].xs((ALL, "kid"), level=("dx", "metric"))
    if poor := [name for name in rows["second"] if name in score and score[name] >= score["noise"]]:
        text += f" No nearer to them than noise: {', '.join(poor)}."
    left_out = f" {', '.join(chosen.too_few)}: {TOO_SMALL}, since 04 refused too many images." if chosen.too_few else ""
    return (text + left_out).strip()


def _prompts(tests: pd.DataFrame, aligned: Mapping[str, Alignment]) -> str:
    rows = tests[tests["measure"] == "wins"].set_index("first")
    verdict = "more than by chance" if rows.at["adapter", "holm"] <= LEVEL else "not shown to be more than chance"
    real = f"for real test images {100 * rows.at[REFERENCE, 'estimate']:.0f} %, " if REFERENCE in rows.index else ""
    noise = f"for noise {100 * aligned['noise'].wins.mean():.0f} %" if "noise" in aligned else "chance is 50 %"
    share, holm = 100 * rows.at["adapter", "estimate"], rows.at["adapter", "holm"]
    return (
        f"Of the prompts of other classes, {share:.0f} % fit an image of the adapter less well than its own (Holm p "
        f"{tables.p_value(holm, '= ')}: {verdict}); {real}{noise}."
    )


def _names(dx: Sequence[str]) -> str:
    return f"{len(dx)} ({', '.join(DX_NAMES[name] for name in dx)})" if len(dx) else "none"
