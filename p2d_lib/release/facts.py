"""What the cards of a release say of it, gathered once."""

from typing import Any, NamedTuple

import pandas as pd

from p2d_lib.release.licences import PHANTOM, Origin


class Facts(NamedTuple):
    """A release in facts.

    metadata: of `pictures.write`; refused: image_id, dx, reason; verdict: 05's sentence on the set; real_sets: names of
    the sets that were searched for what the images show; recipe: of `recipe.write`; captions: of the audit tables, by
    name; training: the parameters of 03; published: ISO date; url: where the release will lie ("": not known);
    signed: whether each picture is.
    """

    run: str
    creator: str
    origin: Origin
    metadata: pd.DataFrame
    refused: pd.DataFrame
    verdict: str
    real_sets: list[str]
    recipe: dict[str, Any]
    captions: dict[str, str]
    training: dict[str, Any]
    published: str
    url: str
    signed: bool

    @property
    def is_phantom(self) -> bool:
        """Whether the generator was trained on rendered phantoms, so that nothing here shows skin."""
        return self.origin.source == PHANTOM

    @property
    def title(self) -> str:
        kind = "images after a dermoscopic phantom" if self.is_phantom else "dermoscopic images"
        return f"Synthetic {kind} (prompt2derm, run {self.run})"

    @property
    def name(self) -> str:
        return f"prompt2derm-{self.run}"

    @property
    def counts(self) -> dict[str, int]:
        """Released images of each class."""
        return self.metadata["dx"].value_counts(sort=False).to_dict()

    @property
    def refusals(self) -> dict[str, int]:
        """Images that are not released, by reason."""
        return self.refused["reason"].value_counts().to_dict()

    @property
    def base(self) -> str:
        """The base's name, with the commit of a Hugging Face id."""
        base, commit = self.recipe["base"]["base"], self.recipe["base"]["commit"]
        if base == "tiny":
            return "the tiny one that ships with prompt2derm"
        return f"{base}@{commit}" if commit else base

    @property
    def guided(self) -> str:
        """At which noise levels guidance acts, in words."""
        low, high = self.recipe["settings"]["guidance_interval"]
        return f"at noise levels {low:g} to {high:g}" if high is not None else f"at noise levels from {low:g} on"

    @property
    def limits(self) -> list[str]:
        """What a user of the set has to know, for the card and for Croissant's RAI fields."""
        skin = ["Nothing here shows skin: the generator has only seen images of a renderer."] if self.is_phantom else []
        return [
            *skin,
            "Not for clinical use. Synthetic images are no substitute for images of patients.",
            "`dx` and the scores say what was asked for, not what a dermatologist sees in the image.",
            "The generator has learnt from one source; its cameras, its patients and its errors of labelling pass on.",
            "That no test finds a trace of train images does not prove that there is none.",
        ]

    @property
    def biases(self) -> list[str]:
        """How the set differs from patients as a doctor meets them."""
        counts = ", ".join(f"{dx} {n}" for dx, n in self.counts.items())
        patients = "in published dermoscopic sets light skin and patients in Europe and Australia prevail"
        return [
            f"Counts of classes follow the plan of the run ({counts}), not how often diseases occur.",
            "Skin tones, body sites and ages are those of the images that the generator was trained on"
            + (": the renderer's." if self.is_phantom else f"; {patients}."),
        ]
