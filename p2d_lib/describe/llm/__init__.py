"""How the replies of language models are parsed: JSON of any quality, scores, refusals."""
