"""The independent network that reads images of several sources of prompts, with the readout of 04 on its features."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from p2d_lib.classify import prompt_costs
from p2d_lib.classify.prompt_plan import Cases
from p2d_lib.instruments import distances, obedience, readout
from p2d_lib.models.extractors import Extractor
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX, FEATURES
from p2d_lib.words.choose import chosen

REFERENCE = 20  # at most so many real val images of each class, one of a lesion, are what distances are measured to


class PromptReadout:
    """Extractor and readout as 04 has set them (of_04: its parameters), fitted on real train images, one of a lesion.

    attributes: the features that the readout can read on real images of lesions that it has not seen: the interval of
    their concordance lies above chance. floor: the KID of real train images to the val images.
    """

    def __init__(self, run: Run, cases: pd.DataFrame, descriptions: pd.DataFrame, of_04: Mapping, device: torch.device):
        folder = run.path("scout") if of_04["sweep_extractor"] == "scout" else None
        self.run, self.extractor = run, Extractor(of_04["sweep_extractor"], device, run.folder / "features", folder)
        described = cases.merge(chosen(descriptions)[["image_id", *FEATURES]], on="image_id")
        train, val = (described[described["split"] == split] for split in ("train", "val"))
        taught, scores = readout.of_lesions(
            train, readout.known_scores(train), of_04["readout_per_class"], of_04["seed"]
        )
        features, labels = self.features(taught), (taught["dx"].to_numpy(), scores.to_numpy())
        self.readout = readout.fit(features, *labels)
        read = readout.held_out(features, *labels, taught["lesion_id"])[:, len(DX) :]
        names = [name for name in prompt_costs.COUNTED if scores[name].notna().any()]
        real = obedience.response(
            taught["dx"], scores, read, groups=taught["lesion_id"], attributes=names, n_permutations=0, seed=0
        )
        self.attributes = real.loc[real["low"] > 0.5, "attribute"].tolist()
        reference = val.drop_duplicates("lesion_id").groupby("dx").head(REFERENCE)
        self.reference = self.features(reference), reference["dx"].to_numpy()
        self.floor = distances.kid_interval(self.reference[0], features, (self.reference[1], labels[0]))

    def features(self, rows: pd.DataFrame) -> np.ndarray:
        """Features (n, d) of the images of some rows."""
        return self.run.in_parts(rows, self.extractor)

    def costs(
        self, plan: pd.DataFrame, cases: Cases, accuracy: Mapping[str, np.ndarray], max_features: int, seed: int
    ) -> dict[str, prompt_costs.Costs]:
        """`prompt_costs.measure` of sampled images. plan: of `prompt_plan.plan`, with path."""
        features = self.features(plan)
        read = self.readout.predict(features)
        return prompt_costs.measure(
            plan, cases, features, read, self.reference, accuracy, self.attributes, max_features, seed
        )
