"""What models put around, into and in place of answers: what leaves no doubt is mended, what does is not known."""

import html
import json
import math

import pytest

from p2d_lib.describe.llm import replies
from p2d_lib.vocabulary import FEATURES

SCORES = {name: round(0.01 * (k + 1), 2) for k, name in enumerate(FEATURES)}
TEXT = "A dark macule."
ANSWER = {"description": TEXT, **SCORES}
LINE, LINES = json.dumps(ANSWER), json.dumps(ANSWER, indent=1)
DRAFT = json.dumps({"description": "A draft.", **dict.fromkeys(FEATURES, 0.99)})
SCHEMA = json.dumps(replies.Reply.model_json_schema())


def assert_is_answer(reply: str, *expected: str) -> None:
    result = replies.parse(reply)
    assert (result.text, result.features) == (TEXT, SCORES)
    assert result.repairs == list(expected)


def assert_nothing_is_known(result: replies.Parsed, why: str = "no JSON") -> None:
    assert result.repairs == [why]
    assert all(map(math.isnan, result.features.values()))
    assert not result.valid


# thoughts

MARKS = [
    ("<think>", "</think>"), ("<thinking>", "</thinking>"), ("<Thought>\n", "\n</Thought>"), ("[THINK]", "[/THINK]"),
    ("<reasoning>", "</reasoning>"), ("◁think▷", "◁/think▷"), ("<unused94>thought\n", "<unused95>"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<seed:think>", "</seed:think>"), ("<|begin_of_thought|>", "<|end_of_thought|>"),
]  # fmt: skip


@pytest.mark.parametrize(("begin", "end"), MARKS, ids=[begin.strip() for begin, _ in MARKS])
def test_a_draft_among_thoughts_never_becomes_scores(begin, end):
    thoughts = f"Let me draft: {DRAFT} hmm, but the"
    for cut in (thoughts, f"{thoughts} border. {begin} again", f"```json\n{DRAFT}\n```"):
        assert_nothing_is_known(replies.parse(begin + cut))
    assert_nothing_is_known(replies.parse(f"{begin}{thoughts}{end}"))
    assert_nothing_is_known(replies.parse(f"{begin}{thoughts}{end}I would say dark."))
    assert_nothing_is_known(replies.parse(f"{thoughts}{begin} or {end} so {end}I would say dark."))
    assert_is_answer(f"{begin}{thoughts}{end}\n{LINE}", "text around")
    assert_is_answer(f"{thoughts}{end}{LINE}", "text around")  # the template began the thoughts
    assert_is_answer(f"{begin}{thoughts}{end}```json\n{LINE}\n```", "fenced", "text around")
    result = replies.parse(f"{begin}{thoughts}{end}{LINE[:300]}")
    assert result.text == TEXT
    assert {name: score for name, score in result.features.items() if score == score}.items() <= SCORES.items()


@pytest.mark.parametrize("end", ["", "</think>It is dark."])
def test_marks_of_thoughts_that_are_encoded_are_marks(end):
    reply = f"<think>{DRAFT} hmm {end}"
    assert_nothing_is_known(replies.parse(json.dumps(reply).replace("<", "\\u003c")))
    assert_nothing_is_known(replies.parse(html.escape(reply)))


def test_marks_of_thoughts_within_a_text_are_words():
    result = replies.parse(json.dumps(ANSWER | {"description": "As I </think> it is dark <think>."}))
    assert (result.features, result.repairs) == (SCORES, [])


def test_a_model_that_was_cut_off_while_it_thought_without_marks_has_not_answered():
    assert_nothing_is_known(replies.parse(f"Okay, first a draft: {DRAFT}. Hmm, the border is", is_cut=True))
    assert replies.parse(f"{LINE} I hope that this", is_cut=True).features == SCORES
    assert replies.parse(f"Here it is: {LINE}", is_cut=True).features == SCORES
    assert replies.parse(f"```json\n{LINE}\n```\nI hope that this", is_cut=True).features == SCORES


def test_a_draft_is_given_up_for_what_was_begun_after_it():
    result = replies.parse(f"Draft: {DRAFT} No, again: {LINE[:300]}")
    known = {name: score for name, score in result.features.items() if score == score}
    assert result.text == TEXT
    assert 0 < len(known) < 22
    assert known.items() <= SCORES.items()
    assert_nothing_is_known(replies.parse(f'Draft: {DRAFT} No, again: {{"description": "A da'))
    assert_is_answer(f"Draft: {DRAFT} No, again: {LINE}", "text around")


# refusals


@pytest.mark.parametrize(
    "text",
    [
        "While I cannot provide a diagnosis, the lesion is a dark macule.",
        "A dark macule; I am unable to evaluate vessels at this resolution.",
        "I cannot provide a diagnosis. The border is irregular.",
        "I'm sorry, but I can't diagnose this; it shows a brown papule with a regular network.",
        "I am not able to diagnose, however there is an atypical network.",
    ],
)
def test_a_hedge_keeps_its_scores(text):
    result = replies.parse(json.dumps(ANSWER | {"description": text}))
    assert (result.text, result.features, result.repairs) == (text, SCORES, [])


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that.",
        "I cannot analyze images of skin lesions.",
        "I am unable to describe this image. Please consult a dermatologist about your lesion.",
        "I'm sorry, I cannot see the image, and as an AI I cannot judge a lesion.",
        "Unfortunately, I cannot evaluate medical images; see a doctor for any dark mole.",
    ],
)
def test_a_refusal_with_scores_is_one_all_the_same(text):
    assert_nothing_is_known(replies.parse(json.dumps(ANSWER | {"description": text})), "refused")
    assert_nothing_is_known(replies.parse(text), "refused")


