"""The method "bet": Smith's surface model in the Python of the package brainextractor, which needs no weights.

The surface grows on voxels of 1.5 mm in all directions, surrounded by air so that it never leaves the array, which the package
does not check. Source: Smith, Hum Brain Mapp 17:143-155 (2002); brainextractor 0.3.0 (MIT).
"""

from __future__ import annotations

from importlib.metadata import version
from types import ModuleType

import nibabel as nib
import numpy as np
from nibabel.processing import resample_to_output
from numpy.typing import NDArray

from scripts.brain_extraction.carry import Affine, Mask, carry_mask
from scripts.errors import UnavailableError

VOXEL_MM = 1.5
FRACTION = 0.65  # Smith's b_t: more makes a smaller brain
ITERATIONS = 1000
PITCH = 0.5  # of the grid that the surface is filled on, in voxels
AIR = 14  # voxels around: as far as a ray of 20 mm looks inwards from a surface at the very edge


def bet_version() -> str:
    """Of the package.

    Raises:
        UnavailableError: it is not installed.
    """
    _load()
    return version("brainextractor")


def bet_mask(values: NDArray[np.floating], affine: Affine) -> Mask:
    """The brain by a growing surface.

    Args:
        values: (x, y, z), a head with its skull.
        affine: voxel -> RAS+ mm.

    Returns:
        (x, y, z).

    Raises:
        UnavailableError: the package is not installed.
        ValueError: the surface collapsed: what is in the image is no head.
    """
    package = _load()
    image = nib.as_closest_canonical(nib.Nifti1Image(np.asarray(values, np.float32), affine))
    coarse = resample_to_output(image, (VOXEL_MM,) * 3, order=1)
    data = np.pad(np.asarray(coarse.dataobj, np.float64), AIR)
    placed = coarse.affine @ nib.affines.from_matvec(np.eye(3), [-AIR] * 3)
    extractor = package.BrainExtractor(nib.Nifti1Image(data, placed), bt=FRACTION)
    extractor.run(iterations=ITERATIONS)
    if not np.isfinite(extractor.vertices).all():
        raise ValueError("the surface of the brain collapsed.")
    # The package's own mask is as coarse as its voxels, and as large as every voxel that the surface touches.
    filled = extractor.surface.voxelized(PITCH).fill()
    return carry_mask(np.asarray(filled.matrix), placed @ filled.transform, shape=values.shape, onto=affine)


def _load() -> ModuleType:
    """The package's module, which prints to nowhere: its `print` is its own, whatever other threads print meanwhile."""
    try:
        from brainextractor import main
    except ImportError as error:
        raise UnavailableError(
            f"the package brainextractor is not installed ({error})",
            expected="it, for --brain_extraction bet",
            remedy="Install it: pip install brainextractor==0.3.0.",
        ) from error
    main.print = _say_nothing
    module: ModuleType = main
    return module


def _say_nothing(*_: object, **__: object) -> None:
    return None
