"""Files that people bring and replies of servers, broken at random: they are read, or refused in our own words.

hypothesis makes them, and cuts what fails down to its core. A short run by default, the same each time;
P2D_FUZZ=10000 ./run_tests.sh tests/test_fuzzed_files.py tries 10,000 new ones of each kind.
"""

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2d_lib import table_files
from p2d_lib.describe import description_files, edits
from p2d_lib.describe.llm import replies
from p2d_lib.describe.table import rows
from p2d_lib.llm import completion
from p2d_lib.llm.dotenv_file import names
from p2d_lib.llm.errors import ApiError
from p2d_lib.models.base_fitness import misfit_of_folder
from p2d_lib.parameters import ParameterError, profile
from p2d_lib.prep import layouts, metadata
from p2d_lib.prep.pixels import DataError
from p2d_lib.readers import answers, example_sheets, isic2018_people
from p2d_lib.readers.sheet import HEADERS
from p2d_lib.sample import audit_table
from p2d_lib.vocabulary import DX, FEATURES

TINY = Path(layouts.__file__).parents[2] / "models" / "tiny"
MANY = int(os.environ.get("P2D_FUZZ", "0"))
EXAMPLES = MANY or 120
WORDS = (
    *("", "NA", "nan", "inf", "0,5", "1,000", "-1", "1e999", "9" * 30, "TRUE", "#REF!", "unknown", "mel", "=1+1", "'"),
    *('"', '""', "\n", "\r", "\0", "é", "e\u0301", "\u202e", "\ufeff", "𝔘", "\ud800", "a" * 300, "../..", "a/b", "/"),
    *("{x}", "{", "}", "[", "]", ",", ";", "\t", "|", "\\", "sep=;", "null", ": ", "- ", "&a *a", "*", ".", "C:\\x"),
    *("!!python/object:os.system", "```", "<think>", "</think>", "//", "/*", '"red"', "&quot;", "data: ", "<<: "),
)
ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252")
PLACE = st.floats(0, 1)  # a place in a text, as a share of its length
ACCIDENTS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), PLACE, st.integers(0, 30), st.sampled_from(WORDS) | st.text(max_size=8)),
        st.tuples(st.just("cut"), PLACE, st.integers(1, 60), st.just("")),
        st.tuples(st.just("double"), PLACE, st.integers(1, 60), st.just("")),
        st.tuples(st.just("separate"), PLACE, st.just(0), st.sampled_from(";\t|")),
        st.tuples(st.just("end lines"), PLACE, st.just(0), st.sampled_from(["\r\n", "\r", "\n\n"])),
        st.tuples(st.just("end"), PLACE, st.just(0), st.just("")),
    ),
    min_size=1,
    max_size=5,
)
FLIPS = st.lists(st.tuples(PLACE, st.integers(0, 255)), max_size=2)


def broken(text: str, accidents: list[tuple]) -> str:
    """A text after accidents: words put in, pieces cut out or doubled, other separators and line ends, its end lost."""
    for kind, place, length, word in accidents:
        at = round(place * len(text))
        if kind == "put":
            text = text[:at] + word + text[at + length * (length > 15) :]
        elif kind == "cut":
            text = text[:at] + text[at + length :]
        elif kind == "double":
            text = text[: at + length] + text[at:]
        elif kind == "separate":
            text = text.replace(",", word)
        elif kind == "end lines":
            text = text.replace("\n", word)
        else:
            text = text[:at]
    return text


def as_bytes(text: str, encoding: str, flips: list[tuple]) -> bytes:
    data = bytearray(text.encode(encoding, "replace"))
    for place, value in flips if data else ():
        data[min(int(place * len(data)), len(data) - 1)] = value
    return bytes(data)


