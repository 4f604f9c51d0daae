"""All generators of the run by the same measures, and how far the floor depends on the split."""

from collections.abc import Mapping

import pandas as pd

from p2d_lib.fidelity.alignment import Alignment
from p2d_lib.fidelity.controls import SENSELESS
from p2d_lib.fidelity.measures import ALL, MEASURES, misled
from p2d_lib.fidelity.report.cells import NAMES, PROMPTS, TOO_SMALL, number
from p2d_lib.fidelity.sets import FLOOR, REFERENCE, Sets
from p2d_lib.report import tables


def generators_table(
    measured: pd.DataFrame, aligned: Mapping[str, Alignment], tests: pd.DataFrame, chosen: Sets
) -> pd.DataFrame:
    """By eye a row for each generator, for real images and for the senseless controls, all at the common size."""
    first, rows = measured.index[0][0], []
    holm = tests[(tests["measure"] == "frechet") & (tests["dx"] == ALL)].set_index("second")["holm"]
    for eye in measured.index.unique("eye"):
        scores = measured["estimate"].xs((eye, ALL), level=("eye", "dx")).unstack("metric")
        omitted = misled(measured.loc[eye])
        for name in (*chosen.generators, FLOOR, *SENSELESS):
            of_set = aligned.get(REFERENCE if name == FLOOR else name) if eye == first else None
            row = {"eye": eye, "images": NAMES.get(name, name)}
            row |= {
                measure.heading: tables.NOTHING if metric in omitted else number(metric, scores.at[name, metric])
                for metric, measure in MEASURES.items()
            }
            row |= {PROMPTS[m]: f"{getattr(of_set, m).mean():.3f}" if of_set else "–" for m in ("own_prompt", "wins")}
            rows.append(row | {"p (Holm)": tables.p_value(holm[name]) if eye == first and name in holm else "–"})
        rows += [{"eye": eye, "images": name, MEASURES["frechet"].heading: TOO_SMALL} for name in chosen.too_few]
    table = pd.DataFrame(rows).fillna(tables.NOTHING)
    return table.loc[:, (table != tables.NOTHING).any()]


def floors_table(measured: pd.DataFrame) -> pd.DataFrame:
    """Real images of other lesions beside test, by eye: train, which an eye may know, and val, at the n val allows."""
    rows = []
    for eye in measured.index.unique("eye") if len(measured) else [tables.NOTHING]:
        for split in (FLOOR, "val"):
            row = {"eye": eye, "real images": split, "n": "0"}
            for metric in ("frechet", "kid"):
                cell = TOO_SMALL
                if len(measured):
                    values = measured.loc[(eye, split, ALL, metric)]
                    row["n"], cell = f"{values['n']:.0f}", number(metric, *values[["estimate", "low", "high"]])
                row[MEASURES[metric].heading] = cell
            rows.append(row)
    return pd.DataFrame(rows)
