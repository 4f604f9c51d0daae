"""Features -> words, words -> features, rewording, which description of an image is used, answers without thoughts."""
