"""Claims about reviews: nothing is lost, others' decisions stay unseen, undo, agreement, and what 02 and 03 make of
them."""

import json
from multiprocessing import get_context

import numpy as np
import pandas as pd
import pytest
from review_run import MARKUP, count, make_run

from p2d_lib.app import people, review_agreement, review_log, widget
from p2d_lib.app.review_desk import Desk
from p2d_lib.app.safety import Refused
from p2d_lib.describe import edits
from p2d_lib.finetune import training_set
from p2d_lib.run import ArtefactError, Run
from p2d_lib.vocabulary import FEATURES
from p2d_lib.words.choose import chosen


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("P2D_HOME", str(tmp_path_factory.mktemp("home")))
        yield make_run("reviewed")[0]


@pytest.fixture
def desk(home):
    for log in (home.folder / "app").glob("*.*"):
        log.unlink()
    return Desk(home, count)


@pytest.fixture
def reviewer(desk):
    """Signs a person in; returns what decides in that person's name."""

    def sign_in(name):
        code = desk.sign_in(name)["code"]

        def decide(image_id, verdict="keep", reason="", text=None, **scores):
            before = desk.case(name, code, image_id)
            words, known = before["text"] if text is None else text, before["scores"] | scores
            return desk.decide(name, code, image_id, verdict, words, known, reason, 2.5)

        decide.who = (name, code)
        return decide

    return sign_in


def test_the_first_images_are_one_of_each_class_of_train_for_everybody(desk):
    ids = [image_id for image_id, _ in desk.sign_in("Ada")["images"]]
    assert ids == [image_id for image_id, _ in desk.sign_in("Bob")["images"]]
    assert set(desk.cases.loc[ids[:7], "dx"]) == set(desk.cases["dx"])
    assert desk.cases.loc[ids, "split"].tolist() == ["train"] * 12 + ["val", "test"]


def test_untouched_scores_are_accepted_and_changed_ones_are_an_edit(desk, reviewer):
    ada = reviewer("Ada")
    assert ada("image_00") == {"verdict": "accept"}
    assert ada("image_01", red=0.0) == {"verdict": "edit"}
    assert ada("image_02", text="A red spot") == {"verdict": "edit"}
    assert ada("image_03", "reject", "The image cannot be judged") == {"verdict": "reject"}
    reopened = Desk(desk.run, count)
    assert reopened.sign_in(*ada.who)["decided"] == {
        "image_00": "accept", "image_01": "edit", "image_02": "edit", "image_03": "reject",
    }  # fmt: skip
    assert reopened.case(*ada.who, "image_01")["own"]["scores"]["red"] == 0.0


def test_an_edited_score_changes_the_prompt_as_02_words_it(desk, reviewer):
    ada = reviewer("Ada")
    scores = desk.case(*ada.who, "image_04")["scores"]
    assert desk.prompt(*ada.who, "image_04", scores)["prompt"] == "dermoscopic image of melanoma, red color, back"
    edited = scores | {"red": 0.0, "hair_amount": 0.9, "background_skin_tone": None}
    assert desk.prompt(*ada.who, "image_04", edited)["prompt"] == "dermoscopic image of melanoma, hair, back"


def test_undo_withdraws_the_last_decisions_one_by_one_and_gives_them_back(desk, reviewer):
    ada, bob = reviewer("Ada"), reviewer("Bob")
    ada("image_00", red=0.0)
    ada("image_01", "reject", "wrong")
    bob("image_02")
    assert desk.undo(*ada.who)["undone"]["reason"] == "wrong"
    undone = desk.undo(*ada.who)
    assert undone["image_id"] == "image_00" and undone["undone"]["scores"]["red"] == 0.0
    with pytest.raises(Refused, match="no decision to undo"):
        desk.undo(*ada.who)
    assert desk.sign_in(*ada.who)["decided"] == {} and desk.sign_in(*bob.who)["decided"] == {"image_02": "accept"}


def test_what_others_decided_is_not_shown_before_one_has_decided_too(desk, reviewer):
    ada, bob = reviewer("Ada"), reviewer("Bob")
    for image_id in ("image_00", "image_01"):
        ada(image_id, "reject", "a blurred picture")
    seen = json.dumps([desk.sign_in(*bob.who), desk.case(*bob.who, "image_00")])
    assert "blurred" not in seen and "Ada" not in seen and "reject" not in seen
    for who in (ada.who, bob.who):
        with pytest.raises(Refused, match="compare later"):
            desk.compare(*who)
    bob("image_00")
    shown = desk.compare(*bob.who)
    assert [row["image_id"] for row in shown["differ"]] == ["image_00"]
    assert shown["differ"][0]["people"]["Ada"]["reason"] == "a blurred picture"