def fuzz(attempt: Callable, *strategies: st.SearchStrategy, share: int = 1) -> Counter:
    """attempt(*example) of EXAMPLES / share examples, which returns what became of it; how often each came out."""
    outcomes = Counter()

    @settings(max_examples=EXAMPLES // share, derandomize=not MANY, database=None, deadline=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.tuples(*strategies))
    def each(example):
        outcomes[attempt(*example)] += 1

    each()
    return outcomes


SET = "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset\n" + "".join(
    f"HAM_{k // 2},ISIC_{k},{'mel' if k < 4 else 'nv'},histo,45.0,female,back,rosendahl\n" for k in range(8)
)
MACHINE = rows(["a", "b"], "captioner", ["x", "y"], [{"red": 0.5}, {"red": 0.1}]).assign(prompt="p")
KEY = answers.read_key(example_sheets.EXAMPLE / "key.csv")
COUNTS = [f"{prefix}{dx}" for prefix in isic2018_people.COUNTS.values() for dx in DX]
SHARES = [f"{isic2018_people.CROWD_SHARES}{dx}" for dx in DX]
PUBLISHED = ",".join(["image_id", *COUNTS, *SHARES]) + "\n"
PUBLISHED += "".join(f"i{k}," + ",".join(["1"] * len(COUNTS) + ["0.5", "0.5"] + ["0"] * 5) + "\n" for k in range(3))
ANSWERS = f"{','.join(HEADERS)},Reader\n" + "".join(
    f"{row.number},,{row.file},synthetic,{row.dx},3,4,,{row.study},Ada\n" for row in KEY.itertuples()
)


def read_set(path: Path) -> None:
    table, _ = metadata.read(path, layouts.load("ham10000"), lambda *_, **__: None)
    assert table["dx"].isin(layouts.WORDS["dx"]).all() and not table["lesion_id"].isin(["", "NA", "nan"]).any()
    assert table["image_id"].is_unique and (table["age"].isna() | table["age"].between(0, 120)).all()


def read_edits(path: Path) -> None:
    read = edits.read_edits(path, MACHINE)
    assert read["reviewer"].ne("").all()
    assert read[list(FEATURES)].apply(lambda scores: scores.isna() | scores.between(0, 1)).to_numpy().all()


def read_audit(path: Path) -> None:
    assert audit_table.read(path)["memorised"].dtype == bool


def read_published(path: Path) -> None:
    assert isic2018_people.read(path)["dx_read"].isin(DX).all()


def read_answers(path: Path) -> None:
    read = answers.read(path, KEY)
    assert len(read.readings) <= len(KEY) and read.readings["is_synthetic_read"].between(0, 1).all()


def read_key(path: Path) -> None:
    assert answers.read_key(path)["dx"].isin(DX).all()


def read_text_table(path: Path) -> None:
    table, _ = metadata.read(path, layouts.load("ph2"), lambda *_, **__: None)
    assert table["dx"].isin(DX).all() and table["image_id"].is_unique


CASES = pd.DataFrame({"image_id": ["i1", "i2"], "dx": ["mel", "nv"], "split": "train"})
DESCRIBED = [
    {"image": f"{dx}/i{k}.jpg", "class": dx, "description": "A dark macule.", "features": {"red": 0.5, "Asymmetry": 1}}
    for k, dx in ((1, "mel"), (2, "nv"))
]


def read_descriptions(path: Path) -> None:
    read = description_files.read(path, CASES)
    assert read["image_id"].is_unique and read["image_id"].isin(CASES["image_id"]).all()
    assert read[list(FEATURES)].apply(lambda scores: scores.isna() | scores.between(0, 1)).to_numpy().all()


def read_layout(path: Path) -> None:
    layouts.load(path.rename(path.with_suffix(".yaml")))


TABLES = {
    "any table": (SET, table_files.read, table_files.TableError),
    "set": (SET, read_set, DataError),
    "edits": ("image_id,reviewer,text,red\na,Dr A,some words,0.5\nb,Dr B,,unknown\n", read_edits, edits.EditError),
    "audit": ("image_id,memorised\nx,yes\ny,no\n", read_audit, audit_table.AuditError),
    "published": (PUBLISHED, read_published, isic2018_people.PublishedError),
    "answers": (ANSWERS, read_answers, answers.SheetError),
    "key": ((example_sheets.EXAMPLE / "key.csv").read_text(), read_key, answers.SheetError),
    "layout": (yaml.safe_dump(layouts.load("ph2").model_dump(), allow_unicode=True), read_layout, DataError),
    "text table": (
        "|| Name || Histological Diagnosis || Clinical Diagnosis ||\n"
        + "".join(f"|| IMD{k} ||  || {2 * (k % 2)} ||\n" for k in range(4)),
        read_text_table,
        DataError,
    ),
    "descriptions": (
        "".join(json.dumps(one) + "\n" for one in DESCRIBED),
        read_descriptions,
        description_files.DescriptionFileError,
    ),
    "dotenv": ("# a server\nP2D_API_BASE_URL=http://h/v1\nP2D_API_KEY='k'\nOTHER=1\n", names, ApiError),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_broken_text_file_is_read_or_refused_in_our_words(tmp_path, kind):
    text, read, ours = TABLES[kind]
    path = tmp_path / "t.csv"

    def attempt(accidents, encoding, flips):
        path.write_bytes(as_bytes(broken(text, accidents), encoding, flips))
        try:
            read(path)
        except ours as error:
            assert tmp_path.name in str(error) or "t.csv" in str(error), "it names the file"
            return "refused"
        return "read"

    outcomes = fuzz(attempt, ACCIDENTS, st.sampled_from(ENCODINGS), FLIPS)
    assert outcomes["refused"] and outcomes["read"], "some are refused, some are read"


SETTINGS = (
    ("06_classify.arms", "[real, mixed:sentence@2x, synthetic]"),
    ("06_classify.external", "[isic2019=/data/isic, phantom=atlas]"),
    ("01_prep.plants", "{blurred: 3, empty: 1}"),
    ("04_sample.guidance_interval", "[1.4, 3.0]"),
    ("03_finetune.learning_rate", "5e-4"),
)


def test_a_broken_setting_is_taken_or_refused_in_our_words():
    def attempt(setting, accidents):
        name, value = setting
        try:
            profile("smoke", overrides=(f"{name}={broken(value, accidents)}",))
        except ParameterError as error:
            assert "--set" in str(error) or name in str(error)
            return "refused"
        return "taken"

    outcomes = fuzz(attempt, st.sampled_from(SETTINGS), ACCIDENTS, share=1 if MANY else 3)
    assert outcomes["refused"] and outcomes["taken"]


def test_a_broken_reference_file_is_read_or_refused_in_our_words(tmp_path):
    from p2d_lib.fidelity.references import Reference, SourceError, load  # brings torch

    path, sizes, distances = tmp_path / "real.npz", np.array([10, 20]), np.array([1.0, 0.5])
    Reference(50, np.zeros(3), np.eye(3), "efficientnet_lite0", "e@1", "ab" * 32, sizes, distances).save(path)
    whole = path.read_bytes()

    def attempt(flips, cut):
        data = bytearray(whole[: round(cut * len(whole))])
        for place, value in flips if data else ():
            data[min(int(place * len(data)), len(data) - 1)] = value
        path.write_bytes(data)
        try:
            reference = load(path)
        except SourceError as error:
            assert "real.npz" in str(error)
            return "refused"
        assert reference.n >= 2 and (reference.floor >= 0).all() and reference.moments.n == reference.n
        return "read"

    flips = st.lists(st.tuples(PLACE, st.integers(0, 255)), max_size=3)
    outcomes = fuzz(attempt, flips, st.just(1.0) | st.just(1.0) | PLACE, share=1 if MANY else 2)
    assert outcomes["refused"] and outcomes["read"]


@pytest.mark.parametrize("part", ["model_index", "unet/config", "scheduler/scheduler_config", "text_encoder/config"])
def test_a_broken_configuration_of_a_base_never_raises(tmp_path, part):
    shutil.copytree(TINY, tmp_path / "base")
    path = tmp_path / "base" / f"{part}.json"
    text = path.read_text()

    def attempt(accidents, encoding, flips):
        path.write_bytes(as_bytes(broken(text, accidents), encoding, flips))
        problem = misfit_of_folder(tmp_path / "base")
        return "fit" if not problem else "refused"

    outcomes = fuzz(attempt, ACCIDENTS, st.sampled_from(ENCODINGS), FLIPS, share=1 if MANY else 4)
    assert outcomes["refused"]


def test_a_broken_profile_is_read_or_refused_in_our_words(tmp_path, monkeypatch):
    monkeypatch.setattr("p2d_lib.parameters.profiles.PROFILES", tmp_path)
    text = (
        "extends: smoke\ncommon: {seed: 3}\n06_classify:\n  seeds: 4\n  arms: [real, mixed]\n08_fairness:\n  min_n: 5\n"
    )
    (tmp_path / "smoke.yaml").write_text("01_prep: {}\n")

    def attempt(accidents, encoding, flips):
        (tmp_path / "own.yaml").write_bytes(as_bytes(broken(text, accidents), encoding, flips))
        try:
            profile("own")
        except ParameterError as error:
            assert "own.yaml" in str(error) or "no profile" in str(error)
            return "refused"
        return "read"

    outcomes = fuzz(attempt, ACCIDENTS, st.sampled_from(ENCODINGS), FLIPS)
    assert outcomes["refused"] and outcomes["read"]


@pytest.mark.filterwarnings("ignore")
def test_a_broken_sheet_is_read_or_refused_in_our_words(tmp_path):
    with ZipFile(example_sheets.EXAMPLE / "reader_01.xlsx") as source:
        parts = {name: source.read(name) for name in source.namelist() if name.endswith((".xml", ".rels"))}
    path = tmp_path / "sheet.xlsx"

    def attempt(spoilt, accidents, flips, cut):
        with ZipFile(path, "w") as target:
            for name, content in parts.items():
                whole = name != spoilt
                text = content.decode()
                target.writestr(name, content if whole else as_bytes(broken(text, accidents), "utf-8", flips))
        if cut is not None:
            path.write_bytes(path.read_bytes()[: round(cut * path.stat().st_size)])
        try:
            read = answers.read(path, KEY).readings
        except answers.SheetError as error:
            assert "sheet.xlsx" in str(error)
            return "refused"
        assert len(read) <= len(KEY) and read["is_synthetic_read"].between(0, 1).all()
        return "read"

    cut = st.none() | st.none() | st.none() | PLACE
    outcomes = fuzz(attempt, st.sampled_from(sorted(parts)), ACCIDENTS, FLIPS, cut, share=1 if MANY else 4)
    assert outcomes["refused"] and outcomes["read"]


# what servers and models reply

SCORES = {name: round(0.04 * (k + 1), 2) for k, name in enumerate(FEATURES)}
LINE = json.dumps({"description": "A dark macule, 3 mm.", **SCORES})
LINES = json.dumps({"description": "A dark macule, 3 mm.", "features": SCORES}, indent=1)
REPLIES = (LINE, LINES, f"```json\n{LINES}\n```", f"<think>{LINE}</think>{LINE}", str(SCORES), json.dumps(LINE))
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["0.3", "30%", "N/A", "marked", LINE])
)
NAMED = st.sampled_from([*list(FEATURES)[:6], "description", "features", "properties", "name", "score", "Result"])
ANY_JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMED, inner, max_size=6), max_leaves=20
)


