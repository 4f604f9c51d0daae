"""The columns of every table that notebooks hand to one another, with types, units and ranges.

Tables are checked on every write and every read: a missing or unknown column, a wrong type or a value out of range
is an error that names artefact, column and value.
"""

import numpy as np
import pandera.pandas as pa

from p2d_lib.generators import GENERATORS
from p2d_lib.vocabulary import DX, DX_TYPES, FEATURES, SEXES, SITES

SPLITS = ("train", "val", "test")
COUNTERFACTUAL_ATTRIBUTES = ("skin_tone", "hair", "ruler")
OTHER_READING = "lesion reads otherwise"  # the reason of a pair that fails the last question of 04 alone
KINDS = ("network", "vlm", "person", "simulated")  # of reader; simulated: the shipped example, on phantom runs only


def _text(*, isin=None, unique=False) -> pa.Column:
    return pa.Column(str, pa.Check.isin(isin) if isin else None, unique=unique)


def _name(*, unique=False) -> pa.Column:
    """An identifier, which is never empty: rows without one would count as one thing."""
    return pa.Column(str, pa.Check.str_length(min_value=1), unique=unique)


def _number(low=None, high=None, *, dtype=float, nullable=False) -> pa.Column:
    checks = [check(bound) for check, bound in ((pa.Check.ge, low), (pa.Check.le, high)) if bound is not None]
    return pa.Column(dtype, checks, nullable=nullable)


def _table(columns: dict, *, strict: bool = True) -> pa.DataFrameSchema:
    return pa.DataFrameSchema(columns, strict=strict, coerce=True)


_FEATURES = {name: _number(0, 1, nullable=True) for name in FEATURES}  # NaN: the describer does not know
_FRACTION = _number(0, 1, nullable=True)
# True equals 1, and would pass as a skin type
_NO_TRUTH_VALUE = pa.Check(lambda value: not isinstance(value, bool | np.bool_), element_wise=True, name="numbers")
_SKIN_TYPE = pa.Column(None, [_NO_TRUTH_VALUE, pa.Check.isin((1, 2, 3, 4, 5, 6))], nullable=True, required=False)

