"""Vision-language readers on external sets: images of other cameras, clinics and patients than those of train."""

from collections.abc import Mapping, Sequence

import pandas as pd

from p2d_lib.instruments import intervals, multiplicity
from p2d_lib.models.clip import Clip
from p2d_lib.readers import clip_zero_shot, vlm_scores
from p2d_lib.readers.vlm_reading import FIRST, LocalReader, ServerReader
from p2d_lib.readers.vlm_reading import read as read_by
from p2d_lib.readers.vlm_scores import Replicates
from p2d_lib.run import Run
from p2d_lib.seeds import derive


def read(
    readers: Sequence[LocalReader | ServerReader], clips: Mapping[str, Clip], run: Run, cases: pd.DataFrame, way: str
) -> pd.DataFrame:
    """schemas.READINGS of the published question about external cases (image_id, path), by models and CLIPs.

    clips: name -> model. way: of comparing likelihoods (`vlm_reading.read`). What was answered is not asked again.
    """
    parts = [clip_zero_shot.read(model, name, run, cases) for name, model in clips.items()]
    parts += [read_by(reader, cases, run.images, way, templates=(FIRST,)).readings for reader in readers]
    return pd.concat(parts, ignore_index=True)


def replicates(by_models: pd.DataFrame, by_networks: pd.DataFrame, cases: pd.DataFrame, seed: int) -> Replicates:
    """The scores of all readers of the external cases (image_id, lesion_id, dx) on the same resamples of lesions.

    by_models: of `read`. by_networks: the artefact "external_readings" of 06. The resamples are not those of the test
    images, so that both can be compared as two samples.
    """
    networks = by_networks.assign(reader="network, " + by_networks["arm"])
    return vlm_scores.replicates(pd.concat([by_models, networks]), cases, seed=derive(seed, "external"))


def falls(of_test: Replicates, of_external: Replicates) -> pd.DataFrame:
    """One row a reader of both: reader, test and external (Intervals), difference, low, high, p, p_holm.

    The difference is the AUC on external images less that on test images: two samples of lesions, the same networks.
    Holm's correction is over the readers; a reader without probabilities has NaN.
    """
    rows = []
    for reader in (reader for reader in of_external if reader in of_test):
        test, external = of_test[reader]["auc"], of_external[reader]["auc"]
        compared = intervals.compare(external, test)
        rows.append((reader, intervals.summarise(test), intervals.summarise(external), *compared))
    table = pd.DataFrame(rows, columns=["reader", "test", "external", "difference", "low", "high", "p"])
    return table.assign(p_holm=multiplicity.holm(table["p"].to_numpy(float)))
