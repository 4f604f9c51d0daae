"""The components of the Create tab and where they stand."""

from typing import NamedTuple, get_args

import gradio as gr

from p2d_lib.app.create_form import Form
from p2d_lib.app.create_request import Solver
from p2d_lib.app.safety import LARGEST_UPLOAD, LONGEST_PROMPT, MOST_IMAGES, MOST_STEPS
from p2d_lib.vocabulary import DX_NAMES, FEATURE_GROUPS, FEATURES, SITES
from p2d_lib.words.at_random import TONE
from p2d_lib.words.render import SKIN_WORDS

NOT_NAMED = ""  # the skin tone that a form starts with: a dropdown shows no entry whose value is None
FITZPATRICK = ("I", "II", "III", "IV", "V", "VI")
DROP = """
<label class="p2d-drop" id="p2d-drop">To restore the settings of a PNG
that was made here, drop it on the page or choose it:
<input type="file" accept="image/png" aria-label="Choose a PNG that was made here"></label>
"""
# Sends a dropped or chosen file as text, so that nothing is uploaded to a folder; one that is too large is not read.
READ_FILE = f"""
const send = file => {{
  if (!file) return;
  window.p2dTyped = true;
  if (file.size > {LARGEST_UPLOAD}) {{ trigger('upload', {{png: null}}); return; }}
  const reader = new FileReader();
  reader.onload = () => trigger('upload', {{png: reader.result.split(',')[1] || ''}});
  reader.readAsDataURL(file);
}};
element.addEventListener('change', event => {{ send(event.target.files[0]); event.target.value = ''; }});
document.addEventListener('dragover', event => event.preventDefault());
document.addEventListener('drop', event => {{
  if (!event.dataTransfer || !event.dataTransfer.files.length) return;
  event.preventDefault();
  if (element.offsetParent !== null) send(event.dataTransfer.files[0]);
}});
"""
CHOOSE = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-image]');
  if (!button) return;
  window.p2dTyped = true;
  trigger('click', {image: button.dataset.image});
});
"""
# What a person changed last decides the prompt, the form or the text: words of the form that arrive late must not
# replace a text that was typed meanwhile. The page listens itself, since gradio reports a change with a delay.
TYPED = """
const note = event => {
  if (event.type === 'input' && event.target.closest('#p2d-prompt')) window.p2dTyped = true;
  else if (event.target.closest('.p2d-form')) window.p2dTyped = false;
};
['input', 'keydown', 'mousedown'].forEach(type => document.addEventListener(type, note, true));
"""
UNLESS_TYPED = "(worded, prompt) => window.p2dTyped ? prompt : worded"
ANOTHER_SEED = "() => String(crypto.getRandomValues(new Uint32Array(1))[0])"


class Layout(NamedTuple):
    """The components that events read or write."""

    dx: gr.Dropdown
    site: gr.Dropdown
    tone: gr.Dropdown
    sliders: dict[str, gr.Slider]
    prompt: gr.Textbox
    worded: gr.Textbox  # hidden: the prompt that the form makes
    seed: gr.Textbox
    count: gr.Slider
    generator: gr.Radio
    guidance: gr.Slider
    low: gr.Number
    high: gr.Number
    steps: gr.Slider
    solver: gr.Dropdown
    create: gr.Button
    stop: gr.Button
    feature: gr.Dropdown
    vary: gr.Button
    drop: gr.HTML
    notice: gr.Markdown
    progress: gr.HTML
    results: gr.HTML
    gallery: gr.HTML
    older: gr.Button
    newer: gr.Button
    page: gr.State
    zip: gr.Button
    saved: gr.HTML
    job: gr.State
    load: object  # the page's event of being opened


def layout(form: Form, defaults: dict, typical: tuple) -> Layout:
    """Builds the tab: the form on the left, prompt and images on the right, the gallery below.

    typical: a lesion to begin with: site, tone, the sliders' scores, prompt.
    """
    site, tone, *scores, prompt = typical
    parts = {"job": gr.State(""), "page": gr.State(0), "load": gr.context.Context.root_block.load}
    with gr.Row(elem_classes="p2d-create"):
        with gr.Column(scale=2, min_width=320, elem_classes="p2d-form"):
            parts |= _words(form, site, tone, dict(zip(form.sliders, scores, strict=True))) | _sampler(defaults)
            parts["drop"] = gr.HTML(DROP, js_on_load=READ_FILE + TYPED, elem_id="p2d-dropped")
            parts["notice"] = gr.Markdown(elem_id="p2d-notice")
        with gr.Column(scale=3, min_width=320):
            parts |= _prompt(prompt) | _strip(form)
            parts["progress"] = gr.HTML(elem_id="p2d-progress")
            parts["results"] = gr.HTML(elem_id="p2d-results", js_on_load=CHOOSE)
    gr.HTML("<h2>Gallery of this run</h2>")
    parts["gallery"] = gr.HTML(elem_id="p2d-gallery", js_on_load=CHOOSE)
    with gr.Row():
        parts["newer"] = gr.Button("Newer", size="sm", elem_id="p2d-newer")
        parts["older"] = gr.Button("Older", size="sm", elem_id="p2d-older")
        parts["zip"] = gr.Button("Zip with manifest", size="sm", elem_id="p2d-zip")
    parts["saved"] = gr.HTML(elem_id="p2d-saved")
    return Layout(**parts)


def _words(form: Form, site: str, tone: str, scores: dict[str, float]) -> dict:
    """What the image shall show: class, site, tone, features."""
    classes = [(name, dx) for dx, name in DX_NAMES.items()]
    tones = [
        ("not named", NOT_NAMED),
        *((f"Fitzpatrick {k}: {w}", w) for k, w in zip(FITZPATRICK, SKIN_WORDS, strict=True)),
    ]
    dx = gr.Dropdown(
        classes, value="mel", label="Class", info="Sets all below to a typical train case", elem_id="p2d-dx"
    )
    with gr.Row():
        site_part = gr.Dropdown(list(SITES), value=site, label="Site", min_width=180, elem_id="p2d-site")
        tone_part = gr.Dropdown(tones, value=tone, label="Skin tone", min_width=180, elem_id="p2d-tone")
    sliders = {}
    for title, kinds in FEATURE_GROUPS.items():
        names = [name for name in form.sliders if FEATURES[name].kind in kinds]
        if not names:
            continue
        with gr.Accordion(title, open=title == "Structures"), gr.Row():
            for name in names:
                label = FEATURES[name].title.capitalize()
                sliders[name] = gr.Slider(
                    0, 1, scores[name], step=0.05, label=label, min_width=180, elem_id=f"p2d-{name}"
                )
    return {"dx": dx, "site": site_part, "tone": tone_part, "sliders": {name: sliders[name] for name in form.sliders}}


def _sampler(defaults: dict) -> dict:
    """The sampler's settings, those of 04 at first."""
    parts = {}
    with gr.Accordion("Sampler", open=False):
        with gr.Row():
            guidance, steps = defaults["guidance_scale"], defaults["num_inference_steps"]
            parts["guidance"] = gr.Slider(
                0, 30, guidance, step=0.1, label="Guidance", min_width=140, elem_id="p2d-guidance"
            )
            parts["steps"] = gr.Slider(1, MOST_STEPS, steps, step=1, label="Steps", min_width=140, elem_id="p2d-steps")
        with gr.Row():
            low, high = defaults["guidance_interval"]
            label = "Guidance from noise level"
            parts["low"] = gr.Number(low, label=label, minimum=0, min_width=120, elem_id="p2d-low")
            parts["high"] = gr.Number(high, label="to noise level", minimum=0, min_width=120, elem_id="p2d-high")
        parts["solver"] = gr.Dropdown(list(get_args(Solver)), value=defaults["solver"], label="Solver")
        sources = [("adapter (this run)", "adapter"), ("base, without the adapter", "base")]
        parts["generator"] = gr.Radio(sources, value="adapter", label="Generator", elem_id="p2d-generator")
    return parts


