"""All generators of the run by the same measures, and how far the floor depends on the split."""

from collections.abc import Mapping

import pandas as pd

from p2d_lib.fidelity.alignment import Alignment
from p2d_lib.fidelity.controls import SENSELESS
from p2d_lib.fidelity.measures import ALL, MEASURES, misled
from p2d_lib.fidelity.report.cells import NAMES, PROMPTS, number
from p2d_lib.fidelity.sets import FLOOR, REFERENCE, Sets
from p2d_lib.report import tables
from p2d_lib.report.tables import TOO_SMALL


def generators_table(
    measured: pd.DataFrame, aligned: Mapping[str, Alignment], tests: pd.DataFrame, chosen: Sets
) -> pd.DataFrame:
    """For each extractor a row for each generator, for real images and for the senseless controls, at the common size.

    measured: of `compare.measured` at `compare.common_side`. aligned: of `alignment.of_sets`. tests: of
    `verdicts.family`.
    """
    first, rows = measured.index[0][0], []
    holm = tests[(tests["measure"] == "kid") & (tests["dx"] == ALL)].set_index("second")["holm"]
    for extractor in measured.index.unique("extractor"):
        scores = measured["estimate"].xs((extractor, ALL), level=("extractor", "dx")).unstack("metric")
        omitted = misled(measured.loc[extractor])
        for name in (*chosen.generators, FLOOR, *SENSELESS):
            of_set = aligned.get(REFERENCE if name == FLOOR else name) if extractor == first else None
            row = {"extractor": extractor, "images": NAMES.get(name, name)}
            row |= {
                measure.heading: tables.NOTHING if metric in omitted else number(metric, scores.at[name, metric])
                for metric, measure in MEASURES.items()
            }
            row |= {PROMPTS[m]: f"{getattr(of_set, m).mean():.3f}" if of_set else "–" for m in ("own_prompt", "wins")}
            tested = extractor == first and name in holm
            rows.append(row | {"p (Holm)": tables.p_value(holm[name]) if tested else "–"})
        heading = MEASURES["frechet"].heading
        rows += [{"extractor": extractor, "images": name, heading: TOO_SMALL} for name in chosen.too_few]
    table = pd.DataFrame(rows).fillna(tables.NOTHING)
    return table.loc[:, (table != tables.NOTHING).any()]


def floors_table(measured: pd.DataFrame) -> pd.DataFrame:
    """Distances of real train images (which an extractor may have seen) and of val images to real test images.

    measured: of `compare.measured` on `sets.real_splits`, at the n that val allows.
    """
    rows = []
    for extractor in measured.index.unique("extractor") if len(measured) else [tables.NOTHING]:
        for split in (FLOOR, "val"):
            row = {"extractor": extractor, "real images": split, "n": "0"}
            for metric in ("frechet", "kid"):
                cell = TOO_SMALL
                if len(measured):
                    values = measured.loc[(extractor, split, ALL, metric)]
                    row["n"], cell = f"{values['n']:.0f}", number(metric, *values[["estimate", "low", "high"]])
                row[MEASURES[metric].heading] = cell
            rows.append(row)
    return pd.DataFrame(rows)
