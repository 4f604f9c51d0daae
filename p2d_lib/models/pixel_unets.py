"""Networks that denoise pixels, given the time and a prompt's embeddings; the pixel baselines consist of them."""

import warnings
from http.client import HTTPException
from itertools import pairwise

import torch
import torchvision
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.models.embeddings import TimestepEmbedding, get_timestep_embedding
from diffusers.models.modeling_utils import ModelMixin
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import nn
from torch.nn import functional as F

SCHEDULES = {
    prediction: DDPMScheduler(
        beta_schedule="linear", beta_start=1e-4, beta_end=0.02, prediction_type=prediction, timestep_spacing="trailing"
    )
    for prediction in ("epsilon", "v_prediction")
}
LEVEL_WIDTH = 64  # of the embedding of the noise level of an upsampler's low-resolution image


class Denoiser(ModelMixin):
    """A network that predicts the noise or v in noisy pixels (`schedule` says which), called as diffusers' UNets are.

    patch: squares of so many px become channels (space-to-depth), which makes a small network fast. With patch 1 the
    network predicts the noise, as published. With larger patches it predicts the clean image (a narrow network can
    represent an image but not white noise; Li, He, arXiv:2511.13720), which is converted to v (Salimans, Ho,
    arXiv:2202.00512), whose loss does not vanish at pure noise: lesions form within hundreds of steps, not thousands.
    """

    imagenet = False  # whether it starts from weights that were learnt on ImageNet

    def __init__(self, patch: int):
        super().__init__()
        self.patch = patch
        self.schedule = SCHEDULES["epsilon" if patch == 1 else "v_prediction"]

    def forward(
        self, noisy: torch.Tensor, steps: torch.Tensor, embeddings: torch.Tensor, added_cond_kwargs: dict | None = None
    ) -> UNet2DConditionOutput:
        """The predicted noise or v as `sample`, float32 (b, 3, h, w).

        noisy (b, 3, h, w), sides multiples of `patch`; steps of the schedule, (b,) or one for all; embeddings, the text
        encoder's hidden states (b, length, width), zero at padding, which is masked. added_cond_kwargs: of an upsampler
        also low, the low-resolution image (b, 3, h', w') with the noise of step level (b,).
        """
        steps, mask = steps.to(noisy.device).expand(len(noisy)), embeddings.any(-1)
        pixels, condition = noisy, embeddings.sum(1) / mask.sum(1, keepdim=True)
        if added_cond_kwargs:
            low, level = added_cond_kwargs["low"], added_cond_kwargs["level"]
            pixels = torch.cat([noisy, F.interpolate(low, noisy.shape[-2:], mode="bilinear")], 1)
            condition = torch.cat([condition, get_timestep_embedding(level, LEVEL_WIDTH)], 1)
        pixels = F.pixel_unshuffle(pixels, self.patch).contiguous(memory_format=torch.channels_last)
        prediction = F.pixel_shuffle(self.predict(pixels, steps, embeddings, mask, condition), self.patch).float()
        if self.patch > 1:
            alpha = self.schedule.alphas_cumprod.to(noisy.device)[steps.long(), None, None, None]
            prediction = (alpha.sqrt() * noisy - prediction) / (1 - alpha).sqrt()
        return UNet2DConditionOutput(sample=prediction)


