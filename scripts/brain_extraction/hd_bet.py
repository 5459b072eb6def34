"""The method "hd-bet": the package hd-bet and its nnU-Net, in this process.

HD-BET's model folder holds plans.json, dataset.json and fold_all/checkpoint_final.pth. The package redirects standard output when
it is imported, sets torch's number of threads and an environment variable, and its command line makes folders and downloads: none
of it is left behind here, and nothing is downloaded. It does not reorient, so it is given RAS. Source: Isensee et al., Hum Brain
Mapp 40:4952-4964 (2019); hd-bet 2.0.1 (Apache-2.0).
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import RLock
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray

from scripts.brain_extraction.carry import Affine, Mask
from scripts.errors import UnavailableError
from scripts.files import sha256

CHECKPOINT = Path("fold_all") / "checkpoint_final.pth"
FILES = (Path("plans.json"), Path("dataset.json"), CHECKPOINT)
ZIP = "https://zenodo.org/records/14445620/files/release_v1.5.0.zip"
COMPILE = "nnUNet_compile"
# What a checkpoint of nnU-Net may name in its pickle besides torch's own: arrays and numbers, nothing that runs.
HARMLESS = {
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    "numpy.ndarray",
    "numpy.dtype",
    "pathlib.PosixPath",
}
_lock = RLock()  # one import and one prediction at a time, whatever threads the preprocessing runs in


def default_weights() -> Path:
    """HD-BET's own folder for its model."""
    return Path.home() / "hd-bet_params" / "release_2.0.0"


def check_weights(folder: str | Path | None = None) -> dict[str, str]:
    """SHA-256 of every file of a model folder, by its path in it.

    Args:
        folder: None: HD-BET's own.

    Raises:
        UnavailableError: a file is missing, or the checkpoint's pickle would run something.
    """
    path = default_weights() if folder is None else Path(folder)
    missing = [str(name) for name in FILES if not (path / name).is_file()]
    if missing:
        raise UnavailableError(
            f"HD-BET's weights are not in {path}: it lacks {', '.join(missing)}",
            expected="HD-BET 2.0's model",
            remedy=f"Download {ZIP} (no program does it here), compare its MD5 (md5sum) with the one that its page "
            f"zenodo.org/records/14445620 shows, and unzip it so that {path / CHECKPOINT} is there; or give another model folder "
            "by --hd_bet_weights. Other methods: --brain_extraction bet (no weights), mask (your own masks), none (images that "
            "are brain-extracted already).",
        )
    found = {name.as_posix(): _digest(path / name, (path / name).stat().st_mtime_ns) for name in FILES}
    _refuse_code(path / CHECKPOINT, found[CHECKPOINT.as_posix()])
    return found


def fingerprint(folder: str | Path | None = None) -> str | None:
    """SHA-256 of the checkpoint in a model folder; None where there is none."""
    path = (default_weights() if folder is None else Path(folder)) / CHECKPOINT
    return _digest(path, path.stat().st_mtime_ns) if path.is_file() else None


def hd_bet_version() -> str:
    """Of the package.

    Raises:
        UnavailableError: it is not installed.
    """
    try:
        return version("hd-bet")
    except PackageNotFoundError as error:
        raise _not_installed(error) from error


def hd_bet_mask(
    values: NDArray[np.floating],
    affine: Affine,
    *,
    weights: str | Path | None = None,
    device: str = "cpu",
    mirroring: bool = False,
) -> Mask:
    """The brain by HD-BET.

    Args:
        values: (x, y, z), a head with its skull.
        affine: voxel -> RAS+ mm.
        weights: model folder; None: HD-BET's own.
        device: "cpu" or "cuda".
        mirroring: test-time augmentation, eight times as much work.

    Returns:
        (x, y, z), what hd-bet's command line makes of the image stored in RAS.

    Raises:
        UnavailableError: the package or the weights are not there.
    """
    folder = default_weights() if weights is None else Path(weights)
    hashes = check_weights(folder)
    turn = nib.orientations.io_orientation(affine)
    ras = nib.orientations.apply_orientation(np.asarray(values, np.float32), turn)
    spacing = np.empty(3)
    spacing[turn[:, 0].astype(int)] = np.linalg.norm(affine[:3, :3], axis=0)
    with _lock, undisturbed(), torch.random.fork_rng(devices=[]):
        predictor = _predictor(str(folder), hashes[CHECKPOINT.as_posix()], device, mirroring)
        # (x, y, z) -> (1, z, y, x), the order of SimpleITK, which nnU-Net reads with
        found = predictor.predict_single_npy_array(
            np.ascontiguousarray(ras.transpose(2, 1, 0))[None], {"spacing": [float(edge) for edge in spacing[::-1]]}
        )
    upright = np.asarray(found).transpose(2, 1, 0) > 0  # (z, y, x) -> (x, y, z)
    back = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), turn)
    return np.ascontiguousarray(nib.orientations.apply_orientation(upright, back))


@contextmanager
def undisturbed() -> Iterator[None]:
    """Undo what HD-BET and nnU-Net do to the process: standard output, torch's threads, the variable that compiles networks."""
    out, threads, compiled = sys.stdout, torch.get_num_threads(), os.environ.get(COMPILE)
    try:
        yield
    finally:
        sys.stdout = out
        torch.set_num_threads(threads)
        os.environ.pop(COMPILE, None)
        if compiled is not None:
            os.environ[COMPILE] = compiled


@lru_cache(maxsize=1)
def _predictor(folder: str, _sha256: str, device: str, mirroring: bool) -> Any:
    """HD-BET's own predictor of a model folder. `_sha256` loads a changed checkpoint anew."""
    try:
        from HD_BET import hd_bet_prediction
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision of another build than torch
        raise _not_installed(error) from error
    own = hd_bet_prediction.folder_with_parameter_files
    hd_bet_prediction.folder_with_parameter_files = folder  # it takes no argument for it
    try:
        with redirect_stdout(io.StringIO()):  # it says what it sets for a processor
            predictor = hd_bet_prediction.get_hdbet_predictor(use_tta=mirroring, device=torch.device(device))
    finally:
        hd_bet_prediction.folder_with_parameter_files = own
    predictor.allow_tqdm = False
    return predictor


def _not_installed(error: Exception) -> UnavailableError:
    return UnavailableError(
        f"the package hd-bet cannot be used ({error})",
        expected="hd-bet 2.0.1 with its nnU-Net and a torchvision that fits torch",
        remedy="`make hd-bet` makes an environment with it (several GB), `pip install --group hd-bet` adds it to one; or choose "
        "another method: --brain_extraction bet (no weights), mask (your own masks), none (images that are brain-extracted "
        "already).",
    )


@lru_cache(maxsize=16)
def _digest(file: Path, _changed: int) -> str:
    return sha256(file)


@lru_cache(maxsize=4)
def _refuse_code(checkpoint: Path, _sha256: str) -> None:
    """nnU-Net unpickles the checkpoint, and a pickle can run anything: refuse it if it names more than arrays and numbers."""
    try:
        named = set(torch.serialization.get_unsafe_globals_in_checkpoint(checkpoint))
    except (ValueError, RuntimeError, OSError) as error:
        named = {f"no file of torch.save ({error})"}
    harmful = sorted(name for name in named - HARMLESS if not name.startswith("numpy.dtypes."))
    if harmful:
        raise UnavailableError(
            f"{checkpoint} holds more than weights: {', '.join(harmful)}",
            expected="arrays and numbers alone",
            remedy="Take HD-BET's own checkpoint; this one could run anything on this machine.",
        )
