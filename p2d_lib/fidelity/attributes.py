"""Whether images show the attributes that their prompts ask for, as a linear readout of an independent extractor says.

04 asks the scout, which was fitted on the same train images as the generator. Here a ridge regression (a linear probe)
predicts class and scores from the features of an extractor that has never seen an image of this project. It is fitted
on real train images and their descriptions. Its agreement on real test images with their own descriptions is the most
that synthetic images can reach.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from p2d_lib.fidelity.sets import REFERENCE, Sets
from p2d_lib.instruments import obedience, readout
from p2d_lib.run import Run
from p2d_lib.vocabulary import DX, FEATURES


def of_sets(
    run: Run,
    chosen: Sets,
    described: pd.DataFrame,
    features: Mapping[str, np.ndarray],
    extractor: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> dict[str, pd.DataFrame]:
    """`obedience.agreement` of every generator with its plan, and of real test images with their descriptions.

    described: cases with their chosen description; its train rows fit the readout. features: (k, d) by set of `chosen`,
    from extractor.
    """
    train = described[described["split"] == "train"]
    of_train = run.in_parts(train, extractor)
    probe = readout.fit(of_train, train["dx"].to_numpy(), train[list(FEATURES)].to_numpy(float))
    real = chosen.tables[REFERENCE][["image_id"]].reset_index(names="row").merge(described, on="image_id")
    tables = {REFERENCE: real} | {
        name: chosen.tables[name].assign(row=range(len(chosen.dx))) for name in chosen.generators
    }
    result = {}
    for name, table in tables.items():
        predicted = probe.predict(features[name][table["row"]])
        p, scores = predicted[:, : len(DX)], predicted[:, len(DX) :]
        result[name] = obedience.agreement(table["prompt"].tolist(), table["dx"], table, p, scores, seed=seed)
    return result
