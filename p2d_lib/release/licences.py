"""What the licence of the real images allows of images whose generator was trained on them."""

from typing import NamedTuple

from p2d_lib.prep import layouts
from p2d_lib.release.refusal import Refused
from p2d_lib.run import Run
from p2d_lib.suggest import did_you_mean

PHANTOM = "phantom"  # 01_prep.source
OWN = "Apache-2.0"  # of the phantom, as of the renderer


class Licence(NamedTuple):
    """A licence under which derived images may be passed on; they then have the same one.

    spdx: its identifier at https://spdx.org/licenses. conditions: sentences that hold for whoever uses the set.
    """

    spdx: str
    name: str
    url: str
    conditions: tuple[str, ...]

    @property
    def hub(self) -> str:
        """Its identifier in a card of the Hugging Face hub."""
        return self.spdx.lower()


_CREDIT = "Name the real images' authors."
_NOT_SOLD = "No commercial use."
_SAME = "What is made of this set is passed on under the same licence."


def _creative_commons(kind: str, version: str, *conditions: str) -> Licence:
    url = f"https://creativecommons.org/licenses/{kind.lower()}/{version}/"
    return Licence(f"CC-{kind}-{version}", f"Creative Commons {kind} {version}", url, conditions)


LICENCES = {
    licence.spdx: licence
    for licence in (
        Licence(OWN, "Apache License 2.0", "https://www.apache.org/licenses/LICENSE-2.0", ()),
        Licence("CC0-1.0", "Creative Commons Zero 1.0", "https://creativecommons.org/publicdomain/zero/1.0/", ()),
        _creative_commons("BY", "4.0", _CREDIT),
        _creative_commons("BY-SA", "4.0", _CREDIT, _SAME),
        _creative_commons("BY-NC", "4.0", _CREDIT, _NOT_SOLD),
        _creative_commons("BY-NC-SA", "3.0", _CREDIT, _NOT_SOLD, _SAME),
        _creative_commons("BY-NC-SA", "4.0", _CREDIT, _NOT_SOLD, _SAME),
    )
}
FORBIDDEN = {
    "CC-BY-ND-4.0": "allows no derived works",
    "CC-BY-NC-ND-4.0": "allows no derived works",
    "LicenseRef-research-only": "allows research and teaching, but not to pass anything on",
}


class Origin(NamedTuple):
    """The real images behind a set: how to cite them, where they come from, and their licence."""

    source: str  # 01_prep.source
    citation: str
    place: str
    licence: Licence


def origin(run: Run, named: str = "") -> Origin:
    """Where the run's real images come from and the licence that the synthetic ones inherit.

    named: the SPDX identifier that the user gives where the layout of the source has none. Raises Refused for a licence
    that is unknown, that forbids a release, or that contradicts the layout's.
    """
    source = run.made_with("cases")["parameters"]["source"]
    if source == PHANTOM:
        layout_licence, citation, place = OWN, "Dermoscopic phantom of prompt2derm, rendered", "p2d_lib/prep/phantom"
    else:
        layout = layouts.load(source)
        layout_licence, citation, place = layout.licence, layout.citation or layout.source, layout.source
    if named and layout_licence and named != layout_licence:
        raise Refused(
            f"--licence {named}: the images of {source} are under {layout_licence}, which a release cannot change: "
            "leave --licence out"
        )
    spdx = layout_licence or named
    if not spdx:
        raise Refused(
            f"the licence of the images that the generator was trained on is unknown: write `licence: ...` into the "
            f"layout {source}, or give --licence; known are {', '.join(LICENCES)}"
        )
    if spdx in FORBIDDEN:
        raise Refused(
            f"the images of {source} are under {spdx}, which {FORBIDDEN[spdx]}: ask their authors, and do not release "
            "what is made of them"
        )
    if spdx not in LICENCES:
        near = did_you_mean(spdx, LICENCES)
        raise Refused(
            f"the licence {spdx!r} of the images of {source} is not one whose terms are known here{near}; known are "
            f"{', '.join(LICENCES)}"
        )
    return Origin(source, citation, place, LICENCES[spdx])
