"""Real and synthetic images of a run beside each other, by class, feature, verdict and generator."""

from html import escape

import pandas as pd

from p2d_lib.app.pictures import picture
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX_NAMES, FEATURES
from p2d_lib.words.choose import chosen
from p2d_lib.words.render import PRESENT

ANY = "any"
VERDICTS = ("accepted", "refused")
PER_PAGE = 12


class Images:
    """The images of a run, real ones with their chosen description, synthetic ones with what was asked for."""

    def __init__(self, run: Run):
        self.run, self.synthetic = run, run.read("synthetic")
        self.real = run.read("cases").merge(chosen(run.read("descriptions")), on="image_id")
        run.path("images"), run.path("synthetic_images")  # which says what to run where they are missing

    @property
    def generators(self) -> list[str]:
        """The generators of the synthetic images."""
        return self.synthetic["generator"].drop_duplicates().tolist()

    def chosen(self, dx: str, feature: str, verdict: str, generator: str) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The real and the synthetic images that fit. ANY stands for all; verdict and generator are of synthetic ones.

        feature: images whose description, or whose prompt, has it (a score of at least PRESENT).
        """
        tables = []
        for table in (self.real, self.synthetic):
            if dx != ANY:
                table = table[table["dx"] == dx]
            if feature != ANY:
                table = table[table[feature] >= PRESENT]
            tables.append(table)
        real, synthetic = tables
        if verdict != ANY:
            synthetic = synthetic[synthetic["accepted"] == (verdict == "accepted")]
        if generator != ANY:
            synthetic = synthetic[synthetic["generator"] == generator]
        return real, synthetic

    def page(self, real: pd.DataFrame, synthetic: pd.DataFrame, number: int) -> str:
        """A page, from 0, of both sides as HTML."""
        return (
            f'<div class="p2d-sides">{self._side("Real", real, number, self._about_real)}'
            f"{self._side('Synthetic', synthetic, number, self._about_synthetic)}</div>"
        )

    def _side(self, title: str, table: pd.DataFrame, number: int, about) -> str:
        rows = table.iloc[number * PER_PAGE :][:PER_PAGE]
        figures = "".join(self._figure(row, title, about(row)) for row in rows.itertuples())
        count = f"{len(table):,} image{'s' if len(table) != 1 else ''}"
        if len(table) > PER_PAGE:
            count += f", page {number + 1} of {-(-len(table) // PER_PAGE)}"
        nothing = '<p class="p2d-note">None on this page.</p>' * (not figures)
        return (
            f'<section class="p2d-side"><h3>{title}</h3><p class="p2d-note">{count}</p>'
            f'<div class="p2d-gallery">{figures}</div>{nothing}</section>'
        )

    def _figure(self, row, title: str, about: str) -> str:
        source = picture(self.run.folder / row.path, 256)
        words = f"{title} image {escape(row.image_id)}: {escape(DX_NAMES[row.dx])}"
        image = f'<img src="{source}" alt="{words}" title="{escape(row.prompt)}">'
        return f"<figure>{image}<figcaption>{about}</figcaption></figure>"

    def _about_real(self, row) -> str:
        return f"{escape(row.image_id)}<br>{escape(DX_NAMES[row.dx])}, {escape(row.split)}"

    def _about_synthetic(self, row) -> str:
        verdict = "accepted" if row.accepted else f"<b class='p2d-bad'>refused: {escape(row.reason)}</b>"
        return f"{escape(row.generator)}, {escape(DX_NAMES[row.dx])}<br>{verdict}"


def pages(*sides: pd.DataFrame) -> int:
    """How many pages both sides need."""
    return max(1, *(-(-len(side) // PER_PAGE) for side in sides))


def feature_choices() -> list[tuple[str, str]]:
    """(words, name) of the features that an image can be chosen by."""
    return [("any", ANY), *((feature.phrase, name) for name, feature in FEATURES.items())]
