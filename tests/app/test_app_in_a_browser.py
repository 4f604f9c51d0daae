"""Create and Browse in a real browser: an image is made, watched, stopped, varied, saved and dropped back."""

import base64
import io
import json
import urllib.request

import accessible
import pytest
from app_page import GALLERY, STATUS
from app_run import MARKUP
from PIL import Image

CARDS, STRIP = "document.querySelectorAll('#p2d-results .p2d-card')", "document.querySelectorAll('.p2d-strip figure')"
JOB = "((document.querySelector('#p2d-progress .p2d-status') || {dataset: {}}).dataset.job || '')"
PROMPT = "document.querySelector('#p2d-prompt textarea').value"
SEED = "#p2d-seed input, #p2d-seed textarea"
COUNT = f"parseInt({GALLERY}) || 0"

DROP = """(() => {
  const bytes = Uint8Array.from(atob('%s'), character => character.charCodeAt(0)), data = new DataTransfer();
  data.items.add(new File([bytes], 'mine.png', {type: 'image/png'}));
  document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
})()"""
SLOW = """(() => {
  const ask = window.fetch, wait = new Promise(done => setTimeout(done, 1000));
  window.fetch = async (...request) => { await wait; return ask(...request); };
})()"""
TOAST = "(document.querySelector('.toast-body, [data-testid=toast-body]') || {}).innerText"


def png_of(page, place: str) -> bytes:
    return base64.b64decode(page.run(f"document.querySelector('{place} a[download]').href").split(",")[1])


def create(page, n: int = 1) -> None:
    before = page.run(JOB)
    page.click("#p2d-create")
    page.until(f"{JOB} != {before!r} && {CARDS}.length == {n} && ({STATUS}).startsWith('Done')")


def test_an_image_is_made_with_all_that_is_said_of_it_and_another_browser_shows_it_too(page, browsers, address):
    header = page.run("document.querySelector('#p2d-header').innerText")
    assert "run little, phantom data" in header and "not for clinical use" in header
    create(page)
    text = page.run("document.querySelector('#p2d-results').innerText")
    assert "Not a copy" in text and "Nearest train image: image_" in text and "the scout reads" in text
    assert "real images of other lesions" in text and "altered train images" in text
    about = Image.open(io.BytesIO(png_of(page, "#p2d-results"))).text
    assert about["prompt"] == page.run(PROMPT) and about["seed"] == "0" and "not for clinical use" in about["notice"]
    assert json.loads(about["settings"])["num_inference_steps"] == 3
    browsers[1].show(address)
    assert "in this run, page 1" in page.until(GALLERY) and browsers[1].until(GALLERY) == page.run(GALLERY)
    page.click("#p2d-zip")
    assert page.until("(document.querySelector('#p2d-saved a') || {}).download") == "little_images.zip"


def test_the_first_prompt_comes_with_the_page_and_so_replaces_nothing_that_was_typed(address):
    parts = json.loads(urllib.request.urlopen(f"{address}config").read())["components"]
    (prompt,) = (part["props"] for part in parts if part["props"].get("elem_id") == "p2d-prompt")
    assert prompt["value"] == "dermoscopic image of melanoma, red color, fair skin, back"


def test_a_page_that_is_opened_meanwhile_says_that_it_shows_what_was_asked_for_before_and_can_stop_it(page, address):
    page.unfold("Sampler", "#p2d-steps input")
    page.set("#p2d-steps", "100")
    page.set("#p2d-count", "8")
    page.click("#p2d-create")
    page.until(f"({STATUS}).includes('Image 1 of 8')")
    page.show(address)
    page.until(f"/^Asked for before this page was opened[.]\\s*Image/.test({STATUS})")
    page.click("#p2d-stop")
    page.until(f"({STATUS}).includes('opened. Stopped.')")
    create(page)


def test_the_form_writes_the_prompt_and_a_strip_shows_one_feature_at_all_its_levels(page):
    page.choose("#p2d-dx", "vascular lesion")
    page.until(f"{PROMPT}.includes('vascular lesion')")
    page.set("#p2d-atypical_vascular_pattern", "0.9")
    page.until(f"{PROMPT}.includes('marked atypical vessels')")
    page.choose("#p2d-tone", "not named")
    page.until(f"!{PROMPT}.includes('skin')")
    page.choose("#p2d-feature", "blue-whitish veil")
    page.click("#p2d-vary")
    page.until(f"{STRIP}.length == 3")
    captions = page.run(f"[...{STRIP}].map(f => f.querySelector('figcaption b').innerText)")
    assert captions == ["absent", "present", "marked"]


def test_words_of_the_form_that_arrive_late_replace_no_text_that_was_typed_meanwhile(page):
    page.run(SLOW)
    page.choose("#p2d-dx", "vascular lesion")
    page.fill("#p2d-prompt textarea", "melanoma in my own words")
    create(page)
    assert Image.open(io.BytesIO(png_of(page, "#p2d-results"))).text["prompt"] == "melanoma in my own words"
    assert page.run(PROMPT) == "melanoma in my own words"