CASES = _table(
    {
        "image_id": _name(unique=True),
        "lesion_id": _name(),
        "dx": _text(isin=DX),
        "dx_type": _text(isin=DX_TYPES),
        "age": _number(0, 120, nullable=True),  # years
        "sex": _text(isin=SEXES),
        "localization": _text(isin=SITES),
        "fitzpatrick": _SKIN_TYPE,  # Fitzpatrick's, as people judged it
        "true_fitzpatrick": _SKIN_TYPE,
        "dataset": _text(),  # "phantom" on phantom rows
        "split": _text(isin=SPLITS),
        "path": _text(),  # of the resized image, relative to the run's folder
        "sha256": _text(),  # of the image file as published
        "width": _number(1, dtype=int),  # px, as published
        "height": _number(1, dtype=int),  # px, as published
        "entropy": _number(0, 8),  # bits, of the grey histogram
        # the picture's quality; descriptive only (prep/measure.py and prep/picture_quality.py)
        "sharpness": _number(0),  # variance of the Laplacian, grey levels 0..255
        "hair": _number(0, 1),  # share of the image under hair
        "ruler": _number(0),  # ticks in a row; about 7 or more are a ruler
        **{flag: pa.Column(bool) for flag in ("is_empty", "is_blurred", "has_hair", "has_ruler")},
        "ita": _number(-180, 180, nullable=True),  # degrees, of all skin outside the lesion
        "ita_patches": _number(-180, 180, nullable=True),  # degrees, of the lightest of eight patches along the edges
    },
    strict=False,  # the phantom adds its truth as true_* columns
)
QUARANTINE = _table(
    {  # rows and files of a raw set that the run leaves out
        "image_id": _text(),
        "file": _text(),
        "row": _number(0, dtype=int),  # line of the metadata; 0 for a file
        "stage": _text(isin=("metadata", "image", "mask")),
        "reason": _text(),
    }
)
MEASUREMENTS = _table(
    {  # measured from mask and pixels of a real image; NaN where there is no mask
        "image_id": _text(unique=True),
        "area": _FRACTION,  # share of the image
        "diameter": _number(0, nullable=True),  # px of the published image, the largest
        "asymmetry": _FRACTION,  # share of the lesion that has no counterpart when it is folded
        "border_irregularity": _FRACTION,  # 1 - 4 pi area / perimeter^2
        **{colour: _FRACTION for colour in ("light_brown", "dark_brown", "black", "red", "white", "blue_grey")},
        "n_colors": _number(0, 6, nullable=True),  # colours on at least 5 % of the lesion
        "color_spread": _number(0, nullable=True),  # Delta E: root of the summed variances of L*, a*, b* on the lesion
        "skin_contrast": _number(0, nullable=True),  # Delta E (CIE76) between lesion and skin
        "skin_lightness": _number(0, 100, nullable=True),  # median L* outside the lesion
    }
)
DESCRIPTIONS = _table(
    {
        "image_id": _text(),
        "describer": _text(),
        "text": _text(),
        **_FEATURES,
        "prompt": _text(),
        "valid": pa.Column(bool),
        "reviewer": _text(),  # "" where nobody has reviewed it
        "seconds": _number(0),
        "cost": _number(0),  # USD
    }
)
_PLANNED = {
    "image_id": _text(unique=True),
    "dx": _text(isin=DX),
    "prompt": _text(),
    "prompted_by": _text(),  # image_id of the train case whose description the prompt follows
    **_FEATURES,  # the scores requested of the image; NaN: the prompt does not mention the feature
    "seed": _number(0, dtype="int64"),
    "generator": _text(isin=GENERATORS),
}
PLAN = _table(_PLANNED)
SYNTHETIC = _table(
    {
        **_PLANNED,
        "path": _text(),  # relative to the run's folder
        "sha256": _text(),
        "guidance": _number(0),
        "steps": _number(1, dtype=int),
        "alignment": _number(-1, 1),  # cosine of image and prompt by the run's alignment model
        "nearest_case": _text(),  # image_id of the train image that it resembles most (instruments/copies.py)
        "nearest_distance": _number(0, 2),  # 1 - correlation of the two fingerprints
        "nearest_ratio": _number(0),  # nearest_distance / mean distance to the next 50 train images
        "accepted": pa.Column(bool),
        "reason": _text(isin=("", "copy", "memorised", "alignment")),  # why it is not accepted
    }
)
WORST_CASE = _table(
    {  # several images of the adapter for each of some prompts of train and val cases
        "image_id": _text(unique=True),
        "dx": _text(isin=DX),
        "prompt": _text(),
        "prompted_by": _text(),  # image_id of the case whose description is the prompt
        "split": _text(isin=("train", "val")),  # of that case
        "seed": _number(0, dtype="int64"),
        "path": _text(),  # relative to the run's folder
        "sha256": _text(),
    }
)
COUNTERFACTUAL = _table(
    {  # pairs of images of the adapter: the same lesion in words and the same noise, one attribute changed
        "pair_id": _text(),  # two rows have it
        "side": _text(isin=("a", "b")),
        "attribute": _text(isin=COUNTERFACTUAL_ATTRIBUTES),  # what differs between the sides
        "value": _text(),  # what this side asks for: "fair skin", "dark brown skin", "no hair", "hair", ...
        "dx": _text(isin=DX),
        "prompt": _text(),
        "seed": _number(0, dtype="int64"),
        "prompted_by": _text(),  # image_id of the train case whose description the lesion follows
        "path": _text(),  # relative to the run's folder
        "sha256": _text(),
        "accepted": pa.Column(bool),  # of the pair: the attribute has changed as asked, the lesion has not
        "reason": _text(),  # why the pair is not accepted; "" where it is
    }
)
MEMORISATION = _table(
    {  # the verdict of 05 on each synthetic image
        "image_id": _text(unique=True),
        "sha256": _text(),  # of the image that was judged: the verdict holds for no other
        "generator": _text(isin=GENERATORS),
        "score": _number(0),  # log of how many times nearer the nearest train image is than the next (reidentification)
        "distance": _number(0, 2),  # 1 - correlation with the nearest train image in the pose in which they agree best
        "nearest_case": _text(),  # image_id of that train image
        "threshold": _number(0),  # of the score
        "false_alarm_rate": _number(0, 1),  # nominal, of real images of other lesions at this threshold
        "memorised": pa.Column(bool),
        "reason": _text(),  # "" where it is not memorised
    }
)
MEMORISATION_TESTS = _table(
    {  # the hypotheses by which 05 judges the adapter's set as a whole
        "test": _text(isin=("memorised", "worst case", "membership"), unique=True),
        "p": _number(0, 1, nullable=True),  # one-sided; NaN: nothing was sampled for this test
        "holm": _number(0, 1, nullable=True),
        "recall": _number(0, 1),  # share of planted copies that the detector finds, the same in all rows
    }
)
EXTERNAL = _table(
    {  # images of external sets, as 06 reads them
        "image_id": _name(unique=True),
        "lesion_id": _name(),
        "dx": _text(isin=DX),
        "age": _number(0, 120, nullable=True),  # years
        "sex": _text(isin=SEXES),
        "localization": _text(isin=SITES),
        "dataset": _text(),
        "set": _text(),  # its entry in 06_classify.external
        "path": _text(),  # of the resized image, relative to the run's folder
    }
)
CURRICULUM = _table(
    {  # what an arm `curriculum` of 06 has sampled: a row for each training, round and class
        "arm": _text(),
        "seed": _number(0, dtype="int64"),  # training seed
        "round": _number(1, dtype=int),  # the first, 0, shows images of 04
        "step": _number(1, dtype=int),  # of the training, at which the round began
        "macro_f1": _number(0, 1),  # on val, before the round
        "dx": _text(isin=DX),
        "n": _number(0, dtype=int),  # val images
        "error": _FRACTION,  # of the class on val, (wrong + 1) / (n + 2); NaN: val has none
        "sampled": _number(0, dtype=int),  # images
        "refused": _number(0, dtype=int),  # of these, as copies of train images
    }
)
READINGS = _table(
    {
        "image_id": _text(),
        "reader": _text(),
        "kind": _text(isin=KINDS),
        "arm": _text(),  # of 06; "" for a reader that is no classifier of 06
        "seed": _number(-1, dtype="int64"),  # training seed, -1 for a reader that has none
        "dx_read": _text(isin=(*DX, "")),  # "": an abstention, which counts as an error; of a network: it was not asked
        **{f"p_{dx}": _FRACTION for dx in DX},  # NaN where a reader gives no probabilities
        "is_synthetic_read": _number(0, 1, nullable=True),  # P(synthetic); NaN for a reader that was not asked
        "seconds": _number(0, nullable=True),  # for one image
    }
)
VLM_ANSWERS = _table(
    {  # what vision-language models answered, and what was made of it
        "image_id": _text(),
        "reader": _text(),
        "template_id": _text(),  # of the question, in vqa_records.QUESTIONS
        "answer": _text(),  # as it came
        "strict": _text(isin=(*DX, "")),  # by either parser; "": an abstention
        "lenient": _text(isin=(*DX, "")),
        "rule": _text(),  # of words.diagnosis.RULES, by which it was parsed
        "likeliest": _text(isin=(*DX, "")),  # by likelihood; "" where the model gives none
        "seconds": _number(0),
    }
)
