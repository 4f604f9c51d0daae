"""The original prompt2derm's descriptions come in and go out, and what is in doubt is refused by name."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from p2d_lib import images
from p2d_lib.describe import description_files, report, table
from p2d_lib.describe.__main__ import main
from p2d_lib.describe.description_files import DescriptionFileError, read, write
from p2d_lib.run import Run
from p2d_lib.vocabulary import FEATURES

SCORES = {feature.field: round(0.04 * k, 2) for k, feature in enumerate(FEATURES.values())}
CASES = pd.DataFrame(
    {"image_id": ["i1", "i2", "i3"], "dx": ["mel", "nv", "mel"], "split": ["train", "test", "test"]}
).assign(path=lambda t: "images/" + t["image_id"] + ".png")


def record(image: str, label: str = "mel", **changes) -> dict:
    return {"image": image, "class": label, "description": "A dark spot.", "features": SCORES} | changes


def lines(*records: dict) -> str:
    return "".join(json.dumps(one) + "\n" for one in records)


@pytest.mark.parametrize("layout", ["lines", "list"])
def test_descriptions_and_scores_of_the_runs_images_come_in_and_others_are_counted(tmp_path, layout):
    records = [record("nev\\i2.jpg", "nev"), record("mel/elsewhere.jpg"), record("mel/i1.jpeg", description="Red.")]
    path = tmp_path / "descriptions.json"
    path.write_text(lines(*records) if layout == "lines" else json.dumps(records))
    described = read(path, CASES)
    assert described["image_id"].tolist() == ["i1", "i2"] and described["text"].tolist() == ["Red.", "A dark spot."]
    assert described["describer"].unique().tolist() == ["file"] and described["valid"].all()
    np.testing.assert_allclose(described[list(FEATURES)].to_numpy(float), [list(SCORES.values())] * 2)
    (line,) = report.file_findings(described, CASES)
    assert "describes 2 of the run's images; 1 of its images are no cases" in line
    assert "1 of 2 test images, so it is not compared" in line and not table.covers(described, CASES)
    assert report.file_findings(None, CASES) == []


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85"])
def test_a_sign_that_ends_a_line_for_python_alone_is_part_of_a_text(tmp_path, sign):
    path = tmp_path / "descriptions.json"
    one = record("mel/i1.jpg", description=f"A dark{sign}spot.")
    path.write_text(json.dumps(one, ensure_ascii=False) + "\r\n" + lines(record("nv/i2.jpg", "nv")), newline="")
    assert read(path, CASES)["text"].tolist() == ["A dark spot.", "A dark spot."]


def test_a_score_that_is_missing_or_impossible_is_unknown_and_counted(tmp_path):
    path = tmp_path / "descriptions.json"
    path.write_text(lines(record("mel/i1.jpg", features=SCORES | {"red": 1.7}), record("nv/i2.jpg", "nv", features={})))
    described = read(path, CASES)
    assert np.isnan(described.loc[0, "red"]) and described["valid"].tolist() == [False, False]
    assert described.attrs["repairs"]["score out of range"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json\n", "line 1: is no JSON"),
        ("[" * 100_000, r"is no JSON \(maximum recursion depth"),
        (
            lines(record("mel/i1.jpg", " MEL ")) + lines(record("nv/i2.jpg", "Melanoma")),
            "line 2: class is 'mel', and the",
        ),
        ("[1]", "item 1: is no object"),
        (lines({"class": "mel"}), "line 1: image is None; expected a file such as"),
        (lines(record("mel/i1.jpg"), record("i1.png")), "line 2: image i1 stands twice"),
        (lines(record("nv/i1.jpg", "nv")), "line 1: class is 'nv', and the case i1 is 'mel'"),
        (lines(record("nev/i1.jpg", "nev")), "line 1: class is 'nv', and the case i1 is 'mel'"),
        (lines(record("mel/i11.jpg")), "none of its 1 images, such as 'i11'.* is a case of this run"),
        ("", "holds no description"),
        ("[]", "holds no description"),
    ],
)
def test_what_is_in_doubt_is_refused_with_its_place(tmp_path, content, message):
    path = tmp_path / "descriptions.json"
    path.write_text(content)
    with pytest.raises(DescriptionFileError, match=f"descriptions.json.*{message}"):
        read(path, CASES)
    with pytest.raises(DescriptionFileError, match="cannot be read"):
        read(tmp_path / "nowhere.json", CASES)


def test_what_was_written_is_read_back_and_the_images_lie_by_class(tmp_path):
    (tmp_path / "images").mkdir()
    for path in CASES["path"]:
        images.save(tmp_path / path, np.full((4, 4, 3), 100, np.uint8))
    source = tmp_path / "descriptions.json"
    source.write_text(lines(record("mel/i1.jpg"), record("nv/i2.jpg", "nv", features=SCORES | {"red": None})))
    described = read(source, CASES)
    assert write(described, CASES, tmp_path, tmp_path / "out") == 2
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")) == [
        "descriptions.json", "real_images/mel/i1.png", "real_images/nv/i2.png",
    ]  # fmt: skip
    again = read(tmp_path / "out" / "descriptions.json", CASES)
    pd.testing.assert_frame_equal(again[["image_id", "text", *FEATURES]], described[["image_id", "text", *FEATURES]])
    with pytest.raises(DescriptionFileError, match="exists; remove it"):
        write(described, CASES, tmp_path, tmp_path / "out")


def test_an_interrupted_folder_is_filled_again_and_one_with_images_of_another_run_is_refused(tmp_path):
    for path in CASES["path"]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        images.save(tmp_path / path, np.full((4, 4, 3), 100, np.uint8))
    both, out = table.rows(["i1", "i2"], "measured", ["One.", "Two."], [{}, {}]), tmp_path / "out"
    write(both, CASES, tmp_path, out)
    (out / "descriptions.json").unlink()  # it is written last
    (out / "real_images" / "mel" / "i1.png").write_bytes(b"half")
    assert write(both, CASES, tmp_path, out) == 2
    assert (out / "real_images" / "mel" / "i1.png").read_bytes() == (tmp_path / "images" / "i1.png").read_bytes()
    (out / "descriptions.json").unlink()
    with pytest.raises(DescriptionFileError, match=r"i2\.png is none of the images described here; remove .*"):
        write(both[:1], CASES, tmp_path, out)
    assert not (out / "descriptions.json").exists()


def test_the_command_writes_the_descriptions_of_one_describer_or_those_that_make_the_prompts(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("P2D_HOME", str(tmp_path))
    folder = Run("smoke", "02_describe").folder
    for path in CASES["path"]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        images.save(folder / path, np.full((4, 4, 3), 100, np.uint8))
    first = table.rows(["i1", "i2"], "measured", ["One.", "Two."], [{}, {}])
    both = pd.concat([first, table.rows(["i1"], "captioner", ["Other."], [{}])], ignore_index=True)
    monkeypatch.setattr(Run, "read", lambda self, name: {"descriptions": both, "cases": CASES}[name])
    assert main(["write", "smoke", "--out", str(tmp_path / "all")]) == 0
    assert main(["write", "smoke", "--out", str(tmp_path / "one"), "--describer", "captioner"]) == 0
    texts = {out: (tmp_path / out / "descriptions.json").read_text().splitlines() for out in ("all", "one")}
    assert {out: [json.loads(line)["description"] for line in part] for out, part in texts.items()} == {
        "all": ["One.", "Two."], "one": ["Other."],
    }  # fmt: skip
    assert main(["write", "smoke", "--out", str(tmp_path / "one" / "descriptions.json")]) == 1
    assert "Not a directory: make room there, or name another (--out)" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["write", "smoke", "--out", ""])
    assert main(["write", "smoke", "--out", str(tmp_path / "none"), "--describer", "vlm"]) == 1
    assert "no describer 'vlm'; the run has measured, captioner" in capsys.readouterr().err


def test_the_replies_that_the_original_wrote_are_descriptions_of_their_set():
    if not os.environ.get("P2D_LLM_OUTPUTS"):
        pytest.skip("P2D_LLM_OUTPUTS is not set: the replies of the original prompt2derm are not at hand")
    path = Path(os.environ["P2D_LLM_OUTPUTS"]) / "gpt-4.1-mini_lesion_features.jsonl"
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    names = [one["image"].split("\\")[-1].removesuffix(".jpg") for one in records]
    cases = pd.DataFrame({"image_id": names, "dx": [{"nev": "nv", "mel": "mel"}[one["class"]] for one in records]})
    assert cases["dx"].value_counts().to_dict() == {"nv": 455, "mel": 126}
    described = description_files.read(path, cases)
    assert len(described) == 581 and described["valid"].all() and not described.attrs["repairs"]
    assert described["light_brown"].mean() == pytest.approx(0.603787, abs=1e-6)
