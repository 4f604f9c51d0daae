import numpy as np
import pandas as pd
import pytest
import torch

from p2d_lib.finetune import adapter, latents, loop
from p2d_lib.models import encoding, pipelines


@pytest.fixture(scope="module")
def pipe():
    """A random tiny pipeline with a random adapter."""
    pipe = pipelines.load("random")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    encoded = latents.Encoded(
        encoding.encode_moments(pipe, pixels)[0][:, None].expand(-1, 2, -1, -1, -1),
        encoding.encode_prompts(pipe, ["a", ""])["embeddings"], torch.zeros(2, dtype=torch.int64),
    )  # fmt: skip
    adapter.fit_adapter(pipe, encoded, loop.Recipe(steps=3, batch_size=2, learning_rate=0.1, seed=0), rank=2)
    return pipe


@pytest.fixture
def planned():
    return pd.DataFrame(
        {
            "image_id": ["adapter_mel_0", "adapter_nv_0", "adapter_nv_1", "base_mel_0"],
            "dx": ["mel", "nv", "nv", "mel"],
            "prompt": ["melanoma", "nevus", "nevus", "melanoma"],
            "seed": [1, 2, 3, 1],
            "generator": ["adapter", "adapter", "adapter", "base"],
        }
    )
