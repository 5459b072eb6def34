"""Masks that need no weights against the reference masks, and what the quality gate says of them.

.venv/bin/python -m benchmarks.brain_extraction --mri MRI_DIR [--hd_bet_weights FOLDER]

MRI_DIR is ../shared/mri: three studies with a skull and reference masks on both grids. With `--hd_bet_weights`, in an
environment with hd-bet, HD-BET's masks from that model folder.
"""

from __future__ import annotations

import time
from pathlib import Path

import nibabel as nib
import numpy as np

from scripts.brain_extraction.carry import Affine, Mask, carry_mask, dice
from scripts.brain_extraction.masks import Extractor
from scripts.brain_extraction.quality import judge_study
from scripts.command_line.commands import run_function
from tests.real_mri import real_cases

KEYS = ("flair", "t2w")
BOUNDS = {"bet": {"flair": 0.945, "t2w": 0.915, "carried": 0.94}}  # what must be reached


def measure(mri: Path, *, hd_bet_weights: str | None = None) -> str:
    """Compare the masks of BET, or of HD-BET, with the reference masks, and print a table, a row a study.

    Args:
        mri: folder of the real pairs with their reference masks.
        hd_bet_weights: HD-BET's model folder, in an environment with hd-bet; None: BET.

    Example:
        python -m benchmarks.brain_extraction --mri ../shared/mri
    """
    extractor = Extractor("bet") if hd_bet_weights is None else Extractor("hd-bet", hd_bet_weights)
    name = extractor.method
    measured = "FLAIR's carried to T2w | ml | FLAIR with T2w | processor seconds a volume | quality gate"
    lines = [f"| study | {name} FLAIR | {name} T2w | {measured} |"]
    lines.append("|---|---:|---:|---:|---|---:|---:|---|")
    columns: dict[str, list[float]] = {"flair": [], "t2w": [], "carried": []}
    for case in real_cases(mri):
        if "flair_mask" not in case:
            continue
        found: dict[str, tuple[Mask, Affine]] = {}
        spent = []
        for key in KEYS:
            image = nib.Nifti1Image.from_filename(case[key])
            start = time.process_time()
            found[key] = (extractor.mask(image.get_fdata(dtype=np.float32), image.affine), image.affine)
            spent.append(time.process_time() - start)
            columns[key].append(
                dice(found[key][0], np.asarray(nib.Nifti1Image.from_filename(case[f"{key}_mask"]).dataobj) > 0)
            )
        reference = nib.Nifti1Image.from_filename(case["t2w_mask"])
        carried = carry_mask(*found["flair"], shape=reference.shape, onto=reference.affine)
        columns["carried"].append(dice(carried, np.asarray(reference.dataobj) > 0))
        judged = judge_study(found)
        volumes = " / ".join(f"{quality.volume_ml:.0f}" for quality in judged.masks.values())
        scores = " | ".join(f"{columns[key][-1]:.3f}" for key in columns)
        gate = "; ".join(judged.faults) or "passed"
        lines.append(
            f"| {case['case']} | {scores} | {volumes} | {judged.overlap['flair-t2w']:.3f} | {np.mean(spent):.0f} | {gate} |"
        )
    lowest = {key: min(values) for key, values in columns.items()}
    lines += ["", f"Least Dice: FLAIR {lowest['flair']:.3f}, T2w {lowest['t2w']:.3f}, carried {lowest['carried']:.3f}."]
    if bounds := BOUNDS.get(name):
        missed = [f"{key} {lowest[key]:.3f} < {bound}" for key, bound in bounds.items() if lowest[key] < bound]
        wanted = ", ".join(f"{key} {bound}" for key, bound in bounds.items())
        lines.append(f"Bounds: {wanted}. Below them: {', '.join(missed) or 'none'}.")
    return "\n".join(lines)


if __name__ == "__main__":
    run_function(measure)
