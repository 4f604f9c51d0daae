"""The Review and Read tabs in a real browser: by keys, at two widths, for two people at once, over a reload."""

import json
import urllib.error
import urllib.request

import gradio as gr
import pytest
from review_run import count, make_run

from p2d_lib.app import read, review_desk, review_log, store
from p2d_lib.app.widget import widget
from p2d_lib.describe import edits
from p2d_lib.readers import answers
from p2d_lib.vocabulary import FEATURES


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(run, key, address) of a page with the two tabs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("P2D_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        run, key = make_run("browsed")
        with gr.Blocks() as page:
            with gr.Tab("Review"):
                widget("review", run.name, review_desk.Desk(run, count).actions)
            with gr.Tab("Read"):
                read.tab(run)
        _, address, _ = page.launch(prevent_thread_lock=True, quiet=True)
        yield run, key, address
        page.close()


class Person:
    """One person's browser, on one tab."""

    def __init__(self, page, address, tab):
        self.page, self.address, self.tab = page, address, tab
        self.reload()

    def reload(self):
        tabs = "[...document.querySelectorAll('button[role=tab]')]"
        click = f"{tabs}.find(one => one.textContent.trim() == '{self.tab}')?.click()"  # again, until gradio listens
        self.page.open(self.address)
        self.until(f"({click}, {self.part('begin')}?.offsetParent && !{self.part('begin')}.disabled)")

    def part(self, name):
        return f"document.querySelector('#p2d-{self.tab.lower()} [data-id={name}]')"

    def text(self, name):
        return self.page.run(f"{self.part(name)}.textContent")

    def until(self, script):
        return self.page.until(script, 60)

    def begin(self, name="", code=""):
        for part, value in (("name", name), ("code", code)):
            if value:
                self.page.run(f"{self.part(part)}.value = {json.dumps(value)}")
        self.page.run(f"{self.part('start')}.requestSubmit()")

    def begun(self, name="", code=""):
        self.begin(name, code)
        self.until(f"!{self.part('desk')}.hidden && {self.part('picture')}.naturalWidth == 16")

    def click(self, name):
        self.page.run(f"{self.part(name)}.click()")

    def press(self, *keys):
        for key in keys:
            self.page.press(key)

    def at(self, place):
        return f"{self.part('place')}.textContent.startsWith('Image {place} of')"

    def saved(self, place):
        """Waits until what was pressed is saved and image `place` is shown."""
        self.until(f"{self.part('status')}.textContent == 'Saved' && {self.at(place)}")


@pytest.fixture
def person(served, browsers):
    """Opens a tab in one of the two browsers, which have forgotten what earlier tests left in them."""
    for page in browsers:
        origin = served[2].rstrip("/")
        page.call("Storage.clearDataForOrigin", origin=origin, storageTypes="local_storage")
        page.call("Emulation.clearDeviceMetricsOverride")
    return lambda tab, browser=0: Person(browsers[browser], served[2], tab)


def _reviews(run):
    return review_log.replay(store.records(run.folder / "app" / review_log.LOG))


def test_a_prompt_is_edited_accepted_undone_and_rejected_by_keys_and_02_reads_it(served, person):
    run = served[0]
    ada = person("Review")
    ada.begin("<script>alert(1)</script>")
    ada.until(f"{ada.part('start-status')}.textContent.includes('is no name of a reader')")
    ada.begun("Ada")
    assert "<script>" in ada.page.run(f"{ada.part('text')}.value") and ada.page.run("document.title") != "hacked"
    first, prompt = ada.text("source").split(" · ")[0], ada.text("prompt")
    shown = ada.page.run("[...document.querySelectorAll('#p2d-review .feature .name')].map(one => one.textContent)")
    assert sorted(shown) == sorted(feature.title for feature in FEATURES.values()), "the names that Create shows"
    ada.press("5")
    ada.until(f"{ada.part('prompt')}.textContent.includes('atypical pigment network')")
    assert ada.text("accept-word") == "Save edit" and ada.text("prompt") != prompt
    ada.press("Enter")
    ada.saved(2)
    assert _reviews(run).standing["Ada"][first]["scores"]["atypical_pigment_network"] == 1.0
    ada.press("u")
    ada.until(f"{ada.at(1)} && {ada.part('accept-word')}.textContent == 'Save edit'")
    assert _reviews(run).standing["Ada"] == {}
    ada.press("Enter")
    ada.saved(2)
    ada.press("r", "2", "Enter")
    ada.saved(3)
    ada.press("Enter")
    ada.saved(4)
    standing = list(_reviews(run).standing["Ada"].values())
    assert [one["verdict"] for one in standing] == ["edit", "reject", "accept"]
    assert standing[1]["reason"] == "The description is wrong" and 0 < standing[2]["seconds"] < 20
    ada.reload()
    ada.begun()  # this browser knows name and code
    assert ada.text("place").startswith("Image 4 of 14")
    ada.click("export")
    ada.until(f"{ada.part('result')}.textContent.includes('02_describe.edits_file=data/runs/browsed/app/edits.csv')")
    read = edits.read_edits(run.folder / "app" / "edits.csv", run.read("descriptions"))
    assert read["reviewer"].tolist() == ["Ada"] * 3 and read["valid"].tolist() == [True, False, True]


def test_two_reviewers_at_once_are_blind_lose_nothing_and_then_compare(served, person):
    run = served[0]
    eve, bob = person("Review", 0), person("Review", 1)
    eve.begun("Eve")
    bob.begun("Bob")
    for place in range(1, 5):
        eve.press("5", "Enter")
        bob.press("1", "Enter")
        assert "Eve" not in bob.page.run("document.body.innerText")
        eve.saved(place + 1)
        bob.saved(place + 1)
    standing = _reviews(run).standing
    assert len(standing["Eve"]) == len(standing["Bob"]) == 4
    bob.click("compare")
    bob.until(f"{bob.part('result')}.textContent.includes('Where you differ')")
    shown = bob.text("result")
    assert "Eve" in shown and "atypical pigment network 1" in shown and "atypical pigment network 0" in shown


def test_a_study_is_read_by_keys_over_a_reload_and_in_another_browser_and_07_reads_it(served, person, tmp_path):
    run, key, _ = served
    ada = person("Read")
    assert "photographs of patients' skin, the others were made by a computer. Please" in ada.text("start")
    ada.begun("Ada R.")
    code = ada.text("code-shown")
    for place in range(1, 5):
        ada.press("12"[place % 2], "5", "4", "ArrowRight")
        ada.saved(place + 1)
    ada.reload()
    ada.begun()
    assert ada.text("place") == "Image 5 of 14, 4 answered"
    elsewhere = person("Read", 1)
    elsewhere.begin("Ada R.")
    elsewhere.until(f"{elsewhere.part('start-status')}.textContent.includes('has begun here before')")
    elsewhere.begun("Ada R.", code)
    for place in range(5, 15):
        elsewhere.press("12"[place % 2], "5", "4", "ArrowRight")
        elsewhere.saved(min(place + 1, 14))
    elsewhere.click("finish")
    elsewhere.until(f"{elsewhere.part('status')}.textContent.includes('14 of 14 images are handed in')")
    (filled,), _ = answers.read_all(run.folder / "study_filled", key)
    assert filled.reader == "Ada R." and not filled.missing and (filled.readings["dx_read"] == "mel").all()
    assert filled.readings["is_synthetic_read"].round(1).value_counts().to_dict() == {0.1: 7, 0.9: 7}
    assert filled.readings["seconds"].between(0, 20, inclusive="neither").all()


def test_a_narrow_screen_cuts_nothing_off_and_every_control_has_a_name(served, person):
    for tab in ("Review", "Read"):
        one = person(tab)
        one.page.call("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=True)
        one.begun(f"Zoe {tab}")
        one.until("document.documentElement.scrollWidth <= 400")
        controls = f"document.querySelectorAll('#p2d-{tab.lower()} :is(button, input, textarea, img, progress)')"
        named = "one.textContent.trim() || one.ariaLabel || one.alt || one.closest('label')?.textContent.trim()"
        nameless = f"[...{controls}].filter(one => !({named})).map(one => one.outerHTML)"
        one.until(f"({nameless}).length == 0")


def test_no_address_serves_the_key_the_logs_or_the_study(served):
    run, key, address = served
    config = urllib.request.urlopen(f"{address}config").read().decode()
    for secret in {*key["image_id"], str(run.folder)}:
        assert secret not in config
    run.folder.joinpath("app", "people.jsonl").touch()
    for name in ("study/key/key.csv", "study/form.html", "app/people.jsonl", "study/images/001.png"):
        for path in (run.folder / name, f"{run.folder}/app/../{name}"):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"{address}gradio_api/file={path}")
            assert refused.value.code in (403, 404)
