"""Names of the generators of synthetic images."""

BASELINES = ("scratch-unet", "scratch-vgg16-unet", "cascade", "textual-inversion")
GENERATORS = ("adapter", "base", *BASELINES)
