import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from p2d_lib.describe.llm import replies
from p2d_lib.vocabulary import FEATURES

SCORES = {feature.field: 0.1 for feature in FEATURES.values()} | {"Border Irregularity": 0.8, "dark_brown": 0.7}
OURS = {"description": "A dark macule.", **dict.fromkeys(FEATURES, 0.1), "border_irregularity": 0.8, "dark_brown": 0.7}


def known(parsed: replies.Parsed) -> dict[str, float]:
    return {name: score for name, score in parsed.features.items() if not math.isnan(score)}


WHOLE = json.dumps(OURS)
EXPECTED = {name: OURS[name] for name in FEATURES}


@pytest.mark.parametrize(
    ("reply", "repairs"),
    [
        (WHOLE, []),
        (json.dumps({"description": "A dark macule.", "features": SCORES}), []),
        (json.dumps({"description": "A dark macule.", **SCORES}), []),
        (f"```json\n{WHOLE}\n```", ["fenced"]),
        (f"Here it is:\n```\n{WHOLE}\n```\nBe well.", ["fenced", "text around"]),
        (f"Sure! {WHOLE} Is there anything else?", ["text around"]),
        (f'<think>{{"asymmetry": 0.9}}</think>{WHOLE}', ["text around"]),
        (WHOLE.replace("}", ",}"), ["loose syntax"]),
        (WHOLE.replace('"', "'"), ["loose syntax"]),
        (f"So: {WHOLE.replace(chr(34), chr(39))}", ["text around", "loose syntax"]),
        (WHOLE.replace(", ", "\n"), ["loose syntax"]),
        (WHOLE.replace(", ", " "), ["loose syntax"]),
        (WHOLE.replace('"red": 0.1', "red: .1"), ["loose syntax"]),
        (WHOLE.replace("0.8", '"0.8"').replace("0.7", '" 70% "'), ["score as text"]),
        (WHOLE.replace("color_variation", "Colour-Variation").replace('"red"', '"RED "'), ["respelled"]),
        (WHOLE.replace("A dark macule.", "A dark\n macule."), []),
        (json.dumps(OURS | {"diagnosis": "melanoma", "confidence": 0.9}), ["extra field"]),
    ],
)
def test_what_leaves_no_doubt_is_mended_and_named(reply, repairs):
    result = replies.parse(reply)
    assert result.repairs == repairs
    assert result.text == "A dark macule."
    assert result.features == EXPECTED
    assert result.valid


@pytest.mark.parametrize(
    ("score", "repair"),
    [
        (1.2, "score out of range"), (-0.1, "score out of range"), ("30", "score out of range"),
        ("130%", "score out of range"), (math.inf, "score out of range"), ("high", "no number"), ("-0.2", "no number"),
        (None, "no number"), (True, "no number"), (math.nan, "no number"), ([0.2], "no number"),
    ],
)  # fmt: skip
def test_a_score_that_is_none_never_becomes_a_number(score, repair):
    result = replies.parse(json.dumps(OURS | {"red": score}))
    assert math.isnan(result.features["red"])
    assert repair in result.repairs
    assert not result.valid
    assert len(known(result)) == 21


@pytest.mark.parametrize(
    "score",
    [
        "0.3 0.4", ">0.5", "~0.3", "0.3 - 0.5", "5 out of 10", "0.3 (marked)", "0_5", "0,5,3", "0.3 /* or 0.9 */",
        "0.3 // 0.9\n", "0x1",
    ],
)  # fmt: skip
def test_a_score_that_would_have_to_be_guessed_is_unknown_and_the_others_are_kept(score):
    result = replies.parse(WHOLE.replace('"red": 0.1', f'"red": {score}'))
    assert math.isnan(result.features["red"])
    assert result.repairs[0] == "loose syntax"
    assert known(result) == {name: value for name, value in EXPECTED.items() if name != "red"}


def test_a_per_cent_sign_without_quotes_is_not_lost():
    assert replies.parse(WHOLE.replace('"red": 0.1', '"red": 5%')).features["red"] == 0.05


def test_an_apostrophe_in_a_python_literal_does_no_harm():
    result = replies.parse(str(OURS | {"description": "The lesion's border, which is red."}))
    assert (result.text, result.features) == ("The lesion's border, which is red.", EXPECTED)


def test_quotes_within_a_description_do_not_cost_the_scores():
    result = replies.parse(WHOLE.replace("A dark macule.", 'A "dark" macule.'))
    assert (result.text, result.features, result.repairs) == ('A "dark" macule.', EXPECTED, ["loose syntax"])


def test_a_missing_score_is_unknown_and_the_reply_not_valid():
    result = replies.parse(json.dumps({name: value for name, value in OURS.items() if name != "red"}))
    assert known(result) == {name: score for name, score in EXPECTED.items() if name != "red"}
    assert result.repairs == ["score missing"]
    assert not result.valid


def test_replies_are_read_in_many_threads_at_once():
    with ThreadPoolExecutor(8) as pool:
        result = list(pool.map(replies.parse, [WHOLE.replace('"', "'")] * 500))
    assert all(parsed.repairs == ["loose syntax"] and parsed.features == EXPECTED for parsed in result)