def test_only_decisions_made_before_the_look_at_others_count_for_agreement(desk, reviewer):
    ada, bob = reviewer("Ada"), reviewer("Bob")
    for image_id, by_ada, by_bob in (("image_00", 0.0, 0.9), ("image_01", 0.9, 0.9), ("image_02", 0.0, 0.0)):
        ada(image_id, asymmetry=by_ada)
        bob(image_id, asymmetry=by_bob)

    def kappa():
        rows = {row["question"]: row for row in desk.compare(*bob.who)["kappas"]}
        return rows["asymmetry"]["kappa"]

    before = kappa()
    bob("image_00", asymmetry=0.0)
    assert before == pytest.approx(0.4) and kappa() == before
    assert desk.compare(*bob.who)["differ"] == []


def _random_reviews(seed, agree):
    """Two reviewers of 200 images; each feature of the second is the first one's with a chance of `agree`."""
    rng = np.random.default_rng(seed)
    first, other = (rng.integers(0, 2, (200, len(FEATURES))) for _ in range(2))
    second = np.where(rng.random(first.shape) < agree, first, other)
    records = [
        {
            "name": name,
            "image_id": str(k),
            "verdict": "edit",
            "scores": dict(zip(FEATURES, map(float, row), strict=True)),
        }
        for name, rows in (("a", first), ("b", second))
        for k, row in enumerate(rows)
    ]
    return review_agreement.table(review_log.replay(records), map(str, range(200)))


def test_agreement_by_chance_is_zero_and_a_planted_agreement_is_recovered():
    by_chance, planted = (_random_reviews(0, agree)["kappa"].dropna() for agree in (0.0, 0.6))
    assert len(by_chance) == len(FEATURES)  # all kept: no kappa of that question
    assert abs(by_chance.mean()) < 0.05 and planted.mean() == pytest.approx(0.6, abs=0.05)


def _decide_on_all(name, code):
    desk = Desk(Run("reviewed", f"app_{name}"), count)
    for red in (0.25, 0.75):
        for image_id, case in desk.cases.iterrows():
            scores = desk.case(name, code, image_id)["scores"] | {"red": red}
            desk.decide(name, code, image_id, "keep", case["text"], scores, "", 0.1)


def test_two_processes_at_once_lose_no_decision(desk, reviewer):
    who = [reviewer(name).who for name in ("Ada", "Bob")]
    running = [get_context("fork").Process(target=_decide_on_all, args=one) for one in who]
    for one in running:
        one.start()
    for one in running:
        one.join(60)
    assert [one.exitcode for one in running] == [0, 0]
    reviews = desk._reviews()
    for name in ("Ada", "Bob"):
        assert len(reviews.made[name]) == 2 * 14
        assert {decision["scores"]["red"] for decision in reviews.standing[name].values()} == {0.75}


def test_a_name_is_only_used_with_its_code_and_codes_are_not_kept(desk):
    code = desk.sign_in("Ada Löwe")["code"]
    assert desk.sign_in(" ada  löwe ", code.lower())["name"] == "Ada Löwe"
    for wrong in ("", "ABCDEFGH"):
        with pytest.raises(Refused, match="write the code that was shown then"):
            desk.sign_in("Ada Löwe", wrong)
        with pytest.raises(Refused, match="not signed in"):
            desk.case("Ada Löwe", wrong, "image_00")
    assert code not in (desk.folder / people.LOG).read_text()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"image_id": "../../etc/passwd"}, "no such image"),
        ({"image_id": ["image_00"]}, "no such image"),
        ({"verdict": "maybe"}, "kept or rejected"),
        ({"verdict": "reject", "reason": "  -"}, "Say why you reject"),
        ({"verdict": "reject", "reason": "No"}, "Say why you reject"),
        ({"verdict": "reject", "reason": "x" * 301}, "Reason: 301 characters are too many"),
        ({"text": "x" * 10_000}, "Description: 10,000 characters are too many; 2000 at most"),
        ({"text": "a\x00b"}, "cannot be seen"),
        ({"text": None}, "a text is needed"),
        ({"text": " "}, "it is empty"),
        ({"scores": {}}, "A score is needed for each of the 22 features"),
        ({"scores": dict.fromkeys(FEATURES, 2)}, "atypical pigment network: a score is a number from 0 to 1"),
        ({"scores": dict.fromkeys(FEATURES, float("nan"))}, "a score is a number from 0 to 1"),
        ({"scores": dict.fromkeys(FEATURES, True)}, "a score is a number from 0 to 1"),
        ({"seconds": -1}, "seconds from 0"),
        ({"seconds": float("inf")}, "seconds from 0"),
        ({"name": {"a": 1}}, "not signed in"),
        ({"extra": 1}, "reload the page"),
        ({"action": "_reviews"}, "reload the page"),
        ({"action": ["case"]}, "reload the page"),
    ],
)
def test_a_bad_request_is_answered_by_one_sentence_and_saves_nothing(desk, change, sentence):
    code = desk.sign_in("Ada")["code"]
    case = desk.case("Ada", code, "image_00")
    request = {
        "action": "decide", "name": "Ada", "code": code, "image_id": "image_00", "verdict": "keep", "reason": "",
        "text": case["text"], "scores": case["scores"], "seconds": 1,
    }  # fmt: skip
    reply = widget.answer(desk.actions, request | change)
    assert sentence in reply["error"] and "/tmp" not in reply["error"] and reply["error"].count("\n") == 0
    assert not (desk.folder / review_log.LOG).exists()


