"""Dark-skin melanomas ten times under-represented: does 08 see the gap, and do words close it better than replay?

    python benchmarks/under_representation.py [--per-class 60] [--test 80] [--seeds 5] [--steps 300]

Phantom lesions, half on fair skin (Fitzpatrick II) and half on dark skin (V and VI) in each class, but for melanoma,
which has a tenth as many on dark skin. All arms take the same steps from the same weights. They differ in how the
missing dark-skin melanomas are made up for: not at all (`real`); by the few that there are, shown again
(`real+replay:skin-tones`); by images that the shipped base samples from prompts of the fair-skin melanomas with the
skin tone changed (`words`); by other dark-skin melanomas of the phantom, as if its images were perfect (`perfect`).
Printed are the recall of melanoma in both groups and the gap, as 08 computes them, on test lesions of which half are on
dark skin, and how much wider each arm's gap is than that of `real`, and that of `words` than that of replay.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from p2d_lib.fairness import gaps
from p2d_lib.images import square
from p2d_lib.models import classifiers, pipelines, sampling
from p2d_lib.models.class_batches import epochs
from p2d_lib.prep import phantom
from p2d_lib.readings import readings
from p2d_lib.seeds import derive
from p2d_lib.vocabulary import DX, FEATURES, Lesion
from p2d_lib.words.render import render

FAIR, RATIO = 2, 10
REPLAY = "real+replay:skin-tones"
ARMS = ("real", REPLAY, "words", "perfect")


def render_set(name: str, n: int, n_dark_melanomas: int) -> tuple[pd.DataFrame, np.ndarray]:
    """n lesions of each class, half of them dark but for melanoma: their table, and images uint8 (m, 64, 64, 3)."""
    rows, pictures = [], []
    for dx in DX:
        n_dark = n_dark_melanomas if dx == "mel" else n // 2
        for k in range(n // 2 + n_dark):
            rng = np.random.default_rng(derive(8, name, dx, k))
            lesion = phantom.make_lesion(rng, dx, FAIR if k < n // 2 else phantom.DARK[k % 2])
            picture, _ = phantom.render(lesion, phantom.make_view(rng, "clinic"))
            pictures.append(np.asarray(square(Image.fromarray(picture), 64)))
            rows.append({"image_id": f"{name}_{dx}_{k}", "lesion_id": f"{name}_{dx}_{k}", "dx": dx, **lesion.truth})
    unknown = {"sex": "unknown", "age": np.nan, "localization": "unknown", "dataset": "phantom"}
    return pd.DataFrame(rows).assign(**unknown), np.stack(pictures)


def of_words(melanomas: pd.DataFrame, n: int) -> np.ndarray:
    """n images of the shipped base: prompts of fair-skin melanomas in which only the skin tone is changed."""
    prompts = []
    for k in range(n):
        truth = melanomas.iloc[k % len(melanomas)]
        scores = {name: float(truth[f"true_{name}"]) for name in FEATURES}
        scores["background_skin_tone"] = (phantom.DARK[k % 2] - 0.5) / 6
        prompts.append(render(Lesion(dx="mel", **scores), max_tokens=62))
    settings = {"guidance_scale": 5.0, "guidance_interval": (1.0, 3.0)}
    return sampling.sample(pipelines.load("tiny"), prompts, [derive(8, "words", k) for k in range(n)], **settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--per-class", type=int, default=60)
    parser.add_argument("--test", type=int, default=80)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    n_dark = max(1, options.per_class // 2 // RATIO)
    missing = options.per_class // 2 - n_dark
    train, images = render_set("train", options.per_class, n_dark)
    test, test_images = render_set("test", options.test, options.test // 2)
    is_dark = (train["dx"] == "mel") & train["true_fitzpatrick"].isin(phantom.DARK)
    more, more_images = render_set("more", 2 * missing, missing)
    dark_ones = ((more["dx"] == "mel") & more["true_fitzpatrick"].isin(phantom.DARK)).to_numpy()
    words = of_words(train[(train["dx"] == "mel") & ~is_dark], missing)
    added = {
        "real": images[:0],
        REPLAY: images[np.resize(np.flatnonzero(is_dark), missing)],
        "words": words,
        "perfect": more_images[dark_ones],
    }
    of_train, parts, cpu = train["dx"].map(DX.index).to_numpy(), [], torch.device("cpu")
    for seed in range(options.seeds):
        for arm in ARMS:
            shown = np.concatenate([images, added[arm]])
            labels = np.append(of_train, np.full(len(added[arm]), DX.index("mel")))
            model = classifiers.build("tiny_resnet", seed=seed)
            classifiers.fit(
                model, shown, labels, steps=options.steps, batch_size=32, learning_rate=2e-3, seed=seed, device=cpu,
                batches=epochs(len(shown), options.steps, 32, seed), progress=False,
            )  # fmt: skip
            p = classifiers.predict(model, test_images, cpu)["p"]
            parts.append(readings(test["image_id"], "tiny_resnet", "network", p=p, arm=arm, seed=seed))
        print(f"seed {seed} of {options.seeds} is trained", flush=True)
    read, melanomas = pd.concat(parts), test[test["dx"] == "mel"]
    print(f"{(~is_dark & (train['dx'] == 'mel')).sum()} fair-skin and {n_dark} dark-skin melanomas in train, "
          f"{missing} added; {len(melanomas)} melanomas in test")  # fmt: skip
    of_melanomas = read[read["image_id"].isin(melanomas["image_id"])]
    for pair in (*(("real", arm) for arm in ARMS[1:]), (REPLAY, "words")):
        table = gaps.gaps(of_melanomas, melanomas, 30, pair, ("accuracy",))
        for row in table[table["attribute"] == "skin type"].itertuples():
            name = f"{pair[1]} − {pair[0]}" if row.arm == gaps.CHANGE else row.arm
            print(f"{name:30} gap {row.gap:+.3f} [{row.low:+.3f}, {row.high:+.3f}] worst {row.worst} "
                  f"detectable {row.detectable:.3f} p {row.p:.4f}")  # fmt: skip
    dark = melanomas.set_index("image_id")["true_fitzpatrick"].isin(phantom.DARK)
    of_melanomas = of_melanomas.assign(dark=of_melanomas["image_id"].map(dark), right=of_melanomas["dx_read"] == "mel")
    print(of_melanomas.groupby(["arm", "dark"], sort=False)["right"].mean().unstack().round(3).to_string())


if __name__ == "__main__":
    main()
