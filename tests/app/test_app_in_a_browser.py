"""Create and Browse in a real browser: an image is made, watched, stopped, varied, saved and dropped back."""

import base64
import io
import json

import accessible
import pytest
from app_run import MARKUP
from PIL import Image

CARDS, STRIP = "document.querySelectorAll('#p2d-results .p2d-card')", "document.querySelectorAll('.p2d-strip figure')"
STATUS = "(document.querySelector('#p2d-progress .p2d-status') || {}).innerText || ''"
JOB = "((document.querySelector('#p2d-progress .p2d-status') || {dataset: {}}).dataset.job || '')"
PROMPT = "document.querySelector('#p2d-prompt textarea').value"
STEPS = "#p2d-steps input[type=number]"
GALLERY = "(document.querySelector('#p2d-gallery .p2d-note') || {}).innerText"  # how many images the run has
COUNT = f"parseInt({GALLERY}) || 0"

DROP = """(() => {
  const bytes = Uint8Array.from(atob('%s'), character => character.charCodeAt(0)), data = new DataTransfer();
  data.items.add(new File([bytes], 'mine.png', {type: 'image/png'}));
  document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
})()"""
TOAST = "(document.querySelector('.toast-body, [data-testid=toast-body]') || {}).innerText"


def png_of(page, place: str) -> bytes:
    return base64.b64decode(page.run(f"document.querySelector('{place} a[download]').href").split(",")[1])


def create(page, n: int = 1) -> None:
    before = page.run(JOB)
    page.click("#p2d-create")
    page.until(f"{JOB} != {before!r} && {CARDS}.length == {n} && ({STATUS}).startsWith('Done')")


def test_an_image_is_made_with_all_that_is_said_of_it_and_another_browser_shows_it_too(page, browsers, address):
    assert "not for clinical use" in page.run("document.body.innerText")
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


def test_the_form_writes_the_prompt_and_a_strip_shows_one_feature_at_all_its_levels(page):
    page.choose("#p2d-dx", "vascular lesion")
    page.until(f"{PROMPT}.includes('vascular lesion')")
    page.fill("#p2d-atypical_vascular_pattern input[type=number]", "0.9")
    page.until(f"{PROMPT}.includes('marked atypical vessels')")
    page.choose("#p2d-tone", "not named")
    page.until(f"!{PROMPT}.includes('skin')")
    assert page.run("document.querySelector('#p2d-tone input').value") == "not named"
    page.choose("#p2d-feature", "blue-whitish veil")
    page.click("#p2d-vary")
    page.until(f"{STRIP}.length == 3")
    captions = page.run(f"[...{STRIP}].map(f => f.querySelector('figcaption b').innerText)")
    assert captions == ["absent", "present", "marked"]


def test_the_same_settings_make_the_same_pixels_after_a_png_was_dropped_back(page):
    page.fill("#p2d-prompt textarea", "dermoscopic image of dermatofibroma, hair")
    page.fill("#p2d-seed input, #p2d-seed textarea", "9007199254740993")  # more digits than JavaScript's numbers keep
    page.unfold("Sampler", STEPS)
    page.fill(STEPS, "4")
    create(page)
    made = png_of(page, "#p2d-results")
    page.choose("#p2d-dx", "melanoma")
    page.fill(STEPS, "2")
    page.until(f"{PROMPT}.includes('melanoma')")
    page.run(DROP % base64.b64encode(made).decode())
    page.until(f"{PROMPT} == 'dermoscopic image of dermatofibroma, hair'")
    assert page.run("document.querySelector('#p2d-seed input, #p2d-seed textarea').value") == "9007199254740993"
    page.until("document.querySelector('#p2d-notice').innerText.includes('restored')")
    steps = json.loads(Image.open(io.BytesIO(made)).text["settings"])["num_inference_steps"]
    page.until(f"document.querySelector({STEPS!r}).value == '{steps}'")
    create(page)
    assert png_of(page, "#p2d-results") == made


def test_stop_ends_within_a_step_and_a_tab_that_is_left_loses_no_work(page, address):
    page.until(GALLERY)
    before = page.run(COUNT)
    page.unfold("Sampler", STEPS)
    page.fill(STEPS, "100")
    page.fill("#p2d-count input[type=number]", "8")
    page.click("#p2d-create")
    page.until("document.querySelector('.p2d-preview')")
    page.click("#p2d-stop")
    page.until(f"({STATUS}).startsWith('Stopped')")
    stopped = page.run(COUNT)
    assert stopped < before + 8
    page.fill(STEPS, "30")
    page.fill("#p2d-count input[type=number]", "2")
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
    assert "28 images" in page.run(shown) and "14 images" in page.run(shown)
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
    page.show(address, width, colours)
    create(page)
    for tab in ("Create", "Review", "Read", "Browse"):
        page.tab(tab)
        page.until("document.querySelectorAll('#p2d-browse-images img').length > 6" if tab == "Browse" else GALLERY)
        assert page.run(accessible.UNLABELLED) == [], tab
        assert page.run(accessible.FAINT) == [], tab
        assert page.run(accessible.CUT) == [] and page.run("document.documentElement.scrollWidth") <= width, tab
