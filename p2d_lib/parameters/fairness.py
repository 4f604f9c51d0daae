"""The parameters of 08_fairness."""

from pydantic import Field, PositiveInt

from p2d_lib.parameters.types import Notebook


class Fairness(Notebook):
    min_n: PositiveInt = Field(10, description='Lesions; a smaller group is printed as "n too small".')
