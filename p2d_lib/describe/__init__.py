"""Image -> words: four describers (template, captioner, vlm, api), and how true and how varied the descriptions are."""
