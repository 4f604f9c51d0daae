"""Why a release is refused."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class Refused(Exception):
    """The set is not released; the message says why and what to do.

    images: the images that are the reason, where single ones are: image_id, dx, reason and detail (for the people who
    made the set; it may name real images).
    """

    def __init__(self, message: str, images: "pd.DataFrame | None" = None):
        super().__init__(message)
        self.images = images
