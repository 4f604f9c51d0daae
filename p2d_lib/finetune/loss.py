"""The denoising loss of a diffusion model, weighted by the signal-to-noise ratio."""

import torch

from p2d_lib.models import encoding


def check_schedule(scheduler) -> None:
    """Raises ValueError for a noise schedule on which the weighted loss is 0 / 0.

    A network that predicts noise (epsilon) is weighted by min(SNR, gamma) / SNR, and a schedule that ends in pure noise
    (Lin et al., arXiv:2305.08891) has SNR = 0 at its last step.
    """
    if scheduler.config.prediction_type == "epsilon" and (scheduler.alphas_cumprod <= 0).any():
        step = int((scheduler.alphas_cumprod <= 0).nonzero()[0])
        raise ValueError(
            f"the base predicts noise (prediction_type epsilon) on a schedule whose signal-to-noise ratio is 0 at step "
            f"{step}: there the loss is 0 / 0. Use a base with prediction_type v_prediction, or set "
            "rescale_betas_zero_snr to false in its scheduler/scheduler_config.json"
        )


def snr_weight(alpha: torch.Tensor, snr_gamma: float, velocity: bool) -> torch.Tensor:
    """The weight of each image's error, float (b,), from the cumulative alpha of its time step, (b,) in 0..1.

    SNR = alpha / (1 - alpha). For noise prediction it is min-SNR, min(SNR, gamma) / SNR (Hang et al.,
    arXiv:2303.09556, sec. 3.4). For v-prediction it is min(SNR + 1, gamma) / (SNR + 1): the loss on the clean image
    weighted by SNR + 1 (Salimans, Ho, arXiv:2202.00512, sec. 4), truncated at gamma. Hang et al. would have
    min(SNR, gamma) / (SNR + 1): the same from SNR = gamma on, but 0 at pure noise, where brightness is decided.
    """
    power = alpha / (1 - alpha) + velocity
    return power.clamp(max=snr_gamma) / power


def denoising_loss(pipe, batch: dict[str, torch.Tensor], snr_gamma: float, unet=None) -> torch.Tensor:
    """The weighted squared error of the denoiser on each image, in what its scheduler predicts (noise or v): (b,).

    batch: as `TrainingBatches` gives it, on the pipeline's device. snr_gamma: see `snr_weight`. unet: called in place
    of the pipeline's, such as a compiled one.
    """
    clean, noise, alpha = batch["latents"], batch["noise"], batch["alpha"]
    a, s = alpha.sqrt()[:, None, None, None], (1 - alpha).sqrt()[:, None, None, None]
    velocity = pipe.scheduler.config.prediction_type == "v_prediction"
    target = a * noise - s * clean if velocity else noise
    words = batch
    if "ids" in batch:
        words = encoding.zero_empty_prompts(pipe, encoding.encode_tokens(pipe, batch["ids"]), batch["without_words"])
    more = {}
    if "pooled" in words:  # SDXL also reads the size of the image and which part of it is shown: all of it
        h, w = (side * pipe.vae_scale_factor for side in clean.shape[-2:])
        frame = torch.tensor([[h, w, 0, 0, h, w]], dtype=clean.dtype).to(clean.device, non_blocking=True)
        more = {"added_cond_kwargs": {"text_embeds": words["pooled"], "time_ids": frame.expand(len(clean), -1)}}
    noisy = (a * clean + s * noise).to(pipe.unet.dtype)
    unet = pipe.unet if unet is None else unet  # `unet or ...` fails: a compiled module has no truth value
    predicted = unet(noisy, batch["times"], words["embeddings"].to(noisy.dtype), **more).sample
    return (predicted.float() - target).square().mean(dim=(1, 2, 3)) * snr_weight(alpha, snr_gamma, velocity)
