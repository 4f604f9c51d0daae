"""The parameters of 05_fidelity."""

from pydantic import Field, PositiveInt

from p2d_lib.parameters.types import Notebook


class Fidelity(Notebook):
    extractor: str = Field("scout", description="scout, or a folder that holds clean-fid's inception-2015-12-05.pt.")
    min_n: PositiveInt = Field(10, description='Images of a class; a smaller class is printed as "n too small".')
