"""Who draws synthetic images."""

BASELINES = ("scratch-unet", "scratch-vgg16-unet", "cascade", "textual-inversion")
GENERATORS = ("adapter", "base", *BASELINES)
