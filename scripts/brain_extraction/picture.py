"""Pictures of masks: a strip of planes a study with the mask's outline, and pages of strips for a cohort.

A strip is an array of colours, (height, width, 3) uint8: for every modality four axial planes, a coronal and a sagittal one, each
200 mm wide, the child's left on the left.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread, imsave
from numpy.typing import NDArray
from scipy import ndimage

from scripts.brain_extraction.carry import Affine, Mask
from scripts.files import write_atomically

Strip = NDArray[np.uint8]
EDGE_PX, EDGE_MM = 132, 210.0
HEIGHTS = (0.25, 0.45, 0.6, 0.78)  # of the mask's own, or of the image's without one
OUTLINE, REFUSED = (0, 200, 120), (255, 90, 60)  # colours that the colour-blind tell apart by brightness too
ROWS = 10  # strips a page


def strip(studies: Mapping[str, tuple[NDArray[np.floating], Mask, Affine]], *, refused: bool = False) -> Strip:
    """The planes of one study.

    Args:
        studies: modality -> image and mask (x, y, z), affine (voxel -> RAS+ mm).
        refused: the outline's colour.
    """
    colour = REFUSED if refused else OUTLINE
    return np.concatenate([panel for study in studies.values() for panel in _panels(*study, colour)], axis=1)


def png(colours: Strip) -> bytes:
    """A PNG file's content."""
    content = io.BytesIO()
    imsave(content, colours, format="png")
    return content.getvalue()


def refusal_picture(colours: Strip, case: str, faults: Sequence[str]) -> bytes:
    """A PNG of a study's strip under what is wrong with its masks."""
    lines = [line for fault in faults for line in textwrap.wrap(fault, 150)]
    height, width = colours.shape[:2]
    figure = Figure(figsize=(width / 110, height / 110 + 0.45 + 0.2 * len(lines)), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(colours)
    axes.set_axis_off()
    axes.set_title("\n".join([f"{case}: refused", *lines]), loc="left", fontsize=9, color="#B00000")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()


def write_pages(strips: Mapping[str, Path], titles: Mapping[str, str], folder: Path) -> list[Path]:
    """Pages of strips, masks-1.png and so on; pages of an earlier run go.

    Args:
        strips: case -> PNG of its strip.
        titles: case -> what to write over it.
        folder: of the pages.
    """
    for old in folder.glob("masks-*.png"):
        old.unlink()
    cases, pages = list(strips), []
    for number, start in enumerate(range(0, len(cases), ROWS), start=1):
        shown = cases[start : start + ROWS]
        images = [imread(strips[case])[..., :3] for case in shown]
        figure = Figure(figsize=(15, 1.55 * len(shown)), layout="constrained")
        for row, axes in enumerate(np.ravel(figure.subplots(len(shown), 1, squeeze=False))):
            axes.imshow(images[row])
            axes.set(xticks=[], yticks=[])
            axes.set_axis_off()
            axes.set_title(titles[shown[row]], loc="left", fontsize=8, pad=2)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=100)
        path = folder / f"masks-{number}.png"
        write_atomically(path, content.getvalue())
        pages.append(path)
    return pages


def _panels(
    image: NDArray[np.floating], mask: Mask, affine: Affine, colour: tuple[int, int, int]
) -> list[NDArray[np.uint8]]:
    turn = nib.orientations.io_orientation(affine)
    values, inside = (nib.orientations.apply_orientation(array, turn) for array in (image, mask))
    spacing = np.empty(3)
    spacing[turn[:, 0].astype(int)] = np.linalg.norm(affine[:3, :3], axis=0)
    found = np.argwhere(inside)
    low, high = (found.min(axis=0), found.max(axis=0)) if len(found) else (np.zeros(3), np.array(values.shape) - 1)
    middle = (low + high) / 2
    brightest = float(np.percentile(values[inside] if len(found) else values, 99.5)) or 1.0
    planes = [(2, low[2] + height * (high[2] - low[2])) for height in HEIGHTS]
    planes += [(1, middle[1]), (0, middle[0])]
    panels = []
    for axis, position in planes:
        grey, brain = (_plane(array, axis, round(position), middle, spacing) for array in (values, inside))
        bright = np.clip(grey / brightest, 0, 1) * 255
        panel = np.repeat(bright[..., None], 3, axis=2).astype(np.uint8)
        outline = (brain > 0) & ~ndimage.binary_erosion(brain > 0)
        panel[outline] = colour
        panels.append(panel)
    return panels


def _plane(
    array: NDArray[np.generic], axis: int, index: int, middle: NDArray[np.floating], spacing: NDArray[np.floating]
) -> NDArray[np.floating]:
    """A plane of RAS voxels on `EDGE_PX` square pixels around the middle, the second axis upwards."""
    first, second = (other for other in range(3) if other != axis)
    away = (np.arange(EDGE_PX) - (EDGE_PX - 1) / 2) * EDGE_MM / EDGE_PX
    across = np.rint(middle[first] + away / spacing[first]).astype(int)
    upwards = np.rint(middle[second] - away / spacing[second]).astype(int)
    plane = np.take(array, index, axis=axis)
    there = np.outer((upwards >= 0) & (upwards < plane.shape[1]), (across >= 0) & (across < plane.shape[0]))
    rows, columns = np.clip(upwards, 0, plane.shape[1] - 1), np.clip(across, 0, plane.shape[0] - 1)
    return np.where(there, plane[np.ix_(columns, rows)].T, 0).astype(np.float32)
