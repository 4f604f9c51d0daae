"""What Create does without a page: words of the form, settings of PNGs, the queue, the gallery on disk."""

import hashlib
import io
import json
import shutil
import threading
import time
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from app_run import RUN, SAMPLING, SIDE
from PIL import Image

from p2d_lib import images
from p2d_lib.app import create_cards
from p2d_lib.app.create import Create
from p2d_lib.app.create_form import Form
from p2d_lib.app.create_gallery import Gallery
from p2d_lib.app.create_jobs import KEPT, Job, Queue
from p2d_lib.app.create_models import Models
from p2d_lib.app.create_request import checked, defaults, of_png
from p2d_lib.app.safety import MOST_WAITING, Refused
from p2d_lib.models import generate, sampling
from p2d_lib.run import Run
from p2d_lib.words.parse import parse

DEFAULTS = SAMPLING | {"size": SIDE}
MARKUP = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def run(app_home, tmp_path_factory):
    """A copy of the run, since a run is opened by one app at a time."""
    home = tmp_path_factory.mktemp("create") / "home"
    shutil.copytree(app_home, home)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("P2D_HOME", str(home))
        yield Run(RUN, "app")


@pytest.fixture(scope="module")
def models(run):
    return Models(run, Form(run))


@pytest.fixture
def gallery(run, tmp_path):
    gallery = Gallery(run)
    gallery.folder, gallery.log = tmp_path / "images", tmp_path / "created.jsonl"
    return gallery


def request(**changes):
    return checked({**DEFAULTS, "prompt": "dermoscopic image of melanoma, red color", "seed": 5} | changes)


def sampled(models, wanted) -> np.ndarray:
    return next(image for number, image in models.steps(wanted) if number == 0)


def test_the_settings_are_those_with_which_04_sampled(run):
    assert defaults(run) == DEFAULTS


def test_a_preset_is_a_train_case_of_its_class_and_its_prompt_states_it(run):
    form = Form(run)
    for dx, lesion in form.presets.items():
        told = parse(form.prompt(lesion))
        assert (told.dx, told.red > 0, told.localization) == (dx, True, "back")


def test_a_strip_changes_one_word_and_goes_through_all_its_levels(run):
    form = Form(run)
    strip = form.strip(form.presets["mel"], "background_skin_tone")
    assert [label for label, _ in strip][::5] == ["very fair skin", "very dark skin"] and len(strip) == 6
    assert len({prompt.replace(label, "") for label, prompt in strip}) == 1
    assert [label for label, _ in form.strip(form.presets["nv"], "blue_whitish_veil")] == [
        "absent",
        "present",
        "marked",
    ]


def test_an_image_from_the_page_is_the_one_that_04_would_sample_and_its_png_makes_it_again(models, gallery):
    wanted = request(guidance_scale=3.0, solver="euler", seed=2**62 + 1)
    record = gallery.add(sampled(models, wanted), wanted, models)
    again, adapter = of_png(gallery.png(record), DEFAULTS | {"solver": "ddim", "guidance_scale": 9.0})
    assert again == wanted and adapter == models.adapter
    pixels = np.asarray(Image.open(io.BytesIO(gallery.png(record))))
    assert np.array_equal(sampled(models, again), pixels)
    of_04 = next(sampling.samples(models.pipeline("adapter"), [(wanted.prompt, wanted.seed)], **wanted.settings))
    assert np.array_equal(of_04[0], pixels)


@pytest.mark.parametrize(
    "change", [{"seed": 6}, {"guidance_scale": 4.0}, {"num_inference_steps": 5}, {"solver": "ddim"}]
)
def test_every_setting_that_a_png_holds_matters(models, change):
    assert not np.array_equal(sampled(models, request()), sampled(models, request(**change)))


def _png(**changes) -> bytes:
    text = generate.description("melanoma", 5, "adapter", "0a1b", DEFAULTS) | changes
    return images.encode(np.zeros((SIDE, SIDE, 3), np.uint8), {name: value for name, value in text.items() if value})


