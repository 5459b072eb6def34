"""One study on one page, as PNG: slices as the network saw them, the scores on their scale, what was loaded, for research only.

Pillow is imported on use: it is an extra (`[png]`).
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etscnet_edge.errors import InputError
from etscnet_edge.prediction import Prediction

WIDTH, MARGIN, CELL = 1200, 40, 270  # pixels
LEVELS = (0.3, 0.43, 0.56, 0.69)  # of the slices, from the bottom to the top
PAPER, INK, QUIET, LINE, MARK = "#ffffff", "#16202a", "#5b6875", "#c9d1d9", "#b42318"
Plane = NDArray[np.float32]


def draw(prediction: Prediction) -> bytes:
    """The page.

    Raises:
        InputError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        remedy = 'pip install "etscnet-edge[png]"'
        raise InputError("Pillow is not installed", expected="pillow", remedy=remedy) from error
    large, usual, small = (ImageFont.load_default(size) for size in (34, 20, 16))
    modalities = list(prediction.branch_scores)
    rows = [_slices(prediction.image[0, number]) for number in range(len(modalities))]
    heights = [max(plane.shape[0] for plane in row) + 34 for row in rows]
    bars = 60 * (len(modalities) + 1)
    model = prediction.model
    lines = [
        *prediction.warnings[1:],
        f"model {model['version']} ({model['form']}, {model['precision']}, {model['runtime']}), "
        f"SHA-256 {model['sha256'][:16]}...",
        *(f"{name}: {file['name']}, SHA-256 {file['sha256'][:16]}..." for name, file in prediction.files.items()),
    ]
    page = Image.new("RGB", (WIDTH, 150 + sum(heights) + bars + max(150, 40 + 22 * len(lines))), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((MARGIN, 28), f"Score {prediction.score:.3f}: {prediction.decision}", INK, large)
    pen.text((MARGIN, 76), f"that seizures will be controlled; threshold {prediction.threshold:.3f}", QUIET, usual)
    pen.text((MARGIN, 106), prediction.warnings[0], MARK, usual)
    top = 150
    for name, row, height in zip(modalities, rows, heights, strict=True):
        pen.text((MARGIN, top), f"{name}, axial slices, the patient's left on the left", QUIET, small)
        for number, plane in enumerate(row):
            grey = Image.fromarray(np.uint8(plane * 255 + 0.5))
            page.paste(grey, (MARGIN + number * (CELL + 13), top + 26))
        top += height
    scores = {"fused": prediction.score, **prediction.branch_scores}
    for name, score in scores.items():
        _bar(pen, top + 10, name, score, prediction.threshold, usual)
        top += 60
    for line in lines:
        pen.text((MARGIN, top + 12), line[:140], QUIET, small)
        top += 22
    content = io.BytesIO()
    page.save(content, "PNG")
    return content.getvalue()


def _slices(channel: Plane) -> list[Plane]:
    """(x, y, z) in RAS -> axial planes, front up, left on the left: as the bundle draws them."""
    planes = []
    for level in LEVELS:
        plane = channel[:, ::-1, int(level * (channel.shape[2] - 1))].T  # (y, x): front to back, left to right
        planes.append(_enlarged(plane, CELL))
    return planes


def _enlarged(plane: Plane, width: int) -> Plane:
    """To so many columns by the nearest pixel: nothing is made up between voxels."""
    height = round(width * plane.shape[0] / plane.shape[1])
    rows = np.arange(height) * plane.shape[0] // height
    columns = np.arange(width) * plane.shape[1] // width
    return plane[np.ix_(rows, columns)]


def _bar(pen: Any, top: int, name: str, score: float, threshold: float, font: Any) -> None:
    left, right = MARGIN + 130, WIDTH - MARGIN - 90
    at = left + (right - left) * score
    mark = left + (right - left) * threshold
    pen.text((MARGIN, top), name, INK, font)
    pen.rectangle((left, top + 4, right, top + 20), outline=LINE, fill="#eef2f5")
    pen.rectangle((left, top + 4, at, top + 20), fill="#2f6f9f")
    pen.line((mark, top - 3, mark, top + 27), fill=MARK, width=3)
    pen.text((right + 14, top), f"{score:.3f}", INK, font)
