"""The golden case: a small synthetic study with everything that the exported files must make of it, in golden.npz.

Whoever opens the files (another runtime, a device, a newer driver) runs it before the first patient. It holds, for each
modality, `<modality>` (x, y, z) uint16 with the background 0, in RAS, brain-extracted; of the prepared image every 16th voxel,
`coarse` (1, M, x/16, y/16, z/16); and torch's `logits` (1, M), `branch_scores` (1, M) and `pred` (1, 1), all float32.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from export.bundle import TrainedBundle
from export.seeded_image import seeded_image

COARSE = 16
GRIDS = ((48, 56, 36), (44, 60, 40))  # of the modalities, in turn: each is resized by itself
EXTENT_MM = (150.0, 180.0, 130.0)


def write_golden(bundle: TrainedBundle, folder: Path, *, spatial_size: Sequence[int]) -> None:
    """Write golden.npz: the same bytes from the same weights."""
    volumes = {}
    for number, modality in enumerate(bundle.network.modalities):
        grid = GRIDS[number % len(GRIDS)]
        volumes[modality] = np.round(1000 * seeded_image(1, grid, seed=number)[0, 0]).astype(np.uint16)
    image = golden_image(bundle, volumes, spatial_size=spatial_size)
    with torch.inference_mode():
        logits = bundle.network(image, return_logits=True)
        pred = bundle.network.fuse(logits)
    np.savez_compressed(
        folder / "golden.npz",
        **volumes,
        coarse=image[:, :, ::COARSE, ::COARSE, ::COARSE].numpy(),
        logits=logits.numpy(),
        branch_scores=torch.sigmoid(logits).numpy(),
        pred=pred.numpy(),
    )


def golden_image(bundle: TrainedBundle, volumes: dict[str, np.ndarray], *, spatial_size: Sequence[int]) -> torch.Tensor:
    """What the bundle's preprocessing makes of the volumes: (1, M, x, y, z) float32."""
    with tempfile.TemporaryDirectory() as folder:
        study = {"case": "golden"}
        for modality, volume in volumes.items():
            spacing = [extent / edge for extent, edge in zip(EXTENT_MM, volume.shape, strict=True)]
            affine = np.diag([*spacing, 1.0])
            affine[:3, 3] = [-extent / 2 for extent in EXTENT_MM]
            study[modality] = str(Path(folder) / f"{modality}.nii")
            nib.save(nib.Nifti1Image(volume, affine), study[modality])
        return bundle.prepare(study, spatial_size)
