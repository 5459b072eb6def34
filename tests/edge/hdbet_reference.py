"""Brain masks by HD-BET's own code (hd-bet, nnU-Net, torch), which the edge's are compared with.

Run in an environment that holds hd-bet 2.0.1:

    python tests/edge/hdbet_reference.py MODEL_DIR OUTPUT IMAGE.nii.gz ...

Each image is turned to RAS, as HD-BET wants it, and given to nnU-Net's predictor as HD-BET sets it up, in this process. OUTPUT
gets one mask an image, uint8 on the turned grid, and `reference.json` with figures of each.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np


def figures(mask: np.ndarray, affine: np.ndarray) -> dict[str, Any]:
    """Of a mask (x, y, z): "voxels", "centre_mm" (RAS+), "extent" (first and last voxel along each axis), and the "sha256" of its
    bits in C order, eight voxels a byte."""
    inside = np.ascontiguousarray(mask, dtype=bool)
    places = np.argwhere(inside)
    return {
        "voxels": len(places),
        "centre_mm": [round(float(edge), 4) for edge in affine[:3, :3] @ places.mean(0) + affine[:3, 3]],
        "extent": [[int(line.min()), int(line.max())] for line in places.T],
        "sha256": hashlib.sha256(np.packbits(inside).tobytes()).hexdigest(),
    }


def main(model_dir: str, output: str, *images: str) -> None:
    """Write the masks and their figures."""
    import HD_BET.hd_bet_prediction as hd_bet
    import torch
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    sys.stdout = sys.__stdout__  # its import redirects it
    hd_bet.folder_with_parameter_files = model_dir
    predictor = hd_bet.get_hdbet_predictor(device=torch.device("cpu"))
    torch.set_num_threads(2)
    predictor.allow_tqdm = False
    found = {}
    for path in images:
        name = Path(path).name
        turned = nib.as_closest_canonical(nib.load(path))
        with tempfile.TemporaryDirectory() as folder:
            file = f"{folder}/turned.nii.gz"
            nib.save(turned, file)
            image, properties = SimpleITKIO().read_images([file])
        mask = predictor.predict_single_npy_array(image, properties, None, None, False)  # (z, y, x)
        inside = mask.transpose(2, 1, 0) > 0
        nib.save(nib.Nifti1Image(inside.astype(np.uint8), turned.affine), Path(output) / name)
        found[name] = figures(inside, turned.affine)
    (Path(output) / "reference.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
