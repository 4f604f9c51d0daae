"""The synthetic set of a run as a folder that can be published: checked first, and refused where a check fails."""
