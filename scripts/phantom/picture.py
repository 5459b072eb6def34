"""A picture of a synthetic pair with its lesion labels, and beside a real pair for comparison.

A real pair is read where it lies and only drawn: such a picture belongs to whoever may show that pair, not to the repository.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scripts.errors import InputError
from scripts.phantom.bids import LESION_NAMES, derived_path, image_path
from scripts.phantom.protocol import PROTOCOLS

HEIGHTS = (0.40, 0.52, 0.64)  # of the stack of slices, from below
COLOURS = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73")  # of the labels, Okabe and Ito


def draw_pair(
    dataset_dir: str | Path,
    output: str | Path,
    *,
    subject: str = "sub-001",
    real_flair: str | Path | None = None,
    real_t2w: str | Path | None = None,
) -> str:
    """Draw FLAIR (above) and T2w (below) of a synthetic subject; with a real pair given, beside it.

    Args:
        dataset_dir: BIDS folder of a synthetic cohort.
        output: the PNG file.
        subject: name in the cohort, such as sub-001.
        real_flair: NIfTI file of a real FLAIR image.
        real_t2w: NIfTI file of the real T2w image that goes with it.

    Example:
        python -m scripts phantom-picture --dataset_dir data/cohort --output results/pair.png --subject sub-002

    Returns:
        The PNG file.

    Raises:
        InputError: a file is missing, or only one of the real pair is given.
    """
    if (real_flair is None) != (real_t2w is None):
        raise InputError("one image of a real pair", expected="both or none", remedy="Give real_flair and real_t2w.")
    folder, columns = Path(dataset_dir), len(HEIGHTS) + 1 + (len(HEIGHTS) if real_flair else 0)
    figure = Figure(figsize=(1.75 * columns, 5.0), layout="constrained", facecolor="black")
    axes = figure.subplots(2, columns)
    for row, (protocol, real) in enumerate(zip(PROTOCOLS, (real_flair, real_t2w), strict=True)):
        image = _read(folder / image_path(subject, protocol))
        labels = _read(folder / derived_path(subject, protocol, "lesions_dseg"))
        for column, height in enumerate(HEIGHTS):
            _show(axes[row, column], image, height)
        _show(axes[row, len(HEIGHTS)], image, HEIGHTS[-1], labels)
        if real is not None:
            for column, height in enumerate(HEIGHTS, start=len(HEIGHTS) + 1):
                _show(axes[row, column], _read(Path(real)), height)
    axes[0, 0].set_title(f"SYNTHETIC, {subject}", color="white", fontsize=8)
    axes[0, len(HEIGHTS)].set_title("exact labels", color="white", fontsize=8)
    if real_flair is not None:
        axes[0, len(HEIGHTS) + 1].set_title("real", color="white", fontsize=8)
    for name, colour, x in zip(LESION_NAMES, COLOURS, (0.02, 0.14, 0.42, 0.72), strict=True):
        figure.text(x, 0.005, name, color=colour, fontsize=7)
    path = Path(output)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.part.png")
    figure.savefig(temporary, dpi=75, metadata={"Description": "Synthetic TSC phantom, not a patient"})
    temporary.replace(path)
    return str(path)


def _read(path: Path) -> NDArray[np.float32]:
    """An image in the order x to the right, y to the back, z up of the picture: axes L, P, S."""
    if not path.is_file():
        raise InputError("the file is not there", expected="a NIfTI image", remedy="Check the path.", file=path)
    image = nib.Nifti1Image.from_filename(path)
    wanted = nib.orientations.axcodes2ornt("LPS")
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), wanted)
    return np.asarray(image.as_reoriented(turn).dataobj, np.float32)


def _show(axes: Axes, image: NDArray[np.float32], height: float, labels: NDArray[np.float32] | None = None) -> None:
    """One slice, cut to the head, with the labels in colour."""
    k = round(height * (image.shape[2] - 1))
    head = image > 0.15 * np.percentile(image, 99)
    columns, rows = (np.nonzero(head.any(axis))[0] for axis in ((1, 2), (0, 2)))
    box = (slice(columns[0], columns[-1] + 1), slice(rows[0], rows[-1] + 1), k)
    brightest = float(np.percentile(image[..., k], 99.7))
    axes.imshow(image[box].T, cmap="gray", vmin=0, vmax=brightest, interpolation="bilinear")
    if labels is not None:
        shown = np.ma.masked_equal(labels[box].T, 0)
        axes.imshow(shown, cmap=ListedColormap(COLOURS), vmin=1, vmax=4, interpolation="nearest", alpha=0.8)
    axes.set_axis_off()
