"""The form is filled in a real browser and reads back; it holds nothing of the key and needs no network."""

import re
import time

import numpy as np
import pandas as pd
import pytest
from browser import Browser
from studies import pictures, pools

from p2d_lib.readers import answers, form, roster, sheet, study
from p2d_lib.readers.roster import Design

N_READERS = 3


@pytest.fixture(scope="module")
def key():
    return study.choose(*pools(), n_images=28, seed=3, design=Design(repeated=4))[0]


@pytest.fixture(scope="module")
def folder(key, tmp_path_factory):
    folder = tmp_path_factory.mktemp("form") / "study"
    study.build(folder, key, pictures(len(key)), n_readers=N_READERS)
    return folder


@pytest.fixture
def browser(tmp_path):
    browsers = []

    def open_form(folder, width=1000):
        browsers.append(Browser(tmp_path / "profile", width))
        browsers[-1].open((folder / "form.html").as_uri())
        return browsers[-1]

    yield open_form
    for one in browsers:
        if one.process.poll() is None:
            one.close()


def _begin(page, name="Ada", reader=2):
    page.run(f"document.getElementById('name').value = '{name}'; document.getElementById('reader').value = '{reader}'")
    page.run("document.getElementById('begin').click()")


def _saved(page, folder):
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    page.run("document.getElementById('save').click()")
    for _ in range(100):
        if done := list(folder.glob("answers_*.csv")):
            return done[0]
        time.sleep(0.1)
    raise AssertionError("no file was saved")


def test_a_reader_fills_it_by_keys_stops_continues_and_the_saved_file_reads_back(folder, key, browser, tmp_path):
    page, begun = browser(folder), time.monotonic()
    _begin(page)
    seen = roster.seen_by(key, 2)
    numbers = seen["number"].tolist()
    for place in range(len(numbers)):
        for key_pressed in (str(1 + place % 2), str(1 + place % 7), str(1 + place % 5)):
            page.press(key_pressed)
        if place == 9:
            page.close()
            page = browser(folder)
            assert page.run("document.getElementById('reading').hidden")
            _begin(page)
            assert page.run("document.getElementById('place').textContent") == "Image 10 of 32, 10 answered"
        time.sleep(0.2 * (place == 20))
        page.press("ArrowRight")
    took = time.monotonic() - begun
    assert "32 answered" in page.run("document.getElementById('place').textContent")
    filled = answers.read(_saved(page, tmp_path), key)
    assert filled.reader == "Ada" and not filled.missing
    assert len(filled.readings) == 28 and len(filled.repeats) == 4
    by_image = filled.readings.set_index("image_id")
    for place, row in enumerate(seen.itertuples()):
        if row.showing == 1:
            read = by_image.loc[row.image_id]
            confidence = (1 + place % 5) / 10
            assert read["is_synthetic_read"] == pytest.approx(0.5 + (confidence if place % 2 else -confidence))
            assert read["dx_read"] == answers.DX[place % 7]
    both = pd.concat([filled.readings, filled.repeats]).set_index("image_id")["seconds"]
    assert both[seen["image_id"].iloc[20]].max() >= 0.2 and 0.2 <= both.sum() <= took


def test_one_picture_after_another_is_the_one_of_the_readers_order(folder, key, browser):
    page = browser(folder)
    _begin(page, reader=3)
    shown = [page.run("document.getElementById('picture').src")]
    page.press("ArrowRight")
    shown.append(page.run("document.getElementById('picture').src"))
    order = roster.seen_by(key, 3)["number"].tolist()
    assert shown == [page.run(f"study.images[{number}]") for number in order[:2]]
    width = "document.getElementById('picture').decode().then(() => document.getElementById('picture').naturalWidth)"
    assert page.run(width) == 16


def test_on_a_narrow_screen_nothing_is_cut_off_and_nothing_is_loaded(folder, browser):
    page = browser(folder)
    page.call("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=True)
    _begin(page)
    assert page.run("document.documentElement.scrollWidth") <= 400
    assert page.run("performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length") == 0
    refused = """new Promise((done) => {
        document.addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective));
        fetch('https://example.org').catch(() => setTimeout(() => done('allowed'), 500));
    })"""
    assert page.run(refused) == "connect-src"


def test_an_open_question_is_found_and_a_form_without_a_name_does_not_begin(folder, browser):
    page = browser(folder)
    assert sheet.ABOUT in page.run("document.getElementById('start').textContent")
    page.run("document.getElementById('begin').click()")
    assert page.run("document.getElementById('reading').hidden")
    _begin(page)
    page.press("ArrowRight")
    page.run("document.getElementById('open').click()")
    assert page.run("document.getElementById('place').textContent").startswith("Image 1 of 32")


def test_it_holds_nothing_of_the_key_and_names_no_address(folder, key):
    text = (folder / "form.html").read_text(encoding="utf-8")
    without_images = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", text)
    for secret in {*key["image_id"], *key["path"], "adapter"}:
        assert secret not in without_images
    assert not re.search(r"https?://", without_images)
    assert "not for clinical use" in without_images
    questions = re.search(r'<script type="application/json" id="study">(.*?)</script>', without_images, re.S)[1]
    assert set(re.findall(r'"(\w+)": ', questions)) & {"source", "dx", "truth", "block", "showing"} == set()


def test_a_text_cannot_end_the_script_it_stands_in(tmp_path):
    form.write(tmp_path / "form.html", "</script><b>", {1: [1]}, {1: pictures(1)[0]})
    assert "</script><b>" not in (tmp_path / "form.html").read_text(encoding="utf-8")


def _contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (#rgb or #rrggbb), as WCAG 2.1 defines it: 1 to 21."""

    def luminance(colour):
        digits = colour.lstrip("#")
        digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
        parts = np.array([int(digits[k : k + 2], 16) for k in (0, 2, 4)]) / 255
        linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(
    ("selector", "background"),
    [("body", None), ("button", None), ("button.main", None), (".note", "body"), ("fieldset.current", "body")],
)
def test_text_and_controls_have_enough_contrast(selector, background):
    """WCAG 2.1 AA: 4.5 for text, 3 for the borders of controls."""
    css = form.TEMPLATE.read_text(encoding="utf-8")

    def style(name, word):
        rule = re.search(rf"^{re.escape(name)} \{{(.*?)\}}", css, re.M)[1]
        found = re.search(rf"(?:^|[ ;]){word}: [^;]*?(#[0-9a-f]{{3,6}})", rule)
        return found and found[1]

    behind = style(selector, "background") or style("body", "background")
    text = style(selector, "color") or style("body", "color")
    assert _contrast(text, behind) >= 4.5
    if border := style(selector, "border") or style(selector, "border-color"):
        assert _contrast(border, style(background or "body", "background")) >= 3
