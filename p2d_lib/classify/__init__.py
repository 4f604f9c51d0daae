"""06: what synthetic images are worth to a classifier: arms of equal budget, read by networks on the test split."""