def test_the_same_settings_make_the_same_pixels_after_a_png_was_dropped_back(page):
    page.fill("#p2d-prompt textarea", "dermoscopic image of dermatofibroma, hair")
    page.fill(SEED, "9007199254740993")  # more digits than JavaScript's numbers keep
    page.unfold("Sampler", "#p2d-steps input")
    page.set("#p2d-steps", "4")
    create(page)
    made = png_of(page, "#p2d-results")
    page.choose("#p2d-dx", "melanoma")
    page.set("#p2d-steps", "2")
    page.until(f"{PROMPT}.includes('melanoma')")
    page.run(DROP % base64.b64encode(made).decode())
    page.until(f"{PROMPT} == 'dermoscopic image of dermatofibroma, hair'")
    page.until(f"document.querySelector({SEED!r}).value == '9007199254740993'")
    page.until("document.querySelector('#p2d-notice').innerText.includes('restored')")
    steps = json.loads(Image.open(io.BytesIO(made)).text["settings"])["num_inference_steps"]
    page.until(f"document.querySelector('#p2d-steps input[type=number]').value == '{steps}'")
    create(page)
    assert png_of(page, "#p2d-results") == made


def test_stop_ends_within_a_step_and_a_tab_that_is_left_loses_no_work(page, address):
    before = page.run(COUNT)
    page.unfold("Sampler", "#p2d-steps input")
    page.set("#p2d-steps", "100")
    page.set("#p2d-count", "8")
    page.click("#p2d-create")
    page.until("document.querySelector('.p2d-preview')")
    page.click("#p2d-stop")
    page.until(f"({STATUS}).startsWith('Stopped')")
    stopped = page.run(COUNT)
    assert stopped < before + 8
    page.set("#p2d-steps", "30")
    page.set("#p2d-count", "2")
    page.click("#p2d-create")
    page.until("document.querySelector('.p2d-preview')")
    page.open("about:blank")
    page.show(address)
    page.until(f"({COUNT}) == {stopped + 2}")


def test_markup_in_a_prompt_is_shown_as_text_and_never_run(page):
    page.fill("#p2d-prompt textarea", f"nevus {MARKUP} ${{document.title='hacked'}} {{{{7*7}}}}")
    create(page)
    assert "onerror=" in page.run("document.querySelector('#p2d-results').innerText")
    page.fill("#p2d-prompt textarea", "x" * 599 + "\u202e")
    page.click("#p2d-create")
    assert "cannot be seen" in page.until(TOAST)
    page.tab("Browse")
    page.until("document.querySelectorAll('#p2d-browse-images img').length > 6")
    page.tab("Tables and figures")
    page.choose("#p2d-browse-what", "t4_copies")
    page.until("document.querySelector('#p2d-browse-results table')")
    assert "hacked" not in page.run("document.title")


def test_browse_filters_both_sides_and_shows_two_runs_beside_each_other(page):
    page.tab("Browse")
    shown = "document.querySelector('#p2d-browse-images').innerText"
    page.until("document.querySelectorAll('#p2d-browse-images img').length > 6")
    page.until(f"{shown}.includes('28 images') && {shown}.includes('14 images')")
    page.choose("#p2d-browse-dx", "melanoma")
    page.until(f"{shown}.includes('4 images') && {shown}.includes('2 images')")
    page.choose("#p2d-browse-by", "base")
    page.until(f"{shown}.includes('1 image')")
    page.choose("#p2d-browse-dx", "any")
    page.choose("#p2d-browse-by", "any")
    page.choose("#p2d-browse-verdict", "refused")
    page.until(f"{shown}.includes('refused: copy')")
    page.tab("Tables and figures")
    page.choose("#p2d-browse-what", "t4_copies")
    page.choose("#p2d-browse-other", "other")
    runs = page.until(
        "(h => h.length == 2 && h.map(one => one.innerText))([...document.querySelectorAll('#p2d-browse-results h3')])"
    )
    assert runs == ["Run little", "Run other"]
    assert "0.123" in page.run("document.querySelector('#p2d-browse-results').innerText")


@pytest.mark.parametrize(("width", "colours"), [(1200, "light"), (400, "dark")])
def test_every_control_has_a_label_every_word_contrast_and_nothing_is_cut(browsers, address, width, colours):
    page = browsers[0]
    page.show_idle(address, width=width, colours=colours)
    create(page)
    for tab, text in [
        ("Create", "Vary one feature"),
        ("Review", "Your name or initials"),
        ("Read", "no reader study that can be read"),
        ("Browse", "28 images"),
    ]:
        page.tab(tab)
        page.until(f"document.body.innerText.includes({text!r})")
        for what in (accessible.UNLABELLED, accessible.FAINT, accessible.CUT):
            page.none(what)
        page.until(f"document.documentElement.scrollWidth <= {width}")
