"""The project's own tiny latent diffusion model, in the Stable Diffusion architecture, meant for two CPU cores.

64 px images, a linear encoder of 4 x 4 px patches and a small convolutional decoder, a denoiser that attends to words
where its maps are small, a word-level text encoder. Prediction is v (Salimans, Ho, arXiv:2202.00512) on a noise
schedule that ends in pure noise (Lin et al., arXiv:2305.08891), so brightness and skin tone are free.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import StableDiffusionPipeline
from transformers import CLIPTextConfig, CLIPTextModel

from p2d_lib.models.tiny_decoder import Details
from p2d_lib.models.tiny_tokenizer import MAX_TOKENS, tiny_tokenizer

TINY = Path(__file__).with_name("tiny")  # the weights that ship
WIDTHS = (96, 128, 128)  # channels of the denoiser, from the full map to a quarter of its side


class PatchAutoencoder(ModelMixin, ConfigMixin):
    """Latents as principal components of patches, fitted in closed form, and a decoder that sees neighbouring patches.

    Stands in a pipeline where AutoencoderKL does. Within minutes of CPU time a convolutional encoder stays blurred (29
    dB on the phantom after 400 steps), this one keeps pigment networks and hair (37 dB with 8 channels) at no cost. The
    decoder is the linear one of least error plus `Details`, which `p2d_lib.finetune.decoder` fits. width, blocks: of
    these; width 0: the linear decoder alone, as in folders that earlier versions wrote.
    """

    spread = False  # an image has one latent, not a distribution of them

    @register_to_config
    def __init__(
        self, patch: int = 4, latent_channels: int = 8, scaling_factor: float = 1.0, width: int = 0,
        blocks: tuple[int, ...] = (3, 3, 1),
    ):  # fmt: skip
        super().__init__()
        self.encoder = torch.nn.Conv2d(3, latent_channels, patch, stride=patch)
        self.decoder = torch.nn.ConvTranspose2d(latent_channels, 3, patch, stride=patch)
        with torch.random.fork_rng(devices=[]):  # the random weights of all other parts do not depend on `width`
            self.details = Details(latent_channels, width, tuple(blocks)) if width else None
        # diffusers takes the number of these channels, less one, for how often the autoencoder halves the side
        self.register_to_config(block_out_channels=[0] * patch.bit_length())

    def encode(self, pixels: torch.Tensor) -> AutoencoderKLOutput:
        """(n, 3, h, w) in -1..1 -> latents (n, latent_channels, h / patch, w / patch), without spread."""
        mean = self.encoder(pixels)
        return AutoencoderKLOutput(DiagonalGaussianDistribution(torch.cat([mean, torch.full_like(mean, -30)], dim=1)))

    def decode(self, latents: torch.Tensor, return_dict: bool = True, generator=None) -> DecoderOutput | tuple:
        """Latents -> (n, 3, h, w)."""
        pixels = self.decoder(latents)
        if self.details is not None:
            pixels = pixels + self.details(latents)
        return DecoderOutput(pixels) if return_dict else (pixels,)

    @torch.no_grad()
    def fit(self, images: np.ndarray) -> "PatchAutoencoder":
        """Sets the weights to the principal components of the patches of images, uint8 (n, h, w, 3).

        A component of variance v gets the variance sqrt(v / v_1): whitened, the finest would weigh as much in the
        denoiser's loss as the coarsest; as they are, it would hardly see them.
        """
        side, channels = self.config.patch, self.config.latent_channels
        pixels = to_pixels(images, self).cpu()
        patches = torch.nn.functional.unfold(pixels, side, stride=side)  # (n, 3 * side^2, patches of an image)
        patches = patches.transpose(1, 2).flatten(0, 1).double()
        mean = patches.mean(0)
        variance, components = torch.linalg.eigh(torch.cov(patches.T))
        variance, components = variance.flip(0)[:channels], components.flip(1)[:, :channels].T  # largest first
        components *= components.gather(1, components.abs().argmax(1, keepdim=True)).sign()  # which is arbitrary
        scale = ((variance / variance[0]).pow(0.25) / variance.sqrt())[:, None]
        self.encoder.weight.copy_((components * scale).reshape(self.encoder.weight.shape))
        self.encoder.bias.copy_(-(components * scale) @ mean)
        self.decoder.weight.copy_((components / scale).reshape(self.decoder.weight.shape))
        self.decoder.bias.copy_(mean.reshape(3, -1).mean(1))
        return self


def tiny_pipeline(seed: int, widths: Sequence[int] = WIDTHS) -> StableDiffusionPipeline:
    """The tiny pipeline with random weights: denoiser 6.8 M, text encoder 0.3 M parameters, autoencoder 0.4 M.

    widths: channels of the denoiser at each of its three scales, multiples of 8. Most of a step's time is spent on the
    full map, so the first one decides both how fine the texture is and how long a step takes.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = PatchAutoencoder(width=64)
        unet = UNet2DConditionModel(
            in_channels=vae.config.latent_channels, out_channels=vae.config.latent_channels, sample_size=16,
            block_out_channels=tuple(widths), layers_per_block=1, norm_num_groups=8,
            # On the full map, attention among its places alone, without words: a tenth of a step, and hair is long.
            down_block_types=("AttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
            # diffusers reads the first as the width of a head, the others as the number of heads
            cross_attention_dim=96, attention_head_dim=(widths[0] // 2, 4, 4),
        )  # fmt: skip
        tokenizer = tiny_tokenizer()
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer), hidden_size=96, intermediate_size=384, num_hidden_layers=2,
                num_attention_heads=3, max_position_embeddings=MAX_TOKENS, projection_dim=96,
                bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )  # fmt: skip
    scheduler = DDPMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False,
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing", steps_offset=1,
    )  # fmt: skip
    return _pipeline(vae=vae, unet=unet, text_encoder=text_encoder.eval(), tokenizer=tokenizer, scheduler=scheduler)


def _pipeline(**parts) -> StableDiffusionPipeline:
    pipe = StableDiffusionPipeline(
        **{"safety_checker": None, "feature_extractor": None, **parts}, requires_safety_checker=False
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def to_pixels(images: np.ndarray, like: torch.nn.Module) -> torch.Tensor:
    """uint8 (n, h, w, 3) -> (n, 3, h, w) in -1..1, with device and type of `like`."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)
    return pixels.to(like.device, like.dtype) / 127.5 - 1
