"""07: what people, networks and vision-language models read in the same blinded set of real and synthetic images."""
