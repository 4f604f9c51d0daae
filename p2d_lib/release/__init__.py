"""The synthetic set of a run as a folder that can be published: checked first, and refused where a check fails."""

CREATOR = "The prompt2derm authors"  # of a release, where nobody else is named