def parsed(reply: str, is_cut: bool) -> list[float]:
    """The scores that are known; nothing is raised, whatever the reply holds."""
    result = replies.parse(reply, is_cut)
    known = [score for score in result.features.values() if score == score]
    assert all(0 <= score <= 1 for score in known) and set(result.repairs) <= set(replies.REPAIRS)
    assert result.text == " ".join(result.text.split()) and result.text.isprintable()
    return known


def test_no_broken_reply_raises_and_no_score_is_invented():
    def attempt(reply, accidents, is_cut):
        reply = broken(reply, accidents)
        known, written = parsed(reply, is_cut), reply.replace("0,", "0.")
        numbers = {float(number) for number in re.findall(r"\.\d+", written)}  # 0.8999 with thirty nines is 0.9
        assert all(f"{score:g}".removeprefix("0") in written or score in numbers for score in known)
        return "scores" if known else "nothing known"

    outcomes = fuzz(attempt, st.sampled_from(REPLIES), ACCIDENTS, st.booleans())
    assert outcomes["scores"] > outcomes["nothing known"] > 0, "what is hardly broken still gives scores"


def test_no_json_raises_and_no_score_is_outside_its_range():
    outcomes = fuzz(lambda value, is_cut: bool(parsed(json.dumps(value), is_cut)), ANY_JSON, st.booleans())
    assert outcomes[True] and outcomes[False], "some hold scores, some do not"


