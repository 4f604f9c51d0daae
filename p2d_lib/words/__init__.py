"""Features -> words and back, rewording, which description is used, the truth of phantoms, answers without thoughts."""
