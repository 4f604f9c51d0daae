"""Records of questions equal the published ones, and come back from both forms as they were."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from p2d_lib.readers import vqa_records
from p2d_lib.readers.__main__ import TEMPLATES, main
from p2d_lib.readers.vqa_records import QUESTIONS, Record, VqaError
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX

CASES = pd.DataFrame({"image_id": [f"ISIC_00274{k:02d}" for k in range(7)], "dx": DX})
PUBLISHED = (
    "You are a medical vision assistant. Answer with EXACTLY one label from: akiec, bcc, bkl, df, mel, nv, vasc. Do "
    "not output anything else. Just the single label. What is the lesion type?"
)


def test_a_record_equals_the_published_example(tmp_path):
    vqa_records.write(vqa_records.records(CASES[5:6], folder="data/processed/images/"), tmp_path / "test.jsonl")
    assert json.loads((tmp_path / "test.jsonl").read_text()) == {
        "id": "ISIC_0027405",
        "image": "data/processed/images/ISIC_0027405.jpg",
        "question": PUBLISHED,
        "answer": "nv",
        "answer_idx": 5,
        "template_id": "lesion_7way_v1",
    }


def test_a_conversation_equals_the_published_example(tmp_path):
    vqa_records.write_conversations(vqa_records.records(CASES[2:3]), tmp_path / "val.json")
    assert json.loads((tmp_path / "val.json").read_text()) == [
        {
            "id": "ISIC_0027402",
            "image": "ISIC_0027402.jpg",
            "conversations": [
                {"from": "human", "value": f"<image>\n{PUBLISHED}"},
                {"from": "gpt", "value": "bkl"},
            ],
        }
    ]


@pytest.mark.parametrize("template_id", QUESTIONS)
@pytest.mark.parametrize("form", ["", "_conversations"])
def test_records_come_back_as_they_were(tmp_path, template_id, form):
    records = vqa_records.records(CASES, template_id)
    getattr(vqa_records, f"write{form}")(records, tmp_path / "file")
    assert getattr(vqa_records, f"read{form}")(tmp_path / "file") == records
    assert all(dx in QUESTIONS[template_id] for dx in DX)


def test_the_names_of_the_published_files_are_understood(tmp_path):
    line = {"question_id": "a", "image": "a.jpg", "text": "What?", "answer": "bkl", "answer_id": 2, "template_id": "v"}
    (tmp_path / "test.jsonl").write_text(json.dumps(line) + "\n\n", encoding="utf-8-sig")
    assert vqa_records.read(tmp_path / "test.jsonl") == [Record("a", "a.jpg", "What?", "bkl", 2, "v")]


def test_a_question_of_another_kind_has_no_template(tmp_path):
    records = [replace(record, question="What is it?") for record in vqa_records.records(CASES)]
    vqa_records.write_conversations(records, tmp_path / "file")
    assert {record.template_id for record in vqa_records.read_conversations(tmp_path / "file")} == {""}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "melanoma"}, "line 2: answer is 'melanoma'; expected one of akiec, bcc"),
        ({"answer_idx": 4}, "line 2: answer_idx is 4, and bcc is number 1 of"),
        ({"answer_idx": "1"}, "line 2: answer_idx is '1'; expected int"),
        ({"answer_idx": True}, "line 2: answer_idx is True; expected int"),
        ({"question": None}, "line 2: question is None; expected str"),
        ({"id": "ISIC_0027400"}, "id 'ISIC_0027400' stands 2 times"),
    ],
)
def test_a_record_that_cannot_be_one_is_named(tmp_path, change, message):
    first, second = (record.__dict__ for record in vqa_records.records(CASES[:2]))
    path = tmp_path / "test.jsonl"
    path.write_text(f"{json.dumps(first)}\n{json.dumps(second | change)}\n")
    with pytest.raises(VqaError, match=message) as error:
        vqa_records.read(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"{", "line 1: is no JSON"), (b"[]", "no object"), (b"\xff", "UTF-8"), (b"[" * 100_000, "no JSON")],
)
def test_a_file_that_holds_something_else_is_named(tmp_path, data, message):
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(VqaError, match=message):
        vqa_records.read(tmp_path / "file")


def test_a_sign_that_ends_a_line_for_python_alone_is_part_of_a_question(tmp_path):
    (one,) = vqa_records.records(pd.DataFrame({"image_id": ["a"], "dx": ["mel"]}))
    record = replace(one, question="Which\u2028is it?", template_id="")
    vqa_records.write([record], tmp_path / "file")
    assert vqa_records.read(tmp_path / "file") == [record]


@pytest.mark.parametrize(
    "item", [{}, [], {"conversations": []}, {"conversations": [{"from": "gpt", "value": "nv"}] * 2}, 3]
)
def test_a_conversation_that_is_none_is_named(tmp_path, item):
    (tmp_path / "file").write_text(json.dumps([item]))
    with pytest.raises(VqaError, match='item 1: "conversations" is not one question with <image> and one answer'):
        vqa_records.read_conversations(tmp_path / "file")
    with pytest.raises(VqaError, match="cannot be read"):
        vqa_records.read_conversations(tmp_path / "missing")


def test_the_command_writes_a_runs_questions_in_both_layouts(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    cases = pd.DataFrame({"image_id": ["a", "b", "c"], "dx": ["mel", "nv", "df"], "split": ["train", "train", "test"]})
    monkeypatch.setattr(Run, "read", lambda self, name: cases)
    assert main(["records", "smoke", "--out", str(tmp_path / "out"), "--template", "lesion_7way_v2"]) == 0
    assert "3 questions" in capsys.readouterr().out
    train = vqa_records.read(tmp_path / "out" / "vqa" / "train.jsonl")
    assert [(one.id, one.answer) for one in train] == [("a", "mel"), ("b", "nv")]
    assert {one.question for one in train} == {QUESTIONS["lesion_7way_v2"]}
    assert vqa_records.read_conversations(tmp_path / "out" / "llava_format" / "train.json") == train
    assert main(["records", "smoke", "--out", str(tmp_path / "out" / "vqa" / "train.jsonl")]) == 1
    assert "make room there, or name another (--out)" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    assert main(["records", "nowhere", "--out", str(tmp_path / "other")]) == 1
    assert "01_prep" in capsys.readouterr().err


def test_the_command_offers_every_question():
    assert set(TEMPLATES) == set(QUESTIONS)
