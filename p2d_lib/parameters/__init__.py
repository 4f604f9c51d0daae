"""The only place where a parameter is defined: one file a notebook, one field a parameter.

A field carries the parameter's type, its bounds, its default (the value of the smoke profile) and one sentence.
After a change run

    python -m p2d_lib.parameters

which writes params/smoke.yaml and the parameters cell of each notebook from the fields (`--check` only says what
differs). The other files of params/ are written by hand: they hold what differs from the one that
they extend.
"""

from p2d_lib.parameters.classify import Classify
from p2d_lib.parameters.describe import Describe
from p2d_lib.parameters.fairness import Fairness
from p2d_lib.parameters.fidelity import Fidelity
from p2d_lib.parameters.finetune import Finetune
from p2d_lib.parameters.prep import Prep
from p2d_lib.parameters.profiles import MODELS, ParameterError, check, naming_weights, of_notebook, profile
from p2d_lib.parameters.readers import Readers
from p2d_lib.parameters.sample import Sample

__all__ = [
    "MODELS", "Classify", "Describe", "Fairness", "Fidelity", "Finetune", "ParameterError", "Prep", "Readers", "Sample",
    "check", "naming_weights", "of_notebook", "profile",
]  # fmt: skip
