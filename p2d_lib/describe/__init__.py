"""02: real images -> words, in 22 scored features, a sentence and a prompt."""
