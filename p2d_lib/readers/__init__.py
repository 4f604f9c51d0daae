"""07: what people and networks read in the same blinded set of real and synthetic images."""