# the schema


@pytest.mark.parametrize("schema", [SCHEMA, json.dumps(json.loads(SCHEMA), indent=2), f"```json\n{SCHEMA}\n```"])
def test_the_schema_is_no_answer(schema):
    assert_nothing_is_known(replies.parse(schema))
    assert_nothing_is_known(replies.parse(schema[:-4]))
    assert replies.parse(f"{LINE}\n\n{schema}").features == SCORES
    assert replies.parse(f"{schema}\n{LINE}").features == SCORES


def test_a_schema_that_was_filled_in_is_an_answer():
    filled = {"title": "Reply", "type": "object", "properties": ANSWER, "required": ["description"]}
    assert_is_answer(json.dumps(filled), "wrapped")
    specified = {name: {"type": "number", "minimum": 0, "value": score} for name, score in SCORES.items()}
    assert_is_answer(json.dumps({"properties": {"description": TEXT, **specified}}), "wrapped")
    assert_is_answer(json.dumps(json.loads(SCHEMA) | ANSWER), "extra field")


# what stands around the scores


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"result": ANSWER}, ["wrapped"]),
        ({"Reply": ANSWER}, ["wrapped"]),
        ({"properties": ANSWER}, ["wrapped"]),
        ({"response": {"analysis": ANSWER}}, ["wrapped"]),
        ([ANSWER], ["text around"]),
        ({"images": [ANSWER]}, ["wrapped"]),
        (ANSWER | {"description": ["A dark", "macule."]}, ["wrapped"]),
        ({"output": LINE}, ["encoded twice", "wrapped"]),
        ({"description": TEXT, "Features": SCORES}, []),
        ({"description": TEXT, "scores": SCORES}, ["wrapped"]),
        ({"description": TEXT, "scores": SCORES, "certainty": {"red": 0.9}}, ["wrapped", "extra field"]),
        ({**ANSWER, "previous_draft": dict.fromkeys(FEATURES, 0.9)}, ["extra field"]),
        ({"description": TEXT, "features": [{"name": n, "score": s} for n, s in SCORES.items()]}, ["wrapped"]),
        ({"description": TEXT, "features": [{"Feature": n, "Value": s} for n, s in SCORES.items()]}, ["wrapped"]),
        ({"description": TEXT, "features": [{n: s} for n, s in SCORES.items()]}, []),
        ({"description": TEXT, **{n: {"score": s, "reason": "It is so."} for n, s in SCORES.items()}}, ["wrapped"]),
        (
            {"description": TEXT, "colours": dict(list(SCORES.items())[:9]), "others": dict(list(SCORES.items())[9:])},
            ["wrapped"],
        ),
    ],
)  # fmt: skip
def test_an_answer_is_taken_out_of_what_stands_around_it(value, expected):
    reply = json.dumps(value)
    assert_is_answer(reply, *expected)
    before, brace, after = reply.rpartition("}")
    loose = replies.parse(f"{before},{brace}{after}")
    assert (loose.text, loose.features) == (TEXT, SCORES)


