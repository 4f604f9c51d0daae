"""The parameters of 05_fidelity."""

from pydantic import Field

from p2d_lib.parameters.types import Notebook


class Fidelity(Notebook):
    extractor: str = Field("scout", description="scout, or a folder that holds clean-fid's inception-2015-12-05.pt.")
