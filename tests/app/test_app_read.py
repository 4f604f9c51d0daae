"""Claims about reading the study in the app: one reader's answers stay that reader's, the key stays shut, 07 reads the
rest."""

import json
import shutil

import pytest
from review_run import N_READERS, make_run

from p2d_lib.app import widget
from p2d_lib.app.read_desk import Desk
from p2d_lib.app.safety import Refused
from p2d_lib.readers import answers, example_sheets, roster

REAL, DIAGNOSIS, SURE = "Real or synthetic?", "Diagnosis", "Confidence (1–5)"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("P2D_HOME", str(tmp_path_factory.mktemp("home")))
        yield make_run("read")


@pytest.fixture
def key(home):
    return home[1]


@pytest.fixture
def desk(home):
    run = home[0]
    shutil.rmtree(run.folder / "app", ignore_errors=True)
    shutil.rmtree(run.folder / "study_filled", ignore_errors=True)
    return Desk(run)


def _answer(desk, who, number, source="real", seconds=2.0, **further):
    given = {REAL: source, DIAGNOSIS: "melanoma", SURE: "4", **further}
    return desk.answer(*who, number, given, seconds)


@pytest.fixture
def ada(desk):
    begun = desk.sign_in("Ada")
    return begun["name"], begun["code"]


def test_each_reader_has_the_order_that_the_study_gives(desk, key):
    for reader, name in enumerate(("Ada", "Bob"), 1):
        assert desk.sign_in(name)["order"] == roster.seen_by(key, reader)["number"].tolist()


def test_a_third_reader_of_a_study_for_two_is_told_what_to_do(desk):
    names = [desk.sign_in(name)["name"] for name in ("Ada", "Bob")]
    assert len(names) == N_READERS
    with pytest.raises(Refused, match=r"made for 2 readers.*raise 07_readers\.n_readers"):
        desk.sign_in("Cem")


def test_answers_go_on_where_they_stopped_and_nobody_else_sees_them(desk, ada):
    number = desk.sign_in(*ada)["order"][0]
    _answer(desk, ada, number, Comment="too smooth")
    again = Desk(desk.run).sign_in(*ada)
    assert again["answers"] == {str(number): {REAL: "real", DIAGNOSIS: "melanoma", SURE: "4", "Comment": "too smooth"}}
    assert desk.sign_in("Bob")["answers"] == {}
    with pytest.raises(Refused, match="code"):
        desk.sign_in("Ada")


def test_07_reads_what_was_handed_in(desk, ada, key):
    order = desk.sign_in(*ada)["order"]
    for place, number in enumerate(order[:-1]):
        _answer(desk, ada, number, "synthetic", seconds=1.5)
        _answer(desk, ada, number, ("real", "synthetic")[place % 2], seconds=0.75)
    assert desk.finish(*ada) == {"n": 13, "of": 14, "file": f"answers_{desk.study}_01.csv"}
    (filled,), _ = example_sheets.filled_sheets(desk.run, "", key)
    assert filled.reader == "Ada" and set(filled.missing) == {order[-1]}
    expected = dict(zip(order, [0.1, 0.9] * 7, strict=True))
    images = key.set_index("number")["image_id"]
    read = filled.readings.set_index("image_id")
    for number in order[:-1]:
        row = read.loc[images[number]]
        assert row["is_synthetic_read"] == pytest.approx(expected[number])
        assert row["dx_read"] == "mel" and row["seconds"] == pytest.approx(2.25)


def test_two_readers_hand_in_two_files(desk, ada, key):
    bob = ("Bob", desk.sign_in("Bob")["code"])
    for who, source in ((ada, "real"), (bob, "synthetic")):
        _answer(desk, who, desk.sign_in(*who)["order"][0], source)
        desk.finish(*who)
    sheets, _ = answers.read_all(desk.run.folder / "study_filled", key)
    read = {one.reader: one.readings["is_synthetic_read"].tolist() for one in sheets}
    assert read == {"Ada": [pytest.approx(0.1)], "Bob": [pytest.approx(0.9)]}


def test_nothing_is_handed_in_before_an_image_has_all_its_answers(desk, ada):
    desk.answer(*ada, desk.sign_in(*ada)["order"][0], {REAL: "real"}, 1)
    with pytest.raises(Refused, match="nothing to hand in"):
        desk.finish(*ada)
    assert not (desk.run.folder / "study_filled").exists()


def test_the_tab_never_opens_the_key(home, desk, ada, key):
    """All works without the key; and no answer of the server names an image, a source or a class of the key."""
    aside = desk.run.folder / "key_aside"
    (desk.run.folder / "study" / "key").rename(aside)
    try:
        said = [desk.sign_in(*ada)]
        assert said[0]["order"]
        for number in said[0]["order"]:
            said += [desk.image(*ada, number), _answer(desk, ada, number)]
        text = json.dumps([*said, desk.finish(*ada)])
    finally:
        aside.rename(desk.run.folder / "study" / "key")
    for secret in {*key["image_id"], *key["path"], "adapter", '"source"', '"dx"'}:
        assert secret not in text


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"number": 99}, "no such image"),
        ({"number": "1"}, "no such image"),
        ({"number": True}, "no such image"),
        ({"number": [1]}, "no such image"),
        ({"answers": {REAL: "fake"}}, "Real or synthetic?: choose one of real, synthetic"),
        ({"answers": {"Halo": "real"}}, "no answers to the questions"),
        ({"answers": {SURE: 4}}, "a text is needed"),
        ({"answers": {"Comment": "x" * 10_000}}, "Comment: 10,000 characters are too many"),
        ({"answers": {"Comment": "a\x1bb"}}, "cannot be seen"),
        ({"answers": None}, "no answers to the questions"),
        ({"seconds": "1"}, "seconds from 0"),
        ({"code": "ABCDEFGH"}, "not signed in"),
        ({"name": "Bob"}, "not signed in"),
    ],
)
def test_a_bad_request_is_answered_by_one_sentence_and_saves_nothing(desk, ada, change, sentence):
    number = desk.sign_in(*ada)["order"][0]
    request = {"action": "answer", "name": ada[0], "code": ada[1], "number": number, "answers": {}, "seconds": 1}
    reply = widget.answer(desk.actions, request | change)
    assert sentence in reply.get("error", "").replace("You do not see such an image", "no such image")
    assert desk.sign_in(*ada)["answers"] == {}