@pytest.mark.parametrize(
    ("png", "reason"),
    [
        (b"", "no PNG"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 99, "no PNG"),
        (_png()[:40], "no PNG"),
        (_png(synthetic=""), "does not say"),
        (_png(seed="1e9"), "seed"),
        (_png(seed="9" * 19), "seed"),
        (_png(seed="-1"), "seed"),
        (_png(generator="cascade"), "cascade"),
        (_png(settings="[" * 1500), "settings"),
        (_png(settings=json.dumps({"size": 4096})), "4096 px"),
        (_png(settings=json.dumps({"num_inference_steps": 10**6})), "num inference steps"),
        (_png(settings=json.dumps({"guidance_scale": "NaN"})), "guidance scale"),
        (_png(settings=json.dumps({"guidance_interval": [3, 1]})), "guidance interval"),
        (_png(settings=json.dumps({"solver": MARKUP})), "solver"),
        (_png(settings=json.dumps({"__class__": 1})), "__class__"),
        (_png(prompt="x" * 5000), "5,000 characters"),
        (_png(prompt="a\u202eb"), r"U\+202E"),
        (b"\x89PNG" + b"\x00" * (9 * 2**20), "larger than"),
    ],
)
def test_a_forged_png_is_refused_in_one_sentence(png, reason):
    with pytest.raises(Refused, match=reason) as refusal:
        of_png(png, DEFAULTS)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 200


def test_a_png_from_before_files_held_settings_takes_those_of_the_run():
    assert of_png(_png(settings=""), DEFAULTS)[0] == request(prompt="melanoma")


def test_a_planted_copy_is_named_with_its_original_and_another_lesion_is_none(models, run):
    case = models.train.iloc[3]
    copy = run.images(models.train.iloc[[3]])[0]
    found = models.nearest(np.clip(copy.astype(int) + 6, 0, 255).astype(np.uint8)[:, ::-1])
    assert (found.copy, found.image_id) == (True, case["image_id"])
    assert not models.nearest(sampled(models, request())).copy


def test_what_is_asked_for_stands_beside_what_is_read(models):
    rows = models.asked(
        np.zeros((SIDE, SIDE, 3), np.uint8), "dermoscopic image of melanoma, marked atypical vessels, fair skin"
    )
    assert [(row.what, row.asked) for row in rows] == [
        ("class", "melanoma"), ("atypical vessels", "marked"), ("skin tone", "fair skin"),
    ]  # fmt: skip
    assert models.asked(np.zeros((SIDE, SIDE, 3), np.uint8), "a cat on a mat") == []


def test_a_strip_s_feature_is_read_where_the_prompt_does_not_name_it(models):
    black, veil = np.zeros((SIDE, SIDE, 3), np.uint8), "blue-whitish veil"
    (unnamed,) = models.asked(black, "a cat on a mat", veil)
    (named,) = models.asked(black, f"a cat with {veil}", veil)
    assert (unnamed.what, unnamed.asked, named.asked) == (veil, "absent", "present")
    assert unnamed.score == named.score and unnamed.follows != named.follows


class Slow:
    """Models whose image takes a hundred steps, each a little while."""

    adapter, calibration = "", ""

    def __init__(self):
        self.steps_taken, self.closed, self.freed = 0, threading.Event(), 0

    def pipeline(self, generator):
        return None

    def free(self):
        self.freed += 1

    def steps(self, wanted):
        try:
            for number in range(1, 101):
                self.steps_taken = number
                yield number, np.zeros((8, 8, 3), np.uint8)
                time.sleep(0.02)
            yield 0, np.zeros((8, 8, 3), np.uint8)
        finally:
            self.closed.set()


def test_a_job_that_is_stopped_ends_within_a_step_closes_its_steps_and_frees_memory(gallery):
    slow = Slow()
    queue = Queue(lambda: slow, gallery)
    job = queue.submit(Job([request()]))
    states = job.states()
    while next(states).step < 3:
        pass
    taken = slow.steps_taken
    queue.stop(job)
    assert [state.phase for state in states][-1] == "stopped"
    assert slow.steps_taken <= taken + 2 and slow.closed.is_set()
    assert queue.running() is None and gallery.records() == []
    time.sleep(0.05)
    assert slow.freed == 1


