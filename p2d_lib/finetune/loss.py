"""The denoising loss of a diffusion model, weighted by the signal-to-noise ratio."""

import torch

from p2d_lib.models import encoding


def denoising_loss(pipe, batch: dict[str, torch.Tensor], snr_gamma: float, unet=None) -> torch.Tensor:
    """The min-SNR weighted error of the denoiser on each image, in the terms its scheduler predicts (noise or v): (b,).

    batch: as `Draws` gives it, on the pipeline's device. Weights after Hang et al., arXiv:2303.09556; for v, snr_gamma
    bounds SNR + 1. unet: called in place of the pipeline's, such as a compiled one.
    """
    clean, noise, alpha = batch["latents"], batch["noise"], batch["alpha"]
    a, s = alpha.sqrt()[:, None, None, None], (1 - alpha).sqrt()[:, None, None, None]
    velocity = pipe.scheduler.config.prediction_type == "v_prediction"
    target = a * noise - s * clean if velocity else noise
    words = batch
    if "ids" in batch:
        words = encoding.zero_empty_prompts(pipe, encoding.encode_tokens(pipe, batch["ids"]), batch["silent"])
    more = {}
    if "pooled" in words:  # SDXL is also told how large the image was and which part is shown: all of it
        h, w = (side * pipe.vae_scale_factor for side in clean.shape[-2:])
        frame = torch.tensor([[h, w, 0, 0, h, w]], dtype=clean.dtype).to(clean.device, non_blocking=True)
        more = {"added_cond_kwargs": {"text_embeds": words["pooled"], "time_ids": frame.expand(len(clean), -1)}}
    noisy = (a * clean + s * noise).to(pipe.unet.dtype)
    unet = pipe.unet if unet is None else unet  # a compiled one has no truth value
    predicted = unet(noisy, batch["times"], words["embeddings"].to(noisy.dtype), **more).sample
    power = alpha / (1 - alpha) + velocity  # v carries signal and noise: it weighs something at pure noise too
    weight = power.clamp(max=snr_gamma) / power
    return (predicted.float() - target).square().mean(dim=(1, 2, 3)) * weight
