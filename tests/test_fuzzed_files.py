"""Files that people bring, broken in random ways: they are read, or refused by one of our own sentences.

A short run by default; P2D_FUZZ=10000 ./run_tests.sh tests/test_fuzzed_files.py tries 10,000 of each kind.
"""

import os
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
import yaml

from p2d_lib.describe import edits
from p2d_lib.describe.table import rows
from p2d_lib.prep import layouts, metadata
from p2d_lib.prep.pixels import DataError
from p2d_lib.readers import answers, simulate
from p2d_lib.sample import audit_table

EXAMPLES = int(os.environ.get("P2D_FUZZ", "150"))
NASTY = (
    *("", "NA", "nan", "inf", "0,5", "1,000", "-1", "1e999", "9" * 30, "TRUE", "#REF!", "unknown", "mel", "=1+1", "'"),
    *('"', '""', "\n", "\r", "\0", "é", "e\u0301", "\u202e", "\ufeff", "𝔘", "a" * 300, "../..", "a/b", "C:\\x", "/"),
    *(
        "{x}",
        "{",
        ",",
        ";",
        "\t",
        "|",
        "sep=;",
        "null",
        "[",
        ": ",
        "- ",
        "&a *a",
        "!!python/object:os.system",
        "*",
        ".",
    ),
)


def broken(rng: np.random.Generator, text: str) -> bytes:
    """A text after one to four accidents: a word put in, a piece cut out or doubled, another separator or encoding."""
    for _ in range(rng.integers(1, 5)):
        at, end = sorted(rng.integers(0, len(text) + 1, 2))
        end = min(end, at + int(rng.integers(1, 30)))
        word = NASTY[rng.integers(len(NASTY))]
        kind = rng.integers(6)
        if kind < 2:
            text = text[:at] + word + text[at:]
        elif kind == 2:
            text = text[:at] + word + text[end:]
        elif kind == 3:
            text = text[:end] + text[at:]
        elif kind == 4:
            text = text.replace(",", ";\t|"[rng.integers(3)])
        else:
            text = text.replace("\n", ["\r\n", "\r", "\n\n"][rng.integers(3)])
    encoding = ["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le"][rng.integers(6)]
    data = bytearray(text.encode(encoding, "replace"))
    if data and rng.random() < 0.2:
        data[rng.integers(len(data))] = rng.integers(256)
    return bytes(data)


SET = "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset\n" + "".join(
    f"HAM_{k // 2},ISIC_{k},{'mel' if k < 4 else 'nv'},histo,45.0,female,back,rosendahl\n" for k in range(8)
)
MACHINE = rows(["a", "b"], "captioner", ["x", "y"], [{"red": 0.5}, {"red": 0.1}]).assign(prompt="p")


def read_set(path: Path) -> None:
    table, _ = metadata.read(path, layouts.load("ham10000"), lambda *_, **__: None)
    assert table["dx"].isin(layouts.WORDS["dx"]).all() and not table["lesion_id"].isin(["", "NA", "nan"]).any()
    assert table["image_id"].is_unique and (table["age"].isna() | table["age"].between(0, 120)).all()


def read_edits(path: Path) -> None:
    assert edits.read_edits(path, MACHINE)["reviewer"].ne("").all()


def read_audit(path: Path) -> None:
    assert audit_table.read(path)["memorised"].dtype == bool


KINDS = {
    "set": (SET, read_set, DataError),
    "edits": ("image_id,reviewer,text,red\na,Dr A,some words,0.5\nb,Dr B,,unknown\n", read_edits, edits.EditError),
    "audit": ("image_id,memorised\nx,yes\ny,no\n", read_audit, audit_table.AuditError),
    "layout": (
        yaml.safe_dump(layouts.load("ph2").model_dump(), allow_unicode=True),
        lambda path: layouts.load(path.rename(path.with_suffix(".yaml"))),
        DataError,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_text_file_is_read_or_refused_in_our_words(tmp_path, kind):
    text, read, ours = KINDS[kind]
    path, refused = tmp_path / "t.csv", 0
    for k in range(EXAMPLES):
        path.write_bytes(broken(np.random.default_rng([k, 7]), text))
        try:
            read(path)
        except ours as error:
            assert tmp_path.name in str(error), "it names the file"
            refused += 1
    assert 0 < refused < EXAMPLES, "some are refused, some are read"


@pytest.mark.filterwarnings("ignore")
def test_a_broken_sheet_is_read_or_refused_in_our_words(tmp_path):
    key = answers.read_key(simulate.EXAMPLE / "key.csv")
    with ZipFile(simulate.EXAMPLE / "reader_01.xlsx") as source:
        parts = {name: source.read(name) for name in source.namelist() if name.endswith((".xml", ".rels"))}
    path, refused = tmp_path / "sheet.xlsx", 0
    for k in range(EXAMPLES // 5):
        rng = np.random.default_rng([k, 8])
        spoilt = list(parts)[rng.integers(len(parts))]
        with ZipFile(path, "w") as target:
            for name, content in parts.items():
                whole = name != spoilt
                target.writestr(name, content if whole else broken(rng, content.decode())[: rng.integers(10**6)])
        if rng.random() < 0.1:
            path.write_bytes(path.read_bytes()[: rng.integers(10**5)])
        try:
            read = answers.read(path, key).readings
        except answers.SheetError as error:
            assert "sheet.xlsx" in str(error)
            refused += 1
        else:
            assert isinstance(read, pd.DataFrame) and len(read) <= len(key)
    assert 0 < refused < EXAMPLES // 5
