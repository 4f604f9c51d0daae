"""06: whether synthetic images help a classifier: arms of equal budget, read by networks on the test split."""
