"""What parameters of several notebooks make impossible together, said before anything runs."""

from collections.abc import Callable, Iterator

from p2d_lib.generators import BASELINES
from p2d_lib.parameters.classify import PHANTOM, PROMPT_DESCRIBERS, arm_parts
from p2d_lib.words.render import CLIP_TOKENS

MOST_TOKENS = {"tiny": 62, "random": 62}  # of a prompt, by base; all others are Stable Diffusion's, with CLIP_TOKENS
Problem = tuple[tuple[str, str], str]  # the notebook and the parameter that a sentence begins with, and the sentence
Values = dict[str, dict]  # {notebook: {parameter: value}}, of those notebooks whose own parameters are all right


def problems(values: Values, given: Callable[[str, str], str]) -> list[str]:
    """A sentence for each. given(notebook, parameter): its place, name and value, as messages begin."""
    rules = {
        ("04_sample", "07_readers"): _too_few_images,
        ("02_describe", "03_finetune"): _too_long_prompts,
        ("01_prep", "02_describe"): _no_truth,
        ("01_prep", "02_describe", "03_finetune", "06_classify"): _no_such_images,
    }
    names = {notebook: parameters["run"] for notebook, parameters in values.items()}
    run = next(iter(names.values()), "")
    return [
        f"{given(notebook, 'run')}: all notebooks of a run have its name; give it with --run"
        for notebook, name in names.items()
        if name != run
    ] + [
        f"{given(*where)}: {problem}"
        for notebooks, rule in rules.items()
        if values.keys() >= {*notebooks}
        for where, problem in rule(*(values[notebook] for notebook in notebooks))
    ]


def _too_few_images(sample: dict, readers: dict) -> Iterator[Problem]:
    shown = readers["n_images"] // 14
    if sample["plan_mode"] == "balanced" and sample["per_class"] <= shown:
        problem = (
            f"07_readers.n_images shows {shown} images of a class, and some must be left for the network that learns "
            "to tell real from synthetic"
        )
        yield ("04_sample", "per_class"), problem


def _too_long_prompts(describe: dict, finetune: dict) -> Iterator[Problem]:
    base = finetune["base"]
    most = MOST_TOKENS.get(base, CLIP_TOKENS)
    if describe["max_tokens"] > most:
        yield ("02_describe", "max_tokens"), f"the text encoder of base {base!r} reads {most} at most"


def _no_truth(prep: dict, describe: dict) -> Iterator[Problem]:
    if "template" in describe["describers"] and describe["template_source"] == "truth" and prep["source"] != PHANTOM:
        yield ("02_describe", "template_source"), "only phantoms know their truth; write measured"


def _no_such_images(prep: dict, describe: dict, finetune: dict, classify: dict) -> Iterator[Problem]:
    """Arms of baselines that 03 does not fit, and of describers that 02 does not ask."""
    describers = {describe["template_source"] if name == "template" else name for name in describe["describers"]}
    describers |= {"truth"} if prep["source"] == PHANTOM else set()
    for arm in classify["arms"]:
        selection, problem = arm_parts(arm)[1], ""
        if selection in BASELINES and selection not in finetune["baselines"]:
            problem = f"{arm}: add {selection} to 03_finetune.baselines, or take this arm out"
        elif selection in PROMPT_DESCRIBERS and selection not in describers:
            problem = (
                f"{arm}: {selection} describes nothing in this run ({', '.join(sorted(describers))} do); change "
                "02_describe.describers or template_source, or take this arm out"
            )
        if problem:
            yield ("06_classify", "arms"), problem
