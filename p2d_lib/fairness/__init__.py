"""08: are all groups of patients read equally well?"""
