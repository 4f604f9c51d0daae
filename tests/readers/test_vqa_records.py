"""Records of questions equal the published ones, in both forms."""

import json

import pandas as pd

from p2d_lib.readers import vqa_records
from p2d_lib.readers.__main__ import TEMPLATES, main
from p2d_lib.readers.vqa_records import QUESTIONS
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


def test_every_question_names_all_diagnoses_and_is_asked_in_both_files(tmp_path):
    for template_id, question in QUESTIONS.items():
        records = vqa_records.records(CASES, template_id)
        vqa_records.write(records, tmp_path / "file.jsonl")
        vqa_records.write_conversations(records, tmp_path / "file.json")
        lines = [json.loads(line) for line in (tmp_path / "file.jsonl").read_text().splitlines()]
        items = json.loads((tmp_path / "file.json").read_text())
        assert all(dx in question for dx in DX)
        assert {(one["template_id"], one["question"]) for one in lines} == {(template_id, question)}
        assert {item["conversations"][0]["value"] for item in items} == {f"<image>\n{question}"}
        assert [one["answer"] for one in lines] == [item["conversations"][1]["value"] for item in items] == list(DX)
        assert [one["answer_idx"] for one in lines] == list(range(7))


def test_the_command_writes_a_runs_questions_in_both_layouts(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    cases = pd.DataFrame({"image_id": ["a", "b", "c"], "dx": ["mel", "nv", "df"], "split": ["train", "train", "test"]})
    monkeypatch.setattr(Run, "read", lambda self, name: cases)
    assert main(["records", "smoke", "--out", str(tmp_path / "out"), "--template", "lesion_7way_v2"]) == 0
    assert "3 questions" in capsys.readouterr().out
    train = [json.loads(line) for line in (tmp_path / "out" / "vqa" / "train.jsonl").read_text().splitlines()]
    assert [(one["id"], one["answer"]) for one in train] == [("a", "mel"), ("b", "nv")]
    assert {one["question"] for one in train} == {QUESTIONS["lesion_7way_v2"]}
    conversations = json.loads((tmp_path / "out" / "llava_format" / "train.json").read_text())
    assert [(one["id"], one["conversations"][1]["value"]) for one in conversations] == [("a", "mel"), ("b", "nv")]
    assert main(["records", "smoke", "--out", str(tmp_path / "out" / "vqa" / "train.jsonl")]) == 1
    assert "make room there, or name another (--out)" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    assert main(["records", "nowhere", "--out", str(tmp_path / "other")]) == 1
    assert "01_prep" in capsys.readouterr().err


def test_the_command_offers_every_question():
    assert set(TEMPLATES) == set(QUESTIONS)
