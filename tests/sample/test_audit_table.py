"""The table of an audit is read as people write it; what it does not say clearly is no verdict."""

import pytest

from p2d_lib.sample.audit_table import AuditError, read


def written(tmp_path, content: str):
    (tmp_path / "audit.csv").write_text(content)
    return tmp_path / "audit.csv"


@pytest.mark.parametrize(
    "content",
    [
        "image_id,memorised\nx,yes\ny,no\n",
        "image_id;memorised;score\nx;WAHR;0,93\ny;FALSCH;0,1\n",
        "image_id\tmemorised\nx\tT\ny\tF\n",
        "memorised,image_id\n1,x\n0.0,y\n",
    ],
)
def test_verdicts_are_read_in_the_words_of_r_excel_and_people(tmp_path, content):
    verdicts = read(written(tmp_path, content))
    assert verdicts.set_index("image_id")["memorised"].to_dict() == {"x": True, "y": False}
    assert verdicts["memorised"].dtype == bool


def test_the_digests_of_the_images_are_kept(tmp_path):
    for digest in ("ab" * 32, "AB" * 32):
        assert read(written(tmp_path, f"image_id,sha256,memorised\nx,{digest},yes\n"))["sha256"].tolist() == ["ab" * 32]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("image_id,memorised\nx,yes\n\ny,0.93\n", r"line 4: memorised is '0\.93', expected true or false"),
        ("image_id,memorised\nx,\n", "line 2: memorised is '', expected true or false"),
        ("image_id,memorised\nx,NA\n", "line 2: memorised is 'NA', expected true or false"),
        ("image_id,memorised\nx,yes\nx,no\n", "line 3: image_id is 'x', expected each image once"),
        ("image_id,memorised\nNA,yes\n", "line 2: image_id is 'NA', expected the name of an image"),
        ("image_id,memorised\nx.png,yes\n", r"line 2: image_id is 'x\.png', expected the name of an image, without f"),
        ("image_id,memorised\nsynthetic/x,yes\n", "line 2: image_id is 'synthetic/x', expected the name of an image"),
        ("image_id,memorised,sha256\nx,yes,1.2E+70\n", r"line 2: sha256 is '1\.2E\+70', expected 64 hexadecimal digi"),
        ("image_id,memorised,sha256\nx,yes,\n", "sha256 is '', expected .* leave the column out if unknown"),
        ("image_id,memorized\nx,yes\n", "has no column 'memorised': did you mean 'memorized'"),
        ("image_id\nx\n", "has no column 'memorised'; it needs image_id and memorised"),
        ("", "there are no rows"),
    ],
)
def test_what_is_no_verdict_is_named_with_its_line(tmp_path, content, sentence):
    with pytest.raises(AuditError, match=rf"audit\.csv.*{sentence}"):
        read(written(tmp_path, content))
