"""Guidance that would do nothing, noticed before a run: no denoising step has a noise level at which it acts."""

import json
import math
from pathlib import Path

from places import REPOSITORY

TINY = REPOSITORY / "p2d_lib" / "models" / "tiny"


def problems(values: dict[str, dict]) -> list[str]:
    """Which numbers of steps leave guidance without effect. Of a base on the hub nothing is known here.

    values: {notebook: parameters}; of the notebooks whose own are all right.
    """
    if not values.keys() >= {"03_finetune", "04_sample"}:
        return []
    base = values["03_finetune"]["base"]
    folder = TINY if base in ("tiny", "random") else Path(base)
    try:
        schedule = json.loads((folder / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
        noise_levels(schedule, 1)
    except (OSError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError, LookupError):
        return []  # weights_check.py says what is wrong with such a base
    sentences = []
    for notebook, scales, steps in (("03_finetune", "guidance_scale", "num_inference_steps"),
                                    ("04_sample", "guidance_scale", "num_inference_steps"),
                                    ("04_sample", "sweep_guidance", "sweep_steps")):  # fmt: skip
        p = values[notebook]
        strongest = max(p[scales]) if isinstance(p[scales], list) else p[scales]
        low, high = p["guidance_interval"]
        for n in p[steps] if isinstance(p[steps], list) else [p[steps]]:
            if strongest > 1 and not any(low < sigma <= high for sigma in noise_levels(schedule, n)):
                sentences.append(
                    f"{notebook}.{steps}: {n}: no step has a noise level in guidance_interval [{low}, {high}], so that "
                    f"{scales} would do nothing; take more steps, or a wider interval"
                )
    return sentences


def noise_levels(schedule: dict, n: int) -> list[float]:
    """The standard deviation of the noise over that of the signal at each of n denoising steps.

    schedule: scheduler_config.json of diffusers, with linear or scaled linear betas.
    """
    total = schedule.get("num_train_timesteps", 1000)
    first, last = schedule.get("beta_start", 0.0001), schedule.get("beta_end", 0.02)
    power = 2 if schedule.get("beta_schedule") == "scaled_linear" else 1
    low, high = first ** (1 / power), last ** (1 / power)
    signals, product = [], 1.0
    for k in range(total):
        product *= 1 - (low + (high - low) * k / (total - 1)) ** power
        signals.append(math.sqrt(product))
    if schedule.get("rescale_betas_zero_snr"):  # Lin et al., arXiv:2305.08891, algorithm 1
        signals = [(signal - signals[-1]) * signals[0] / (signals[0] - signals[-1]) for signal in signals]
    if schedule.get("timestep_spacing", "linspace") == "trailing":
        steps = [round(total - k * total / n) - 1 for k in range(n)]
    else:
        steps = [round((total - 1) * (1 - k / max(n, 2))) for k in range(n)]
    return [math.sqrt(1 - signals[t] ** 2) / max(signals[t], 1e-9) for t in steps]