def test_an_inner_object_is_not_taken_for_the_whole():
    nested = json.dumps({"features": SCORES, "description": "A dark macule.", "sure": True})
    result = replies.parse(nested.replace("true}", "tr"))
    assert (result.text, result.repairs, result.valid) == ("A dark macule.", ["cut off"], True)


@pytest.mark.parametrize("twice", ['"red": 0.9, "red": 0.1', '"Asymmetry": 0.9, "asymmetry": 0.1'])
def test_of_two_different_scores_neither_is_taken(twice):
    name = "red" if "red" in twice else "asymmetry"
    reply = WHOLE.replace(f'"{name}": 0.1', twice)
    for text, repairs in ((reply, []), (reply.replace("}", ",}"), ["loose syntax"]), (reply + ",", ["text around"])):
        result = replies.parse(text)
        assert math.isnan(result.features[name])
        assert result.repairs == [*repairs, "given twice"]


@pytest.mark.parametrize("end", range(40, len(WHOLE) - 1, 7))
def test_of_a_reply_cut_off_anywhere_only_complete_members_are_taken(end):
    result = replies.parse(WHOLE[:end])
    assert result.repairs[:1] == ["cut off"]
    assert known(result).items() <= EXPECTED.items()
    assert len(known(result)) == sum(f'"{name}": {EXPECTED[name]},' in WHOLE[:end] for name in FEATURES)
    assert result.text == "A dark macule."
    assert not result.valid


def test_a_fence_that_never_closes_is_a_reply_cut_off():
    result = replies.parse(f"```json\n{WHOLE[:200]}")
    assert result.repairs[:2] == ["fenced", "cut off"]
    assert result.text == "A dark macule."


@pytest.mark.parametrize(
    "reply",
    [
        "I'm sorry, but I can't help with that.",
        "Unfortunately, I cannot analyze medical images.",
        "I’m unable to provide an assessment of this image.",
        json.dumps(OURS | {"description": "I am sorry, I can't see images."}),
    ],
)
def test_a_refusal_is_recognised_and_none_of_its_numbers_taken(reply):
    result = replies.parse(reply)
    assert result.repairs == ["refused"]
    assert not result.valid
    assert known(result) == {}
    assert result.text.startswith("[refused] ")


@pytest.mark.parametrize(
    "text", ["I cannot see streaks.", "A network that cannot be scored.", "A sorry-looking macule."]
)
def test_a_description_that_only_sounds_like_a_refusal_is_kept(text):
    assert replies.parse(json.dumps(OURS | {"description": text})).valid


@pytest.mark.parametrize(
    "reply", ["", "A dark macule.", "{", '{"error": "busy"}', "[0.1, 0.2]", "{" * 5000, '{"a":' * 2000]
)
def test_a_reply_without_json_states_why_and_nothing_else(reply):
    result = replies.parse(reply)
    assert result.repairs == ["no JSON"]
    assert result.text == f"[no JSON] {reply[:200]}".strip()
    assert known(result) == {}


def test_scores_without_a_text_are_kept_and_not_valid():
    result = replies.parse(json.dumps(OURS | {"description": " "}))
    assert (result.repairs, result.valid, known(result)) == (["no description"], False, EXPECTED)


def test_the_schema_asks_for_every_feature_and_nothing_else():
    schema = replies.Reply.model_json_schema()
    assert schema["required"] == ["description", *FEATURES] == list(schema["properties"])
    assert schema["additionalProperties"] is False
    assert all(schema["properties"][name]["minimum"] == 0 for name in FEATURES)
    assert all(schema["properties"][name]["maximum"] == 1 for name in FEATURES)
    assert all(name in replies.QUESTION for name in FEATURES)


def test_repairs_of_several_tables_are_counted_by_reply():
    both = json.dumps(OURS | {"red": 1.2, "black": 3})
    tables = [replies.described(["a", "b"], "x", [replies.parse(r) for r in (both, WHOLE)])]
    tables.append(replies.described(["c"], "y", [replies.parse(f"```{both}```")]))
    counted = replies.repairs(tables)
    assert counted["repair"].tolist() == list(replies.REPAIRS)
    assert counted[counted["n"] > 0][["repair", "n"]].values.tolist() == [["fenced", 1], ["score out of range", 2]]


def test_the_replies_that_the_original_collected_are_all_parsed():
    if not os.environ.get("P2D_LLM_OUTPUTS"):
        pytest.skip("P2D_LLM_OUTPUTS is not set: the replies of the original prompt2derm are not at hand")
    path = Path(os.environ["P2D_LLM_OUTPUTS"]) / "gpt-4.1-mini_lesion_features.jsonl"
    records = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    texts = [json.dumps({name: record[name] for name in ("description", "features")}) for record in records]
    parsed = [replies.parse(text) for text in texts]
    assert len(parsed) == 581
    assert all(reply.valid and not reply.repairs for reply in parsed)
    assert sum(reply.features["light_brown"] for reply in parsed) / 581 == pytest.approx(0.603787, abs=1e-6)
    assert all(reply.features["evolving"] == 0 for reply in parsed)
