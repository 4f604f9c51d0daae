"""How published sets lie on disk: each .yaml here describes one, with its source, licence and an example."""

import re
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from p2d_lib import yaml_text
from p2d_lib.prep.pixels import DataError
from p2d_lib.suggest import did_you_mean
from p2d_lib.vocabulary import DX, DX_TYPES, SEXES, SITES

COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset")
WORDS = {
    "dx": DX,
    "dx_type": DX_TYPES,
    "sex": SEXES,
    "localization": SITES,
    "fitzpatrick": ("1", "2", "3", "4", "5", "6", "unknown"),
}
REPOSITORY = Path(__file__).resolve().parents[3]

Names = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
Column = Literal[(*COLUMNS, "fitzpatrick")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Files(_Model):
    """Pictures: those with one of `names` (globs) in `places` (globs of folders and zips), in any case.

    Places are relative to the set's folder ("." is the folder itself), or absolute.
    """

    places: Annotated[list[str], Field(min_length=1)]
    names: Names
    ending: str = ""  # of a picture's stem, after the image_id


class Values(_Model):
    """Words of the published set -> ours; "*" stands for any other word. Rows whose dx becomes null are not used."""

    dx: dict[str, Literal[WORDS["dx"]] | None] = {}
    dx_type: dict[str, Literal[WORDS["dx_type"]]] = {}
    sex: dict[str, Literal[WORDS["sex"]]] = {}
    localization: dict[str, Literal[WORDS["localization"]]] = {}
    fitzpatrick: dict[str, Literal[WORDS["fitzpatrick"]]] = {}


class Layout(_Model):
    """How a published set lies on disk. A column of ours that is in neither columns nor constants is unknown."""

    source: str  # where to get the set
    citation: str = ""  # its name and whom to cite
    licence: str = ""  # SPDX identifier, as in CC-BY-NC-4.0; "" is unknown, and then nothing made of it is released
    metadata: Names  # the table; of several names the first that is there
    separator: str = ""  # of its cells; "" is a tab or a comma, whichever the first line has
    joined: list[str] = []  # further tables with one row per image, under the same column of image ids
    columns: dict[
        Column, str
    ]  # ours -> the set's; "{this}_{that}" joins two, "this or that" is the first that is not empty
    constants: dict[Column, str] = {}  # ours -> the same word for all
    defaults: dict[Column, str] = {}  # ours -> the word for all where the table lacks the set's column
    one_hot: list[str] = []  # columns of which the one that is 1 names the dx
    values: Values = Values()
    images: Files
    masks: Files | None = None

    @model_validator(mode="after")
    def _columns_are_described(self) -> "Layout":
        described = [*self.columns, *self.constants, *(["dx"] if self.one_hot else [])]
        if absent := [column for column in ("image_id", "lesion_id", "dx", "dataset") if column not in described]:
            raise ValueError(f"neither columns nor constants say what {absent[0]} is")
        if twice := [column for column in described if described.count(column) > 1]:
            raise ValueError(f"{twice[0]} is described twice, among columns, constants and one_hot; keep one of them")
        if broken := [name for name in self.columns.values() if set("{}") & set(re.sub(r"{[^{}]+}", "", name))]:
            raise ValueError(f"columns: {broken[0]!r} has a brace without its other half; write {{this}}_{{that}}")
        if self.separator.isalnum():
            raise ValueError(f"separator: {self.separator!r} is a word; write the sign itself, such as ';'")
        return self


class _Texts(yaml_text.OneKey, yaml.BaseLoader):
    """YAML in which every word is text, also 1, Yes and 2024-01-01: a layout holds names and words only. A value may be
    null."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        values = super().construct_mapping(node, deep=True)
        nulls = {key.value for key, value in node.value if _is_null(value)}
        return {key: None if key in nulls else value for key, value in values.items()}


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value in ("null", "Null", "NULL", "~", "")


def load(layout: str | Path) -> Layout:
    """A shipped layout by its name, or one of your own by the path of its .yaml. Raises DataError."""
    shipped = {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}
    candidates = (Path(layout).expanduser(), REPOSITORY / layout) if str(layout).endswith((".yaml", ".yml")) else ()
    path = shipped.get(str(layout)) or next((path for path in candidates if path.is_file()), None)
    if path is None:
        hint = f"there are {', '.join(shipped)}, or name the .yaml file of your own"
        raise DataError(f"no layout {str(layout)!r}{did_you_mean(str(layout), shipped)}; {hint}")
    try:
        return Layout.model_validate(yaml_text.load(path.read_text(encoding="utf-8-sig"), _Texts))
    except ValidationError as error:
        first = error.errors()[0]
        keys = ["layout", *map(str, first["loc"])]
        near = did_you_mean(keys[-1], [*Layout.model_fields, *Files.model_fields]) if "extra" in first["type"] else ""
        raise DataError(f"{path}: {'.'.join(keys)}: {first['msg'].removeprefix('Value error, ')}{near}") from None
    except (yaml_text.YamlError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not YAML ({error}); save it as YAML in UTF-8") from None
