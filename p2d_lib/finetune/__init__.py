"""Room 03: images and prompts of the train split -> what is trained on them.

training_set  the images and prompts            stages        what 03 trains, from its parameters
latents       encoded images and prompts        distributed   the same on several GPUs (torchrun)
pixel_rows    images for pixel baselines        processes     one process or several
batches       random training batches           previews      images sampled during training
loss          the weighted denoising error      prior         images of the base, for DreamBooth
loop          optimiser, average, log, resume   report        table, figures, findings
denoiser      loop + loss + batches, shared by  base, adapter, inversion, pixel_baselines
decoder       a tiny base's decoder, against a discriminator
curve         the Fréchet distance of a base while it is trained
scout, alignment  the two small networks
"""
