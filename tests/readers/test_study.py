"""The study is balanced and blind: no byte of what is sent tells real from synthetic."""

import struct
from io import BytesIO
from zipfile import ZipFile

import pytest
from openpyxl import load_workbook
from PIL import Image
from studies import pictures, pools

from p2d_lib import images
from p2d_lib.readers import form, sheet, study


def test_a_study_has_each_class_equally_often_real_and_synthetic(key):
    assert (key.groupby(["source", "dx"]).size() == 5).all() and len(key) == 70
    assert not key["image_id"].str.extract(r"(r_.*)_\d$")[0].dropna().duplicated().any(), "two views of one lesion"


def test_only_the_test_split_and_accepted_images_of_the_adapter_are_shown():
    cases, synthetic = pools()
    cases.loc[::2, "split"] = "train"  # every lesion keeps one view in test
    synthetic.loc[::3, "accepted"] = False
    synthetic.loc[1::3, "generator"] = "base"
    key, short = study.choose(cases, synthetic, 70, seed=0)
    allowed = {*cases["image_id"][1::2], *synthetic["image_id"][2::3]}
    assert set(key["image_id"]) <= allowed
    assert "mel 4 instead of 5 (12 test lesions, 4 accepted synthetic images)" in short
    assert key["source"].value_counts().to_dict() == {"real": 28, "synthetic": 28}


def test_an_image_more_in_the_pool_leaves_the_others_in_their_order():
    cases, synthetic = pools()
    first, _ = study.choose(cases, synthetic, 168, seed=1)
    second, _ = study.choose(cases[cases["lesion_id"] != "l_nv_3"], synthetic, 154, seed=1)
    common = set(second["image_id"]) & set(first["image_id"])
    assert len(common) > 140
    assert [i for i in first["image_id"] if i in common] == [i for i in second["image_id"] if i in common]


def test_two_builds_are_equal_to_the_byte(built, key, tmp_path):
    study.build(tmp_path / "again", key, pictures(len(key)))
    for path in (p for p in built.rglob("*") if p.is_file()):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(built)).read_bytes(), path.name


PIXELS = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}  # chunks of a PNG (ISO/IEC 15948) that hold pixels and nothing else


def chunks(png: bytes) -> list[bytes]:
    """The types of a PNG's chunks, and "more" for bytes behind its end."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    kinds, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        kinds.append(png[at + 4 : at + 8])
        at += 12 + length
        if kinds[-1] == b"IEND" and at < len(png):
            return [*kinds, b"more"]
    return kinds


def leaks(folder, key) -> list[str]:
    """What tells one image from another, apart from its pixels, in the files that readers receive."""
    sent = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "key"]
    files = {path.name: path.read_bytes() for path in sent if path.suffix != ".xlsx"}
    headers = {content[16:29] for name, content in files.items() if name.endswith(".png")}
    with ZipFile(next(folder.glob("*.xlsx"))) as archive:
        files |= {entry.filename: archive.read(entry) for entry in archive.infolist()}
        dates = {entry.date_time for entry in archive.infolist()}
        notes = [archive.comment, *(entry.comment + entry.extra for entry in archive.infolist())]
    of_pngs = {name: chunks(content) for name, content in files.items() if name.endswith(".png")}
    secrets = {secret.encode() for secret in (*key["image_id"], *key["path"], "adapter")}
    return (
        [f"{name} has chunk {kind}" for name, kinds in of_pngs.items() for kind in kinds if kind not in PIXELS]
        + [f"{name} names {secret}" for name, content in files.items() for secret in secrets if secret in content]
        + ["headers of pictures differ"] * (len(headers) > 1)
        + ["dates differ"] * (len({path.stat().st_mtime for path in sent}) > 1 or len(dates) > 1)
        + ["the archive has notes"] * any(notes)
    )


def test_nothing_that_is_sent_tells_real_from_synthetic(built, key):
    sent = [path for path in built.rglob("*") if path.is_file() and path.parent.name != "key"]
    assert sorted(path.name for path in sent) == [*sorted(key["file"]), "form.html", "reader_01.xlsx"]
    assert leaks(built, key) == []
    rows = load_workbook(built / "reader_01.xlsx")["Readings"].iter_rows(min_row=2, values_only=True)
    assert {row[3:8] for row in rows} == {(None,) * 5}, "an answer is already in the sheet"


def _with_text(path, picture):
    images.save(path, picture, {"prompt": "melanoma"})


def _with_transparency(path, picture):
    Image.fromarray(picture).convert("RGBA").save(path)


def _with_bytes_behind_the_end(path, picture):
    path.write_bytes(images.encode(picture) + b"adapter")


@pytest.mark.parametrize(
    ("save", "leak"),
    [
        (_with_text, "has chunk b'iTXt'"),
        (_with_transparency, "headers of pictures differ"),
        (_with_bytes_behind_the_end, "has chunk b'more'"),
    ],
)
def test_a_planted_leak_in_one_picture_is_found(tmp_path, key, save, leak):
    """The check above is one that can fail: the project's own writer keeps text in iTXt chunks."""
    study.build(tmp_path / "study", key, pictures(len(key)))
    one = tmp_path / "study" / "images" / "005.png"
    save(one, pictures(1)[0])
    assert any(leak in one for one in leaks(tmp_path / "study", key))


def test_a_name_or_a_text_in_the_sheet_is_found(tmp_path, key):
    study.build(tmp_path / "study", key, pictures(len(key)))
    path = tmp_path / "study" / "reader_01.xlsx"
    book = load_workbook(path)
    book["Readings"]["H2"] = key["image_id"].iloc[0]
    book.save(path)
    planted = f"names {key['image_id'].iloc[0].encode()}"
    assert any(planted in leak for leak in leaks(tmp_path / "study", key))
    marked = BytesIO()
    Image.fromarray(pictures(1)[0]).save(marked, "PNG", dpi=(96, 96))
    assert b"pHYs" in chunks(marked.getvalue())


def test_a_sheet_without_pictures_is_blind_too(tmp_path, key):
    sheet.write(tmp_path / "sheet.xlsx", key)
    assert leaks(tmp_path, key) == []


def test_each_reader_has_an_order_of_its_own_and_a_sheet_that_follows_it(tmp_path, key):
    study.build(tmp_path / "study", key, pictures(len(key)), n_readers=2)
    orders = []
    for reader in (1, 2):
        book = load_workbook(tmp_path / "study" / f"reader_{reader:02d}.xlsx")
        orders.append([row[0] for row in book["Readings"].iter_rows(min_row=2, values_only=True)])
        assert book["Instructions"]["B4"].value == f"{key['study'].iloc[0]}-{reader:02d}"
    assert orders[0] != orders[1] and sorted(orders[0]) == sorted(orders[1]) == key["number"].tolist()


def test_readers_are_told_of_photographs_unless_the_images_are_a_phantoms(tmp_path):
    key = study.choose(*pools(), n_images=14, seed=3)[0]
    for phantom, realism_scale in ((False, False), (True, False), (True, True)):
        folder = tmp_path / f"{phantom}{realism_scale}"
        study.build(folder, key, pictures(len(key)), realism_scale=realism_scale, phantom=phantom)
        held = form.content(folder / "form.html")
        asked = " ".join(question["help"] or "" for question in held["questions"])
        rows = load_workbook(folder / "reader_01.xlsx")["Instructions"].iter_rows(values_only=True)
        instructions = " ".join(str(cell) for row in rows for cell in row)
        for told in (held["about"], asked, instructions):
            assert ("hotograph" in told, "endered" in told) == (not phantom, phantom), told