def _prompt(prompt: str) -> dict:
    """The prompt, the seed, how many, and the two buttons."""
    parts = {"worded": gr.Textbox(visible=False)}
    parts["prompt"] = gr.Textbox(
        prompt, label="Prompt", info="Written from the form; edit it freely. A change in the form writes it anew.",
        lines=3, max_length=LONGEST_PROMPT, elem_id="p2d-prompt",
    )  # fmt: skip
    with gr.Row(elem_classes="p2d-seed"):
        parts["seed"] = gr.Textbox("0", label="Seed", min_width=120, elem_id="p2d-seed")
        another = gr.Button("Another seed", size="sm", min_width=110, scale=0, elem_id="p2d-another")
        parts["count"] = gr.Slider(1, MOST_IMAGES, 1, step=1, label="How many", min_width=140, elem_id="p2d-count")
    another.click(None, None, parts["seed"], js=ANOTHER_SEED, api_visibility="private")
    with gr.Row():
        parts["create"] = gr.Button("Create", variant="primary", elem_id="p2d-create")
        parts["stop"] = gr.Button("Stop", variant="stop", elem_id="p2d-stop")
    return parts


def _strip(form: Form) -> dict:
    """Which feature a strip varies."""
    choices = [(FEATURES[name].title, name) for name in (TONE, *form.sliders) if name in form.wording.concepts]
    first = "asymmetry" if "asymmetry" in form.sliders else choices[0][1]
    info = "The form's lesion at one seed, one word changed"
    with gr.Row(elem_classes="p2d-vary"):
        feature = gr.Dropdown(choices, value=first, label="Vary one feature", info=info, elem_id="p2d-feature")
        vary = gr.Button("Make the strip", scale=0, min_width=170, elem_id="p2d-vary")
    return {"feature": feature, "vary": vary}
