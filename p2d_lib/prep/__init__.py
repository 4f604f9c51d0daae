"""01: a raw set of dermoscopic images -> cases, resized images, measurements."""
