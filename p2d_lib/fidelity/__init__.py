"""05: how near synthetic images are to real ones, and to their prompts."""