def test_of_two_answers_at_one_depth_what_differs_is_not_known():
    result = replies.parse(json.dumps({"image_1": ANSWER, "image_2": ANSWER | {"red": 0.9, "description": "Another."}}))
    assert {name for name, score in result.features.items() if score != score} == {"red"}
    assert result.text == ""
    assert "given twice" in result.repairs


def test_of_two_descriptions_in_one_object_neither_is_taken():
    result = replies.parse(LINE.replace('{"description"', '{"description": "A light macule.", "description"'))
    assert (result.text, result.features, result.valid) == ("", SCORES, False)


def test_a_label_without_a_score_or_of_another_thing_gives_nothing():
    listed = [
        {"name": "asymmetry"},
        {"name": "diameter", "score": 0.7},
        {"score": 0.9},
        0.3,
        {"name": "red", "score": 0.1},
    ]
    result = replies.parse(json.dumps({"description": TEXT, "features": listed}))
    assert {name: score for name, score in result.features.items() if score == score} == {"red": 0.1}


@pytest.mark.parametrize("form", ['{"description": "...", "red": 0.0}', '{"red": 0.9}', '{"description": "Another."}'])
def test_an_answer_comes_before_an_example_of_its_form(form):
    assert_is_answer(f"{LINE} (As in {form}.)", "text around")
    assert_is_answer(f"As in {form}: {LINE}", "text around")


@pytest.mark.parametrize("scale", [5, 10, 100])
def test_on_another_scale_no_score_is_known(scale):
    scores = {name: k % (scale + 1) for k, name in enumerate(FEATURES)}
    result = replies.parse(json.dumps({"description": TEXT, **scores}))
    assert all(map(math.isnan, result.features.values()))
    assert (result.text, result.repairs, result.valid) == (TEXT, ["other scale"], False)
    slip = replies.parse(json.dumps(ANSWER | {"red": 1.5, "black": 12}))
    assert sum(map(math.isnan, slip.features.values())) == 2


# names


def camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


@pytest.mark.parametrize(
    "spelling",
    [camel, str.upper, "{}_score".format, "{} Score".format, "score_of_{}".format, "**{}**".format,
     lambda name: name.replace("_", "-"), lambda name: name.replace("_", ""), lambda name: FEATURES[name].phrase,
     lambda name: camel(name).capitalize()],
)  # fmt: skip
def test_names_are_recognised_in_any_spelling(spelling):
    result = replies.parse(json.dumps({"Description": TEXT, **{spelling(n): s for n, s in SCORES.items()}}))
    if spelling("red") == "score_of_red":
        assert result.repairs == ["respelled", "extra field", "score missing"]
        return
    assert (result.text, result.features, result.repairs) == (TEXT, SCORES, ["respelled"])


# syntax


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (LINES.replace('"red"', '// it\'s {"red": 0.9}, here\n "red"'), "loose syntax"),
        (LINES.replace('{\n "desc', '{ // the "answer", as asked\n "desc'), "loose syntax"),
        (LINES.replace('"red"', '/* 1, 2 and {3} */ "red"'), "loose syntax"),
        (LINES.replace('"red"', '# the "colours"\n "red"'), "loose syntax"),
        (LINES.replace(",\n", ", // mild, perhaps\n"), "loose syntax"),
        (LINES.replace(',\n "red"', ' // no comma\n "red"'), "loose syntax"),
        (LINES.replace(',\n "red"', '\n "red"'), "loose syntax"),
        (LINE.replace("0.", "+0."), "loose syntax"),
        (LINE.replace("0.", "0,"), "loose syntax"),
        (json.dumps(LINE), "encoded twice"),
        (json.dumps(LINES), "encoded twice"),
        (LINE.replace('"', '\\"'), "encoded twice"),
        (LINES.replace('"', '\\"').replace("\n", "\\n"), "encoded twice"),
        (LINE.replace('"', "&quot;"), "loose syntax"),
        (LINE.replace('"', "”"), "loose syntax"),
        (f"\ufeff{LINE}", None),
        (LINE.replace("0.07", '"0,07"').replace("0.08", '"+0.08"'), "score as text"),
    ],
)
def test_syntax_that_leaves_no_doubt_is_mended(reply, expected):
    assert_is_answer(reply, *([expected] if expected else []))


@pytest.mark.parametrize(
    "value", ["N/A", "n/a", "unknown", '0": 0.9', "NaN", "None", "undefined", "-", "?", "", "0,", "[0.1, 0.2]"]
)
def test_a_value_that_is_none_costs_no_other_score(value):
    result = replies.parse(LINE.replace(f'"red": {SCORES["red"]}', f'"red": {value}'))
    assert {n: s for n, s in result.features.items() if s == s} == {n: s for n, s in SCORES.items() if n != "red"}
    assert result.text == TEXT