class PixelUnet(Denoiser):
    """diffusers' UNet2DConditionModel on pixels: text enters by cross-attention, its mean with the time embedding.

    width: of the text embeddings. attention: which levels attend to the text, from 0, the finest; the middle does too.
    upsampler: a low-resolution image and its noise level are inputs too (Ho et al., arXiv:2106.15282).
    """

    def __init__(
        self,
        width: int,
        *,
        patch: int,
        channels: tuple[int, ...],
        attention: tuple[int, ...],
        layers: int,
        upsampler: bool = False,
    ):
        super().__init__(patch)
        levels = range(len(channels))
        down = ["CrossAttnDownBlock2D" if level in attention else "DownBlock2D" for level in levels]
        up = ["CrossAttnUpBlock2D" if level in attention else "UpBlock2D" for level in reversed(levels)]
        self.unet = UNet2DConditionModel(
            in_channels=3 * patch**2 * (1 + upsampler), out_channels=3 * patch**2, block_out_channels=channels,
            layers_per_block=layers, norm_num_groups=8, down_block_types=down, up_block_types=up,
            cross_attention_dim=width, attention_head_dim=[max(1, c // 32) for c in channels],  # the number of heads
            class_embed_type="projection", projection_class_embeddings_input_dim=width + LEVEL_WIDTH * upsampler,
        )  # fmt: skip

    def predict(self, pixels, steps, embeddings, mask, condition):
        return self.unet(pixels, steps, embeddings, condition, encoder_attention_mask=mask).sample


class Vgg16Unet(Denoiser):
    """A UNet whose encoder is VGG16 (Simonyan, Zisserman, arXiv:1409.1556): its five stages feed the skip connections.

    Time and the text's mean scale and shift the output of each stage (FiLM: Perez et al., arXiv:1709.07871), at first
    by factor 1 and shift 0, so that pretrained features start as they are; the two coarsest stages attend to the text.
    width: of the text embeddings. share: of VGG16's channels. imagenet: start from torchvision's weights, which fit
    patch 1 and share 1, where they can be had, else at random with a warning; the attribute `imagenet` then says which
    it was.
    """

    def __init__(self, width: int, *, patch: int, share: float, imagenet: bool = True):
        super().__init__(patch)
        features, self.imagenet = _vgg16(patch, share, imagenet)
        poolings = [i for i, layer in enumerate(features) if isinstance(layer, nn.MaxPool2d)]
        self.encoder = nn.ModuleList(features[start:end] for start, end in pairwise([0, *poolings]))
        channels = [stage[-2].out_channels for stage in self.encoder]
        self.time_width, condition = channels[0] * 2, channels[0] * 8
        self.time = TimestepEmbedding(self.time_width, condition)
        self.text = nn.Linear(width, condition)
        self.film = nn.ModuleList(nn.Linear(condition, 2 * c) for c in channels)
        for film in self.film:
            nn.init.zeros_(film.weight), nn.init.zeros_(film.bias)
        self.attend = nn.ModuleList(
            Transformer2DModel(max(1, c // 64), min(c, 64), c, norm_num_groups=_groups(c), cross_attention_dim=width)
            for c in channels[-2:]
        )
        self.middle = _block(channels[-1], channels[-1], condition)
        self.decoder = nn.ModuleList(_block(c + skip, skip, condition) for skip, c in pairwise(channels))
        self.head = nn.Sequential(
            nn.GroupNorm(_groups(channels[0]), channels[0]),
            nn.SiLU(),
            nn.Conv2d(channels[0], 3 * patch**2, 3, padding=1),
        )

    def predict(self, pixels, steps, embeddings, mask, condition):
        condition = self.time(get_timestep_embedding(steps, self.time_width)) + self.text(condition)
        x, skips = pixels, []
        for i, (stage, film) in enumerate(zip(self.encoder, self.film, strict=True)):
            scale, shift = film(F.silu(condition))[..., None, None].chunk(2, 1)
            x = stage(x) * (1 + scale) + shift
            if i >= 3:
                (x,) = self.attend[i - 3](x, embeddings, encoder_attention_mask=mask, return_dict=False)
            skips.append(x)
        x = self.middle(x, condition)
        for skip, block in zip(skips[-2::-1], reversed(self.decoder), strict=True):
            x = block(torch.cat([F.interpolate(x, skip.shape[-2:]), skip], 1), condition)
        return self.head(x)


def _vgg16(patch: int, share: float, imagenet: bool) -> tuple[nn.Sequential, bool]:
    """VGG16's convolutions, and whether they carry ImageNet weights."""
    vgg = torchvision.models.vgg
    if imagenet and (patch, share) == (1, 1):
        try:
            return vgg.vgg16(weights="IMAGENET1K_V1").features, True
        except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: the network was gone on the way
            reason = f"are neither in {torch.hub.get_dir()} nor can they be downloaded ({error})"
    else:
        reason = f"do not fit patches of {patch} px and {share:g} of its channels"
    if imagenet:
        warnings.warn(f"scratch-vgg16-unet: VGG16 starts at random: weights of ImageNet {reason}", stacklevel=2)
    features = vgg.make_layers([layer if layer == "M" else int(layer * share) for layer in vgg.cfgs["D"]])
    features[0] = nn.Conv2d(3 * patch**2, features[0].out_channels, 3, padding=1)
    for layer in features:
        if isinstance(layer, nn.Conv2d):  # as torchvision starts its own
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return features, False


def _block(c_in: int, c_out: int, condition: int) -> ResnetBlock2D:
    return ResnetBlock2D(
        in_channels=c_in, out_channels=c_out, temb_channels=condition, groups=_groups(c_in), groups_out=_groups(c_out)
    )


def _groups(channels: int) -> int:
    """The number of groups of a group norm, about eight channels each: a group of one channel would lose its mean."""
    return max(g for g in range(1, 33) if channels % g == 0 and g <= max(1, channels // 8))
