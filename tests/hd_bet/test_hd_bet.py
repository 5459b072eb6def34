"""The real hd-bet and nnU-Net code with stand-ins for the weights: `make hd-bet-test`, in an environment of its own.

hd-bet needs torchvision, of which the registry has no CPU build: elsewhere these tests skip themselves.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from scripts.brain_extraction import hd_bet
from scripts.brain_extraction.carry import dice
from scripts.brain_extraction.masks import Extractor
from tests.real_mri import real_cases

if importlib.util.find_spec("HD_BET") is None:
    pytest.skip(
        "hd-bet is not installed here: `make hd-bet-test` runs these in its own environment", allow_module_level=True
    )

MINIBET_DICE = {"flair": 0.88, "t2w": 0.84}  # the stand-in's own, as its README gives it; HD-BET's would be higher


def load(file: str) -> tuple[np.ndarray, np.ndarray]:
    image = nib.Nifti1Image.from_filename(file)
    return image.get_fdata(dtype=np.float32), image.affine


@pytest.fixture(scope="module")
def shared_dir() -> Path:
    """As in tests/conftest.py, which imports what this environment does not have."""
    folder = Path(os.environ.get("ETSCNET_SHARED", Path(__file__).parents[3] / "shared"))
    if not folder.is_dir():
        pytest.skip("the real MRI lies beside the authors' checkouts alone; set ETSCNET_SHARED to a copy")
    return folder


@pytest.fixture(scope="module")
def case(shared_dir: Path) -> dict[str, str]:
    return real_cases(shared_dir / "mri")[0]


@pytest.fixture(scope="module")
def weights(shared_dir: Path) -> Path:
    return shared_dir / "hd-bet" / "minibet"


def by_command(image: nib.Nifti1Image, weights: Path, folder: Path, *options: str) -> np.ndarray:
    """The mask that hd-bet's own command writes, its home the folder."""
    shutil.copytree(weights, folder / "hd-bet_params" / "release_2.0.0")
    nib.save(image, folder / "image.nii.gz")
    command = [
        str(Path(sys.executable).with_name("hd-bet")),
        "-i",
        "image.nii.gz",
        "-o",
        "out.nii.gz",
        "-device",
        "cpu",
    ]
    done = subprocess.run(
        [*command, "--save_bet_mask", *options],
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return np.asarray(nib.Nifti1Image.from_filename(folder / "out_bet.nii.gz").dataobj) > 0


@pytest.mark.parametrize(
    ("model", "modality", "mirroring"),
    [("minibet", "flair", False), ("minibet", "t2w", True), ("tiny", "flair", False)],
)
def test_in_process_and_by_its_command_the_masks_are_identical(
    shared_dir: Path, tmp_path: Path, case: dict[str, str], model: str, modality: str, mirroring: bool
) -> None:
    weights = shared_dir / "hd-bet" / model
    image = nib.as_closest_canonical(nib.Nifti1Image.from_filename(case[modality]))
    expected = by_command(image, weights, tmp_path, *([] if mirroring else ["--disable_tta"]))

    found = hd_bet.hd_bet_mask(
        image.get_fdata(dtype=np.float32), image.affine, weights=weights, device="cpu", mirroring=mirroring
    )

    assert np.array_equal(found, expected)
    assert 0 < expected.mean() < 1


@pytest.mark.parametrize("modality", ["flair", "t2w"])
def test_the_mask_lies_on_the_images_own_grid_whatever_its_axes(
    case: dict[str, str], weights: Path, modality: str
) -> None:
    values, affine = load(case[modality])  # stored as LPS
    assert nib.aff2axcodes(affine) != ("R", "A", "S")
    found = hd_bet.hd_bet_mask(values, affine, weights=weights)
    assert found.shape == values.shape
    assert dice(found, load(case[f"{modality}_mask"])[0] > 0) > MINIBET_DICE[modality]

    turned = nib.Nifti1Image(values, affine).as_reoriented(np.array([[1, -1], [2, 1], [0, -1]]))
    again = hd_bet.hd_bet_mask(turned.get_fdata(dtype=np.float32), turned.affine, weights=weights)
    back = nib.orientations.apply_orientation(
        again,
        nib.orientations.ornt_transform(
            nib.orientations.io_orientation(turned.affine), nib.orientations.io_orientation(affine)
        ),
    )
    assert np.array_equal(back, found)


def test_nothing_of_its_import_reaches_the_rest(case: dict[str, str], weights: Path, tmp_path: Path) -> None:
    """In a fresh interpreter: standard output, torch's threads and its random numbers, the environment, the home folder."""
    program = f"""
import os, sys, torch
torch.set_num_threads(1)
torch.manual_seed(0)
before = dict(os.environ)
out, random = sys.stdout, torch.get_rng_state()
import numpy as np
import nibabel as nib
from scripts.brain_extraction.hd_bet import hd_bet_mask
image = nib.load({case["flair"]!r})
mask = hd_bet_mask(image.get_fdata(dtype=np.float32), image.affine, weights={str(weights)!r})
assert sys.stdout is out and out is sys.__stdout__
assert torch.get_num_threads() == 1
assert torch.equal(torch.get_rng_state(), random)
assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
print("voxels", int(mask.sum()))
"""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(root), "MPLCONFIGDIR": str(tmp_path / "mpl")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=600, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("voxels "), f"HD-BET printed: {done.stdout[:200]!r}"
    assert not (tmp_path / "hd-bet_params").exists()


def test_no_worker_process_is_started(case: dict[str, str], weights: Path) -> None:
    seen: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        children = Path(f"/proc/{os.getpid()}/task")
        while not done.is_set():
            for task in children.iterdir():
                seen.update((task / "children").read_text().split())
            time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    already = {
        child
        for task in Path(f"/proc/{os.getpid()}/task").iterdir()
        for child in (task / "children").read_text().split()
    }
    watcher.start()
    hd_bet.hd_bet_mask(*load(case["flair"]), weights=weights)
    done.set()
    watcher.join()
    assert seen <= already


def test_a_changed_checkpoint_is_loaded_anew(case: dict[str, str], shared_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(shared_dir / "hd-bet" / "minibet", folder)
    values, affine = load(case["flair"])
    first = hd_bet.hd_bet_mask(values, affine, weights=folder)
    checkpoint = torch.load(folder / hd_bet.CHECKPOINT, weights_only=True)
    checkpoint["network_weights"] = {name: value * 0.5 for name, value in checkpoint["network_weights"].items()}
    torch.save(checkpoint, folder / hd_bet.CHECKPOINT)
    assert not np.array_equal(hd_bet.hd_bet_mask(values, affine, weights=folder), first)


def test_the_sidecar_names_version_weights_and_device(weights: Path) -> None:
    said = Extractor("hd-bet", str(weights)).describe()
    assert said["software"] == "hd-bet 2.0.1"
    assert said["weights_sha256"]["fold_all/checkpoint_final.pth"].startswith("fbc5f343cd41b473")
    assert said["test_time_augmentation"] is False and said["device"] == "cpu"
