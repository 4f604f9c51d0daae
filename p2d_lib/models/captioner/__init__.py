"""Image -> caption: a CLIP vision encoder, a learnt prefix and GPT-2 (ClipCap: Mokady et al., arXiv:2111.09734)."""