MESSAGE = {"role": "assistant", "content": LINE}
BODY = {
    "model": "m",
    "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9},
}
DELTA = json.dumps({"choices": [{"delta": {"content": "{}"}, "finish_reason": None}]})
BODIES = (json.dumps(BODY), json.dumps(BODY, indent=1), f"data: {DELTA}\n\ndata: {DELTA}\n\ndata: [DONE]\n\n")
PARTS = st.sampled_from(
    [
        *("choices", "message", "content", "text", "error", "usage", "reasoning", "tool_calls", "model", "delta"),
        *("finish_reason", "prompt_tokens", "function", "arguments", "refusal", "parsed"),
    ]
)
ANY_BODY = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PARTS, inner, max_size=5), max_leaves=20
)


def take(data: bytes, charset: str | None) -> str:
    """A body is an answer, an error that it states, or no completion."""
    try:
        answer = completion.completion(completion.decoded(data, charset))
    except completion.ErrorInBody:
        return "an error"
    except ValueError:
        return "no completion"
    assert isinstance(answer.text, str) and answer.n_out >= 0 and (answer.n_in is None or answer.n_in >= 0)
    return "an answer"


def test_no_broken_body_of_a_server_raises_anything_else():
    def attempt(body, accidents, encoding, flips, charset):
        return take(as_bytes(broken(body, accidents), encoding, flips), charset)

    charset = st.sampled_from([None, "utf-8", "iso-8859-1", "nonsense"])
    outcomes = fuzz(attempt, st.sampled_from(BODIES), ACCIDENTS, st.sampled_from(ENCODINGS), FLIPS, charset)
    assert outcomes["an answer"] and outcomes["no completion"]


def test_no_json_of_a_server_raises_anything_else():
    shapes = ANY_BODY | ANY_BODY.map(lambda value: {"choices": [{"message": value}]})
    outcomes = fuzz(lambda value: take(json.dumps(value).encode(), None), shapes)
    assert outcomes["an answer"] and outcomes["no completion"]
