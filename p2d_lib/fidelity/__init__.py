"""05: how near synthetic images are to real ones, and whether they fit their prompts."""