def test_a_job_that_waits_is_stopped_at_once_and_the_others_go_on(gallery):
    slow = Slow()
    queue = Queue(lambda: slow, gallery)
    first, second, third = (queue.submit(Job([request()])) for _ in range(3))
    assert [queue.ahead(job) for job in (first, second, third)] == [0, 1, 2]
    queue.stop(second)
    assert second.state.phase == "stopped" and queue.ahead(third) == 1
    queue.stop(first)
    states = third.states()
    while next(states).step < 1:
        pass
    queue.stop(third)


def test_a_page_calls_a_job_earlier_unless_it_asked_for_it_itself(run, gallery):
    create, (own, other) = Create(run), (SimpleNamespace(session_hash=page) for page in ("own", "other"))
    create.queue = Queue(Slow, gallery)
    job = create.queue.submit(Job([request()]))
    watching = create.watch(job.id, own)
    next(watching)
    earlier = [create_cards.EARLIER in next(create.watch_earlier(job.id, page))[0] for page in (own, other)]
    create.queue.stop(job)
    assert earlier == [False, True]


def test_a_full_queue_refuses(gallery):
    queue = Queue(lambda: Slow(), gallery)
    jobs = [queue.submit(Job([request()])) for _ in range(MOST_WAITING)]
    with pytest.raises(Refused, match=f"{MOST_WAITING} requests wait"):
        queue.submit(Job([request()]))
    queue.stop(jobs.pop())
    jobs.append(queue.submit(Job([request()])))
    for job in jobs:
        queue.stop(job)


def test_a_job_that_has_ended_can_still_be_asked_for_but_not_for_ever(gallery):
    queue = Queue(lambda: Slow(), gallery)
    jobs = []
    for _ in range(KEPT + 5):
        jobs.append(queue.submit(Job([request()])))
        queue.stop(jobs[-1])
        list(jobs[-1].states())
    assert queue.find(jobs[-1].id) is jobs[-1] and queue.find(jobs[0].id) is None


def test_an_image_that_cannot_be_made_fails_alone_and_says_nothing_of_the_machine(gallery):
    class Broken(Slow):
        def steps(self, wanted):
            raise RuntimeError("/secret/place: out of memory")

    queue = Queue(Broken, gallery)
    for _ in range(2):
        *_, last = queue.submit(Job([request()])).states()
        assert last.phase == "failed" and "secret" not in last.problem


def test_a_prompt_that_is_too_long_for_the_text_encoder_fails_with_a_sentence(models, gallery):
    queue = Queue(lambda: models, gallery)
    *_, last = queue.submit(Job([request(prompt="melanoma " * 64)])).states()
    assert last.phase == "failed" and "tokens" in last.problem


def test_the_gallery_lies_on_the_disk_and_its_zip_names_every_image(models, gallery, run):
    for seed in (1, 2):
        gallery.add(sampled(models, request(seed=seed)), request(seed=seed), models)
    other = Gallery(run)
    other.folder, other.log = gallery.folder, gallery.log
    assert [record["request"]["seed"] for record in other.records()] in ([1, 2], [2, 1])
    content, n = other.archive()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        for record in manifest["images"]:
            png = archive.read(f"images/{record['name']}")
            assert hashlib.sha256(png).hexdigest() == record["sha256"]
            assert Image.open(io.BytesIO(png)).text["notice"] == "Synthetic image, not for clinical use"
    assert n == 2 and "not for clinical use" in manifest["notice"]


@pytest.mark.parametrize("name", ["../../cases.parquet", "/etc/passwd", "", "x.png", "..%2f..%2fcases.parquet"])
def test_the_gallery_gives_only_what_its_log_names(gallery, name):
    with pytest.raises(Refused, match="no such image"):
        gallery.record(name)


def test_markup_in_a_prompt_is_text_on_every_card(models, gallery, run):
    wanted = request(prompt=f"melanoma {MARKUP}")
    image = sampled(models, wanted)
    records = [gallery.add(image, wanted, models), gallery.add(image, wanted, models, strip=MARKUP, label=MARKUP)]
    shown = [create_cards.results(records[k:][:1], gallery, run.folder, MARKUP) for k in (0, 1)]
    shown.append(create_cards.gallery_page(gallery, 0))
    assert all("<script" not in html and "&lt;script&gt;" in html for html in shown)
    assert all(str(run.folder) not in html for html in shown)
