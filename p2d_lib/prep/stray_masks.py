"""Lesion masks that a layout does not name and that a person would take for masks, so that none is passed over.

A missing mask is no error, so nobody would notice a mask that is not found. Only images without a mask are looked at: a
picture with another suffix in the folder of the masks is taken for one; a file that is no picture, or that lies in
another folder, is named.
"""

from collections import defaultdict
from pathlib import Path, PurePosixPath

from p2d_lib.prep import picture_files
from p2d_lib.prep.layouts import Layout
from p2d_lib.prep.picture_files import PICTURES, Pictures
from p2d_lib.prep.pixels import File

Stray = list[tuple[str, File, str]]  # image_id, a file that is not taken, the sentence that says why


def completed(
    folder: Path, layout: Layout, names: dict[str, str], images: Pictures, masks: Pictures
) -> tuple[Pictures, Stray]:
    """The masks of a set, with those that have another suffix than the layout says; and the files that are not taken.

    names: image_id -> how the table names its picture. Raises DataError for a place that cannot be listed.
    """
    if set(names) <= set(masks.files):
        return masks, []
    known, candidates = {*images.files.values(), *masks.files.values()}, defaultdict(list)
    strange, rows = list(masks.strange), picture_files.rows_by_name(names)
    for file in _with_any_suffix(folder, layout):
        image_id = picture_files.row_of(file, layout.masks.ending, rows)
        if image_id is None and _is_picture(file) and all(file != other for _, other in strange):
            strange.append((PurePosixPath(file.parts[-1]).stem, file))
        elif image_id and image_id not in masks.files and file not in known:
            candidates[image_id].append(file)
    more, twice, stray = {}, list(masks.twice), []
    for image_id, files in candidates.items():
        pictures = [file for file in files if _is_picture(file)]
        if pictures:
            more[image_id] = pictures[0]
            twice += [(image_id, file, pictures[0]) for file in pictures[1:]]
        else:
            why = f"is no picture, so it is not taken for the mask of {image_id}; save the mask as PNG, or remove it"
            stray.append((image_id, files[0], f"{files[0]}: {why}"))
    masks = Pictures(masks.files | more, strange, twice)
    return masks, stray or ([] if masks.files else _elsewhere(folder, layout, rows, known))


def _with_any_suffix(folder: Path, layout: Layout) -> list[File]:
    """The files where masks lie, whatever their suffix. In a place that masks share with pictures, or where the layout
    asks for one, only those with the ending of masks."""
    shared = picture_files.places_of(folder, layout.images)
    return [
        file
        for place in picture_files.places_of(folder, layout.masks)
        for file in picture_files.inside(place)
        if picture_files.fits(file.parts, layout.masks, any_suffix=True)
        and (place not in shared or picture_files.has_ending(file, layout.masks.ending))
    ]


def _elsewhere(folder: Path, layout: Layout, rows: picture_files.Rows, known: set[File]) -> Stray:
    """Of a set without any mask, the files beside its table and one folder below that are named as masks are."""
    ending = layout.masks.ending
    found = []
    for file in picture_files.near(folder):
        if file in known or not (_is_picture(file) and picture_files.has_ending(file, ending)):
            continue
        if image_id := picture_files.row_of(file, ending, rows):
            found.append((image_id, file))
    such = f" ({len(found)} such files)" if len(found) > 1 else ""
    places = " and ".join(layout.masks.places)
    advice = f"no mask is looked for there, only in {places}{such}: move the masks there, or away"
    return [(image_id, file, f"{file}: is named as the mask of {image_id} is; {advice}") for image_id, file in found]


def _is_picture(file: File) -> bool:
    return file.parts[-1].lower().endswith(PICTURES)
