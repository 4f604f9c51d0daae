"""Addressed seeds: each image, arm and fold derives its own from the run's seed."""

import hashlib
import json


def derive(seed: int, *address: str | int) -> int:
    """A seed in 0..2**63-1 for one place of the work, e.g. derive(run_seed, "sample", image_index).

    Equal addresses give equal seeds whatever ran before, so image k does not depend on batch size, shard or order.
    """
    digest = hashlib.sha256(json.dumps([seed, *address]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
