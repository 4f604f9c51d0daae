"""Features -> words, words -> features, rewording, and which description of an image is used."""