@pytest.mark.parametrize("end", range(60, len(LINE) - 1, 9))
def test_of_a_reply_with_decimal_commas_that_was_cut_off_no_half_number_is_taken(end):
    result = replies.parse(LINE.replace("0.", "0,")[:end])
    assert {n: s for n, s in result.features.items() if s == s}.items() <= SCORES.items()


@pytest.mark.parametrize(
    "text", ['A "dark", brown macule. It has a "network".', 'A dark "macule"', '"Dark" macule', 'The "a": "b" pattern']
)
def test_quotes_that_were_not_escaped_cost_no_score(text):
    assert replies.parse(LINE.replace(TEXT, text)).features == SCORES


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (f"```json\n{LINES}\n```\nwhere\n```\n{{a}}\n```", ["fenced", "text around"]),
        (f"```\n{{a}}\n```\n```json\n{LINES}\n```", ["fenced", "text around"]),
        (f"```python\nprint({{}})\n```\n{LINE}", ["text around"]),
        (
            f"```json\n{LINES.replace(chr(34), chr(39))}\n```\n```\n{{a}}\n```",
            ["fenced", "text around", "loose syntax"],
        ),
        (f"In {{0..1}}: {LINE.replace(chr(34), chr(39))}", ["text around", "loose syntax"]),
    ],
)
def test_the_object_with_the_answer_is_chosen(reply, expected):
    assert_is_answer(reply, *expected)


@pytest.mark.parametrize("form", ["{}", "```json\n{}\n```"])
def test_a_fence_within_the_description_does_no_harm(form):
    result = replies.parse(form.format(LINE.replace(TEXT, "A ```dark``` macule.")))
    assert (result.text, result.features) == ("A ```dark``` macule.", SCORES)


@pytest.mark.parametrize("text", ["Dark \ud83d macule.", "Dark\x00 macule.", "Dark \x1b[1mmacule."])
def test_characters_that_tables_cannot_hold_are_left_out(text):
    result = replies.parse(json.dumps(ANSWER | {"description": text}))
    assert result.text.encode() and result.text.isprintable()
    assert result.features == SCORES


@pytest.mark.parametrize(
    "placeholder", ["string", "...", "<description>", "{{description}}", "Two or three sentences."]
)
def test_a_form_that_came_back_unfilled_is_no_answer_and_its_placeholder_no_text(placeholder):
    unfilled = replies.parse(json.dumps({"description": placeholder, **dict.fromkeys(SCORES, 0)}))
    assert unfilled.repairs == ["unfilled"] and all(map(math.isnan, unfilled.features.values()))
    scored = replies.parse(json.dumps({"description": placeholder, **SCORES}))
    assert (scored.text, scored.features, scored.valid) == ("", SCORES, False)


def test_of_answers_in_one_list_what_differs_is_not_known():
    other = ANSWER | {"red": 0.99}
    result = replies.parse(json.dumps([ANSWER, other]))
    assert math.isnan(result.features["red"]) and result.features["black"] == SCORES["black"]
    revised = replies.parse(f"{json.dumps(ANSWER)}\nNo, the red is stronger:\n{json.dumps(other)}")
    assert revised.features["red"] == 0.99, "a later answer revises an earlier one"


@pytest.mark.parametrize(
    "words",
    [
        "Es tut mir leid, ich kann dieses Bild nicht beurteilen.",
        "Lo siento, no puedo ayudar con eso.",
        "抱歉,我无法分析这张图片。",
    ],
)
def test_a_refusal_in_another_language_is_one(words):
    assert replies.parse(json.dumps({"description": words, **dict.fromkeys(SCORES, 0)})).repairs == ["refused"]


def test_a_number_of_hundreds_of_digits_is_out_of_range():
    result = replies.parse(LINE.replace(f'"red": {SCORES["red"]}', f'"red": 1{"0" * 400}'))
    assert math.isnan(result.features["red"])
    assert "score out of range" in result.repairs


def test_a_text_that_the_mender_of_json_stumbles_over_holds_no_answer():
    result = replies.parse('{"n":,"```json{```",')  # json_repair raises AssertionError
    assert not result.valid and all(math.isnan(score) for score in result.features.values())
