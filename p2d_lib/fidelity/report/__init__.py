"""05 as the paper shows it: tables, figures and findings."""

from p2d_lib.fidelity.report.classes import classes_table, distances_figure
from p2d_lib.fidelity.report.copying import copying_finding, copying_table
from p2d_lib.fidelity.report.family import tests_table
from p2d_lib.fidelity.report.findings import findings, opinion
from p2d_lib.fidelity.report.generators import floors_table, generators_table
from p2d_lib.fidelity.report.overall import (
    attributes_finding,
    attributes_table,
    chosen_by_alignment,
    grid_figure,
    overall_table,
    prompts_table,
    scale_figure,
)
from p2d_lib.fidelity.report.pixel_pairs import glide_table, pairs_finding, pairs_table
from p2d_lib.fidelity.report.realism import realism_figure, realism_table
from p2d_lib.report.tables import TOO_SMALL

__all__ = [
    "TOO_SMALL", "attributes_finding", "attributes_table", "chosen_by_alignment", "classes_table", "copying_finding",
    "copying_table", "distances_figure", "findings", "floors_table", "generators_table", "glide_table", "grid_figure",
    "opinion", "overall_table", "pairs_finding", "pairs_table", "prompts_table", "realism_figure", "realism_table",
    "scale_figure", "tests_table",
]  # fmt: skip
