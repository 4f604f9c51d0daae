"""Room 03: images and prompts of the train split -> what is trained on them.

training_set  the images and prompts            stages        what 03 trains, from its parameters
latents       encoded images and prompts        distributed   the same on several GPUs (torchrun)
pixel_rows    images for pixel baselines        previews      images sampled during training
batches       random training batches           prior         images of the base, for DreamBooth
loss          the weighted denoising error      report        table, figures, findings
loop          optimiser, average, log, resume
denoiser      loop + loss + batches, shared by  base, adapter, inversion, pixel_baselines
decoder       a tiny base's decoder, against a discriminator
curve         the Fréchet distance of a base while it is trained
scout, alignment  the two small networks
"""