@pytest.mark.parametrize("name", ["", "  ", "n/a", MARKUP, "x" * 61, "scout", "a\x07b", 7])
def test_a_name_that_tables_cannot_hold_is_refused(desk, name):
    assert "error" in widget.answer(desk.actions, {"action": "sign_in", "name": name})
    assert not (desk.folder / people.LOG).exists()


def test_an_unforeseen_failure_shows_no_path_and_no_traceback(desk, monkeypatch):
    monkeypatch.setattr(people, "sign_in", lambda *_: 1 / 0)
    reply = widget.answer(desk.actions, {"action": "sign_in", "name": "Ada"})
    assert reply == {"error": widget.FAILED}


def test_nothing_counts_as_saved_before_it_is_on_the_disk(desk, reviewer, monkeypatch):
    ada = reviewer("Ada")

    def full(_):
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        ada("image_00")


@pytest.fixture
def reviewed(desk, reviewer):
    """What 02 makes of the exported file: Ada has edited, accepted and rejected, Bob accepted."""
    ada, bob = reviewer("Ada"), reviewer("Bob")
    ada("image_00", red=0.0, black=0.3, white=None)
    ada("image_01")
    ada("image_02", "reject", "The description is wrong")
    bob("image_00")
    bob("image_02")
    handed = desk.export(*ada.who)
    assert handed["n"] == 5 and handed["file"] == "data/runs/reviewed/app/edits.csv"
    assert f"--run reviewed --set 02_describe.edits_file={handed['file']}" in handed["command"]
    machine = desk.run.read("descriptions")
    return pd.concat([machine, edits.read_edits(desk.folder / "edits.csv", machine).assign(prompt="by a person")])


def test_02_takes_exactly_what_was_reviewed(desk, reviewed):
    used = chosen(reviewed).set_index("image_id")
    assert "image_02" not in used.index and len(used) == 13  # a rejection stands, whoever else accepts
    assert used.loc[["image_00", "image_01", "image_03"], "reviewer"].tolist() == ["Ada", "Ada", ""]
    before = desk.cases.loc["image_01", list(FEATURES)].astype(float)
    pd.testing.assert_series_equal(used.loc["image_01", list(FEATURES)].astype(float), before)
    edited = used.loc["image_00"]
    assert edited["red"] == 0.0 and edited["black"] == 0.3 and np.isnan(edited["white"])
    assert used.loc["image_01", "text"] == desk.cases.loc["image_01", "text"]


def test_03_trains_on_reviewed_prompts_alone_or_says_which_classes_lack_them(desk, reviewed):
    describe = Run("reviewed", "02_describe")
    machine = desk.run.read("descriptions")
    try:
        describe.write("descriptions", reviewed)
        with pytest.raises(ArtefactError, match=r"too few train images are reviewed \(2 of 11\), none of bkl, df, mel"):
            training_set.read(Run("reviewed", "03_finetune"), reviewed_only=True)
        half = machine.iloc[:7].assign(reviewer="Ada", prompt="by Ada")
        describe.write("descriptions", pd.concat([machine, half]))
        train, val = training_set.read(Run("reviewed", "03_finetune"), reviewed_only=True)
        assert set(train.prompts) == {"by Ada"} and len(train) == 7 and len(val) == 1
        assert len(training_set.read(Run("reviewed", "03_finetune"))[0]) == 12
    finally:
        describe.write("descriptions", machine)
